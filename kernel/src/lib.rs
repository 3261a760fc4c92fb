//! The Midplane kernel: sessions, secrets and modules on a private Unix socket, and nothing else.
//!
//! The library exists for `main.rs`, the examples and the fuzz targets; it is not an interface for anyone else.

mod auth;
mod body;
mod bridge;
mod cli;
mod clock;
mod config;
mod connection;
mod connections;
mod controls;
mod events;
mod exposition;
mod hardening;
mod inherited;
mod isolation;
mod kernel;
mod memory;
mod modules;
mod parent;
mod problem;
mod progress;
mod readiness;
mod request_id;
mod routes;
#[cfg(feature = "schema")]
#[doc(hidden)]
pub mod schema;
mod secrets;
mod serve;
mod session;
mod signals;
mod socket;
mod stall;
mod start_error;
mod switchboard;
mod telemetry;
#[cfg(test)]
mod test_program;
mod watchdog;
mod workers;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

/// What reads bytes that anyone may have written; for the examples and the fuzz targets.
#[doc(hidden)]
pub mod untrusted {
    pub use crate::bridge::{frame, message};
    pub use crate::modules::descriptor;
    pub use crate::session::token;
}

use config::{Flags, Origin};

/// sysexits.h: `EX_CONFIG` is 78; what is wrong in a command or its configuration is one thing to a user.
const EXIT_USAGE: u8 = 64;

/// The whole program.
pub fn main() -> ExitCode {
    cli::main()
}

/// `midplane serve`: from flags to the exit code. Starts no thread before signals are blocked.
fn serve_command(flags: &Flags) -> ExitCode {
    let code = try_serve(flags).unwrap_or_else(|(code, message)| {
        // Nobody may be reading stderr.
        let _ = writeln!(std::io::stderr(), "midplane: {message}");
        code
    });
    secrets::end_commands();
    if modules::step::is_held() {
        modules::loader::end_process(code);
    }
    ExitCode::from(code)
}

fn try_serve(flags: &Flags) -> Result<u8, (u8, String)> {
    let environment = |name: &str| std::env::var_os(name);
    let origin = Origin::find(flags.clone(), &environment);
    let config = origin
        .read(&environment)
        .map_err(|error| (EXIT_USAGE, error.to_string()))?;
    for warning in config.warnings() {
        let _ = writeln!(std::io::stderr(), "midplane: warning: {warning}");
    }
    if flags.check {
        // A closed pipe is the reader's choice.
        let _ = std::io::stdout().write_all(config.to_toml().as_bytes());
        return Ok(0);
    }
    let software = |error: std::io::Error| (70, error.to_string());
    let signals = signals::Signals::block_early().map_err(software)?;
    let inherited =
        inherited::take(flags.bridge_fd).map_err(|error| (error.exit_code(), error.to_string()))?;
    let filter = config
        .kernel
        .log_filter
        .parse()
        .expect("the configuration checked it");
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let logging = telemetry::install(
        config.kernel.log,
        &filter,
        no_colour || !std::io::stderr().is_terminal(),
    )
    .map_err(|error| (70, error.to_string()))?;
    serve::run(config, origin, &logging, signals, inherited)
        .map(|()| 0)
        .map_err(|error| (error.exit_code(), error.to_string()))
}
