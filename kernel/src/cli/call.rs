//! `midplane call METHOD PATH`: any request, its answer printed as it comes.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use midplane_client::NewSession;

use super::arguments::ClientArgs;
use super::{Client, Failure, Output};

/// Long enough for a request to start; a stream may outlive it by the kernel's grace.
const SESSION_S: u64 = 60;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[arg(value_parser = method)]
    method: Method,
    /// Such as /api/hello/hello
    path: String,
    /// The body; @FILE reads it from a file, - from standard input
    #[arg(
        short = 'd',
        long,
        value_name = "BODY|@FILE|-",
        allow_hyphen_values = true
    )]
    body: Option<String>,
    /// A header, `name: value`; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Client secret to use instead of the host key; others can see it here, but not in $MIDPLANE_TOKEN
    #[arg(long, conflicts_with = "session")]
    token: Option<String>,
    /// Issue a session for this request, and revoke it after
    #[arg(long)]
    session: bool,
    /// Secret of that session
    #[arg(long, value_name = "ID", requires = "session")]
    secret_key_id: Option<String>,
    /// Print status and headers on standard error
    #[arg(short, long)]
    include: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let request = arguments.request()?;
    let own = arguments
        .headers
        .iter()
        .any(|(name, _)| name == AUTHORIZATION);
    let variable = std::env::var("MIDPLANE_TOKEN")
        .ok()
        .filter(|token| !token.is_empty());
    let mut output = Output::of(&arguments.client);
    if arguments.session && !own {
        let host = arguments.client.host()?;
        let session = host.issue_session(&arguments.new_session()).await?;
        let client = arguments
            .client
            .anyone()
            .credential(session.client_secret.expose());
        let printed = exchange(&client, request, arguments.include, &mut output).await;
        // It would end by itself soon.
        let _ = host.revoke(&session.id).await;
        return printed;
    }
    let client = match arguments.token.or(variable) {
        _ if own => arguments.client.anyone(),
        Some(token) => arguments.client.anyone().credential(token),
        None => arguments.client.host()?,
    };
    exchange(&client, request, arguments.include, &mut output).await
}

async fn exchange(
    client: &Client,
    request: Request<Full<Bytes>>,
    include: bool,
    output: &mut Output,
) -> Result<ExitCode, Failure> {
    let response =
        super::progress::during("waiting for the answer", client.request(request)).await?;
    if include {
        // Standard error may be closed.
        let _ = io::stderr().write_all(head(&response).as_bytes());
    }
    let failed = response.status().as_u16() >= 400;
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Failure::Refused(format!("the answer broke off: {error}")))?;
        if let Some(chunk) = frame.data_ref() {
            output.bytes(chunk)?;
        }
    }
    Ok(ExitCode::from(u8::from(failed)))
}

fn head(response: &Response<Incoming>) -> String {
    let mut text = format!("{:?} {}\n", response.version(), response.status());
    for (name, value) in response.headers() {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    text + "\n"
}

impl Arguments {
    pub(super) fn request(&self) -> Result<Request<Full<Bytes>>, Failure> {
        if !self.path.starts_with('/') {
            return Err(Failure::Usage(format!(
                "the path starts with /, so: /{}",
                self.path
            )));
        }
        let invalid = |error: http::Error| Failure::Usage(format!("{:?}: {error}", self.path));
        let body = self.body.as_deref().map(read_body).transpose()?;
        let typed = self.headers.iter().any(|(name, _)| name == CONTENT_TYPE);
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if body.is_some() && !typed {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::from(body.unwrap_or_default()))
            .map_err(invalid)
    }

    /// For the module of the path alone, or all when it names none.
    pub(super) fn new_session(&self) -> NewSession {
        let module = self
            .path
            .strip_prefix("/api/")
            .and_then(|rest| rest.split(['/', '?']).next());
        NewSession {
            secret_key_id: self.secret_key_id.clone(),
            modules: module.map(|module| vec![module.to_owned()]),
            expires_in: Some(SESSION_S),
            ..NewSession::default()
        }
    }
}

fn read_body(text: &str) -> Result<Bytes, Failure> {
    let failed = |what: &str, source| Failure::Read {
        what: what.to_owned(),
        source,
    };
    if text == "-" {
        let mut bytes = Vec::new();
        let read = io::stdin().read_to_end(&mut bytes);
        read.map_err(|source| failed("standard input", source))?;
        return Ok(bytes.into());
    }
    match text.strip_prefix('@') {
        Some(file) => Ok(std::fs::read(file)
            .map_err(|source| failed(file, source))?
            .into()),
        None => Ok(text.to_owned().into()),
    }
}

fn method(text: &str) -> Result<Method, String> {
    let name = text.to_ascii_uppercase();
    Method::from_bytes(name.as_bytes()).map_err(|_| "not an HTTP method".to_owned())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `name: value`")?;
    let name = HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
    let value = HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}
