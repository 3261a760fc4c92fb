//! Telling those who watch a module that something was committed, in this process or another.
//!
//! What this process commits, the writer tells. For the rest a thread waits until the system says (inotify) that another process
//! has rung the `bell`, and asks SQLite whether another connection has committed (`PRAGMA data_version`). Nothing is told but that there
//! is something new: whoever watches reads the version itself. The thread is started for the first that watches.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::watch;

use super::file;
use super::read;
use crate::{StoreError, Version};

pub(super) struct Changes {
    path: Arc<Path>,
    listeners: Mutex<Listeners>,
    lookout: Mutex<Option<Lookout>>,
}

#[derive(Default)]
struct Listeners {
    /// The version that was told last.
    modules: HashMap<String, watch::Sender<Version>>,
    ended: bool,
}

struct Lookout {
    thread: JoinHandle<()>,
    /// Closed to end the thread.
    _end: UnixStream,
}

impl Changes {
    pub(super) fn new(path: Arc<Path>) -> Changes {
        Changes {
            path,
            listeners: Mutex::default(),
            lookout: Mutex::default(),
        }
    }

    /// Whatever is committed to the module from now on is told, once somebody is on the look-out.
    pub(super) fn listen(&self, module: &str) -> Result<watch::Receiver<Version>, StoreError> {
        let mut listeners = self.listeners();
        if listeners.ended {
            return Err(StoreError::Closing);
        }
        // Those to whom nobody listens any more; there are no more of them than modules.
        listeners
            .modules
            .retain(|_, told| told.receiver_count() > 0);
        let told = listeners.modules.entry(module.to_owned());
        Ok(told
            .or_insert_with(|| watch::Sender::new(Version(0)))
            .subscribe())
    }

    /// Says that the module has this version.
    pub(super) fn tell(&self, module: &str, version: Version) {
        if let Some(told) = self.listeners().modules.get(module) {
            told.send_if_modified(|latest| {
                let is_new = version > *latest;
                *latest = version.max(*latest);
                is_new
            });
        }
    }

    /// Has a thread look for what other processes commit, from here on. Opens a connection the first time.
    pub(super) fn look_out(self: &Arc<Self>) -> rusqlite::Result<()> {
        let mut lookout = self.lookout.lock().expect("no code panics under this lock");
        if lookout.is_some() || self.listeners().ended {
            return Ok(());
        }
        let connection = file::connect(&self.path)?;
        let mut seen = data_version(&connection)?;
        let Ok((end, ended)) = UnixStream::pair() else {
            return Err(out_of_descriptors());
        };
        let mut rung = rung::Rung::of(&self.path, ended);
        // What came in between is told now.
        let changes = Arc::clone(self);
        let thread = std::thread::Builder::new().name("store-watch".to_owned());
        let started = thread.spawn(move || {
            loop {
                changes.look(&connection, &mut seen);
                if !rung.wait() {
                    return;
                }
            }
        });
        let thread = started.map_err(|_| out_of_descriptors())?;
        *lookout = Some(Lookout { thread, _end: end });
        Ok(())
    }

    /// Tells nobody anything any more.
    pub(super) fn end(&self) {
        {
            let mut listeners = self.listeners();
            listeners.ended = true;
            listeners.modules.clear();
        }
        let lookout = self
            .lookout
            .lock()
            .expect("no code panics under this lock")
            .take();
        if let Some(Lookout { thread, _end }) = lookout {
            drop(_end);
            // One that panicked has nothing to tell.
            let _ = thread.join();
        }
    }

    /// Tells what others have committed since `seen`.
    fn look(&self, connection: &Connection, seen: &mut i64) {
        let listened: Vec<String> = self.listened();
        if listened.is_empty() {
            // Whoever listens next reads the version after that.
            return;
        }
        let looked = data_version(connection).and_then(|version| {
            if version == *seen {
                return Ok(());
            }
            for module in &listened {
                self.tell(module, read::kept(connection, module)?.version);
            }
            *seen = version;
            Ok(())
        });
        if let Err(error) = looked {
            tracing::warn!(%error, "cannot see what other processes have committed");
        }
    }

    fn listened(&self) -> Vec<String> {
        let listeners = self.listeners();
        let listened = listeners.modules.iter();
        let listened = listened.filter(|(_, told)| told.receiver_count() > 0);
        listened.map(|(module, _)| module.clone()).collect()
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners
            .lock()
            .expect("no code panics under this lock")
    }
}

/// Changes when another connection commits, and only then.
fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0))
}

fn out_of_descriptors() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
    let reason = "no thread or descriptor is left to watch it with";
    rusqlite::Error::SqliteFailure(code, Some(reason.to_owned()))
}

/// Waiting for the bell.
#[cfg(target_os = "linux")]
mod rung {
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

    use super::super::bell;

    /// Where the system has no more watches to give, a look now and then has to do.
    const LOOK_EVERY_MS: u16 = 500;

    pub(super) struct Rung {
        watch: Option<Inotify>,
        ended: UnixStream,
    }

    impl Rung {
        pub(super) fn of(path: &Path, ended: UnixStream) -> Rung {
            let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
            let watch = Inotify::init(flags).and_then(|inotify| {
                inotify.add_watch(&bell::path(path), AddWatchFlags::IN_MODIFY)?;
                Ok(inotify)
            });
            if let Err(error) = watch {
                tracing::info!(%error, "commits of other processes cannot be waited for: they are looked for now and then");
            }
            Rung {
                watch: watch.ok(),
                ended,
            }
        }

        /// `false` at the end.
        pub(super) fn wait(&mut self) -> bool {
            let ended = PollFd::new(self.ended.as_fd(), PollFlags::POLLIN);
            let polled = match &self.watch {
                Some(watch) => {
                    let mut both = [ended, PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
                    poll(&mut both, PollTimeout::NONE).map(|_| is_ready(&both[0]))
                }
                None => {
                    let mut one = [ended];
                    poll(&mut one, PollTimeout::from(LOOK_EVERY_MS)).map(|_| is_ready(&one[0]))
                }
            };
            if let Some(watch) = &self.watch {
                // What they say is known: it was rung.
                while watch.read_events().is_ok_and(|events| !events.is_empty()) {}
            }
            match polled {
                Ok(ended) => !ended,
                Err(Errno::EINTR) => true,
                Err(_) => false,
            }
        }
    }

    fn is_ready(fd: &PollFd<'_>) -> bool {
        fd.any().unwrap_or(true)
    }
}

/// Looking now and then.
#[cfg(not(target_os = "linux"))]
mod rung {
    use std::io::{ErrorKind, Read as _};
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::time::Duration;

    /// Soon enough for a person who looks at two windows.
    const LOOK_EVERY: Duration = Duration::from_millis(500);

    pub(super) struct Rung {
        ended: UnixStream,
    }

    impl Rung {
        pub(super) fn of(_path: &Path, ended: UnixStream) -> Rung {
            let _ = ended.set_read_timeout(Some(LOOK_EVERY));
            Rung { ended }
        }

        /// `false` at the end.
        pub(super) fn wait(&mut self) -> bool {
            let read = self.ended.read(&mut [0]);
            read.is_err_and(|error| {
                matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                )
            })
        }
    }
}
