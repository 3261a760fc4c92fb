//! Starts a module process, and waits for its end.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};

use super::lanes::RequestLane;
use super::{End, Needed, Orders, Process, STARTED, alive_of, descriptors, liveness, output};
use crate::isolation::lane::Lane;
use crate::isolation::wire::CONTROL_FRAME_LEN_MAX;
use crate::isolation::worker;
use crate::modules::loader::Owner;
use crate::modules::private_copy::PrivateCopy;
use crate::modules::trial;

/// What a module process is started with.
pub(crate) struct Start {
    pub(crate) copy: Arc<PrivateCopy>,
    /// The module's own directory, in which it starts.
    pub(crate) dir: PathBuf,
    /// All of it.
    pub(crate) environment: Vec<(String, OsString)>,
    /// One for each of the kernel's workers.
    pub(crate) lanes: usize,
    /// Where what it says is read.
    pub(crate) runtime: Handle,
    pub(crate) stuck_after: Duration,
}

/// Ends a process, as long as there is one.
#[derive(Default)]
pub(super) struct Killer {
    prey: Mutex<Prey>,
    ended: Condvar,
    /// Who is told of its end first.
    process: OnceLock<Weak<Process>>,
}

#[derive(Default)]
struct Prey {
    /// `None` when it has ended: its number may be another's.
    pid: Option<Pid>,
    why: Option<String>,
    end: Option<End>,
}

impl Killer {
    pub(super) fn kill(&self, why: String) {
        let mut prey = self.prey();
        if let Some(pid) = prey.pid {
            // It may have ended, and not been waited for.
            let _ = kill(pid, Signal::SIGKILL);
            prey.why.get_or_insert(why);
        }
    }

    /// How it ended, if that is known within `limit`. Blocks.
    pub(super) fn wait_end(&self, limit: Duration) -> End {
        let (prey, _timed_out) = self
            .ended
            .wait_timeout_while(self.prey(), limit, |prey| prey.end.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        prey.end.clone().unwrap_or_default()
    }

    fn prey(&self) -> MutexGuard<'_, Prey> {
        self.prey.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Starts a process for `owner`'s module with a lane for each of the kernel's workers. Blocks, shortly.
    pub(crate) fn start(owner: &Arc<Owner>, start: Start) -> io::Result<Needed> {
        let Start {
            copy,
            dir,
            environment,
            lanes,
            runtime,
            stuck_after,
        } = start;
        let (control, control_end) = UnixStream::pair()?;
        // And one for calls to other modules that belong to no request.
        let (lanes, lane_ends): (Vec<_>, Vec<_>) = (0..=lanes)
            .map(|_| UnixStream::pair())
            .collect::<io::Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        let (printed, pipe) = io::pipe()?;
        let command = command(&dir, environment, control_end.into(), pipe.into())?;
        let killer = Arc::new(Killer::default());
        let (pid, end) = spawn(Arc::clone(&owner.name), command, Arc::clone(&killer))?;
        let mut given: Vec<_> = lane_ends.iter().map(|end| end.as_fd()).collect();
        given.extend(copy.contents());
        descriptors::send(&control, &given)?;
        let process = Arc::new(Process {
            owner: Arc::clone(owner),
            _copy: copy,
            pid,
            control: Lane::new(control, CONTROL_FRAME_LEN_MAX + owner.state_bytes_max),
            lanes: lanes.into_iter().map(RequestLane::new).collect(),
            orders: Mutex::new(Orders::default()),
            end,
            killer,
            ending: false.into(),
            generation: Default::default(),
            last_routes: Default::default(),
            crashed: Mutex::default(),
            confined: Default::default(),
            busy: Notify::new(),
            looked_at: false.into(),
        });
        // Once.
        let _ = process.killer.process.set(Arc::downgrade(&process));
        {
            let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
            started.retain(|process| process.strong_count() > 0);
            started.push(Arc::downgrade(&process));
        }
        process.serve_calls();
        runtime.spawn(Arc::clone(&process).serve_control());
        runtime.spawn(output::log(printed.into(), process.label()));
        runtime.spawn(liveness::watch(Arc::clone(&process), stuck_after));
        Ok(Needed(process))
    }
}

fn command(
    dir: &Path,
    environment: Vec<(String, OsString)>,
    control: OwnedFd,
    printed: OwnedFd,
) -> io::Result<Command> {
    let mut command = Command::new(trial::own_program()?);
    command
        .arg(worker::COMMAND)
        .current_dir(dir)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::from(control))
        .stdout(Stdio::from(printed.try_clone()?))
        .stderr(Stdio::from(printed))
        // What a terminal sends to the kernel's group is for the kernel, which ends its modules in good order.
        .process_group(0);
    Ok(command)
}

/// Starts `command` on a thread that stays until its end, since Linux ends a process that asked for it with the *thread* that
/// started it (prctl(2), `PR_SET_PDEATHSIG`).
fn spawn(
    name: Arc<str>,
    mut command: Command,
    killer: Arc<Killer>,
) -> io::Result<(u32, watch::Receiver<Option<End>>)> {
    let (started, start) = oneshot::channel();
    let (told, end) = watch::channel(None);
    std::thread::Builder::new()
        .name(format!("await-{name}"))
        .spawn(move || {
            let spawned = command.spawn();
            // The ends that are the child's.
            drop(command);
            let mut child = match spawned {
                Ok(child) => child,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process number"));
            let number = child.id();
            alive_of()
                .entry(Arc::clone(&name))
                .or_default()
                .insert(number);
            killer.prey().pid = Some(pid);
            let _ = started.send(Ok(child.id()));
            if let Err(error) = wait_for_end(pid) {
                tracing::warn!(%error, "the end of a module's process is awaited without a hint");
            }
            let end = {
                let mut prey = killer.prey();
                prey.pid = None;
                // What it has started, while the number is still its own: it was the first of its group.
                let _ = killpg(pid, Signal::SIGKILL);
                End {
                    status: child.wait().ok(),
                    killed: prey.why.take(),
                }
            };
            if let Some(alive) = alive_of().get_mut(&name) {
                alive.remove(&number);
            }
            killer.prey().end = Some(end.clone());
            killer.ended.notify_all();
            if let Some(process) = killer.process.get().and_then(Weak::upgrade) {
                process.note_end();
            }
            // The receivers are gone when nobody is interested.
            let _ = told.send(Some(end));
        })?;
    let pid = start
        .blocking_recv()
        .unwrap_or_else(|_gone| Err(io::ErrorKind::BrokenPipe.into()))?;
    Ok((pid, end))
}

/// Until it has ended, without its number going to another: that is for whoever holds the lock.
#[cfg(target_os = "linux")]
fn wait_for_end(pid: Pid) -> nix::Result<()> {
    use nix::errno::Errno;
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    loop {
        match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn wait_for_end(pid: Pid) -> nix::Result<()> {
    use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
    let exit = KEvent::new(
        usize::try_from(pid.as_raw()).expect("a process number"),
        EventFilter::EVFILT_PROC,
        EvFlags::EV_ADD | EvFlags::EV_ONESHOT,
        FilterFlag::NOTE_EXIT,
        0,
        0,
    );
    let queue = Kqueue::new()?;
    loop {
        match queue.kevent(&[exit], &mut [exit], None) {
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}
