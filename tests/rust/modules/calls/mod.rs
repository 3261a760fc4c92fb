//! Calls between modules, in every mix of isolations.

mod bodies;
mod ends;
mod identity;
mod lifecycle;
mod refusals;

use serde_json::{Value, json};

use crate::harness::{Answer, Builder, DEADLINE, Kernel, Request};

/// A kernel in which `caller` calls `callee`.
struct Calls {
    kernel: Kernel,
    token: String,
    /// Of a session for the callee.
    direct: String,
    /// Where the two run, for people.
    isolations: String,
}

/// Each mix of where the two modules run: the caller, and the one that is called.
fn isolations() -> impl Iterator<Item = (&'static str, &'static str)> {
    const ALL: [&str; 2] = ["in-process", "process"];
    ALL.into_iter()
        .flat_map(|caller| ALL.map(|callee| (caller, callee)))
}

/// One kernel for each mix. `caller` and `callee` are lines of the modules' tables.
async fn each(caller: &str, callee: &str) -> Vec<Calls> {
    let mut all = Vec::new();
    for isolations in isolations() {
        all.push(Calls::start(isolations, "", caller, callee).await);
    }
    all
}

impl Calls {
    async fn start(
        (caller_runs, callee_runs): (&str, &str),
        config: &str,
        caller: &str,
        callee: &str,
    ) -> Calls {
        let builder = Kernel::builder().config(config);
        let builder = Calls::modules(builder, (caller_runs, callee_runs), caller, callee);
        let kernel = builder.env("TEST_KEY", "sk-of-the-session").start().await;
        let session =
            json!({"user": "ada", "scope": "notes", "modules": ["caller"], "secret_key_id": "key"});
        let token = kernel.session(session).await;
        let direct = json!({"modules": ["callee"], "secret_key_id": "key"});
        let direct = kernel.session(direct).await;
        let isolations = format!("caller {caller_runs}, callee {callee_runs}");
        println!("{isolations}");
        Calls {
            kernel,
            token,
            direct,
            isolations,
        }
    }

    fn modules(builder: Builder, runs: (&str, &str), caller: &str, callee: &str) -> Builder {
        builder
            .config("[secrets]\nkey = \"env:TEST_KEY\"")
            .module("caller", &format!("isolation = {:?}\n{caller}", runs.0))
            .module(
                "callee",
                &format!("isolation = {:?}\npublic = true\n{callee}", runs.1),
            )
    }

    fn request(&self, method: &str, path: &str) -> Request {
        let path = format!("/api/caller{path}");
        self.kernel.request(method, &path).bearer(&self.token)
    }

    fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    /// What the callee answers to `path` below `/in`, through the caller.
    async fn call(&self, path: &str) -> Answer {
        self.get(&format!("/call/in/{path}")).send().await
    }

    /// A request of a client's to the callee.
    async fn directly(&self, method: &str, path: &str) -> Answer {
        let path = format!("/api/callee{path}");
        let request = self.kernel.request(method, &path).bearer(&self.direct);
        request.send().await
    }

    /// What the callee has counted.
    async fn count(&self, what: &str) -> u64 {
        let counts = self.directly("GET", "/counts").await;
        counts.expect_status(200).json()[what].as_u64().unwrap()
    }

    async fn counted(&self, what: &str, at_least: u64) {
        crate::harness::eventually(what, async || {
            (self.count(what).await >= at_least).then_some(())
        })
        .await;
    }

    /// Has everything go on that waits in the callee.
    async fn release(&self) {
        self.directly("POST", "/release").await.expect_status(200);
    }

    async fn module(&self, name: &str) -> Value {
        let path = format!("/modules/{name}");
        self.kernel.host("GET", &path).send().await.json()
    }

    /// Waits until so many requests are under way in a module.
    async fn under_way(&self, name: &str, requests: u64) {
        crate::harness::eventually("requests under way", async || {
            (self.module(name).await["in_flight_requests"] == requests).then_some(())
        })
        .await;
    }

    /// Both answer as ever.
    async fn expect_well(&self) {
        let who = self.call("who").await.expect_status(200).json();
        assert_eq!(who["caller"]["module"], "caller", "{}", self.isolations);
        assert_eq!(self.get("/background").send().await.status(), 200);
    }
}

/// What the caller has passed on, or said of a call: a problem of this code, which may be of another request.
fn expect_code(answer: &Answer, status: u16, code: &str) {
    answer.expect_status(status);
    let problem = answer.json();
    assert_eq!(problem["code"], code, "{answer}");
    assert_eq!(problem["status"], status, "{answer}");
}

/// As the tests' deadline for one step.
async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(DEADLINE, work).await;
    done.unwrap_or_else(|_| panic!("{what}: not in time"))
}
