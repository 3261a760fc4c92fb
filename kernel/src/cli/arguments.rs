//! The flags that every client command has, and the values several of them read.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::{Client, Failure};

#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ClientArgs {
    /// Socket of the kernel [default: $MIDPLANE_SOCKET, else where `midplane serve` makes it]
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
    /// File with the host key [default: $MIDPLANE_HOST_KEY (the key itself), else host.key beside the socket]
    #[arg(long, value_name = "FILE")]
    pub(super) host_key_file: Option<PathBuf>,
    /// Print the API's JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl ClientArgs {
    /// A client with the host key.
    pub(super) fn host(&self) -> Result<Client, Failure> {
        let (socket, key) = (self.socket.as_deref(), self.host_key_file.as_deref());
        Ok(midplane_client::locate::client(socket, key)?)
    }

    /// A client without a credential.
    pub(super) fn anyone(&self) -> Client {
        let around = midplane_client::locate::Surroundings::from_env();
        Client::new(around.socket(self.socket.as_deref()))
    }
}

/// A JSON object, as a flag's value.
pub(super) fn json_object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}
