//! The session of the conversation: issued when it is first needed, again before its token expires, revoked at the end.
//!
//! Holds the token in memory only. Knows nothing of what is said in the session.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Method, Request};
use http_body_util::Empty;
use midplane_client::locate::{self, Surroundings};
use midplane_client::{Client, Error, NewSession};
use serde_json::{Map, Value};

use crate::failure::{self, Failure};

/// A token this near its end is not used for a new request: the request must arrive before it.
const RENEWAL_MARGIN_S: u64 = 15;
/// Leaving must not hang on a kernel that does; the session ends by itself soon after.
const SIGN_OUT_DEADLINE: Duration = Duration::from_secs(1);

/// Where the kernel is, and what session is wanted of it.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) socket: Option<PathBuf>,
    pub(crate) host_key_file: Option<PathBuf>,
    pub(crate) secret_key_id: Option<String>,
    /// What the model is told in place of what the chat module is configured with.
    pub(crate) instructions: Option<String>,
}

/// What is wanted, and the session there is.
pub(crate) struct Access {
    wanted: Wanted,
    issued: Option<Issued>,
}

struct Issued {
    client: Client,
    renew_at: u64,
}

impl Access {
    pub(crate) fn new(mut wanted: Wanted) -> Access {
        wanted.secret_key_id = wanted.secret_key_id.filter(|id| !id.is_empty());
        Access {
            wanted,
            issued: None,
        }
    }

    /// A client with a token that is good for a request made now.
    pub(crate) async fn client(&mut self) -> Result<Client, Failure> {
        let now = now();
        if let Some(issued) = self.issued.as_ref().filter(|issued| now < issued.renew_at) {
            return Ok(issued.client.clone());
        }
        // Found anew each time: a kernel that was restarted has another host key.
        let host = self.host()?;
        let instructions = self.wanted.instructions.as_deref();
        let session = host
            .issue_session(&NewSession {
                secret_key_id: self.wanted.secret_key_id.clone(),
                modules: Some(vec!["chat".to_owned()]),
                metadata: instructions
                    .map(|text| Map::from_iter([("instructions".to_owned(), Value::from(text))])),
                ..NewSession::default()
            })
            .await
            .map_err(failure::of_client)?;
        let client = host.clone().credential(session.client_secret.expose());
        self.issued = Some(Issued {
            client: client.clone(),
            renew_at: renew_at(now, session.expires_at),
        });
        Ok(client)
    }

    /// The same, when the kernel does not take the token there was.
    pub(crate) async fn client_anew(&mut self) -> Result<Client, Failure> {
        self.issued = None;
        self.client().await
    }

    /// Revokes the session, if the kernel is there to do it.
    pub(crate) async fn sign_out(self) {
        let Some(issued) = self.issued else { return };
        let request = Request::builder()
            .method(Method::DELETE)
            .uri("/sessions/current")
            .body(Empty::<bytes::Bytes>::new())
            .expect("a method and a path make a request");
        // What it answers changes nothing for someone who leaves.
        let _ = tokio::time::timeout(SIGN_OUT_DEADLINE, issued.client.request(request)).await;
    }

    fn host(&self) -> Result<Client, Failure> {
        let Wanted {
            socket,
            host_key_file,
            ..
        } = &self.wanted;
        locate::client(socket.as_deref(), host_key_file.as_deref()).map_err(|error| {
            let socket = Surroundings::from_env().socket(socket.as_deref());
            // Where no kernel runs there is no key either, and the key is not what to look for.
            match UnixStream::connect(&socket) {
                Ok(_) => Failure::HostKey(error),
                Err(source) => failure::of_client(Error::Connect { socket, source }),
            }
        })
    }
}

/// Unix seconds.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// When a token is to be replaced: a margin before it expires, but not in the first half of its life.
fn renew_at(now: u64, expires_at: u64) -> u64 {
    let life = expires_at.saturating_sub(now);
    expires_at - RENEWAL_MARGIN_S.min(life / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_before_it_expires() {
        for (now, expires_at, expected) in [
            (1_000, 1_600, 1_585),
            (1_000, 1_030, 1_015),
            (1_000, 1_010, 1_005),
            (1_000, 1_001, 1_001),
            (1_000, 1_000, 1_000),
            (1_000, 10, 10),
            (1_000, 0, 0),
        ] {
            assert_eq!(renew_at(now, expires_at), expected, "{now} {expires_at}");
        }
    }
}
