//! Loads a module as the kernel does: its entry, its function, its state and its probe.

use std::future::Future;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use midplane_abi::{self as abi, Slice, Status, status};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::{Answerer, Loaded, calls, exchange, host};
use crate::boundary::export;
use crate::boundary::instance::{Attribute, ModuleService};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::state::Saved;

/// Of modules under test: each is alone, and may hand state over.
const ATTRIBUTE: Attribute = Attribute {
    schema: 1,
    exclusive: false,
};

/// For the module's files, as long as it lives.
pub(super) struct DataDir(PathBuf);

/// Runs the module's function on a thread of its own, as the kernel does.
pub(crate) async fn load<C, F, Fut, S>(
    module: F,
    config: String,
    state: Option<Saved>,
    answerer: Option<Answerer>,
) -> Result<Loaded>
where
    C: DeserializeOwned,
    F: FnOnce(Context<C>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<S>> + Send + 'static,
    S: ModuleService,
{
    let owner = exchange::next_number();
    if let Some(answerer) = answerer {
        calls::register(owner, answerer);
    }
    let (done, loaded) = oneshot::channel();
    std::thread::spawn(move || {
        // The receiver is gone only when the test is.
        let _ = done.send(load_here(module, owner, &config, state));
    });
    loaded
        .await
        .map_err(|_gone| Error::msg("the thread that loads the module ended early"))?
}

fn load_here<C, F, Fut, S>(
    module: F,
    owner: u64,
    config: &str,
    state: Option<Saved>,
) -> Result<Loaded>
where
    C: DeserializeOwned,
    F: FnOnce(Context<C>) -> Fut,
    Fut: Future<Output = Result<S>> + Send + 'static,
    S: ModuleService,
{
    unsafe extern "C" fn never(_given: *const abi::Init, _out: *mut abi::Instance) -> Status {
        status::INVALID
    }
    let mut table = abi::Module::unfilled(0, 0);
    // SAFETY: the table below is static and `table` is ours.
    if unsafe { export::entry(&raw const host::TABLE, &raw mut table, never) } != status::OK {
        return Err(Error::msg("the module's entry refused"));
    }
    let data_dir = DataDir::make()?;
    let given = abi::Init {
        size: u32::try_from(size_of::<abi::Init>()).expect("a small struct"),
        flags: 0,
        owner,
        name: Slice::new(b"test"),
        generation: 1,
        config: Slice::new(config.as_bytes()),
        data_dir: Slice::new(data_dir.0.as_os_str().as_bytes()),
    };
    let mut out = abi::Instance {
        size: u32::try_from(size_of::<abi::Instance>()).expect("a small struct"),
        flags: 0,
        ptr: std::ptr::null_mut(),
    };
    // SAFETY: both live through the call.
    let answer =
        unsafe { export::make_instance(&raw const given, &raw mut out, ATTRIBUTE, module) };
    if answer != status::OK {
        return Err(Error::msg(host::take_failure()));
    }
    let mut loaded = Loaded {
        table,
        instance: out.ptr,
        flags: out.flags,
        owner,
        _data_dir: data_dir,
    };
    let (schema, bytes) = state.as_ref().map_or((0, Slice::NONE), |state| {
        (state.schema, Slice::new(&state.bytes))
    });
    let (restore, probe) = table
        .restore
        .zip(table.probe)
        .expect("the entry fills the table");
    // SAFETY: the instance lives; the struct and the state outlive the calls.
    let answer = unsafe {
        match restore(&raw mut out, schema, bytes) {
            status::OK => probe(out.ptr),
            refused => refused,
        }
    };
    loaded.flags = out.flags;
    match answer {
        status::OK => Ok(loaded),
        _ => Err(Error::msg(host::take_failure())),
    }
}

impl DataDir {
    fn make() -> Result<DataDir> {
        let name = format!(
            "midplane-testing-{}-{}",
            std::process::id(),
            exchange::next_number()
        );
        let dir = std::path::absolute(std::env::temp_dir().join(name))?;
        // Fails where one stands already: it would be somebody else's.
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(DataDir(dir))
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // What the module holds open of it goes with the test.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
