//! What every client command shares: where the kernel is, with which key, and a runtime to ask it on.

use std::path::PathBuf;
use std::process::ExitCode;

use midplane_client::{Client, locate};

use super::failure::Failure;

#[derive(clap::Args)]
pub(super) struct ClientArguments {
    /// The kernel's socket [default: $MIDPLANE_SOCKET, or the path that `serve` uses]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// A file with the host key [default: $MIDPLANE_HOST_KEY, or `host.key` beside the socket]
    #[arg(long, value_name = "FILE")]
    host_key_file: Option<PathBuf>,
    /// Print JSON for programs
    #[arg(long)]
    pub(super) json: bool,
}

impl ClientArguments {
    /// A client with the host key.
    pub(super) fn host(&self) -> Result<Client, Failure> {
        Ok(locate::client(
            self.socket.as_deref(),
            self.host_key_file.as_deref(),
        )?)
    }

    /// A client without a credential.
    pub(super) fn nobody(&self) -> Client {
        Client::new(locate::Surroundings::from_env().socket(self.socket.as_deref()))
    }
}

/// Runs a command that asks the kernel.
pub(super) fn run(
    command: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Start)?;
    runtime.block_on(command)
}
