//! What the tests share: libraries to load, and threads that stand for the kernel's.
#![allow(dead_code, reason = "each test program uses its part of it")]
#![expect(clippy::unwrap_used, reason = "a test ends with what it finds")]
#![expect(unsafe_code, reason = "libraries are loaded and called")]

use std::any::Any;
use std::ffi::{CStr, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use midplane_unload::{Findings, Library, Pin, Resident, prepare, settle_thread};
use tempfile::TempDir;

/// For what must happen; it is never waited for in full unless something is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// For threads that are on their way out already, and for libraries that other tests are loading.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A file to load, under a name of its own.
pub(crate) struct Artifact {
    pub(crate) path: PathBuf,
    pub(crate) findings: Findings,
    dir: TempDir,
}

impl Artifact {
    /// A Rust library from `examples/`.
    pub(crate) fn rust(name: &str) -> Artifact {
        // target/debug/deps/this-test
        let test = std::env::current_exe().unwrap();
        let examples = test.parent().unwrap().with_file_name("examples");
        let built = examples.join(format!("lib{name}.so"));
        let bytes = fs::read(&built).unwrap_or_else(|error| {
            panic!(
                "{}: {error}; cargo build -p midplane-unload --examples makes it",
                built.display()
            )
        });
        Artifact::of(bytes, name, tempfile::tempdir().unwrap())
    }

    /// A library in C or C++ from `tests/fixtures/`.
    pub(crate) fn compiled(source: &str, arguments: &[&str]) -> Artifact {
        let made = Artifact::compiled_as_is(source, arguments);
        let bytes = fs::read(&made.path).unwrap();
        Artifact::of(bytes, source, made.dir)
    }

    /// The same, as the linker made it.
    pub(crate) fn compiled_as_is(source: &str, arguments: &[&str]) -> Artifact {
        let dir = tempfile::tempdir().unwrap();
        let compiler = if source.ends_with(".cpp") {
            "c++"
        } else {
            "cc"
        };
        let made = dir.path().join("made.so");
        let output = Command::new(compiler)
            .args(["-shared", "-fPIC", "-O1", "-g", "-Wall", "-Werror", "-o"])
            .arg(&made)
            .arg(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("tests/fixtures")
                    .join(source),
            )
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("{compiler} is needed for {source}: {error}"));
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Artifact {
            path: made,
            findings: Findings::default(),
            dir,
        }
    }

    fn of(mut bytes: Vec<u8>, name: &str, dir: TempDir) -> Artifact {
        let findings = prepare(&mut bytes);
        let path = dir.path().join(format!("{name}-1.so"));
        fs::write(&path, bytes).unwrap();
        Artifact {
            path,
            findings,
            dir,
        }
    }

    /// The same once more, as the next generation of a module.
    pub(crate) fn another(&self, number: usize) -> Artifact {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("{number}.so"));
        fs::copy(&self.path, &path).unwrap();
        Artifact {
            path,
            findings: self.findings.clone(),
            dir,
        }
    }

    pub(crate) fn open(&self) -> Library {
        // SAFETY: a library of these tests, whose file nobody writes to any more.
        unsafe { Library::open(&self.path, self.findings.clone()) }.unwrap()
    }

    pub(crate) fn is_mapped(&self) -> bool {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        maps.contains(self.path.to_str().unwrap())
    }
}

/// A function that takes one pointer, which most of the libraries' do.
#[derive(Clone, Copy)]
pub(crate) struct Function(unsafe extern "C" fn(*const c_void));

impl Function {
    pub(crate) fn of(library: &Library, name: &CStr) -> Function {
        let symbol = library
            .symbol(name)
            .unwrap_or_else(|| panic!("{name:?} is not exported"));
        // SAFETY: every function that the tests look up this way takes one pointer.
        Function(unsafe {
            std::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(*const c_void)>(symbol)
        })
    }

    pub(crate) fn call(self, argument: *const c_void) {
        // SAFETY: each says what it takes, and is given that.
        unsafe { self.0(argument) }
    }

    pub(crate) fn count(self, counter: &'static AtomicUsize) {
        self.call(std::ptr::from_ref(counter).cast());
    }
}

/// For calls that look the function up.
pub(crate) trait Calls {
    fn call(&self, name: &CStr, argument: *const c_void);
    fn count(&self, name: &CStr, counter: &'static AtomicUsize);
}

impl Calls for Library {
    fn call(&self, name: &CStr, argument: *const c_void) {
        Function::of(self, name).call(argument);
    }

    fn count(&self, name: &CStr, counter: &'static AtomicUsize) {
        Function::of(self, name).count(counter);
    }
}

/// A counter that lives as long as any library may.
pub(crate) fn counter() -> &'static AtomicUsize {
    for_ever(AtomicUsize::new(0))
}

/// Not lost, but kept: valgrind tells the two apart.
pub(crate) fn for_ever<T: Any + Send + Sync>(value: T) -> &'static T {
    static KEPT: Mutex<Vec<&'static (dyn Any + Send + Sync)>> = Mutex::new(Vec::new());
    let kept = Box::leak(Box::new(value));
    KEPT.lock().unwrap().push(kept);
    kept
}

/// Closes a library that nothing uses but what is followed.
pub(crate) fn close(library: Library, patience: Duration) -> Result<(), Box<Resident>> {
    // SAFETY: these tests call nothing of a library that they have given away.
    unsafe { library.close(patience) }
}

/// Asks for a library to be closed that something holds; again, while the other tests are all that does.
pub(crate) fn refuse(mut library: Library) -> Box<Resident> {
    let start = Instant::now();
    loop {
        let mut resident = close(library, Duration::ZERO).unwrap_err();
        resident.pins.retain(is_ours);
        if !resident.pins.is_empty() {
            return resident;
        }
        assert!(start.elapsed() < PATIENCE, "the linker is busy for ever");
        std::thread::yield_now();
        library = resident.library;
    }
}

/// What holds a library, but for the other tests.
pub(crate) fn pins(library: &Library) -> Vec<Pin> {
    library.pins().into_iter().filter(is_ours).collect()
}

fn is_ours(pin: &Pin) -> bool {
    !matches!(pin, Pin::LinkerBusy(_))
}

/// Settles a library on this thread.
pub(crate) fn settle(library: &Library) -> midplane_unload::Settled {
    // SAFETY: these tests settle when they have made their last call.
    unsafe { library.settler().settle_here() }
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread as the kernel's: it runs what it is sent.
pub(crate) struct KernelThread {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

impl KernelThread {
    pub(crate) fn start(name: &str) -> KernelThread {
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                queue.into_iter().for_each(|job| job());
            })
            .unwrap();
        KernelThread { jobs, thread }
    }

    /// Runs `work` there and waits for it.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let mut answer = None;
        let (done, wait) = mpsc::channel::<()>();
        let job: Box<dyn FnOnce() + Send + '_> = Box::new(|| {
            answer = Some(work());
            drop(done);
        });
        // SAFETY: only the lifetime is changed, and this function waits until the job has run or was dropped.
        let job = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Job>(job) };
        self.jobs.send(job).unwrap();
        let _ = wait.recv();
        answer.expect("the work panicked")
    }

    /// Ends it without a word, as a thread that forgets to leave.
    pub(crate) fn end(self) {
        drop(self.jobs);
        self.thread.join().unwrap();
    }

    /// Ends it as it should.
    pub(crate) fn leave(self) {
        // SAFETY: nothing is called on it afterwards.
        self.run(|| unsafe { settle_thread() });
        self.end();
    }
}

/// Waits for something that happens by itself.
pub(crate) fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn value(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::SeqCst)
}

/// Runs this program's other tests once more, one after the other, under valgrind.
pub(crate) fn under_valgrind() {
    let test = std::thread::current().name().unwrap().to_owned();
    let output = Command::new("valgrind")
        .args([
            "--quiet",
            "--fair-sched=try",
            "--error-exitcode=1",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--test-threads=1", "--skip", &test])
        .output()
        .unwrap_or_else(|error| {
            panic!("valgrind cannot be started: {error}; apt-get install valgrind")
        });
    let text = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&text)
    );
}
