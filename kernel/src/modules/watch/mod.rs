//! Reloads modules with `watch = true` when their file changes, or their section of the configuration file does.
//!
//! Everything is found out by looking: where the path leads now ([`super::trail`]), whether the file has been quiet for a moment
//! ([`settle`]) and whether all of it is there ([`whole`]). The system's hints ([`hints`]) only say when to look, so that
//! none of them has to be understood, and a lost or doubled one does no harm. What is loaded is decided by the registry
//! alone, by the same rules and checks as for `POST /modules/{name}/reload`.
//!
//! It is a thread of its own, which exists only when something is watched: looking may block, on a file of another
//! machine for long, and must hold up nothing else. While nothing changes it sleeps without a timer.
//!
//! Of the configuration, `config` and `path` of a watched module take effect at once; everything else is named in the log
//! and waits for a restart. What a host has changed by `PUT` stands until the section changes: a module that was loaded
//! from another path is not watched there, and its own file's changes are left alone.

mod examine;
mod hints;
mod settle;
mod watched;
mod whole;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::registry::{Change, Registry};
use super::trail::{End, Trail};
use crate::config::{Config, ConfigError, Origin, restart_needed};
use crate::events::{Event, Events};
use crate::problem::{Code, Problem};
use examine::{Found, examine};
use hints::Hints;
use settle::{QUIET, Settle, Step};
use watched::{Decision, Running, Wanted, Watched, decide};

/// Between two looks at least, while hints pour in: a file that is written gives one for every piece.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// How often a way that changes while it is looked at is followed again at once.
const FOLLOWS_MAX: usize = 8;
/// The first pause and the longest while another operation on the module is under way. It ends: every step of one has a
/// deadline.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
const BUSY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The running thread.
pub(crate) struct Watch {
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

/// What the thread works with.
struct Watcher {
    hints: Hints,
    modules: Vec<Watched>,
    configuration: Option<Configuration>,
    registry: Arc<Registry>,
    events: Arc<Events>,
    reloads: JoinSet<Reloaded>,
    stop: CancellationToken,
}

/// The configuration file.
struct Configuration {
    path: PathBuf,
    origin: Origin,
    started: Config,
    settle: Settle,
    /// As they were last told.
    restart_needed: Vec<String>,
}

/// How a reload ended.
struct Reloaded {
    module: usize,
    with: Wanted,
    outcome: Result<(), Problem>,
}

impl Watch {
    /// Starts the thread, if the configuration wants anything watched. The modules are loaded already.
    pub(crate) fn start(
        config: &Config,
        origin: Origin,
        registry: &Arc<Registry>,
        events: &Arc<Events>,
    ) -> io::Result<Option<Watch>> {
        let modules: Vec<Watched> = config
            .modules
            .iter()
            .filter(|(_, module)| module.watch)
            .map(|(name, module)| Watched::new(name, module))
            .collect();
        if modules.is_empty() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let hints = {
            let _runtime = runtime.enter();
            Hints::new()?
        };
        let stop = CancellationToken::new();
        let configuration = match origin.file().map(std::path::absolute) {
            None => None,
            Some(path) => Some(Configuration {
                path: path?,
                origin,
                started: config.clone(),
                settle: Settle::default(),
                restart_needed: Vec::new(),
            }),
        };
        let watcher = Watcher {
            hints,
            modules,
            configuration,
            registry: Arc::clone(registry),
            events: Arc::clone(events),
            reloads: JoinSet::new(),
            stop: stop.clone(),
        };
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || {
                if let Err(error) = runtime.block_on(watcher.run()) {
                    tracing::error!(%error, "modules are not watched any more");
                }
                // With what it held; nobody may be waiting.
                drop(runtime);
                let _ = done.send(());
            })?;
        Ok(Some(Watch { stop, ended }))
    }

    /// Starts no reload from here on. Waits for the thread, which may be reading a file.
    pub(crate) async fn stop(self, timeout: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(timeout, self.ended).await.is_err() {
            tracing::warn!("a watched file is still being read, and was left behind");
        }
    }
}

impl Watcher {
    async fn run(mut self) -> io::Result<()> {
        // What changed since the load is found by the first look.
        let mut due = Some(Instant::now());
        loop {
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            // Each branch only waits, and a reload that ends stays in the set: nothing is lost with the others.
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = timer => due = self.look()?,
                hint = self.hints.next() => {
                    hint?;
                    let soon = Instant::now() + LOOK_PAUSE;
                    due = Some(due.map_or(soon, |due| due.min(soon)));
                }
                Some(ended) = self.reloads.join_next(), if !self.reloads.is_empty() => {
                    if let Ok(reloaded) = ended {
                        self.finish(reloaded);
                    }
                    due = Some(Instant::now());
                }
            }
        }
    }

    /// Looks at everything, acts on what has settled, and returns when to look again without a hint.
    fn look(&mut self) -> io::Result<Option<Instant>> {
        let (trails, restless) = self.follow()?;
        let now = Instant::now();
        let mut dues = vec![restless.then(|| now + QUIET)];
        for (module, trail) in trails[..self.modules.len()].iter().enumerate() {
            dues.push(self.look_at_module(module, trail.end.as_ref(), now));
        }
        if let Some(trail) = trails.get(self.modules.len()) {
            dues.push(self.look_at_configuration(trail.end.as_ref(), now));
        }
        Ok(dues.into_iter().flatten().min())
    }

    /// Follows all ways, the configuration's last, and has them watched. What changes from here on gives a hint, unless
    /// the ways did not stay the same for long enough.
    fn follow(&mut self) -> io::Result<(Vec<Trail>, bool)> {
        let mut trails = self.trails();
        for _ in 0..FOLLOWS_MAX {
            self.hints.watch(&trails)?;
            let again = self.trails();
            let same = trails.iter().zip(&again).all(|(a, b)| a.same_way(b));
            trails = again;
            if same {
                return Ok((trails, false));
            }
        }
        Ok((trails, true))
    }

    fn trails(&self) -> Vec<Trail> {
        let modules = self.modules.iter().map(|watched| &watched.wanted.path);
        let configuration = self.configuration.iter().map(|file| &file.path);
        modules
            .chain(configuration)
            .map(|path| Trail::follow(path))
            .collect()
    }

    fn look_at_module(
        &mut self,
        module: usize,
        end: Option<&End>,
        now: Instant,
    ) -> Option<Instant> {
        let watched = &mut self.modules[module];
        if watched.reloading {
            return None;
        }
        match (watched.settle.step(end.map(|end| end.mark), now), end) {
            (Step::Wait(due), _) => Some(due),
            (Step::Judge, Some(end)) => match examine(end) {
                Found::Changed => Some(now + QUIET),
                Found::Incomplete(reason) => {
                    watched.tell_incomplete(&reason.to_string(), &self.events);
                    watched.settle.incomplete(now)
                }
                Found::Whole { sha256 } => {
                    watched.settle.judged(end.mark);
                    watched.told_incomplete = false;
                    self.reload_if_new(module, sha256.as_deref());
                    None
                }
            },
            (Step::Rest | Step::Judge, None) => {
                watched.tell_absent(&self.events);
                None
            }
            (Step::Rest, Some(_)) => None,
        }
    }

    /// Starts a reload of a module whose file is whole, unless that is what runs.
    fn reload_if_new(&mut self, module: usize, sha256: Option<&str>) {
        let watched = &mut self.modules[module];
        let running = self.registry.get(&watched.name);
        let running = running.as_ref().map(|running| Running {
            path: &running.path,
            sha256: &running.sha256,
        });
        let cause = match decide(&watched.applied, &watched.wanted, sha256, running) {
            Decision::Reload(cause) => cause,
            Decision::Leave(why) => {
                tracing::debug!(module = %watched.name, why, "a watched module's file changed and is left alone");
                return;
            }
        };
        tracing::info!(module = %watched.name, ?cause, "module changed, reloading");
        self.events.publish(Event::ModuleChanged {
            module: watched.name.clone(),
            cause,
        });
        watched.reloading = true;
        let with = watched.wanted.clone();
        let change = watched.change();
        let (registry, name) = (Arc::clone(&self.registry), watched.name.clone());
        self.reloads.spawn(async move {
            let outcome = put_when_free(&registry, &name, change).await;
            Reloaded {
                module,
                with,
                outcome,
            }
        });
    }

    fn finish(&mut self, reloaded: Reloaded) {
        let watched = &mut self.modules[reloaded.module];
        watched.reloading = false;
        match reloaded.outcome {
            Ok(()) => watched.applied = reloaded.with,
            // The registry has told the reason.
            Err(problem) => {
                tracing::info!(module = %watched.name, code = problem.code.as_str(), "a watched module was not reloaded: what ran goes on until the next change");
            }
        }
    }

    fn look_at_configuration(&mut self, end: Option<&End>, now: Instant) -> Option<Instant> {
        let file = self.configuration.as_mut()?;
        match (file.settle.step(end.map(|end| end.mark), now), end) {
            (Step::Wait(due), _) => Some(due),
            (Step::Judge, Some(end)) => {
                file.settle.judged(end.mark);
                match file.origin.read(&|name| std::env::var_os(name)) {
                    Ok(config) => self.reconfigure(&config).then_some(now),
                    Err(error) => {
                        refuse(&error, &self.events);
                        None
                    }
                }
            }
            (Step::Rest | Step::Judge, _) => None,
        }
    }

    /// Takes over what may change while the kernel runs; whether any module has to be looked at for it.
    fn reconfigure(&mut self, config: &Config) -> bool {
        let mut changed = false;
        for watched in &mut self.modules {
            // A section that is gone or is not to be watched any more changes nothing before a restart.
            let section = config.modules.get(&watched.name).filter(|new| new.watch);
            if let Some(wanted) = section.map(Wanted::of)
                && wanted != watched.wanted
            {
                watched.want(wanted);
                changed = true;
            }
        }
        if let Some(file) = &mut self.configuration {
            let needed = restart_needed(&file.started, config);
            if needed != file.restart_needed && !needed.is_empty() {
                tracing::warn!(
                    changed = needed.join(", "),
                    "the configuration changed where it takes effect at the next start only"
                );
            }
            file.restart_needed = needed;
        }
        changed
    }
}

/// Swaps the module, after whatever else is under way on it.
async fn put_when_free(
    registry: &Arc<Registry>,
    name: &str,
    change: Change,
) -> Result<(), Problem> {
    let mut pause = BUSY_PAUSE;
    loop {
        match registry.put(name, change.clone()).await {
            Err(problem) if problem.code == Code::ModuleBusy => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BUSY_PAUSE_MAX);
            }
            outcome => return outcome.map(|_swapped| ()),
        }
    }
}

fn refuse(error: &ConfigError, events: &Events) {
    let reason = error.to_string();
    tracing::warn!(
        reason,
        "the configuration file changed and is not valid: nothing changes"
    );
    events.publish(Event::ConfigurationRefused { reason });
}
