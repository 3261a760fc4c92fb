//! `midplane session …`

use std::process::ExitCode;

use midplane_client::{IssuedSession, NewSession, RateLimit, Session};
use serde_json::{Map, Value};

use super::connection::ClientArguments;
use super::failure::Failure;
use super::output;
use crate::clock;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Issue a session and print its client secret
    Create(Create),
    /// List sessions, newest first
    List(List),
    /// End a session, or all of a user or on a secret, at once
    Revoke(Revoke),
    /// Print a new client secret for a session
    Renew(Renew),
}

#[derive(clap::Args)]
pub(super) struct Create {
    /// The secret that its modules may use, by the id the kernel knows it under
    #[arg(long, value_name = "ID")]
    secret_key_id: Option<String>,
    /// [default: local]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A module it may use; may be repeated [default: all that are loaded]
    #[arg(long = "module", value_name = "NAME")]
    modules: Vec<String>,
    /// Space-separated words that mean something to modules
    #[arg(long)]
    scope: Option<String>,
    /// How long the client secret is good [default: `ttl` in [sessions]]
    #[arg(long, value_name = "SECONDS")]
    expires_in: Option<u64>,
    /// Requests per minute
    #[arg(long, value_name = "N")]
    rpm: Option<u32>,
    /// A JSON object for its modules
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// Goes to the host with the request for the secret [default: pro]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Print the client secret only
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(clap::Args)]
pub(super) struct List {
    /// At most this many, up to 100
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Older than this session
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(clap::Args)]
#[group(id = "which", required = true, multiple = true, args = ["id", "user", "secret_key_id"])]
pub(super) struct Revoke {
    /// The session
    #[arg(conflicts_with_all = ["user", "secret_key_id"])]
    id: Option<String>,
    /// All sessions of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// All sessions on this secret
    #[arg(long, value_name = "ID")]
    secret_key_id: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(clap::Args)]
pub(super) struct Renew {
    /// The session
    id: String,
    /// How long the new client secret is good
    #[arg(long, value_name = "SECONDS")]
    expires_in: Option<u64>,
    /// Print the client secret only
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    client: ClientArguments,
}

pub(super) async fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Create(arguments) => create(arguments).await?,
        Command::List(arguments) => list(arguments).await?,
        Command::Revoke(arguments) => revoke(arguments).await?,
        Command::Renew(arguments) => {
            let client = arguments.client.host()?;
            let issued = client.renew(&arguments.id, arguments.expires_in).await?;
            print_issued(&issued, arguments.quiet, arguments.client.json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(arguments: &Create) -> Result<(), Failure> {
    let session = NewSession {
        secret_key_id: arguments.secret_key_id.clone(),
        environment: arguments.environment.clone(),
        user: arguments.user.clone(),
        modules: (!arguments.modules.is_empty()).then(|| arguments.modules.clone()),
        scope: arguments.scope.clone(),
        expires_in: arguments.expires_in,
        rate_limit: arguments.rpm.map(|requests_per_minute| RateLimit {
            requests_per_minute,
        }),
        metadata: arguments.metadata.as_deref().map(read_object).transpose()?,
    };
    let issued = arguments.client.host()?.issue_session(&session).await?;
    print_issued(&issued, arguments.quiet, arguments.client.json)
}

async fn list(arguments: &List) -> Result<(), Failure> {
    let client = arguments.client.host()?;
    if arguments.client.json {
        let after = arguments
            .after
            .as_deref()
            .map(|id| format!("&after={id}"))
            .unwrap_or_default();
        let path = format!("/sessions?limit={}{after}", arguments.limit);
        let sessions: Value = client.send(http::Method::GET, &path, None::<&()>).await?;
        return output::json(&sessions);
    }
    let page = client
        .sessions(Some(arguments.limit), arguments.after.as_deref())
        .await?;
    let now = clock::unix_now();
    let rows: Vec<_> = page.data.iter().map(|session| row(session, now)).collect();
    output::data(&output::table(
        &["SESSION", "USER", "STATUS", "EXPIRES", "MODULES", "SECRET"],
        &rows,
    ))?;
    if let (true, Some(last)) = (page.has_more, page.data.last()) {
        output::note(&format!("there are more: --after {}", last.id));
    }
    Ok(())
}

fn row(session: &Session, now: u64) -> Vec<String> {
    vec![
        session.id.clone(),
        session.user.clone(),
        session.status.clone(),
        output::relative(session.expires_at, now),
        session.modules.join(","),
        session
            .secret_key_id
            .clone()
            .unwrap_or_else(|| "-".to_owned()),
    ]
}

async fn revoke(arguments: &Revoke) -> Result<(), Failure> {
    let client = arguments.client.host()?;
    let count = match &arguments.id {
        Some(id) => {
            client.revoke(id).await?;
            1
        }
        None => {
            client
                .revoke_matching(
                    arguments.user.as_deref(),
                    arguments.secret_key_id.as_deref(),
                )
                .await?
        }
    };
    if arguments.client.json {
        return output::json(&serde_json::json!({ "revoked": count }));
    }
    output::note(&format!("{count} revoked"));
    Ok(())
}

/// The secret is the last line, alone.
fn print_issued(issued: &IssuedSession, quiet: bool, json: bool) -> Result<(), Failure> {
    let session = issued;
    let secret = issued.client_secret.expose();
    if json {
        return output::json(&serde_json::json!({
            "id": session.id,
            "user": session.user,
            "modules": session.modules,
            "scope": session.scope,
            "secret_key_id": session.secret_key_id,
            "expires_in": issued.expires_in,
            "expires_at": session.expires_at,
            "client_secret": secret,
        }));
    }
    if !quiet {
        output::note(&format!(
            "session {} of {} for {}, good for {} s",
            session.id,
            session.user,
            session.modules.join(", "),
            issued.expires_in
        ));
        if output::is_for_a_person() {
            output::note("send it as `Authorization: Bearer …`; --quiet prints it alone");
        }
    }
    output::line(secret)
}

pub(super) fn read_object(text: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::Usage(format!("not a JSON object: {error}")))
}
