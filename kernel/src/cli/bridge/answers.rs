//! Which source answers a question, and what was entered too late for it.
//!
//! The sources are the kernel's own, `env`, `cmd` and a bridge for every other id; only that here the bridge ends at the desk
//! where a person sits.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::Failure;
use super::desk::{Answered, Desk, Key, Question};
use crate::config::SecretSource;
use crate::secrets::{self, Broker, Secret, SecretError, SecretRequest};

pub(super) struct Answers {
    broker: Arc<Broker>,
    /// Ids that do not come from the person, and the variable of those that come from one.
    named: HashMap<String, Option<String>>,
    desk: Option<Arc<Desk>>,
    kept: Kept,
}

impl Answers {
    /// `desk`: where there is a terminal.
    pub(super) fn new(named: BTreeMap<String, SecretSource>, desk: Option<Arc<Desk>>) -> Answers {
        let variables = named
            .iter()
            .map(|(id, source)| match source {
                SecretSource::Env { variable } => (id.clone(), Some(variable.clone())),
                SecretSource::Command { .. } | SecretSource::Bridge => (id.clone(), None),
            })
            .collect();
        let person = Arc::new(Person(desk.clone()));
        Answers {
            broker: Arc::new(Broker::new(named, Some(person))),
            named: variables,
            desk,
            kept: Kept::default(),
        }
    }

    /// What is known already.
    pub(super) fn kept(&mut self, request: &SecretRequest) -> Option<Arc<Secret>> {
        self.kept.find(request)
    }

    /// Asks the source. Questions for the same key share one answer.
    pub(super) fn answer(&self, request: SecretRequest) -> impl Future<Output = Answered> + use<> {
        let broker = Arc::clone(&self.broker);
        let variable = self.named.get(&request.secret_key_id).cloned().flatten();
        async move {
            let answered = broker.get(request).await.map(|(secret, _watch)| secret);
            match (answered, variable) {
                (Err(SecretError::NotFound(_)), Some(variable)) => {
                    Err(SecretError::NotFound(format!(
                        "the environment variable {variable} is not set where `midplane bridge` runs; set it and start that again"
                    )))
                }
                (answered, _) => answered,
            }
        }
    }

    /// Asks the person before the kernel does. One who enters nothing is asked again when it does.
    pub(super) async fn ask_now(&mut self, id: &str) -> Result<(), Failure> {
        let Some(desk) = &self.desk else {
            return Err(Failure::Usage(format!(
                "--secret {id}=prompt needs a terminal, and there is none; use env:VARIABLE or cmd:PROGRAM"
            )));
        };
        let key = (id.to_owned(), None);
        let (answer, answered) = oneshot::channel();
        desk.put(Question {
            key: key.clone(),
            about: format!("the key {} will be asked for", shown(id)),
            answer,
        });
        match answered.await {
            Ok(Ok(secret)) => self.kept.put(key, secret, Origin::Person, false),
            Ok(Err(SecretError::NotFound(reason))) => return Err(Failure::Usage(reason)),
            Ok(Err(_)) | Err(_) => {}
        }
        Ok(())
    }

    /// Came when the kernel waited no longer.
    pub(super) fn keep_late(&mut self, request: &SecretRequest, secret: Arc<Secret>) {
        let origin = self.origin(request);
        self.kept.put(key_of(request), secret, origin, false);
    }

    /// What a person entered is not asked for again.
    pub(super) fn keep_given(&mut self, request: &SecretRequest, secret: &Arc<Secret>) {
        if self.origin(request) == Origin::Person {
            let secret = Arc::clone(secret);
            self.kept.put(key_of(request), secret, Origin::Person, true);
        }
    }

    fn origin(&self, request: &SecretRequest) -> Origin {
        if self.named.contains_key(&request.secret_key_id) {
            Origin::Source
        } else {
            Origin::Person
        }
    }
}

pub(super) fn key_of(request: &SecretRequest) -> Key {
    let environment = request.environment.clone();
    (request.secret_key_id.clone(), Some(environment))
}

/// What stands in a line at the terminal: nothing that could drive it.
pub(super) fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}

/// Whoever sits at the terminal, as the source of what has no other.
struct Person(Option<Arc<Desk>>);

impl secrets::Bridge for Person {
    fn ask(&self, request: SecretRequest) -> secrets::Answer {
        let Some(desk) = &self.0 else {
            let id = shown(&request.secret_key_id);
            let error = SecretError::NotFound(format!(
                "`midplane bridge` knows no source of the secret {id} and has no terminal to ask at; start it with --secret {id}=env:VARIABLE or {id}=cmd:PROGRAM, or in a terminal"
            ));
            return Box::pin(std::future::ready(Err(error)));
        };
        let (answer, answered) = oneshot::channel();
        desk.put(Question {
            key: key_of(&request),
            about: about(&request),
            answer,
        });
        Box::pin(async move {
            answered.await.unwrap_or_else(|_| {
                let reason = "`midplane bridge` asks no longer; try again";
                Err(SecretError::Unavailable(reason.to_owned()))
            })
        })
    }
}

fn about(request: &SecretRequest) -> String {
    let (id, environment) = (shown(&request.secret_key_id), shown(&request.environment));
    let who = match &request.module {
        None => format!("for the new session {}", shown(&request.session_id)),
        Some(module) => format!(
            "for the module {} in the session {}; what it had may have been refused",
            shown(module),
            shown(&request.session_id)
        ),
    };
    format!("the kernel asks for the key {id} (environment {environment}) {who}")
}

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// May be given again.
    Person,
    /// A variable or a command, which is asked each time.
    Source,
}

/// Values that were entered here, wiped when this ends.
#[derive(Default)]
struct Kept(HashMap<Key, Entry>);

struct Entry {
    secret: Arc<Secret>,
    origin: Origin,
    given: bool,
}

impl Kept {
    fn put(&mut self, key: Key, secret: Arc<Secret>, origin: Origin, given: bool) {
        let entry = Entry {
            secret,
            origin,
            given,
        };
        self.0.insert(key, entry);
    }

    /// A module asks when what its session had is not good any more: it does not get the same again.
    fn find(&mut self, request: &SecretRequest) -> Option<Arc<Secret>> {
        let exact = key_of(request);
        let every = (request.secret_key_id.clone(), None);
        let key = [exact, every]
            .into_iter()
            .find(|key| self.0.contains_key(key))?;
        let entry = self.0.get_mut(&key)?;
        if entry.given && request.module.is_some() {
            self.0.remove(&key);
            return None;
        }
        entry.given = true;
        let secret = Arc::clone(&entry.secret);
        if entry.origin == Origin::Source {
            self.0.remove(&key);
        }
        Some(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Arc<Secret> {
        Arc::new(Secret::parse(text).unwrap())
    }

    fn request(id: &str, environment: &str, module: Option<&str>) -> SecretRequest {
        SecretRequest {
            secret_key_id: id.to_owned(),
            environment: environment.to_owned(),
            session_id: "ses_1".to_owned(),
            module: module.map(str::to_owned),
        }
    }

    #[test]
    fn what_was_entered_is_given_until_a_module_says_that_it_is_no_good() {
        let mut kept = Kept::default();
        let found = |kept: &mut Kept, request: &SecretRequest| {
            kept.find(request).map(|secret| secret.expose().to_owned())
        };
        let (session, module) = (request("k", "pro", None), request("k", "pro", Some("m")));
        kept.put(key_of(&session), secret("late"), Origin::Person, false);
        assert_eq!(found(&mut kept, &request("k", "dev", None)), None);
        assert_eq!(found(&mut kept, &request("other", "pro", None)), None);
        // It was entered for the module, which has not seen it.
        assert_eq!(found(&mut kept, &module).as_deref(), Some("late"));
        assert_eq!(found(&mut kept, &session).as_deref(), Some("late"));
        assert_eq!(found(&mut kept, &session).as_deref(), Some("late"));
        assert_eq!(found(&mut kept, &module), None, "it had that one");
        assert_eq!(found(&mut kept, &session), None, "and so it is forgotten");

        kept.put(("k".to_owned(), None), secret("any"), Origin::Person, false);
        assert_eq!(found(&mut kept, &session).as_deref(), Some("any"));
        let dev = request("k", "dev", None);
        assert_eq!(found(&mut kept, &dev).as_deref(), Some("any"));

        kept.put(key_of(&session), secret("command"), Origin::Source, false);
        assert_eq!(found(&mut kept, &session).as_deref(), Some("command"));
        assert_eq!(found(&mut kept, &session).as_deref(), Some("any"), "once");
    }

    #[tokio::test]
    async fn without_a_terminal_the_way_out_is_named() {
        let mut answers = Answers::new(BTreeMap::new(), None);
        let error = answers.answer(request("k\u{1b}", "pro", None)).await;
        let error = error.unwrap_err();
        assert!(matches!(error, SecretError::NotFound(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(r"--secret k\u{1b}=env:"), "{text}");
        let failure = answers.ask_now("k").await.unwrap_err();
        assert_eq!(failure.exit_code(), 64);
    }

    #[tokio::test]
    async fn a_variable_that_is_not_set_is_said_to_be_missing_here() {
        let variable = "MIDPLANE_TEST_NO_SUCH_VARIABLE".to_owned();
        let named = BTreeMap::from([("k".to_owned(), SecretSource::Env { variable })]);
        let error = Answers::new(named, None).answer(request("k", "pro", None));
        let text = error.await.unwrap_err().to_string();
        assert!(
            text.contains("NO_SUCH_VARIABLE") && text.contains("where `midplane bridge` runs"),
            "{text}"
        );
    }
}
