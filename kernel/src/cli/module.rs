//! `midplane module list|load|reload|unload`.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use midplane_client::path::{segment, with_query};
use midplane_client::{DrainingGeneration, Module, ModuleList, ModuleSource};
use serde_json::{Map, Value, json};

use super::arguments::{ClientArgs, json_object};
use super::process::of_process;
use super::receipt::{summary, waits_for};
use super::{Client, Failure, Output, progress, table};
use crate::clock::unix_now;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List what is loaded
    List {
        /// Say of each module all that is known, its process and what crashed in it included
        #[arg(long, short)]
        verbose: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Load a module, or swap it for the file named
    Load {
        name: String,
        path: PathBuf,
        /// The module's own configuration
        #[arg(long, value_name = "JSON", value_parser = json_object)]
        config: Option<Map<String, Value>>,
        /// Grant it this of what it asks for; may be repeated [default: as configured]
        #[arg(long = "grant", value_name = "GRANT")]
        grants: Vec<String>,
        /// Let its public routes be public
        #[arg(long)]
        public: bool,
        #[command(flatten)]
        swap: Swap,
    },
    /// Swap a module for what is at its path now
    Reload {
        name: String,
        /// The module's own configuration
        #[arg(long, value_name = "JSON", value_parser = json_object)]
        config: Option<Map<String, Value>>,
        #[command(flatten)]
        swap: Swap,
    },
    /// Let a module finish, and unload it
    Unload {
        name: String,
        /// How long its requests may take to finish, such as 5s
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        drain: Option<Duration>,
        /// Also when other modules may call it
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Swap {
    /// Return when the old one is gone
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { verbose, client } => list(&client, verbose).await,
        Command::Load {
            name,
            path,
            config,
            grants,
            public,
            swap,
        } => {
            let source = ModuleSource {
                path: std::path::absolute(&path).map_err(|source| Failure::Read {
                    what: path.display().to_string(),
                    source,
                })?,
                config,
                grants: (!grants.is_empty()).then_some(grants),
                public: public.then_some(true),
            };
            let body = json!(source);
            let path = segment("/modules/", &name, "");
            swap.ask(&name, Method::PUT, &path, &body).await
        }
        Command::Reload { name, config, swap } => {
            let body = config.map_or_else(|| json!({}), |config| json!({ "config": config }));
            let path = segment("/modules/", &name, "/reload");
            swap.ask(&name, Method::POST, &path, &body).await
        }
        Command::Unload {
            name,
            drain,
            force,
            client,
        } => {
            let ms = drain.map(|drain| drain.as_millis().to_string());
            let path = with_query(
                &segment("/modules/", &name, ""),
                &[
                    ("drain_ms", ms.as_deref()),
                    ("force", force.then_some("true")),
                ],
            );
            let host = patient(&client)?;
            let asking = host.send(Method::DELETE, &path, None::<&()>);
            let answer: Value = Drain::of(&client, &name)?
                .during("unloading", asking)
                .await?;
            Output::of(&client).show(&answer, |receipt| summary(&receipt, &[]))
        }
    }
}

impl Swap {
    async fn ask(
        &self,
        name: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<(), Failure> {
        let wait = self.wait.then_some("drained");
        let host = patient(&self.client)?;
        let path = with_query(path, &[("wait", wait)]);
        let asking = host.send(method, &path, Some(body));
        let drain = Drain::of(&self.client, name)?;
        let mut output = Output::of(&self.client);
        if self.wait {
            let answer: Value = drain.during("loading", asking).await?;
            return output.show(&answer, |receipt| summary(&receipt, &[]));
        }
        let answer: Value = progress::during(&format!("loading {name}"), asking).await?;
        // For people: a program asks for what it wants to know.
        let draining = if output.json() {
            Vec::new()
        } else {
            drain.look().await
        };
        output.show(&answer, |receipt| summary(&receipt, &draining))
    }
}

/// A look at the requests that the old generations of a module finish.
struct Drain<'a> {
    name: &'a str,
    host: Client,
}

impl Drain<'_> {
    fn of<'a>(args: &ClientArgs, name: &'a str) -> Result<Drain<'a>, Failure> {
        let host = args.host()?;
        Ok(Drain { name, host })
    }

    /// Awaits `work`, and says which requests hold it up; `otherwise` is what it does when none do.
    async fn during<T>(&self, otherwise: &str, work: impl Future<Output = T>) -> T {
        let otherwise = format!("{otherwise} {}", self.name);
        let look = async || waits_for(self.name, &self.look().await, &otherwise);
        progress::during_what(look, work).await
    }

    async fn look(&self) -> Vec<DrainingGeneration> {
        // What cannot be asked is not told; how the work itself goes says why.
        let list = self.host.modules().await;
        list.map_or_else(|_error| Vec::new(), |list| list.draining)
    }
}

/// Drains end by the kernel's own deadline, which it alone knows; a person can interrupt.
fn patient(args: &ClientArgs) -> Result<Client, Failure> {
    Ok(args.host()?.deadline(Duration::MAX))
}

async fn list(args: &ClientArgs, verbose: bool) -> Result<(), Failure> {
    let answer: Value = args
        .host()?
        .send(Method::GET, "/modules", None::<&()>)
        .await?;
    let mut output = Output::of(args);
    let colour = output.colour();
    output.show(&answer, |list: ModuleList| {
        if verbose {
            paragraphs(&list, unix_now())
        } else {
            rows(&list, colour)
        }
    })
}

/// What takes requests, and below it what only finishes them.
pub(super) fn rows(list: &ModuleList, colour: bool) -> String {
    let row = |module: &Module| {
        vec![
            module.name.clone(),
            module.version.clone(),
            module.generation.to_string(),
            module.state.clone(),
            module.isolation.clone(),
            module.requests.total().to_string(),
            module.in_flight_requests.to_string(),
            module.resident_generations.to_string(),
            module.sha256.chars().take(12).collect(),
        ]
    };
    let draining = |one: &DrainingGeneration| {
        vec![
            one.name.clone(),
            one.version.clone(),
            one.generation.to_string(),
            "draining".to_owned(),
            String::new(),
            String::new(),
            one.in_flight_requests.to_string(),
        ]
    };
    let serving = list.modules.iter().map(row);
    let rows: Vec<_> = serving.chain(list.draining.iter().map(draining)).collect();
    let header = [
        "MODULE",
        "VERSION",
        "GENERATION",
        "STATE",
        "ISOLATION",
        "REQUESTS",
        "IN FLIGHT",
        "RESIDENT",
        "SHA256",
    ];
    table::render(&header, &rows, colour)
}

/// Each module, and below it a line for everything that is known of it; `now` in Unix seconds.
pub(super) fn paragraphs(list: &ModuleList, now: u64) -> String {
    let paragraph = |module: &Module| {
        let path = module.path.as_deref().unwrap_or(Path::new(""));
        let mut pairs = vec![
            ("  version", module.version.clone()),
            ("  state", module.state.clone()),
            ("  path", path.display().to_string()),
            ("  sha256", module.sha256.clone()),
            ("  grants", or_none(&module.grants.join(", "))),
            ("  public routes", yes_or_no(module.public)),
            ("  requests", module.requests.total().to_string()),
            ("  in flight", module.in_flight_requests.to_string()),
            ("  resident", module.resident_generations.to_string()),
            ("  isolation", module.isolation.clone()),
        ];
        if let Some(process) = &module.process {
            pairs.extend(of_process(process, now));
        }
        let title = [(
            &*format!("{}#{}", module.name, module.generation),
            String::new(),
        )];
        table::pairs(&title) + &table::pairs(&pairs)
    };
    let draining = |one: &DrainingGeneration| {
        let pairs = [
            ("  version", one.version.clone()),
            ("  state", "draining".to_owned()),
            ("  in flight", one.in_flight_requests.to_string()),
        ];
        let title = [(&*format!("{}#{}", one.name, one.generation), String::new())];
        table::pairs(&title) + &table::pairs(&pairs)
    };
    let serving = list.modules.iter().map(paragraph);
    let all: Vec<_> = serving.chain(list.draining.iter().map(draining)).collect();
    all.join("\n")
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none" } else { text }.to_owned()
}

fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}
