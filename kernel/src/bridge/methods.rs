//! The methods of the bridge and what they carry: the one description of it, for the kernel, its documentation and the types
//! of `@midplane/host`.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::message::{ErrorObject, code};

/// Of a host's name and version.
const NAME_LEN_MAX: usize = 128;
/// Of what tells a host that attaches again from others.
const INSTANCE_LEN_MAX: usize = 256;

pub(crate) const READY: &str = "ready";
pub(crate) const INITIALIZE: &str = "initialize";
pub(crate) const SHUTDOWN: &str = "shutdown";
pub(crate) const SECRET_GET: &str = "secret/get";
pub(crate) const SECRET_CHANGED: &str = "secret/changed";
pub(crate) const CANCEL_REQUEST: &str = "$/cancelRequest";
pub(crate) const EVENT: &str = "event";
pub(crate) const LOG: &str = "log";

/// `ready`, the first message on a bridge: the modules are loaded and the socket serves.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Ready"))]
pub(crate) struct Ready<'a> {
    /// The number of the bridge and of the HTTP API; raised by an incompatible change.
    pub(crate) protocol: u32,
    /// Of the kernel.
    pub(crate) version: &'static str,
    /// Of this process, new at each start; `iss` of its tokens.
    pub(crate) instance: &'a str,
    /// Of the kernel's process.
    pub(crate) pid: u32,
    /// The path of the socket.
    pub(crate) socket: &'a str,
    /// `mph_…`: opens all control routes of the socket.
    pub(crate) host_key: &'a str,
}

/// `initialize`, the first request of a host.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "InitializeParams"))]
pub(crate) struct Initialize {
    pub(crate) client: Client,
    /// The number that the host speaks.
    pub(crate) protocol: u32,
    #[serde(default)]
    pub(crate) capabilities: Capabilities,
}

/// Who a host is, for people and the log.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "ClientIdentity"))]
pub(crate) struct Client {
    /// A short word, such as that of the program.
    pub(crate) name: String,
    /// Of the program.
    pub(crate) version: String,
    /// The same each time this host attaches: its sessions live on when it does so within `[sessions] host_grace`.
    pub(crate) instance: Option<String>,
}

/// What a host does and wants.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Capabilities {
    /// It answers `secret/get`.
    #[serde(default)]
    pub(crate) secrets: bool,
    /// It wants `event`.
    #[serde(default)]
    pub(crate) events: bool,
    /// It wants `log`, of this level and the more important ones.
    #[serde(default)]
    pub(crate) log: Option<LogLevel>,
}

/// How important a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The answer to `initialize`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "InitializeResult"))]
pub(crate) struct Initialized<'a> {
    pub(crate) protocol: u32,
    /// The host's name, and how many were attached before it, as the log has it: `vscode#1`.
    pub(crate) host: &'a str,
}

/// `secret/get`: the kernel asks for a key, at the moment it is needed.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SecretGetParams"))]
pub(crate) struct SecretGet<'a> {
    /// The name of the key.
    pub(crate) secret_key_id: &'a str,
    /// Any short text; callers use `dev` and `pro`.
    pub(crate) environment: &'a str,
    /// The session it is for; when several ask at once, the first.
    pub(crate) session_id: &'a str,
    /// The module that asks; `null` when the session is being made.
    pub(crate) module: Option<&'a str>,
}

/// The answer to `secret/get`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SecretGetResult"))]
pub(crate) struct SecretResult {
    /// One line of visible ASCII, up to 4 KiB.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub(crate) secret: Zeroizing<String>,
}

/// `secret/changed`: the next use of the key asks for it again. Sessions go on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SecretChangedParams"))]
pub(crate) struct SecretChanged {
    /// The name of the key.
    pub(crate) secret_key_id: String,
}

/// The answer to `secret/changed`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SecretChangedResult"))]
pub(crate) struct SecretsForgotten {
    /// Sessions that had it.
    pub(crate) sessions: usize,
}

/// `$/cancelRequest`: the answer is not wanted any more.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "CancelParams"))]
pub(crate) struct Cancel<Id> {
    /// Of the request.
    pub(crate) id: Id,
}

impl Initialize {
    /// Checks what serde cannot.
    pub(crate) fn check(&self) -> Result<(), ErrorObject> {
        let invalid = |message: String| Err(ErrorObject::new(code::INVALID_PARAMS, message));
        for (member, text, len_max) in [
            ("name", Some(&self.client.name), NAME_LEN_MAX),
            ("version", Some(&self.client.version), NAME_LEN_MAX),
            ("instance", self.client.instance.as_ref(), INSTANCE_LEN_MAX),
        ] {
            let Some(text) = text else { continue };
            if text.is_empty() || text.len() > len_max || text.chars().any(char::is_control) {
                return invalid(format!(
                    "`client.{member}` is a text of 1 to {len_max} bytes without control characters"
                ));
            }
        }
        Ok(())
    }
}

impl LogLevel {
    /// Whether a line of `level` is as important as this.
    pub(crate) fn takes(self, level: tracing::Level) -> bool {
        let most_verbose = match self {
            LogLevel::Error => tracing::Level::ERROR,
            LogLevel::Warn => tracing::Level::WARN,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Debug => tracing::Level::DEBUG,
            LogLevel::Trace => tracing::Level::TRACE,
        };
        level <= most_verbose
    }
}
