//! Flags, environment, file and defaults become one checked `Config`; each key's rule stands where it is read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::quantity::{HOUR, SECOND};
use super::section::{Section, Source, integer, strings};
use super::{
    Config, Flags, Isolation, Kernel, Limits, LogFormat, Module, Rollback, Sessions, SocketPath,
    Unload, confine, file, secrets,
};
use crate::modules::grants::Grants;
use crate::telemetry::Filter;

/// Below four, one module that blocks its worker is felt by all; above 64 the threads cost more than they serve.
const WORKERS_DEFAULT_MIN: usize = 4;
const WORKERS_MIN: usize = 2;
const WORKERS_MAX: usize = 64;
/// Less than the 90 s after which systemd kills, and long enough for an answer that streams.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(600);
const TTL_MAX: Duration = Duration::from_secs(3600);
const SESSIONS_MAX: usize = 10_000;
const STREAM_GRACE: Duration = Duration::from_secs(300);
/// An editor reloads its window within seconds.
pub(crate) const HOST_GRACE: Duration = Duration::from_secs(30);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// What fails at all fails soon; a person who has just reloaded still looks.
const ROLLBACK_WINDOW: Duration = Duration::from_secs(30);
/// One failure is an odd request, five are the version.
const ROLLBACK_FAILURES: usize = 5;
const DAY: Duration = Duration::from_secs(86_400);
const MODULE_NAME: &str = "a name of [a-z][a-z0-9_-]*, at most 32 characters";

/// Where a configuration comes from, so that it can be read again.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    flags: Flags,
    file: Option<PathBuf>,
}

type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Config {
    #[cfg(test)]
    pub(super) fn load(
        flags: &Flags,
        environment: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Config, ConfigError> {
        Origin::find(flags.clone(), environment).read(environment)
    }

    /// `path` names the text in errors, and its directory is what relative paths in it start from.
    pub(super) fn check(
        text: &str,
        path: &Path,
        flags: &Flags,
        environment: Environment<'_>,
    ) -> Result<Config, ConfigError> {
        let source = Source { path, text };
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            place: source.place(error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        let mut root = Section::new("the top level", source, table.into_inner());
        let (kernel, secrets, modules) = (
            root.section("kernel")?,
            root.section("secrets")?,
            root.section("modules")?,
        );
        let sessions = read_sessions(root.section("sessions")?)?;
        let limits = Limits::read(root.section("limits")?)?;
        root.finish()?;
        let modules = read_modules(modules, flags)?;
        Ok(Config {
            kernel: read_kernel(kernel, flags, environment, &modules)?,
            sessions,
            secrets: secrets::read(secrets, flags)?,
            limits,
            modules,
        })
    }
}

impl Origin {
    /// Finds the file, if there is one, and reads nothing.
    pub(crate) fn find(
        mut flags: Flags,
        environment: &impl Fn(&str) -> Option<OsString>,
    ) -> Origin {
        let environment = set(environment);
        let file = flags
            .config
            .take()
            .or_else(|| environment("MIDPLANE_CONFIG").map(PathBuf::from))
            .or_else(|| default_file(&environment));
        Origin { flags, file }
    }

    /// The file, as it was named.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What the file says now, under the same flags. Reads the file and nothing else; binds, creates and changes nothing.
    pub(crate) fn read(
        &self,
        environment: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Config, ConfigError> {
        let environment = set(environment);
        match &self.file {
            Some(path) => Config::check(&file::read(path)?, path, &self.flags, &environment),
            None => Config::check("", Path::new("midplane.toml"), &self.flags, &environment),
        }
    }
}

/// An empty variable counts as unset, as the XDG base directory specification says of its own.
fn set(environment: &impl Fn(&str) -> Option<OsString>) -> impl Fn(&str) -> Option<OsString> {
    move |name| environment(name).filter(|value| !value.is_empty())
}

fn default_file(environment: Environment<'_>) -> Option<PathBuf> {
    let base = base_directory(environment, "XDG_CONFIG_HOME", ".config")?;
    let path = base.join("midplane/midplane.toml");
    // a link to nowhere is a mistake to tell, not an absent file
    path.symlink_metadata().is_ok().then_some(path)
}

fn default_data_dir(environment: Environment<'_>) -> Option<PathBuf> {
    Some(base_directory(environment, "XDG_DATA_HOME", ".local/share")?.join("midplane"))
}

/// A relative path in a variable is ignored, as the XDG base directory specification asks.
fn base_directory(
    environment: Environment<'_>,
    variable: &str,
    below_home: &str,
) -> Option<PathBuf> {
    let absolute = |name: &str| {
        environment(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute(variable).or_else(|| Some(absolute("HOME")?.join(below_home)))
}

fn default_socket_dir(environment: Environment<'_>) -> PathBuf {
    let variable = if cfg!(target_os = "macos") {
        "TMPDIR"
    } else {
        "XDG_RUNTIME_DIR"
    };
    match environment(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
    {
        Some(directory) => directory.join("midplane"),
        None => PathBuf::from(format!("/tmp/midplane-{}", nix::unistd::geteuid())),
    }
}

fn read_kernel(
    mut section: Section<'_>,
    flags: &Flags,
    environment: Environment<'_>,
    modules: &BTreeMap<String, Module>,
) -> Result<Kernel, ConfigError> {
    let s = &mut section;
    let source = s.source;
    let socket = read_path(s, "socket")?;
    let socket = match (&flags.socket, environment("MIDPLANE_SOCKET"), socket) {
        (Some(path), _, _) => SocketPath::At(from_here("--socket", path)?),
        (None, Some(path), _) => SocketPath::At(from_here("MIDPLANE_SOCKET", Path::new(&path))?),
        (None, None, Some(path)) => SocketPath::At(path),
        (None, None, None) if flags.bridge_fd.is_some() => SocketPath::OfInstance {
            directory: default_socket_dir(environment),
        },
        (None, None, None) => SocketPath::At(default_socket_dir(environment).join("kernel.sock")),
    };
    let data_dir = read_path(s, "data_dir")?;
    let data_dir = match (&flags.data_dir, data_dir) {
        (Some(path), _) => from_here("--data-dir", path)?,
        (None, Some(path)) => path,
        (None, None) => default_data_dir(environment).ok_or(ConfigError::NoDefault {
            what: "the data directory",
            set: "--data-dir, XDG_DATA_HOME or HOME",
        })?,
    };
    let log = s.get("log", LogFormat::Human, "\"human\" or \"json\"", |v| {
        log_format(v.as_str()?)
    })?;
    let log = match (&flags.log, environment("MIDPLANE_LOG")) {
        (Some(text), _) => log_format_of("--log", text)?,
        (None, Some(text)) => log_format_of("MIDPLANE_LOG", &text.to_string_lossy())?,
        (None, None) => log,
    };
    let module_dirs = s.get("module_dirs", None, "an array of paths", |v| {
        strings(v).map(Some)
    })?;
    let module_dirs = match module_dirs {
        Some(dirs) => dirs.iter().map(|dir| source.resolve(dir)).collect(),
        None => default_module_dirs(modules),
    };
    let default_workers = available_parallelism()
        .map_or(1, usize::from)
        .clamp(WORKERS_DEFAULT_MIN, WORKERS_MAX);
    let unload = s.get(
        "unload",
        Unload::Auto,
        "\"auto\" or \"never\"",
        |v| match v.as_str()? {
            "auto" => Some(Unload::Auto),
            "never" => Some(Unload::Never),
            _ => None,
        },
    )?;
    let kernel = Kernel {
        socket,
        data_dir,
        log,
        log_filter: s.get(
            "log_filter",
            "info".to_owned(),
            "a filter like \"info,hello=debug\"",
            |v| {
                let filter: Filter = v.as_str()?.parse().ok()?;
                Some(filter.to_string())
            },
        )?,
        write_host_key: s.boolean("write_host_key", false)? || flags.write_host_key,
        module_dirs,
        unload,
        workers: s.count("workers", default_workers, WORKERS_MIN..=WORKERS_MAX)?,
        shutdown_timeout: s.duration("shutdown_timeout", SHUTDOWN_TIMEOUT, SECOND..=HOUR)?,
        allowed_hosts: s.strings("allowed_hosts")?.unwrap_or_default(),
        allowed_origins: s.strings("allowed_origins")?.unwrap_or_default(),
        debuggable: s.boolean("debuggable", false)?,
    };
    section.finish()?;
    Ok(kernel)
}

fn default_module_dirs(modules: &BTreeMap<String, Module>) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = modules
        .values()
        .filter_map(|module| module.path.parent())
        .map(Path::to_owned)
        .collect();
    dirs.sort();
    dirs.dedup();
    dirs
}

fn read_sessions(mut section: Section<'_>) -> Result<Sessions, ConfigError> {
    let s = &mut section;
    let max_ttl = s.duration("max_ttl", TTL_MAX, SECOND..=DAY)?;
    let sessions = Sessions {
        ttl: s.duration("ttl", TTL.min(max_ttl), SECOND..=max_ttl)?,
        max_ttl,
        max: s.count("max", SESSIONS_MAX, 1..=1_000_000)?,
        stream_grace: s.duration("stream_grace", STREAM_GRACE, Duration::ZERO..=DAY)?,
        host_grace: s.duration("host_grace", HOST_GRACE, Duration::ZERO..=DAY)?,
    };
    section.finish()?;
    Ok(sessions)
}

fn read_modules(
    section: Section<'_>,
    flags: &Flags,
) -> Result<BTreeMap<String, Module>, ConfigError> {
    let mut by_flag = BTreeMap::new();
    for flag in &flags.modules {
        let (name, path) = flag
            .split_once('=')
            .filter(|(name, path)| is_module_name(name) && !path.is_empty())
            .ok_or_else(|| {
                flag_error("--module", flag, &format!("NAME=PATH with {MODULE_NAME}"))
            })?;
        by_flag.insert(name.to_owned(), from_here("--module", Path::new(path))?);
    }
    let source = section.source;
    let mut modules = BTreeMap::new();
    for (name, value) in section.entries() {
        let offset = value.span().start;
        let refuse = |found: &str, allowed: &str| ConfigError::Value {
            place: source.place(offset),
            key: format!("[modules.{name}]"),
            found: found.to_owned(),
            allowed: allowed.to_owned(),
        };
        if !is_module_name(&name) {
            return Err(refuse("not a module's name", MODULE_NAME));
        }
        let DeValue::Table(table) = value.into_inner() else {
            return Err(refuse("not a table", "a table"));
        };
        let section = Section::new(format!("[modules.{name}]"), source, table);
        let module = read_module(section, by_flag.remove(&name))?
            .ok_or_else(|| refuse("without a path", "`path = \"…\"` or --module NAME=PATH"))?;
        modules.insert(name, module);
    }
    modules.extend(by_flag.into_iter().map(|(name, path)| {
        let module = Module {
            path,
            isolation: Isolation::default(),
            grants: None,
            public: false,
            watch: false,
            sha256: None,
            drain_timeout: DRAIN_TIMEOUT,
            rollback: None,
            confine: None,
            config: serde_json::Map::new(),
        };
        (name, module)
    }));
    Ok(modules)
}

fn read_module(
    mut section: Section<'_>,
    path_by_flag: Option<PathBuf>,
) -> Result<Option<Module>, ConfigError> {
    let s = &mut section;
    let path = read_path(s, "path")?;
    let isolation = s.get(
        "isolation",
        Isolation::default(),
        "\"in-process\" or \"process\"",
        |v| {
            [Isolation::InProcess, Isolation::Process]
                .into_iter()
                .find(|isolation| v.as_str() == Some(isolation.as_str()))
        },
    )?;
    let confine = confine::read(s, isolation == Isolation::Process)?;
    let rollback = read_rollback(s)?;
    let watch_at = s.offset("watch");
    let watch = s.boolean("watch", false)?;
    let grants = s.get(
        "grants",
        None,
        "an array of \"secrets\" and \"call:<module>\"",
        |v| Grants::parse(&strings(v)?).ok().map(Some),
    )?;
    let public = s.boolean("public", false)?;
    let sha256 = s.get(
        "sha256",
        None,
        "64 hexadecimal digits, or \"\" for no pin",
        |v| match v.as_str()? {
            "" => Some(None),
            hex => (hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
                .then(|| Some(hex.to_ascii_lowercase())),
        },
    )?;
    if watch && sha256.is_some() {
        return Err(s.refuse(
            "watch",
            watch_at,
            "true beside a `sha256` pin",
            "one of the two: a pin holds for every load, so that no changed file could ever be loaded",
        ));
    }
    let drain_timeout = s.duration("drain_timeout", DRAIN_TIMEOUT, Duration::ZERO..=HOUR)?;
    let config = match s.take("config") {
        None => serde_json::Map::new(),
        Some(value) => {
            let offset = value.span().start;
            match json(value) {
                Some(Json::Object(config)) => config,
                _ => {
                    // never the text: it may hold what only the module should see
                    let allowed = "a table of strings, numbers, booleans, arrays and tables (dates as strings)";
                    return Err(s.refuse("config", offset, "something else", allowed));
                }
            }
        }
    };
    section.finish()?;
    Ok(path_by_flag.or(path).map(|path| Module {
        path,
        isolation,
        grants,
        public,
        watch,
        sha256,
        drain_timeout,
        rollback,
        confine,
        config,
    }))
}

/// `"off"`, or a table.
fn read_rollback(section: &mut Section<'_>) -> Result<Option<Rollback>, ConfigError> {
    const ALLOWED: &str = "\"off\", or { window = \"30s\", max_failures = 5 }";
    let Some(value) = section.take("rollback") else {
        return Ok(None);
    };
    let (offset, source) = (value.span().start, section.source);
    match value.into_inner() {
        DeValue::String(text) if text == "off" => Ok(None),
        DeValue::Table(table) => {
            let mut s = Section::new("rollback", source, table);
            let rollback = Rollback {
                window: s.duration("window", ROLLBACK_WINDOW, SECOND..=HOUR)?,
                max_failures: s.count("max_failures", ROLLBACK_FAILURES, 0..=1_000_000)? as u64,
            };
            s.finish()?;
            Ok(Some(rollback))
        }
        _ => Err(section.refuse("rollback", offset, "something else", ALLOWED)),
    }
}

fn json(value: Spanned<DeValue<'_>>) -> Option<Json> {
    Some(match value.into_inner() {
        DeValue::String(text) => Json::String(text.into_owned()),
        number @ DeValue::Integer(_) => integer(&number)?.into(),
        DeValue::Float(number) => {
            Json::Number(serde_json::Number::from_f64(number.as_str().parse().ok()?)?)
        }
        DeValue::Boolean(value) => Json::Bool(value),
        DeValue::Datetime(_) => return None,
        DeValue::Array(items) => Json::Array(items.into_iter().map(json).collect::<Option<_>>()?),
        DeValue::Table(table) => Json::Object(
            table
                .into_iter()
                .map(|(key, value)| Some((key.into_inner().into_owned(), json(value)?)))
                .collect::<Option<_>>()?,
        ),
    })
}

fn is_module_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

fn read_path(section: &mut Section<'_>, key: &'static str) -> Result<Option<PathBuf>, ConfigError> {
    let source = section.source;
    section.get(key, None, "a path", |value| {
        let text = value
            .as_str()
            .filter(|text| !text.is_empty() && !text.contains('\0'))?;
        Some(Some(source.resolve(text)))
    })
}

/// A path of a flag or variable starts from the working directory. It must be UTF-8, as all answers that name it are.
fn from_here(place: &str, path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path)
        .ok()
        .filter(|path| path.to_str().is_some())
        .ok_or_else(|| flag_error(place, &path.to_string_lossy(), "a path in UTF-8, not empty"))
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "human" => Some(LogFormat::Human),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

fn log_format_of(place: &str, text: &str) -> Result<LogFormat, ConfigError> {
    log_format(text).ok_or_else(|| flag_error(place, text, "human or json"))
}

fn flag_error(flag: &str, found: &str, allowed: &str) -> ConfigError {
    ConfigError::Value {
        place: "command line or environment".to_owned(),
        key: flag.to_owned(),
        found: format!("{found:?}"),
        allowed: allowed.to_owned(),
    }
}
