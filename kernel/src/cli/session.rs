//! `midplane session create|list|revoke|renew`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use midplane_client::path::{segment, with_query};
use midplane_client::{IssuedSession, NewSession, RateLimit, Session, SessionPage};
use serde_json::{Map, Value, json};

use super::arguments::{ClientArgs, json_object};
use super::output::remark;
use super::{Failure, Output, table};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Issue a session; its client secret is printed last, this once
    Create(Create),
    /// List sessions, newest first
    List {
        /// How many, up to 100
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
        /// Only those older than this session
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// End a session, or all of a user or a secret, at once
    Revoke(Revoke),
    /// Make a new client secret for a session
    Renew {
        id: String,
        /// Seconds
        #[arg(long, value_name = "SECONDS")]
        expires_in: Option<u64>,
        /// Print the client secret alone
        #[arg(short, long, conflicts_with = "json")]
        quiet: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// Name of the secret that its modules may use
    #[arg(long, value_name = "ID")]
    secret_key_id: Option<String>,
    /// Goes to the host with the request for the secret [default: pro]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Whose it is [default: local]
    #[arg(long)]
    user: Option<String>,
    /// A module it may use; may be repeated [default: all that are loaded]
    #[arg(long = "module", value_name = "NAME")]
    modules: Vec<String>,
    /// Words with spaces between, read by the modules
    #[arg(long)]
    scope: Option<String>,
    /// Seconds until the client secret expires
    #[arg(long, value_name = "SECONDS")]
    expires_in: Option<u64>,
    /// Requests per minute
    #[arg(long, value_name = "N")]
    rpm: Option<u32>,
    /// A JSON object that its modules see
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    metadata: Option<Map<String, Value>>,
    /// Print the client secret alone: TOKEN=$(midplane session create -q)
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub(super) struct Revoke {
    #[arg(group = "which", conflicts_with_all = ["user", "secret_key_id"])]
    id: Option<String>,
    /// All of this user
    #[arg(long, group = "which")]
    user: Option<String>,
    /// All with this secret
    #[arg(long, value_name = "ID", group = "which")]
    secret_key_id: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(create) => issue(create).await,
        Command::List {
            limit,
            after,
            client,
        } => list(limit, after.as_deref(), &client).await,
        Command::Revoke(revoke) => end(&revoke).await,
        Command::Renew {
            id,
            expires_in,
            quiet,
            client,
        } => {
            let body = expires_in.map_or_else(|| json!({}), |s| json!({ "expires_in": s }));
            let path = segment("/sessions/", &id, "/renew");
            let answer: Value = client
                .host()?
                .send(Method::POST, &path, Some(&body))
                .await?;
            show_issued(&answer, quiet, &client)
        }
    }
}

async fn issue(create: Create) -> Result<(), Failure> {
    let (new, quiet, client) = create.split();
    let host = client.host()?;
    let asking = host.send(Method::POST, "/sessions", Some(&new));
    let answer: Value = super::progress::during("waiting for the secret", asking).await?;
    show_issued(&answer, quiet, &client)
}

impl Create {
    fn split(self) -> (NewSession, bool, ClientArgs) {
        let new = NewSession {
            secret_key_id: self.secret_key_id,
            environment: self.environment,
            user: self.user,
            modules: (!self.modules.is_empty()).then_some(self.modules),
            scope: self.scope,
            expires_in: self.expires_in,
            rate_limit: self.rpm.map(|requests_per_minute| RateLimit {
                requests_per_minute,
            }),
            metadata: self.metadata,
        };
        (new, self.quiet, self.client)
    }
}

fn show_issued(answer: &Value, quiet: bool, client: &ClientArgs) -> Result<(), Failure> {
    Output::of(client).show(answer, |session: IssuedSession| {
        if quiet {
            format!("{}\n", session.client_secret.expose())
        } else {
            issued(&session)
        }
    })
}

pub(super) fn issued(session: &IssuedSession) -> String {
    let mut pairs = vec![
        ("session", session.id.clone()),
        ("user", session.user.clone()),
        ("modules", session.modules.join(", ")),
    ];
    if !session.scope.is_empty() {
        pairs.push(("scope", session.scope.clone()));
    }
    pairs.extend(session.secret_key_id.clone().map(|id| ("secret", id)));
    pairs.push(("environment", session.environment.clone()));
    let limit = session.rate_limit.map(|rate| rate.requests_per_minute);
    pairs.extend(limit.map(|n| ("rate limit", format!("{n} requests a minute"))));
    let left = humantime::format_duration(Duration::from_secs(session.expires_in));
    pairs.push(("expires in", left.to_string()));
    pairs.push(("client secret", session.client_secret.expose().to_owned()));
    table::pairs(&pairs)
}

async fn list(limit: Option<u32>, after: Option<&str>, client: &ClientArgs) -> Result<(), Failure> {
    let limit = limit.map(|limit| limit.to_string());
    let path = with_query(
        "/sessions",
        &[("limit", limit.as_deref()), ("after", after)],
    );
    let answer: Value = client.host()?.send(Method::GET, &path, None::<&()>).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    let mut output = Output::of(client);
    let colour = output.colour();
    let mut more = None;
    output.show(&answer, |page: SessionPage| {
        if page.has_more {
            more = page.data.last().map(|session| session.id.clone());
        }
        rows(&page.data, now, colour)
    })?;
    if let Some(id) = more {
        remark(&format!("there are older ones: --after {id}"));
    }
    Ok(())
}

pub(super) fn rows(sessions: &[Session], now: u64, colour: bool) -> String {
    let row = |session: &Session| {
        let left = session.expires_at.saturating_sub(now);
        vec![
            session.id.clone(),
            session.status.clone(),
            session.user.clone(),
            session.modules.join(","),
            session
                .secret_key_id
                .clone()
                .unwrap_or_else(|| "-".to_owned()),
            if session.status == "active" {
                humantime::format_duration(Duration::from_secs(left)).to_string()
            } else {
                "-".to_owned()
            },
        ]
    };
    let rows: Vec<_> = sessions.iter().map(row).collect();
    let header = [
        "SESSION",
        "STATUS",
        "USER",
        "MODULES",
        "SECRET",
        "EXPIRES IN",
    ];
    table::render(&header, &rows, colour)
}

async fn end(revoke: &Revoke) -> Result<(), Failure> {
    let host = revoke.client.host()?;
    let mut output = Output::of(&revoke.client);
    if let Some(id) = &revoke.id {
        // An empty answer: there is nothing to print.
        return Ok(host.revoke(id).await?);
    }
    let filter = [
        ("user", revoke.user.as_deref()),
        ("secret_key_id", revoke.secret_key_id.as_deref()),
    ];
    let path = with_query("/sessions", &filter);
    let answer: Value = host.send(Method::DELETE, &path, None::<&()>).await?;
    output.show(&answer, |answer: Value| {
        format!("revoked {}\n", answer["revoked"])
    })
}
