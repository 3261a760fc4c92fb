//! `midplane bridge`: this terminal as a host. It attaches to a running kernel and gives the secrets that the kernel asks for,
//! from an environment variable, from a command or from whoever sits at the terminal.
//!
//! | file | concern |
//! |---|---|
//! | `connection` | the host's side of a bridge: JSON-RPC over the kernel's own framing |
//! | `answers` | which source answers a question, and what was entered too late for it |
//! | `desk` | questions that wait for the person, one at a time |
//! | `terminal` | the terminal: asks, shows nothing of what is typed, and is always left as it was |
//! | `report` | what the person and programs read of it |
//!
//! Values stay in this process's memory, and are wiped when it ends. None is written, logged or shown.

mod answers;
mod connection;
mod desk;
mod report;
mod terminal;

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use nix::sys::signal::{SigSet, Signal, raise};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::answers::Answers;
use self::connection::{Connection, Incoming, Wanted};
use self::desk::{Answered, Desk, TakenBack};
use self::report::Report;
use self::terminal::Terminal;
use super::arguments::ClientArgs;
use super::{Failure, block_on};
use crate::bridge::message::Id;
use crate::bridge::methods::LogLevel;
use crate::config::{SecretSource, secret_flag};
use crate::hardening;
use crate::secrets::{self, SecretRequest};
use crate::signals::Signals;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A key is asked for when something needs it: when a session is issued, say. The kernel waits 5 s for it; what is entered later \
is kept in memory for the next time, so that trying again succeeds. Nothing is stored: it ends with this command (Ctrl-C), and \
so do, after `[sessions] host_grace`, the sessions whose keys came from here.

With --json, standard output has a line of JSON for everything that happens: `bridge.attached`, `bridge.answered` (never a \
value), and what --events and --log bring.

Examples:
  midplane bridge                                  ask here for every key
  midplane bridge --secret my-key=prompt           ask for this one now
  midplane bridge --secret my-key=env:MY_KEY
  midplane bridge --secret 'my-key=cmd:pass show my/key'

Exit codes: 69 when no kernel runs, or when it has ended; 1 when it refuses; 64 for wrong arguments.")]
pub(super) struct Arguments {
    /// Where a secret comes from: `env:VARIABLE`, `cmd:PROGRAM ARGUMENT...` (split into words, run without a shell) or
    /// `prompt` (asked for at this terminal now); may be repeated. Every other is asked for when it is needed
    #[arg(long = "secret", value_name = "ID=SOURCE")]
    secrets: Vec<String>,
    /// Print what happens in the kernel, as `midplane events` does
    #[arg(long)]
    events: bool,
    /// Print the kernel's log, of this level and the more important ones
    #[arg(long, value_name = "LEVEL", value_parser = log_levels())]
    log: Option<LogLevel>,
    #[command(flatten)]
    client: ClientArgs,
}

/// The sources that the flags name.
#[derive(Debug, Default)]
struct Sources {
    named: BTreeMap<String, SecretSource>,
    asked_now: Vec<String>,
}

/// Attaches and answers, until the kernel ends or a signal ends it, as which this then ends.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let sources = Sources::of(&arguments.secrets)?;
    hardening::harden(false).map_err(Failure::Runtime)?;
    // Before there is a thread: each inherits it.
    let signals = Signals::block_early().map_err(Failure::Runtime)?;
    let signals = signals.listen().map_err(Failure::Runtime)?;
    let served = block_on(serve(arguments, sources, signals));
    secrets::end_commands();
    Ok(end_by(served?))
}

async fn serve(
    arguments: &Arguments,
    sources: Sources,
    mut signals: watch::Receiver<Option<i32>>,
) -> Result<i32, Failure> {
    let desk = Arc::new(Desk::default());
    // Dropped last: whatever ends this, the terminal is then as it was.
    let terminal = Terminal::open(&desk)?;
    let mut report = Report::new(&arguments.client, terminal.screen());
    report.take_log_lines();
    let client = arguments.client.host()?;
    let mut answers = Answers::new(sources.named, report.can_ask().then(|| Arc::clone(&desk)));
    if !sources.asked_now.is_empty() {
        // Nobody enters a key for a kernel that is not there.
        client.health().await?;
    }
    for id in sources.asked_now {
        tokio::select! {
            signal = first(&mut signals) => return Ok(signal),
            asked = answers.ask_now(&id) => asked?,
        }
    }
    let wanted = Wanted {
        events: arguments.events,
        log: arguments.log,
    };
    let attaching = async { Connection::attach(client.bridge().await?, wanted).await };
    let (connection, attached) = tokio::select! {
        signal = first(&mut signals) => return Ok(signal),
        attached = attaching => attached?,
    };
    report.attached(&attached, client.socket())?;
    let mut host = Host {
        connection,
        answers,
        desk,
        report,
        asked: HashMap::new(),
        under_way: JoinSet::new(),
    };
    let signal = tokio::select! {
        signal = first(&mut signals) => signal,
        failure = host.attend() => return Err(failure.unwrap_or_else(|| ended(client.socket()))),
    };
    drop(terminal);
    host.report.detached();
    Ok(signal)
}

/// The host while it is attached.
struct Host {
    connection: Connection,
    answers: Answers,
    desk: Arc<Desk>,
    report: Report,
    /// The questions that are not answered yet.
    asked: HashMap<Id, Asked>,
    under_way: JoinSet<(Id, Answered)>,
}

struct Asked {
    request: SecretRequest,
    /// The kernel does not wait any more.
    taken_back: bool,
}

impl Host {
    /// Answers until the kernel ends the bridge; `Some`: it ended otherwise.
    async fn attend(&mut self) -> Option<Failure> {
        loop {
            // Both can be dropped while they wait without losing anything.
            let step = tokio::select! {
                Some(joined) = self.under_way.join_next() => match joined {
                    Ok((id, answered)) => self.answered(id, answered),
                    // A panic has told of itself, and the kernel keeps its own deadline.
                    Err(_panicked) => Ok(()),
                },
                incoming = self.connection.next() => match incoming {
                    Ok(Some(incoming)) => self.take(incoming),
                    Ok(None) => return None,
                    Err(failure) => Err(failure),
                },
            };
            if let Err(failure) = step {
                return Some(failure);
            }
        }
    }

    fn take(&mut self, incoming: Incoming) -> Result<(), Failure> {
        match incoming {
            Incoming::SecretGet { id, request } => self.asked(id, request),
            Incoming::Cancelled { id } => self.taken_back(&id),
            Incoming::Event(event) => self.report.event(&event),
            Incoming::Log(line) => self.report.log(&line),
        }
    }

    fn asked(&mut self, id: Id, request: SecretRequest) -> Result<(), Failure> {
        if let Some(secret) = self.answers.kept(&request) {
            self.connection.give(&id, &secret)?;
            return self.report.given(&request, true);
        }
        let answer = self.answers.answer(request.clone());
        let asked = Asked {
            request,
            taken_back: false,
        };
        self.asked.insert(id.clone(), asked);
        self.under_way.spawn(async move { (id, answer.await) });
        Ok(())
    }

    fn answered(&mut self, id: Id, answered: Answered) -> Result<(), Failure> {
        let Some(Asked {
            request,
            taken_back,
        }) = self.asked.remove(&id)
        else {
            return Ok(());
        };
        match answered {
            Ok(secret) if taken_back => {
                self.answers.keep_late(&request, secret);
                self.report.late(&request)
            }
            Ok(secret) => {
                self.answers.keep_given(&request, &secret);
                self.connection.give(&id, &secret)?;
                self.report.given(&request, false)
            }
            Err(error) if taken_back => self.report.not_given_late(&request, &error),
            Err(error) => {
                self.connection.refuse(&id, &error)?;
                self.report.not_given(&request, &error)
            }
        }
    }

    /// The kernel does not wait any more. What the person is typing, or a command is about to say, is worth keeping.
    fn taken_back(&mut self, id: &Id) -> Result<(), Failure> {
        let Some(asked) = self.asked.get_mut(id) else {
            return Ok(());
        };
        asked.taken_back = true;
        let request = asked.request.clone();
        let key = answers::key_of(&request);
        let others = self.asked.values().filter(|other| !other.taken_back);
        if others
            .map(|other| answers::key_of(&other.request))
            .any(|other| other == key)
        {
            // It is still waited for.
            return Ok(());
        }
        match self.desk.take_back(&key) {
            TakenBack::OnScreen => self.report.still_asked(&request),
            TakenBack::Unknown => self.report.still_run(&request),
            TakenBack::Unseen => {
                self.asked
                    .retain(|_, asked| answers::key_of(&asked.request) != key);
                return self.report.not_asked(&request);
            }
        }
        Ok(())
    }
}

impl Sources {
    fn of(flags: &[String]) -> Result<Sources, Failure> {
        let mut sources = Sources::default();
        for flag in flags {
            if let Some(id) = flag.strip_suffix("=prompt").filter(|id| is_id(id)) {
                sources.asked_now.push(id.to_owned());
                continue;
            }
            match secret_flag(flag) {
                Some((_, SecretSource::Bridge)) => {
                    return Err(Failure::Usage(
                        "--secret ID=bridge is for `midplane serve`: this command is the bridge; leave it out to be asked here".to_owned(),
                    ));
                }
                Some((id, source)) => {
                    sources.named.insert(id, source);
                }
                // Never the text: a key that was pasted here by mistake would stay in the terminal's history.
                None => {
                    return Err(Failure::Usage(
                        "--secret is ID=env:VARIABLE, ID=cmd:PROGRAM ARGUMENT... or ID=prompt; the key itself does not belong on a command line, where others can read it".to_owned(),
                    ));
                }
            }
        }
        // Of two flags for one id the last counts, as with `midplane serve`.
        let Sources { named, asked_now } = &mut sources;
        asked_now.dedup();
        for id in asked_now.iter() {
            named.remove(id);
        }
        Ok(sources)
    }
}

/// Whether what stands before `=` is one.
fn is_id(text: &str) -> bool {
    !text.is_empty() && !text.contains('=')
}

/// By their names, which the shell completes.
fn log_levels() -> impl TypedValueParser<Value = LogLevel> {
    PossibleValuesParser::new(["error", "warn", "info", "debug", "trace"])
        .try_map(|name| serde_json::from_value(Value::String(name)))
}

/// The first signal.
async fn first(signals: &mut watch::Receiver<Option<i32>>) -> i32 {
    match signals
        .wait_for(Option::is_some)
        .await
        .map(|signal| *signal)
    {
        Ok(Some(signal)) => signal,
        // The thread that waits for them has ended: there will be none.
        _ => std::future::pending().await,
    }
}

/// Ends this process by the signal's own default action, so that a shell sees what ended it.
fn end_by(signal: i32) -> ExitCode {
    if let Ok(signal) = Signal::try_from(signal) {
        // Raised for this thread, it stays pending until it is let through.
        let _ = raise(signal);
        let _ = SigSet::from(signal).thread_unblock();
    }
    ExitCode::from(128_u8.saturating_add(u8::try_from(signal).unwrap_or(0)))
}

fn ended(socket: &std::path::Path) -> Failure {
    Failure::Unavailable(format!(
        "the kernel at {} has ended, and this with it; start `midplane bridge` again when there is one",
        socket.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_name_sources_and_never_a_key() {
        let sources = |flags: &[&str]| {
            let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
            Sources::of(&flags).map_err(|failure| (failure.exit_code(), failure.to_string()))
        };
        let env = |variable: &str| SecretSource::Env {
            variable: variable.to_owned(),
        };
        let read = sources(&[
            "a=env:A",
            "b=prompt",
            "b=prompt",
            "a=env:B",
            "c=cmd:x 'y z'",
        ])
        .unwrap();
        assert_eq!(read.named["a"], env("B"));
        assert!(
            matches!(&read.named["c"], SecretSource::Command { argv, .. } if argv == &["x", "y z"])
        );
        assert_eq!(read.asked_now, ["b"]);
        for flag in [
            "a",
            "a=",
            "=prompt",
            "=env:A",
            "a=env:",
            "a=cmd:",
            "a=sk-canary",
            "a=cmd:'",
        ] {
            let (code, text) = sources(&[flag]).unwrap_err();
            assert_eq!(code, 64, "{flag}");
            assert!(
                text.contains("ID=prompt") && !text.contains("sk-canary"),
                "{text}"
            );
        }
        let (code, text) = sources(&["a=bridge"]).unwrap_err();
        assert!(code == 64 && text.contains("midplane serve"), "{text}");
    }
}
