//! `midplane openapi` and `midplane metrics`: what the kernel gives as it is.

use http::Method;
use serde_json::Value;

use super::arguments::ClientArgs;
use super::{Failure, Output};
use midplane_client::path::segment;

#[derive(Debug, clap::Args)]
pub(super) struct OpenapiArguments {
    /// Of this module instead of the kernel
    module: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn openapi(arguments: &OpenapiArguments) -> Result<(), Failure> {
    let document: Value = match &arguments.module {
        None => arguments.client.anyone().openapi().await?,
        Some(name) => {
            let path = segment("/modules/", name, "/openapi.json");
            let host = arguments.client.host()?;
            host.send(Method::GET, &path, None::<&()>).await?
        }
    };
    Output::of(&arguments.client).value(&document)
}

pub(super) async fn metrics(args: &ClientArgs) -> Result<(), Failure> {
    let text = args.host()?.metrics().await?;
    Output::of(args).text(&text)
}
