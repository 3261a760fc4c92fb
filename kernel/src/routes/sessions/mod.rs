//! `/sessions`: issuing, listing, renewing and revoking them.

mod create;

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::Call;
use super::response::{json, no_content, secret_json};
use crate::body::Body;
use crate::events::Event;
use crate::problem::{Code, Problem};
use crate::session::{ClientSecret, Filter, RenewError, Session};

#[cfg(feature = "schema")]
pub(crate) use create::Create;
pub(super) use create::create;

const LIST_MAX: usize = 100;

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

fn not_found() -> Problem {
    Problem::new(
        Code::SessionNotFound,
        "there is no such session: it may have ended a while ago",
    )
}
