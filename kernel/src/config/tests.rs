use super::error::ConfigError;
use super::*;
use std::ffi::OsString;
use std::path::Path;

fn load(text: &str, flags: &Flags, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let lookup = |name: &str| {
        let all = environment.iter().chain(&[("HOME", "/home/me")]);
        all.into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| OsString::from(value))
    };
    Config::check(text, Path::new("/etc/midplane/m.toml"), flags, &lookup)
}

fn read(text: &str) -> Config {
    load(text, &Flags::default(), &[]).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    match load(text, &Flags::default(), &[]) {
        Ok(config) => panic!("{text} was taken: {config:?}"),
        Err(error) => error.to_string(),
    }
}

const EVERY_KEY: &str = r#"
[kernel]
socket = "/run/me/k.sock"
data_dir = "state"
log = "json"
log_filter = "warn,hello=trace"
write_host_key = true
module_dirs = ["/nowhere/a", "b"]
workers = 7
unload = "never"
shutdown_timeout = "5s"
allowed_hosts = ["midplane.test"]
allowed_origins = ["vscode-webview://x"]
debuggable = true
[sessions]
ttl = "1m"
max_ttl = "2m"
max = 5
stream_grace = "0ms"
host_grace = "7s"
[secrets]
a = "env:A_KEY"
b = "bridge"
c = { cmd = ["op", "read", "op://x y"], timeout = "90s" }
d = "cmd:pass show 'a key'"
[limits]
header_bytes = 8192
header_fields = 50
header_timeout = "250ms"
keep_alive_timeout = "1h"
body_bytes = "2MiB"
body_bytes_max = "3MiB"
body_stall_timeout = "1s"
write_stall_timeout = "2s"
connections = 10
connections_per_process = 9
connections_for_host = 1
requests_per_module = 3
websocket_message_bytes = "4KiB"
websocket_idle_timeout = "5m"
websocket_ping_interval = "6s"
websocket_messages_per_second = 7
state_bytes = "1MiB"
init_timeout = "4s"
quarantine_after = "2s"
stuck_after = "3s"
[modules.hello]
path = "lib/libhello.so"
isolation = "in-process"
grants = ["secrets", "call:pinned"]
public = true
watch = true
rollback = { window = "9s", max_failures = 0 }
drain_timeout = "1s"
config = { word = "x", n = 0x10, f = 1.5, on = true, list = [1, { a = "b" }], empty = {} }
[modules.pinned]
path = "lib/libpinned.so"
watch = false
sha256 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"#;

#[test]
fn every_key_reaches_its_place() {
    let config = read(EVERY_KEY);
    let kernel = &config.kernel;
    assert_eq!(
        kernel.data_dir,
        Path::new("/etc/midplane/state"),
        "from the file's directory"
    );
    assert_eq!(
        kernel.module_dirs,
        [Path::new("/nowhere/a"), Path::new("/etc/midplane/b")]
    );
    assert_eq!(
        (kernel.log, kernel.workers, kernel.unload),
        (LogFormat::Json, 7, Unload::Never)
    );
    assert_eq!(kernel.log_filter, "warn,hello=trace");
    assert!(kernel.write_host_key && kernel.debuggable);
    assert_eq!(config.sessions.stream_grace, Duration::ZERO);
    assert_eq!(config.sessions.host_grace, Duration::from_secs(7));
    assert_eq!(config.limits.body_bytes, 2 << 20);
    assert_eq!(config.limits.header_timeout, Duration::from_millis(250));
    assert_eq!(config.limits.init_timeout, Duration::from_secs(4));
    assert_eq!(config.limits.websocket_message_bytes, 4096);
    assert_eq!(config.limits.websocket_messages_per_second, 7);
    assert_eq!(
        config.secrets["d"],
        SecretSource::Command {
            argv: vec!["pass".into(), "show".into(), "a key".into()],
            timeout: Duration::from_secs(60)
        }
    );
    let hello = &config.modules["hello"];
    assert_eq!(hello.path, Path::new("/etc/midplane/lib/libhello.so"));
    let rollback = hello.rollback.expect("it is on");
    assert_eq!(
        (rollback.window, rollback.max_failures),
        (Duration::from_secs(9), 0)
    );
    assert!(hello.watch);
    let pinned = &config.modules["pinned"];
    assert_eq!(pinned.sha256.as_deref(), Some("a".repeat(64).as_str()));
    assert_eq!(hello.config["n"], 16);
    assert_eq!(hello.config["list"][1]["a"], "b");
}

#[test]
fn the_effective_configuration_reads_back_as_itself() {
    for text in ["", EVERY_KEY, "[modules.hello]\npath = \"/x/h.so\""] {
        let config = read(text);
        let effective = config.to_toml();
        assert_eq!(read(&effective), config, "{effective}");
        assert_eq!(read(&effective).to_toml(), effective);
    }
}

#[test]
fn defaults() {
    let config = read("");
    assert_eq!(
        config.kernel.data_dir,
        Path::new("/home/me/.local/share/midplane")
    );
    assert_eq!(config.kernel.log_filter, "info");
    assert!((4..=64).contains(&config.kernel.workers));
    assert_eq!(config.sessions.ttl, Duration::from_secs(600));
    assert_eq!(
        (config.limits.header_bytes, config.limits.header_fields),
        (16 * 1024, 100)
    );
    assert_eq!(
        (
            config.limits.connections,
            config.limits.connections_per_process
        ),
        (1024, 64)
    );
    assert!(config.modules.is_empty() && config.secrets.is_empty());
    let one = read("[modules.a]\npath = \"/nowhere/a.so\"\n[modules.b]\npath = \"/nowhere/b.so\"");
    assert_eq!(one.kernel.module_dirs, [Path::new("/nowhere")]);
    assert_eq!(one.modules["a"].grants, None);
    assert_eq!(one.warnings().len(), 3, "{:?}", one.warnings());
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_what_is_allowed() {
    for (text, parts) in [
        (
            "[kernel]\nsoket = 1",
            &["m.toml:2", "`soket` in [kernel]", "did you mean `socket`?"][..],
        ),
        ("[kernal]", &["`kernal` in the top level", "`kernel`?"]),
        ("kernel = 1", &["a table"]),
        ("[kernel", &["m.toml:1", "not valid TOML"]),
        ("[kernel]\nsocket = \"\"", &["m.toml:2", "a path"]),
        ("[kernel]\ndata_dir = 3", &["data_dir", "3", "a path"]),
        (
            "[kernel]\nlog = \"xml\"",
            &["\"xml\"", "\"human\" or \"json\""],
        ),
        ("[kernel]\nlog_filter = \"loud\"", &["\"loud\""]),
        ("[kernel]\nwrite_host_key = \"yes\"", &["true or false"]),
        ("[kernel]\nmodule_dirs = \"x\"", &["an array"]),
        (
            "[kernel]\nworkers = 1",
            &["`[kernel] workers` is 1", "2 to 64"],
        ),
        ("[kernel]\nworkers = 65", &["2 to 64"]),
        ("[kernel]\nunload = \"maybe\"", &["\"auto\" or \"never\""]),
        ("[kernel]\nshutdown_timeout = 30", &["30s"]),
        ("[kernel]\nallowed_hosts = [1]", &["strings"]),
        ("[kernel]\nallowed_origins = true", &["strings"]),
        ("[kernel]\ndebuggable = 1", &["true or false"]),
        ("[sessions]\nttl = \"0s\"", &["[sessions] ttl"]),
        ("[sessions]\nttl = \"2h\"", &["3600s"]),
        ("[sessions]\nmax_ttl = \"10 parsecs\"", &["parsecs"]),
        ("[sessions]\nmax = 0", &["from 1"]),
        ("[sessions]\nstream_grace = -1", &["-1"]),
        (
            "[sessions]\nhost_grace = \"2d\"",
            &["[sessions] host_grace"],
        ),
        ("[secrets]\na = 3", &["env:VARIABLE"]),
        ("[secrets]\na = { cmd = [] }", &["env:VARIABLE"]),
        (
            "[secrets]\na = { cmd = [\"x\"], timeot = \"1s\" }",
            &["`timeot`", "`timeout`?"],
        ),
        ("[secrets]\na = \"cmd:'open\"", &["env:VARIABLE"]),
        ("[limits]\nheader_bytes = \"4KiB\"", &["\"4KiB\"", "8192"]),
        ("[limits]\nheader_fields = 1", &["16"]),
        ("[limits]\nheader_timeout = \"0s\"", &["header_timeout"]),
        ("[limits]\nbody_bytes = \"1MB\"", &["1MiB"]),
        (
            "[limits]\nbody_bytes = 10\nbody_bytes_max = 9",
            &["body_bytes"],
        ),
        (
            "[limits]\nconnections = 8\nconnections_per_process = 9",
            &["1 to 8"],
        ),
        (
            "[limits]\nconnections = 8\nconnections_for_host = 8",
            &["1 to 7"],
        ),
        (
            "[limits]\nrequests_per_module = 0",
            &["requests_per_module"],
        ),
        ("[limits]\ninit_timeout = \"0s\"", &["init_timeout"]),
        (
            "[limits]\nstuck_after = \"99ms\"",
            &["stuck_after", "100ms"],
        ),
        ("[limits]\nconections = 9", &["`connections`?"]),
        ("[modules.Hello]\npath = \"/x\"", &["[a-z]"]),
        ("[modules.hello]", &["without a path", "--module"]),
        ("[modules]\nhello = 1", &["a table"]),
        (
            "[modules.h]\npath = \"/x\"\nisolation = \"container\"",
            &["isolation", "\"in-process\" or \"process\""],
        ),
        (
            "[modules.h]\nwatch = true\npath = \"/x\"\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"",
            &["m.toml:2", "watch", "`sha256` pin", "one of the two"],
        ),
        (
            "[modules.h]\npath = \"/x\"\nrollback = true",
            &["rollback", "{ window = \"30s\", max_failures = 5 }"],
        ),
        (
            "[modules.h]\npath = \"/x\"\nrollback = { widow = \"1s\" }",
            &["widow", "window"],
        ),
        (
            "[modules.h]\npath = \"/x\"\nsha256 = \"abc\"",
            &["64 hexadecimal"],
        ),
        (
            "[modules.h]\npath = \"/x\"\ngrants = \"secrets\"",
            &["an array of \"secrets\" and \"call:<module>\""],
        ),
        (
            "[modules.h]\npath = \"/x\"\ngrants = [\"call:Store\"]",
            &["an array of \"secrets\" and \"call:<module>\""],
        ),
        ("[modules.h]\npath = \"/x\"\npublic = 1", &["true or false"]),
        (
            "[modules.h]\npath = \"/x\"\ndrain_timeout = \"2h\"",
            &["3600s"],
        ),
        (
            "[modules.h]\npath = \"/x\"\nconfig = { a = 1979-05-27 }",
            &["dates as strings"],
        ),
        (
            "[modules.h]\npath = \"/x\"\nconfig = { a = nan }",
            &["config"],
        ),
        (
            "[modules.h]\npath = \"/x\"\npat = 1",
            &["[modules.h]", "`path`?"],
        ),
    ] {
        let error = refused(text);
        for part in parts {
            assert!(error.contains(part), "{text}\n{error}\nlacks {part}");
        }
    }
}

#[test]
fn a_key_pasted_as_a_source_is_not_repeated() {
    let flags = Flags {
        secrets: vec!["a=sk-canary".into()],
        ..Flags::default()
    };
    let by_flag = load("", &flags, &[]).unwrap_err().to_string();
    let in_module = refused("[modules.h]\npath = \"/x\"\nconfig = \"sk-canary\"");
    for error in [refused("[secrets]\na = \"sk-canary\""), by_flag, in_module] {
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let file = "[kernel]\nsocket = \"/file\"\nlog = \"human\"\n[modules.h]\npath = \"/file.so\"\npublic = true\n[secrets]\na = \"env:F\"";
    let flags = Flags {
        socket: Some("/flag".into()),
        log: Some("human".into()),
        modules: vec!["h=/flag.so".into(), "i=/i.so".into()],
        secrets: vec!["a=bridge".into(), "b=cmd:x 'y z'".into()],
        write_host_key: true,
        ..Flags::default()
    };
    let set = [
        ("MIDPLANE_SOCKET", "/environment"),
        ("MIDPLANE_LOG", "json"),
    ];
    let runtime = [
        ("XDG_RUNTIME_DIR", "/run/user/1"),
        ("TMPDIR", "/run/user/1"),
    ];
    let none = Flags::default();
    let socket =
        |text, flags, environment| load(text, flags, environment).unwrap().kernel.socket.of("");
    assert_eq!(socket(file, &flags, &set), Path::new("/flag"));
    assert_eq!(socket(file, &none, &set), Path::new("/environment"));
    assert_eq!(socket(file, &none, &runtime), Path::new("/file"));
    assert_eq!(
        socket("", &none, &runtime),
        Path::new("/run/user/1/midplane/kernel.sock")
    );
    let fallback = format!("/tmp/midplane-{}/kernel.sock", nix::unistd::geteuid());
    assert_eq!(
        socket("", &none, &[("XDG_RUNTIME_DIR", "relative")]),
        Path::new(&fallback)
    );

    let config = load(file, &flags, &set).unwrap();
    assert_eq!(config.kernel.log, LogFormat::Human);
    assert_eq!(load(file, &none, &set).unwrap().kernel.log, LogFormat::Json);
    assert!(config.kernel.write_host_key);
    assert_eq!(config.modules["h"].path, Path::new("/flag.so"));
    assert!(
        config.modules["h"].public,
        "the rest of the module stays as the file says"
    );
    assert_eq!(config.modules["i"].path, Path::new("/i.so"));
    assert_eq!(config.secrets["a"], SecretSource::Bridge);
    assert!(matches!(&config.secrets["b"], SecretSource::Command { argv, .. } if argv[1] == "y z"));
}

#[test]
fn flags_are_checked() {
    let base = Flags::default;
    for (flags, part) in [
        (
            Flags {
                modules: vec!["nopath".into()],
                ..base()
            },
            "NAME=PATH",
        ),
        (
            Flags {
                modules: vec!["N=/x".into()],
                ..base()
            },
            "NAME=PATH",
        ),
        (
            Flags {
                modules: vec!["n=".into()],
                ..base()
            },
            "NAME=PATH",
        ),
        (
            Flags {
                secrets: vec!["=bridge".into()],
                ..base()
            },
            "ID=env:",
        ),
        (
            Flags {
                log: Some("xml".into()),
                ..base()
            },
            "human or json",
        ),
        (
            Flags {
                socket: Some("".into()),
                ..base()
            },
            "a path",
        ),
    ] {
        let error = load("", &flags, &[]).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn load_finds_the_file_it_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("midplane/midplane.toml");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let none = |name: &str| (name == "HOME").then(|| OsString::from("/nonexistent"));
    let with = |variable: &'static str, value: &Path| {
        let value = value.as_os_str().to_owned();
        move |name: &str| {
            if name == variable {
                Some(value.clone())
            } else {
                (name == "HOME").then(|| "/nonexistent".into())
            }
        }
    };
    let home = with("XDG_CONFIG_HOME", directory.path());
    let named = with("MIDPLANE_CONFIG", &path);
    let flags = Flags {
        config: Some(path.clone()),
        ..Flags::default()
    };
    // not there yet: fine as the default, an error when it was named
    assert!(Config::load(&Flags::default(), &home).is_ok());
    assert!(matches!(
        Config::load(&Flags::default(), &named),
        Err(ConfigError::Read { .. })
    ));
    assert!(matches!(
        Config::load(&flags, &none),
        Err(ConfigError::Read { .. })
    ));
    std::fs::write(&path, "[kernel]\nworkers = 9").unwrap();
    for config in [
        Config::load(&Flags::default(), &home),
        Config::load(&Flags::default(), &named),
        Config::load(&flags, &none),
    ] {
        assert_eq!(config.unwrap().kernel.workers, 9);
    }
    let bridge = Flags {
        bridge_fd: Some(3),
        ..Flags::default()
    };
    let socket = Config::load(&bridge, &none).unwrap().kernel.socket;
    let (one, other) = (socket.of("midplane:a"), socket.of("midplane:b"));
    assert_eq!(one.file_name().unwrap(), "midplane-a.sock");
    assert_eq!(one.parent(), other.parent());
    let named = Flags {
        socket: Some("/run/x.sock".into()),
        ..bridge
    };
    let socket = Config::load(&named, &none).unwrap().kernel.socket;
    assert_eq!(socket, SocketPath::At("/run/x.sock".into()));
}
