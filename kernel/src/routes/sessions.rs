//! `/sessions`: issuing, listing, renewing and revoking them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Call;
use super::response::{json, no_content, secret_json};
use crate::body::Body;
use crate::events::Event;
use crate::modules::executor::{self, Actor};
use crate::modules::generation::{Generation, Pin, Refused};
use crate::problem::{Code, Problem};
use crate::secrets::{Secret, SecretRequest, Watch};
use crate::session::{ClientSecret, Filter, NewSession, Rate, RenewError, Session, SessionLimit};

/// Texts of a session stand in its token, which has a bound of its own.
const TEXT_LEN_MAX: usize = 256;
/// Metadata crosses to the module with every request.
const METADATA_LEN_MAX: usize = 8 * 1024;
/// Each stands in the token.
const MODULES_MAX: usize = 32;
/// 10,000 a second are more than a kernel answers.
const RATE_MAX: u32 = 600_000;
const LIST_MAX: usize = 100;
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Renew {
    /// Seconds until the new client secret expires; `[sessions] ttl` when left out.
    expires_in: Option<u64>,
}

/// A session with its token.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SessionResult"))]
pub(crate) struct Issued<'a> {
    /// The session's token, shown this once.
    client_secret: &'a str,
    #[cfg_attr(feature = "schema", schemars(extend("const" = "Bearer")))]
    token_type: &'static str,
    /// Seconds from now.
    expires_in: u64,
    /// With the end of this token as `expires_at`.
    #[serde(flatten)]
    session: crate::session::View<'a>,
}

pub(super) async fn create(mut call: Call<'_>) -> Result<Response<Body>, Problem> {
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

pub(super) fn list(call: &Call<'_>) -> Result<Response<Body>, Problem> {
    let query = call.query(&["limit", "after"])?;
    let find = |name: &str| {
        query
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    };
    let limit = match find("limit").map(str::parse) {
        None => LIST_MAX,
        Some(Ok(limit)) if (1..=LIST_MAX).contains(&limit) => limit,
        Some(_) => return Err(invalid(format!("limit is a number from 1 to {LIST_MAX}"))),
    };
    let page = call.kernel.sessions.list(limit, find("after"));
    let (sessions, has_more) =
        page.ok_or_else(|| invalid("`after` names no session: start again without it".to_owned()))?;
    #[derive(Serialize)]
    struct Page<'a> {
        object: &'static str,
        data: Vec<crate::session::View<'a>>,
        has_more: bool,
    }
    let data = sessions
        .iter()
        .map(|session| session.view(call.now))
        .collect();
    Ok(json(
        StatusCode::OK,
        &Page {
            object: "list",
            data,
            has_more,
        },
    ))
}

pub(super) fn get(call: &Call<'_>, id: &str) -> Result<Response<Body>, Problem> {
    let session = call.kernel.sessions.get(id).ok_or_else(not_found)?;
    Ok(json(StatusCode::OK, &session.view(call.now)))
}

pub(super) fn revoke(call: &Call<'_>, id: &str) -> Result<Response<Body>, Problem> {
    let sessions = &call.kernel.sessions;
    let (session, ended) = sessions.revoke(id, call.now).ok_or_else(not_found)?;
    if ended {
        revoked(call, &session);
    }
    Ok(no_content())
}

pub(super) fn revoke_matching(call: &Call<'_>) -> Result<Response<Body>, Problem> {
    let query = call.query(&["user", "secret_key_id"])?;
    if query.is_empty() {
        return Err(invalid(
            "say whose sessions: ?user= or ?secret_key_id=".to_owned(),
        ));
    }
    let find = |name: &str| {
        query
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.clone())
    };
    let filter = Filter {
        user: find("user"),
        secret_key_id: find("secret_key_id"),
    };
    let sessions = call.kernel.sessions.revoke_matching(&filter, call.now);
    for session in &sessions {
        revoked(call, session);
    }
    Ok(json(
        StatusCode::OK,
        &serde_json::json!({ "revoked": sessions.len() }),
    ))
}

pub(super) async fn renew(mut call: Call<'_>, id: &str) -> Result<Response<Body>, Problem> {
    let Renew { expires_in } = call.json().await?;
    let expires_in = check_expires_in(&call, expires_in)?;
    let (session, client_secret, expires_in) = call
        .kernel
        .sessions
        .renew(id, expires_in, call.now)
        .map_err(|error| match error {
            RenewError::NotFound => not_found(),
            RenewError::Ended => Problem::new(
                Code::SessionEnded,
                "the session was revoked or has lived its longest life: create a new one",
            ),
        })?;
    Ok(issued_response(
        StatusCode::OK,
        &session,
        &client_secret,
        expires_in,
        call.now,
    ))
}

pub(super) fn current(call: Call<'_>) -> Result<Response<Body>, Problem> {
    let verified = call.caller.require_session()?;
    let session = &verified.session;
    let view = serde_json::json!({
        "id": session.id(),
        "object": "session",
        "user": session.user(),
        "modules": session.modules(),
        "scope": session.scope(),
        "expires_at": verified.expires_at,
    });
    Ok(json(StatusCode::OK, &view))
}

pub(super) fn sign_out(mut call: Call<'_>) -> Result<Response<Body>, Problem> {
    let caller = std::mem::replace(&mut call.caller, crate::auth::Caller::Nobody);
    let session = caller.require_session()?.session;
    if let Some((_, true)) = call.kernel.sessions.revoke(session.id(), call.now) {
        revoked(&call, &session);
    }
    Ok(no_content())
}

fn revoked(call: &Call<'_>, session: &Session) {
    call.kernel.wake_sweeper();
    tracing::info!(
        session = session.id(),
        request_id = call.request_id.to_str().unwrap_or_default(),
        "session revoked"
    );
    call.kernel.events.publish(Event::SessionRevoked {
        session: session.id().to_owned(),
    });
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

fn check_expires_in(call: &Call<'_>, expires_in: Option<u64>) -> Result<u64, Problem> {
    let settings = call.kernel.sessions.settings();
    let max = settings.max_ttl.as_secs();
    match expires_in {
        None => Ok(settings.ttl.as_secs().clamp(1, max)),
        Some(seconds) if (1..=max).contains(&seconds) => Ok(seconds),
        Some(_) => Err(invalid(format!(
            "`expires_in` is a number of seconds from 1 to {max} (`max_ttl` in [sessions])"
        ))),
    }
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

fn issued_response(
    status: StatusCode,
    session: &Session,
    secret: &ClientSecret,
    expires_in: u64,
    now: u64,
) -> Response<Body> {
    let issued = Issued {
        client_secret: secret.expose(),
        token_type: "Bearer",
        expires_in,
        session: session.view(now).ending(now + expires_in),
    };
    secret_json(status, &issued)
}

fn invalid(detail: String) -> Problem {
    Problem::new(Code::InvalidRequest, detail)
}

fn full(limit: SessionLimit) -> Problem {
    let detail = format!("{limit}: revoke some, or raise `max` in [sessions]");
    Problem::new(Code::SessionLimit, detail).retry_after(Duration::from_secs(10))
}

fn not_found() -> Problem {
    Problem::new(
        Code::SessionNotFound,
        "there is no such session: it may have ended a while ago",
    )
}

fn no_randomness(_: ring::error::Unspecified) -> Problem {
    Problem::new(
        Code::Internal,
        "the system gives no random bytes now: try again",
    )
}
