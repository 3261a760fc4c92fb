//! `midplane call METHOD PATH`: one request, its answer as it comes.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use midplane_client::{Error, NewSession};

use super::connection::ClientArguments;
use super::failure::{EXIT_REFUSED, Failure};
use super::output;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// For example GET
    method: String,
    /// For example /modules
    path: String,
    /// The body: text, @FILE, or - for standard input. Sent as JSON unless -H says otherwise
    #[arg(long, short, value_name = "BODY")]
    data: Option<String>,
    /// A header, `name: value`; may be repeated
    #[arg(long = "header", short = 'H', value_name = "HEADER")]
    headers: Vec<String>,
    /// Act as the session of this client secret instead of the host
    #[arg(
        long,
        value_name = "TOKEN",
        env = "MIDPLANE_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// Act as a session that is issued for this call
    #[arg(long, conflicts_with = "token")]
    session: bool,
    /// Print status and headers to standard error
    #[arg(long, short)]
    include: bool,
    #[command(flatten)]
    client: ClientArguments,
}

pub(super) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let client = match &arguments.token {
        Some(token) => arguments.client.nobody().credential(token),
        None => {
            let host = arguments.client.host()?;
            if arguments.session {
                let session = host.issue_session(&NewSession::default()).await?;
                host.credential(session.client_secret.expose())
            } else {
                host
            }
        }
    };
    let response = client.request(request(arguments)?).await?;
    let status = response.status();
    if arguments.include {
        output::note(&format!("{:?} {status}", response.version()));
        for (name, value) in response.headers() {
            output::note(&format!(
                "{name}: {}",
                String::from_utf8_lossy(value.as_bytes())
            ));
        }
    }
    let mut body = response.into_body();
    let mut ends_line = true;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::Client(Error::Protocol(error.into())))?;
        if let Ok(bytes) = frame.into_data() {
            let mut stdout = io::stdout().lock();
            stdout
                .write_all(&bytes)
                .and_then(|()| stdout.flush())
                .map_err(Failure::Output)?;
            ends_line = bytes.last().map_or(ends_line, |last| *last == b'\n');
        }
    }
    if !ends_line && output::is_for_a_person() {
        output::line("")?;
    }
    if status.is_client_error() || status.is_server_error() {
        output::note(&format!(
            "midplane: {} {} answered {status}",
            arguments.method, arguments.path
        ));
        return Ok(ExitCode::from(EXIT_REFUSED));
    }
    Ok(ExitCode::SUCCESS)
}

fn request(arguments: &Arguments) -> Result<Request<Full<Bytes>>, Failure> {
    let method = Method::from_bytes(arguments.method.to_uppercase().as_bytes())
        .map_err(|_| Failure::Usage(format!("{} is not an HTTP method", arguments.method)))?;
    let mut builder = Request::builder().method(method).uri(&arguments.path);
    let mut typed = false;
    for header in &arguments.headers {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| Failure::Usage(format!("{header:?} is not `name: value`")))?;
        typed |= name.trim().eq_ignore_ascii_case("content-type");
        builder = builder.header(name.trim(), value.trim());
    }
    let body = arguments.data.as_deref().map(read_body).transpose()?;
    if body.is_some() && !typed {
        builder = builder.header("content-type", "application/json");
    }
    if !arguments.path.starts_with('/') {
        return Err(Failure::Usage(format!(
            "the path starts with a slash: /{}",
            arguments.path
        )));
    }
    builder
        .body(Full::from(body.unwrap_or_default()))
        .map_err(|error| Failure::Usage(error.to_string()))
}

fn read_body(data: &str) -> Result<Vec<u8>, Failure> {
    match data {
        "-" => {
            let mut bytes = Vec::new();
            io::stdin()
                .read_to_end(&mut bytes)
                .map_err(|error| Failure::Usage(format!("standard input: {error}")))?;
            Ok(bytes)
        }
        file if file.starts_with('@') => std::fs::read(&file[1..])
            .map_err(|error| Failure::Usage(format!("{}: {error}", &file[1..]))),
        text => Ok(text.as_bytes().to_vec()),
    }
}
