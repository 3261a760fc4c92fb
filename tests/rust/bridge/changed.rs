//! `secret/changed`: running sessions go on with the new key, wherever the old one was. In both isolations.

use std::io::ErrorKind;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::slow;
use crate::harness::{Bridge, DEADLINE, Kernel};

/// Keys of which each length is another.
const OLD: &str = "sk-old";
const NEW: &str = "sk-newer-one";
const NEWEST: &str = "sk-the-newest-of-them";

struct Scene {
    kernel: Kernel,
    source: Bridge,
    client: Bridge,
    token: String,
}

impl Scene {
    async fn start() -> Scene {
        let kernel = slow().start().await;
        let mut source = Bridge::attach_source(&kernel, "source").await;
        let mut client = Bridge::attach(&kernel, "client", json!({})).await;
        let create = json!({"secret_key_id": "k", "expires_in": 600});
        let id = client.request("session/create", create).await;
        let question = source.question().await;
        source.give(&question, OLD).await;
        let session = client.outcome(json!(id)).await.unwrap();
        let token = session["client_secret"].as_str().unwrap().to_owned();
        Scene {
            kernel,
            source,
            client,
            token,
        }
    }

    fn secret_len(&self) -> impl Future<Output = String> + use<> {
        let answer = self.kernel.get("/api/slow/secret-len").bearer(&self.token);
        async move { answer.send().await.text().to_owned() }
    }

    /// Says that the key has changed; how many sessions had it.
    async fn change(&mut self) -> Value {
        let changed = json!({"secret_key_id": "k"});
        let outcome = self.source.call("secret/changed", changed).await;
        outcome.unwrap()["sessions"].clone()
    }

    async fn give(&mut self, secret: &str) -> Value {
        let question = self.source.question().await;
        self.source.give(&question, secret).await;
        question
    }
}

/// A request whose body has no end: each piece of it is answered with how long the key is just then.
struct Open {
    stream: UnixStream,
    unread: String,
}

impl Open {
    async fn begin(kernel: &Kernel, token: &str) -> Open {
        let mut stream = UnixStream::connect(&kernel.socket).await.unwrap();
        let head = format!(
            "POST /api/slow/secret-lens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut open = Open {
            stream,
            unread: String::new(),
        };
        let head = open.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        open
    }

    async fn ask(&mut self) {
        self.stream.write_all(b"1\r\n?\r\n").await.unwrap();
    }

    async fn told(&mut self) -> String {
        let line = self.until(";").await;
        line.rsplit('\n')
            .next()
            .unwrap()
            .trim_end_matches(';')
            .to_owned()
    }

    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.unread.find(end) {
                return self.unread.drain(..at + end.len()).collect();
            }
            let mut bytes = [0; 1024];
            let read = tokio::time::timeout(DEADLINE, self.stream.read(&mut bytes));
            match read.await.expect("an answer in time") {
                Ok(0) => panic!("it ended after {:?}", self.unread),
                Ok(len) => self
                    .unread
                    .push_str(std::str::from_utf8(&bytes[..len]).unwrap()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error} after {:?}", self.unread),
            }
        }
    }
}

#[tokio::test]
async fn the_next_use_asks_for_it_and_the_token_stays() {
    let mut scene = Scene::start().await;
    assert_eq!(scene.secret_len().await, OLD.len().to_string());
    assert_eq!(scene.change().await, 1);
    // Nothing is asked for before it is used, and a second change is no more than one.
    assert_eq!(scene.change().await, 0);
    let using = scene.secret_len();
    let (len, question) = tokio::join!(using, scene.give(NEW));
    assert_eq!(len, NEW.len().to_string());
    assert_eq!(question["params"]["module"], "slow");
    assert_eq!(question["params"]["secret_key_id"], "k");
    // Then it is there again.
    assert_eq!(scene.secret_len().await, NEW.len().to_string());
    // Another one's change is nothing to it.
    let other = json!({"secret_key_id": "other"});
    let outcome = scene.source.call("secret/changed", other.clone()).await;
    assert_eq!(outcome, Ok(json!({"sessions": 0})));
    scene.client.notify("secret/changed", other).await;
    assert_eq!(scene.secret_len().await, NEW.len().to_string());
    // A notification does as well, from any host.
    scene
        .client
        .notify("secret/changed", json!({"secret_key_id": "k"}))
        .await;
    scene.client.call("module/list", json!({})).await.unwrap();
    let using = scene.secret_len();
    let (len, _) = tokio::join!(using, scene.give(NEWEST));
    assert_eq!(len, NEWEST.len().to_string());
}

#[tokio::test]
async fn a_request_that_began_before_goes_on_with_the_new_one() {
    let mut scene = Scene::start().await;
    let mut open = Open::begin(&scene.kernel, &scene.token).await;
    open.ask().await;
    assert_eq!(open.told().await, OLD.len().to_string());
    for secret in [NEW, NEWEST, OLD] {
        scene.change().await;
        open.ask().await;
        let (told, _) = tokio::join!(open.told(), scene.give(secret));
        assert_eq!(told, secret.len().to_string());
        open.ask().await;
        assert_eq!(open.told().await, secret.len().to_string());
    }
}

#[tokio::test]
async fn a_websocket_that_began_before_goes_on_with_the_new_one() {
    let mut scene = Scene::start().await;
    let mut socket = scene
        .kernel
        .websocket("/api/slow/secret-socket", &scene.token)
        .await;
    socket.send("?").await;
    assert_eq!(socket.text().await, OLD.len().to_string());
    for secret in [NEW, NEWEST] {
        scene.change().await;
        socket.send("?").await;
        let (told, _) = tokio::join!(socket.text(), scene.give(secret));
        assert_eq!(told, secret.len().to_string());
    }
}

#[tokio::test]
async fn one_that_was_forgotten_fails_with_the_hosts_words() {
    let mut scene = Scene::start().await;
    let mut open = Open::begin(&scene.kernel, &scene.token).await;
    scene.change().await;
    for (code, words) in [(-32002, "Set it again"), (-32001, "Ada said no")] {
        let using = scene.secret_len();
        let answering = async {
            let question = scene.source.question().await;
            scene.source.refuse(&question, code, words).await;
        };
        let (said, ()) = tokio::join!(using, answering);
        assert!(said.contains(words), "{said}");
        open.ask().await;
        let answering = async {
            let question = scene.source.question().await;
            scene.source.refuse(&question, code, words).await;
        };
        let (said, ()) = tokio::join!(open.told(), answering);
        assert!(said.contains(words), "{said}");
    }
    // Set again, it is there at the next use, in the same request.
    open.ask().await;
    let (told, _) = tokio::join!(open.told(), scene.give(NEW));
    assert_eq!(told, NEW.len().to_string());
    assert_eq!(scene.secret_len().await, NEW.len().to_string());
}

#[tokio::test]
async fn an_answer_that_was_under_way_is_not_kept() {
    let mut scene = Scene::start().await;
    scene.change().await;
    let using = scene.secret_len();
    let answering = async {
        let stale = scene.source.question().await;
        scene.change().await;
        scene.source.give(&stale, OLD).await;
        scene.give(NEW).await;
    };
    let (len, ()) = tokio::join!(using, answering);
    assert_eq!(len, NEW.len().to_string());
    // The same while a session is made.
    let create = json!({"secret_key_id": "k"});
    let id = scene.client.request("session/create", create).await;
    let stale = scene.source.question().await;
    scene.change().await;
    scene.source.give(&stale, OLD).await;
    scene.give(NEWEST).await;
    let session = scene.client.outcome(json!(id)).await.unwrap();
    scene.token = session["client_secret"].as_str().unwrap().to_owned();
    assert_eq!(scene.secret_len().await, NEWEST.len().to_string());
}

/// Whoever says all the time that something changed holds up nobody who asks for something else, and for that for a while.
#[tokio::test]
async fn a_flood_of_changes_holds_nobody_up() {
    let mut scene = Scene::start().await;
    let mut flooding = Bridge::attach(&scene.kernel, "flooding", json!({})).await;
    let flood = |id: &str| {
        let changed =
            json!({"jsonrpc": "2.0", "method": "secret/changed", "params": {"secret_key_id": id}});
        crate::harness::framed(&changed.to_string()).repeat(50)
    };
    let other = flood("other");
    // As many as there is time for, while the others are asked, answered and used.
    let use_it = async {
        for number in 0..5 {
            let create = json!({"secret_key_id": format!("k{number}")});
            let id = scene.client.request("session/create", create).await;
            let question = scene.source.question().await;
            scene.source.give(&question, NEW).await;
            scene.client.outcome(json!(id)).await.unwrap();
        }
        assert_eq!(scene.secret_len().await, OLD.len().to_string());
    };
    let flood_it = async {
        loop {
            flooding.write(other.as_bytes()).await;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = use_it => {}
        () = flood_it => {}
    }
    // Of the one that is asked for: who asks is told so in the end.
    let create = json!({"secret_key_id": "k"});
    let id = scene.client.request("session/create", create).await;
    for _ in 0..4 {
        let question = scene.source.question().await;
        scene.change().await;
        scene.source.give(&question, OLD).await;
    }
    let outcome = scene.client.outcome(json!(id)).await;
    super::expect_error(&outcome, -32000, "changes each time");
}
