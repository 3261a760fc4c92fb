//! Issuing a session: what it may be, and who is asked before anyone gets its token.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{check_expires_in, invalid, issued_response};
use crate::body::Body;
use crate::events::Event;
use crate::modules::executor::{self, Actor};
use crate::modules::generation::{Generation, Pin, Refused};
use crate::problem::{Code, Problem};
use crate::routes::Call;
use crate::secrets::{Secret, SecretRequest, Watch};
use crate::session::{NewSession, Rate, Session, SessionLimit};

/// Texts of a session stand in its token, which has a bound of its own.
const TEXT_LEN_MAX: usize = 256;
/// Metadata crosses to the module with every request.
const METADATA_LEN_MAX: usize = 8 * 1024;
/// Each stands in the token.
const MODULES_MAX: usize = 32;
/// 10,000 a second are more than a kernel answers.
const RATE_MAX: u32 = 600_000;
/// How long a module may take to check a session: it may ask its provider.
const CHECK_DEADLINE: Duration = Duration::from_secs(10);

/// What a new session is to allow.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SessionCreateParams"))]
pub(crate) struct Create {
    /// The name of the key that its modules may use; needed when one of them needs a key.
    secret_key_id: Option<String>,
    /// Goes to the host with the request for the key; `pro` when left out.
    environment: Option<String>,
    /// Whose it is; `local` when left out.
    user: Option<String>,
    /// Those it may use; all that are loaded now when left out.
    modules: Option<Vec<String>>,
    /// Words with spaces between, for the modules to read.
    scope: Option<String>,
    /// Seconds until the client secret expires; `[sessions] ttl` when left out, at most `max_ttl`.
    expires_in: Option<u64>,
    /// None when left out.
    rate_limit: Option<Rate>,
    /// Up to 8 KiB of JSON that the modules see.
    metadata: Option<Map<String, Value>>,
}

pub(in crate::routes) async fn create(mut call: Call<'_>) -> Result<Response<Body>, Problem> {
    let create: Create = call.json().await?;
    let modules = modules_of(&call, create.modules.as_deref())?;
    let new = check(&call, create, &modules)?;
    let expires_in = new.expires_in;
    // Before anyone is asked for a key in vain.
    call.kernel.sessions.check_room(call.now).map_err(full)?;
    let id = Session::new_id().map_err(no_randomness)?;
    let (secret, watch) = match &new.secret_key_id {
        Some(key_id) => Some(ask_secret(&call, key_id, &id, &new).await?),
        None => None,
    }
    .unzip();
    let session = Arc::new(Session::new(id, new, secret, call.now));
    ask_modules(&call, &session).await?;
    let kernel = call.kernel;
    let client_secret = kernel.sessions.issue(&session, call.now).map_err(full)?;
    if watch.is_some_and(|watch| watch.has_changed()) {
        // Nobody knew of this session when the secret changed.
        session.wipe_secret();
    }
    kernel.wake_sweeper();
    tracing::info!(
        session = session.id(),
        user = session.user(),
        request_id = call.request_id.to_str().unwrap_or_default(),
        "session issued"
    );
    kernel.events.publish(Event::SessionIssued {
        session: session.id().to_owned(),
        user: session.user().to_owned(),
        modules: session.modules().to_vec(),
    });
    Ok(issued_response(
        StatusCode::CREATED,
        &session,
        &client_secret,
        expires_in,
        call.now,
    ))
}

/// The modules of a new session: those named, or all that are loaded now.
fn modules_of(call: &Call<'_>, named: Option<&[String]>) -> Result<Vec<Arc<Generation>>, Problem> {
    let Some(names) = named else {
        let all = call.kernel.modules.serving();
        return match all.len() {
            0 => Err(Problem::new(
                Code::ModuleNotLoaded,
                "no module is loaded: load one with PUT /modules/{name}",
            )),
            1..=MODULES_MAX => Ok(all),
            many => Err(invalid(format!(
                "{many} modules are loaded: name up to {MODULES_MAX} of them in `modules`"
            ))),
        };
    };
    if names.is_empty() || names.len() > MODULES_MAX {
        return Err(invalid(format!(
            "`modules` names 1 to {MODULES_MAX} modules, or is left out for all"
        )));
    }
    let find = |name: &String| {
        call.kernel
            .modules
            .get(name)
            .ok_or_else(|| not_loaded(name))
    };
    let mut seen = HashSet::new();
    names
        .iter()
        .filter(|name| seen.insert(name.as_str()))
        .map(find)
        .collect()
}

fn check(
    call: &Call<'_>,
    create: Create,
    modules: &[Arc<Generation>],
) -> Result<NewSession, Problem> {
    let Create {
        secret_key_id,
        environment,
        user,
        modules: _,
        scope,
        expires_in,
        rate_limit,
        metadata,
    } = create;
    if secret_key_id.is_none()
        && let Some(needs) = modules.iter().find(|module| module.needs_secret())
    {
        return Err(invalid(format!(
            "`secret_key_id` is missing: the module {} needs a secret",
            needs.name
        )));
    }
    let user = user.unwrap_or_else(|| "local".to_owned());
    let environment = environment.unwrap_or_else(|| "pro".to_owned());
    let scope = scope.unwrap_or_default();
    for (member, text, may_be_empty) in [
        (
            "secret_key_id",
            secret_key_id.as_deref().unwrap_or("-"),
            false,
        ),
        ("user", &user, false),
        ("environment", &environment, false),
        ("scope", &scope, true),
    ] {
        let least = if may_be_empty { 0 } else { 1 };
        if text.len() > TEXT_LEN_MAX || text.len() < least || text.chars().any(char::is_control) {
            return Err(invalid(format!(
                "`{member}` is a text of {least} to {TEXT_LEN_MAX} bytes without control characters"
            )));
        }
    }
    if rate_limit.is_some_and(|rate| !(1..=RATE_MAX).contains(&rate.requests_per_minute)) {
        return Err(invalid(format!(
            "`rate_limit.requests_per_minute` is a number from 1 to {RATE_MAX}"
        )));
    }
    let metadata = metadata.unwrap_or_default();
    if serde_json::to_string(&metadata).map_or(0, |text| text.len()) > METADATA_LEN_MAX {
        return Err(invalid(format!(
            "`metadata` may have up to {METADATA_LEN_MAX} bytes as JSON"
        )));
    }
    let names = modules
        .iter()
        .map(|module| module.name.to_string())
        .collect();
    let expires_in = check_expires_in(call, expires_in)?;
    Ok(NewSession {
        user,
        modules: names,
        scope,
        environment,
        secret_key_id,
        metadata,
        rate_limit,
        expires_in,
    })
}

async fn ask_secret(
    call: &Call<'_>,
    key_id: &str,
    session_id: &str,
    new: &NewSession,
) -> Result<(Arc<Secret>, Watch), Problem> {
    let request = SecretRequest {
        secret_key_id: key_id.to_owned(),
        environment: new.environment.clone(),
        session_id: session_id.to_owned(),
        module: None,
    };
    call.kernel.broker.get(request).await.map_err(|error| {
        let problem = Problem::new(error.code(), error.to_string());
        if error.code() == Code::HostUnavailable {
            problem.retry_after(Duration::from_secs(1))
        } else {
            problem
        }
    })
}

/// Lets each module look at the session before anyone gets its token.
async fn ask_modules(call: &Call<'_>, session: &Arc<Session>) -> Result<(), Problem> {
    // Looked up again: the source of the secret may have taken its time.
    for name in session.modules() {
        let Some(pin) = pin(call, name).await? else {
            continue;
        };
        // The deadline below comes first.
        let stream_grace = 2 * CHECK_DEADLINE;
        let actor = Actor {
            session: Arc::clone(session),
            expires_at: session.expires_at(),
            stream_grace,
        };
        let checked = executor::check_session(
            pin,
            actor,
            call.request_id.clone(),
            &call.kernel.surroundings,
        );
        match tokio::time::timeout(CHECK_DEADLINE, checked).await {
            Ok(Ok(())) => {}
            Ok(Err(Ok(reason))) => {
                let detail = format!("the module {name} refused the session: {reason}");
                return Err(Problem::new(Code::SecretRejected, detail));
            }
            Ok(Err(Err(problem))) => return Err(problem),
            Err(_elapsed) => {
                let detail = format!(
                    "the module {name} did not check the session within {} s: try again",
                    CHECK_DEADLINE.as_secs()
                );
                return Err(Problem::new(Code::ModuleUnavailable, detail)
                    .retry_after(Duration::from_secs(1)));
            }
        }
    }
    Ok(())
}

/// A hold on the module, if it wants to look at sessions.
async fn pin(call: &Call<'_>, name: &str) -> Result<Option<Pin>, Problem> {
    loop {
        let Some(generation) = call.kernel.modules.get(name) else {
            return Err(not_loaded(name));
        };
        if !generation.checks_sessions() {
            return Ok(None);
        }
        match generation.pin() {
            Ok(pin) => return Ok(Some(pin)),
            Err(Refused::Full) => return Err(executor::overloaded()),
            Err(Refused::Faulted) => return Err(executor::quarantined(&generation)),
            Err(Refused::Held) => {
                let wait = call.kernel.config.limits.restart_wait;
                executor::released(&generation, wait).await?;
            }
            // Swapped meanwhile: the newer one is asked.
            Err(Refused::Draining) => {}
        }
    }
}

fn not_loaded(name: &str) -> Problem {
    let detail = format!("the module {name:?} is not loaded: GET /modules lists those that are");
    Problem::new(Code::ModuleNotLoaded, detail)
}

fn full(limit: SessionLimit) -> Problem {
    let detail = format!("{limit}: revoke some, or raise `max` in [sessions]");
    Problem::new(Code::SessionLimit, detail).retry_after(Duration::from_secs(10))
}

fn no_randomness(_: ring::error::Unspecified) -> Problem {
    Problem::new(
        Code::Internal,
        "the system gives no random bytes now: try again",
    )
}
