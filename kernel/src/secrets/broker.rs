//! Asks the source of a secret, once for all who ask at the same time.
//!
//! It keeps nothing: the secret lives with the sessions that got it. One request is in flight for each key id and
//! environment; it goes on while anyone waits for it, and is given up when the last one leaves.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};

use super::{Implausible, Secret, command, env};
use crate::config::SecretSource;
use crate::problem::Code;

/// How often a secret is asked for that changes while its answer is under way: a person changes one seldom, and a host that
/// does it all the time must not keep anyone waiting.
pub(crate) const ROUNDS_MAX: usize = 4;

/// Why there is no secret. The texts go to the caller, so they say what to do and nothing of the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Malformed(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("the source of the secret did not answer in time; try again")]
    Timeout,
}

impl SecretError {
    pub(crate) fn code(&self) -> Code {
        match self {
            SecretError::Denied(_) => Code::SecretDenied,
            SecretError::NotFound(_) => Code::SecretNotFound,
            SecretError::Malformed(_) => Code::SecretRejected,
            SecretError::Unavailable(_) => Code::HostUnavailable,
            SecretError::Timeout => Code::HostTimeout,
        }
    }
}

impl From<Implausible> for SecretError {
    fn from(implausible: Implausible) -> SecretError {
        SecretError::Malformed(implausible.to_string())
    }
}

/// What a source is told. When several ask at once, it hears of the first one's session and module.
#[derive(Debug, Clone)]
pub(crate) struct SecretRequest {
    pub(crate) secret_key_id: String,
    pub(crate) environment: String,
    pub(crate) session_id: String,
    /// `None`: the session is being made.
    pub(crate) module: Option<String>,
}

type Outcome = Result<Arc<Secret>, SecretError>;
pub(crate) type Answer = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Key = (String, String);

/// Answers for every key id that has no source of its own: the attached hosts. Keeps its own deadline; dropping the answer
/// gives the request up.
pub(crate) trait Bridge: Send + Sync {
    fn ask(&self, request: SecretRequest) -> Answer;
}

/// The way to every secret.
pub(crate) struct Broker {
    sources: BTreeMap<String, SecretSource>,
    /// Names of the variables that hold secrets; no child inherits them.
    secret_variables: Arc<[String]>,
    bridge: Option<Arc<dyn Bridge>>,
    in_flight: Mutex<HashMap<Key, WeakShared<Answer>>>,
    /// How often each secret was said to have changed that someone asks for now.
    changes: Mutex<HashMap<String, Weak<AtomicU64>>>,
}

/// Sees whether a secret was said to have changed since this was made.
pub(crate) struct Watch {
    changes: Arc<AtomicU64>,
    seen: u64,
}

impl Watch {
    pub(crate) fn has_changed(&self) -> bool {
        self.changes.load(Ordering::Acquire) != self.seen
    }
}

impl Broker {
    pub(crate) fn new(
        sources: BTreeMap<String, SecretSource>,
        bridge: Option<Arc<dyn Bridge>>,
    ) -> Broker {
        let secret_variables = sources
            .values()
            .filter_map(|source| match source {
                SecretSource::Env { variable } => Some(variable.clone()),
                SecretSource::Command { .. } | SecretSource::Bridge => None,
            })
            .collect();
        Broker {
            sources,
            secret_variables,
            bridge,
            in_flight: Mutex::default(),
            changes: Mutex::default(),
        }
    }

    /// What is asked for from here on is not answered with what was asked for before.
    pub(crate) fn changed(&self, secret_key_id: &str) {
        // In this order: whoever sees the change finds no older answer to share.
        self.in_flight().retain(|(id, _), _| id != secret_key_id);
        if let Some(changes) = self.changes().get(secret_key_id).and_then(Weak::upgrade) {
            changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn watch(&self, secret_key_id: &str) -> Watch {
        let mut all = self.changes();
        let changes = all.get(secret_key_id).and_then(Weak::upgrade);
        let changes = changes.unwrap_or_else(|| {
            all.retain(|_, changes| changes.strong_count() > 0);
            let changes = Arc::new(AtomicU64::new(0));
            all.insert(secret_key_id.to_owned(), Arc::downgrade(&changes));
            changes
        });
        Watch {
            seen: changes.load(Ordering::Acquire),
            changes,
        }
    }

    /// Asks again when the secret changes meanwhile; the watch says whether it does before the answer is kept. Cancel-safe:
    /// another caller's share of the same request goes on.
    pub(crate) async fn get(
        &self,
        request: SecretRequest,
    ) -> Result<(Arc<Secret>, Watch), SecretError> {
        for _ in 0..ROUNDS_MAX {
            let watch = self.watch(&request.secret_key_id);
            let outcome = self.get_once(request.clone()).await;
            if !watch.has_changed() {
                return outcome.map(|secret| (secret, watch));
            }
        }
        Err(keeps_changing(&request.secret_key_id))
    }

    async fn get_once(&self, request: SecretRequest) -> Outcome {
        tracing::debug!(
            secret_key_id = request.secret_key_id,
            environment = request.environment,
            session = request.session_id,
            "a secret is asked for"
        );
        self.flight(request).await
    }

    fn flight(&self, request: SecretRequest) -> Shared<Answer> {
        let key = (request.secret_key_id.clone(), request.environment.clone());
        let mut in_flight = self.in_flight();
        // An answered one is not shared any more: that would be a cache.
        in_flight.retain(|_, flight| {
            flight
                .upgrade()
                .is_some_and(|flight| flight.peek().is_none())
        });
        if let Some(flight) = in_flight.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        let flight = self.ask(request).shared();
        if let Some(weak) = flight.downgrade() {
            in_flight.insert(key, weak);
        }
        flight
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<Key, WeakShared<Answer>>> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> MutexGuard<'_, HashMap<String, Weak<AtomicU64>>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, request: SecretRequest) -> Answer {
        match self.sources.get(&request.secret_key_id) {
            Some(SecretSource::Env { variable }) => {
                let outcome = env::read(variable, |name| std::env::var_os(name)).map(Arc::new);
                Box::pin(std::future::ready(outcome))
            }
            Some(SecretSource::Command { argv, timeout }) => {
                let answer = command::run(
                    request.secret_key_id,
                    argv.clone(),
                    *timeout,
                    self.secret_variables.clone(),
                );
                Box::pin(async move { answer.await.map(Arc::new) })
            }
            Some(SecretSource::Bridge) | None => match &self.bridge {
                Some(bridge) => bridge.ask(request),
                None => Box::pin(std::future::ready(Err(no_host(&request.secret_key_id)))),
            },
        }
    }
}

/// For a bridge with no host attached.
pub(crate) fn no_host(secret_key_id: &str) -> SecretError {
    SecretError::Unavailable(format!(
        "no host is attached that could give the secret {secret_key_id}; attach one (`midplane bridge` asks at the terminal), or start the kernel with --secret {secret_key_id}=env:VARIABLE"
    ))
}

/// For whoever asked [`ROUNDS_MAX`] times in vain.
pub(crate) fn keeps_changing(secret_key_id: &str) -> SecretError {
    SecretError::Unavailable(format!(
        "the secret {secret_key_id} changes each time that it is asked for; try again"
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    #[derive(Default)]
    struct Held {
        asked: AtomicUsize,
        release: Arc<Notify>,
    }

    impl Bridge for Held {
        fn ask(&self, _: SecretRequest) -> Answer {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let release = self.release.clone();
            Box::pin(async move {
                release.notified().await;
                Ok(Arc::new(Secret::parse("sk-1").unwrap()))
            })
        }
    }

    fn request(id: &str, environment: &str) -> SecretRequest {
        SecretRequest {
            secret_key_id: id.into(),
            environment: environment.into(),
            session_id: "ses_1".into(),
            module: None,
        }
    }

    #[tokio::test]
    async fn callers_share_one_request_and_it_outlives_the_first() {
        let held = Arc::new(Held::default());
        let broker = Broker::new(BTreeMap::new(), Some(held.clone()));
        let mut first = Box::pin(broker.get(request("k", "pro")));
        let mut second = Box::pin(broker.get(request("k", "pro")));
        let mut other = Box::pin(broker.get(request("k", "dev")));
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut other).now_or_never().is_none());
        assert_eq!(
            held.asked.load(Ordering::SeqCst),
            2,
            "one for each environment"
        );
        drop(first);
        drop(other);
        held.release.notify_one();
        assert_eq!(second.await.unwrap().0.expose(), "sk-1");
        let mut later = Box::pin(broker.get(request("k", "pro")));
        assert!((&mut later).now_or_never().is_none());
        assert_eq!(held.asked.load(Ordering::SeqCst), 3, "nothing is cached");
    }

    #[tokio::test]
    async fn an_answer_from_before_a_change_is_asked_for_again_a_few_times() {
        let held = Arc::new(Held::default());
        let broker = Broker::new(BTreeMap::new(), Some(held.clone()));
        let mut asking = Box::pin(broker.get(request("k", "pro")));
        assert!((&mut asking).now_or_never().is_none());
        // Of another one it is nothing to them.
        broker.changed("other");
        for round in 1..=ROUNDS_MAX {
            assert_eq!(held.asked.load(Ordering::SeqCst), round);
            broker.changed("k");
            held.release.notify_one();
            let outcome = (&mut asking).now_or_never();
            if round < ROUNDS_MAX {
                assert!(outcome.is_none(), "{round}");
                continue;
            }
            let error = outcome.unwrap().err().unwrap();
            assert_eq!(error.code(), Code::HostUnavailable);
        }
        drop(asking);
        assert!(broker.watch("another").changes.load(Ordering::SeqCst) == 0);
        assert_eq!(
            broker.changes().len(),
            1,
            "what nobody asks for is not kept"
        );
    }

    #[tokio::test]
    async fn without_a_host_the_way_out_is_named() {
        let broker = Broker::new(BTreeMap::new(), None);
        let error = broker.get(request("k", "pro")).await.err().unwrap();
        assert_eq!(error.code(), Code::HostUnavailable);
        let text = error.to_string();
        assert!(text.contains("--secret k=env:"), "{text}");
    }
}
