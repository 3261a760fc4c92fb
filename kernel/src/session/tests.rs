//! Sessions and tokens by tables. Time is an argument everywhere; nothing here waits.

mod forgeries;
mod life;
mod vectors;

use std::sync::Arc;
use std::time::Duration;

use super::token::{Claims, Key};
use super::{NewSession, Session, Sessions};
use crate::config;
use crate::secrets::Secret;

const NOW: u64 = 1_800_000_000;
const KEY: [u8; 32] = [7; 32];

fn key() -> Key {
    Key::new("k1", &KEY)
}

fn claims() -> Claims {
    Claims {
        iss: "midplane:test".to_owned(),
        sub: "me".to_owned(),
        aud: vec!["one".to_owned(), "two".to_owned()],
        jti: "ses_1".to_owned(),
        iat: NOW,
        nbf: NOW,
        exp: NOW + 600,
        scope: "read write".to_owned(),
    }
}

/// A store for at most `max` sessions that may live for an hour.
fn sessions(max: usize) -> Sessions {
    let settings = config::Sessions {
        ttl: Duration::from_secs(600),
        max_ttl: Duration::from_secs(3600),
        max,
        stream_grace: Duration::from_secs(300),
        host_grace: Duration::from_secs(30),
    };
    Sessions::new(settings, Sessions::new_instance().unwrap()).unwrap()
}

fn new_session(user: &str, expires_in: u64) -> Arc<Session> {
    let new = NewSession {
        user: user.to_owned(),
        modules: vec!["one".to_owned()],
        scope: String::new(),
        environment: "pro".to_owned(),
        secret_key_id: Some(format!("key-of-{user}")),
        metadata: serde_json::Map::new(),
        rate_limit: None,
        expires_in,
    };
    let secret = Arc::new(Secret::parse("sk-test").unwrap());
    Arc::new(Session::new(
        Session::new_id().unwrap(),
        new,
        Some(secret),
        NOW,
    ))
}

/// A session of `user`, issued at [`NOW`], and its token.
fn issue(sessions: &Sessions, user: &str, expires_in: u64) -> (Arc<Session>, String) {
    let session = new_session(user, expires_in);
    let token = sessions.issue(&session, NOW).unwrap().expose().to_owned();
    (session, token)
}
