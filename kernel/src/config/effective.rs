//! The effective configuration as text that reads back as the same configuration. Holds sources of secrets, no values.

use std::path::Path;

use toml::{Table, Value};

use super::quantity::{format_duration, format_size};
use super::{Config, LogFormat, Module, SecretSource, SocketPath, Unload};

impl Config {
    pub(crate) fn to_toml(&self) -> String {
        let mut root = Table::new();
        root.insert("kernel".into(), self.kernel_table().into());
        root.insert("sessions".into(), self.sessions_table().into());
        root.insert("limits".into(), self.limits_table().into());
        let secrets: Table = self
            .secrets
            .iter()
            .map(|(id, from)| (id.clone(), secret(from)))
            .collect();
        root.insert("secrets".into(), secrets.into());
        let modules: Table = self
            .modules
            .iter()
            .map(|(name, module)| (name.clone(), module_table(module).into()))
            .collect();
        root.insert("modules".into(), modules.into());
        toml::to_string_pretty(&root).expect("strings, numbers and tables are TOML")
    }

    /// What is allowed and yet likely a mistake, one sentence each. The loader decides about a module when it loads it.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let missing_dirs = self
            .kernel
            .module_dirs
            .iter()
            .filter(|path| !path.is_dir())
            .map(|path| format!("module_dirs: {} is not a directory", path.display()));
        let missing_modules = self
            .modules
            .iter()
            .filter(|(_, module)| !module.path.is_file())
            .map(|(name, module)| {
                format!("modules.{name}: {} is not a file", module.path.display())
            });
        missing_dirs.chain(missing_modules).collect()
    }

    fn kernel_table(&self) -> Table {
        let k = &self.kernel;
        let log = match k.log {
            LogFormat::Human => "human",
            LogFormat::Json => "json",
        };
        let mut kernel = table([
            ("data_dir", path(&k.data_dir)),
            ("log", log.into()),
            ("log_filter", k.log_filter.as_str().into()),
            ("write_host_key", k.write_host_key.into()),
            (
                "module_dirs",
                Value::Array(k.module_dirs.iter().map(|dir| path(dir)).collect()),
            ),
            ("workers", count(k.workers)),
            (
                "unload",
                if k.unload == Unload::Never {
                    "never"
                } else {
                    "auto"
                }
                .into(),
            ),
            (
                "shutdown_timeout",
                format_duration(k.shutdown_timeout).into(),
            ),
            ("allowed_hosts", strings(&k.allowed_hosts)),
            ("allowed_origins", strings(&k.allowed_origins)),
            ("debuggable", k.debuggable.into()),
        ]);
        // One of an instance has no path that a file could say.
        if let SocketPath::At(socket) = &k.socket {
            kernel.insert("socket".to_owned(), path(socket));
        }
        kernel
    }

    fn sessions_table(&self) -> Table {
        let s = &self.sessions;
        table([
            ("ttl", format_duration(s.ttl).into()),
            ("max_ttl", format_duration(s.max_ttl).into()),
            ("max", count(s.max)),
            ("stream_grace", format_duration(s.stream_grace).into()),
            ("host_grace", format_duration(s.host_grace).into()),
        ])
    }

    fn limits_table(&self) -> Table {
        let l = &self.limits;
        table([
            ("header_bytes", format_size(l.header_bytes as u64).into()),
            ("header_fields", count(l.header_fields)),
            ("header_timeout", format_duration(l.header_timeout).into()),
            (
                "keep_alive_timeout",
                format_duration(l.keep_alive_timeout).into(),
            ),
            ("body_bytes", format_size(l.body_bytes).into()),
            ("body_bytes_max", format_size(l.body_bytes_max).into()),
            (
                "body_stall_timeout",
                format_duration(l.body_stall_timeout).into(),
            ),
            (
                "write_stall_timeout",
                format_duration(l.write_stall_timeout).into(),
            ),
            ("connections", count(l.connections)),
            ("connections_per_process", count(l.connections_per_process)),
            ("connections_for_host", count(l.connections_for_host)),
            ("requests_per_module", count(l.requests_per_module)),
            (
                "websocket_message_bytes",
                format_size(l.websocket_message_bytes as u64).into(),
            ),
            (
                "websocket_idle_timeout",
                format_duration(l.websocket_idle_timeout).into(),
            ),
            (
                "websocket_ping_interval",
                format_duration(l.websocket_ping_interval).into(),
            ),
            (
                "websocket_messages_per_second",
                i64::from(l.websocket_messages_per_second).into(),
            ),
            ("state_bytes", format_size(l.state_bytes as u64).into()),
            ("init_timeout", format_duration(l.init_timeout).into()),
            (
                "quarantine_after",
                format_duration(l.quarantine_after).into(),
            ),
            ("stuck_after", format_duration(l.stuck_after).into()),
            ("restart_wait", format_duration(l.restart_wait).into()),
        ])
    }
}

fn module_table(module: &Module) -> Table {
    let mut entries = table([
        ("path", path(&module.path)),
        ("isolation", module.isolation.as_str().into()),
        ("public", module.public.into()),
        ("watch", module.watch.into()),
        (
            "drain_timeout",
            format_duration(module.drain_timeout).into(),
        ),
    ]);
    let rollback = match module.rollback {
        None => "off".into(),
        Some(rollback) => table([
            ("window", format_duration(rollback.window).into()),
            (
                "max_failures",
                Value::Integer(i64::try_from(rollback.max_failures).unwrap_or(i64::MAX)),
            ),
        ])
        .into(),
    };
    entries.insert("rollback".into(), rollback);
    if let Some(grants) = &module.grants {
        entries.insert("grants".into(), strings(&grants.names()));
    }
    if let Some(sha256) = &module.sha256 {
        entries.insert("sha256".into(), sha256.as_str().into());
    }
    if let Some(confine) = &module.confine {
        entries.insert("confine".into(), confine.to_toml());
    }
    let config =
        Value::try_from(&module.config).expect("the module's configuration was read from TOML");
    entries.insert("config".into(), config);
    entries
}

fn secret(source: &SecretSource) -> Value {
    match source {
        SecretSource::Env { variable } => format!("env:{variable}").into(),
        SecretSource::Bridge => "bridge".into(),
        SecretSource::Command { argv, timeout } => table([
            ("cmd", strings(argv)),
            ("timeout", format_duration(*timeout).into()),
        ])
        .into(),
    }
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn path(path: &Path) -> Value {
    // paths come from TOML, which is UTF-8, or from flags that were checked to be
    path.to_string_lossy().into_owned().into()
}

fn strings(strings: &[String]) -> Value {
    Value::Array(strings.iter().map(|text| text.as_str().into()).collect())
}

fn count(count: usize) -> Value {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}
