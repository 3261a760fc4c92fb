//! The flags of `midplane serve`, as they are written; `Origin::read` checks them.

use std::path::PathBuf;

/// Environment: MIDPLANE_CONFIG, MIDPLANE_SOCKET and MIDPLANE_LOG stand in for the flags of these names.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Flags {
    /// Configuration file [default: $XDG_CONFIG_HOME/midplane/midplane.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Socket to serve on [default: $XDG_RUNTIME_DIR/midplane/kernel.sock, or in /tmp/midplane-<uid>]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Load this module at start; may be repeated, and wins over `path` of the file
    #[arg(long = "module", value_name = "NAME=PATH")]
    pub(crate) modules: Vec<String>,
    /// Where a secret comes from: `env:VARIABLE`, `cmd:PROGRAM ARGUMENT...` (split into words, run without a shell) or
    /// `bridge`; may be repeated
    #[arg(long = "secret", value_name = "ID=SOURCE")]
    pub(crate) secrets: Vec<String>,
    /// Descriptor of a socket whose other end the program that starts the kernel, its host, has: they speak JSON-RPC over it,
    /// and the kernel ends with its host. Without --socket the kernel's socket is then one of its own
    #[arg(long, value_name = "N")]
    pub(crate) bridge_fd: Option<i32>,
    /// Write the host key to `host.key` (mode 0600) in the socket's directory; it is worth as much as your account
    #[arg(long)]
    pub(crate) write_host_key: bool,
    /// Directory of the kernel's and the modules' durable state [default: $XDG_DATA_HOME/midplane]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// How log lines are written to standard error: human or json
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log: Option<String>,
    /// Print the effective configuration (sources of secrets, never values) and exit
    #[arg(long)]
    pub(crate) check: bool,
}
