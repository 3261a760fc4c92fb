//! When this generation is replaced or the kernel ends: how long what streams may go on.

use std::time::Duration;

use midplane_sdk::Draining;

/// Just below the kernel's default `drain_timeout` of 30 s, at whose end it cuts what still streams, without a word that a client
/// would know. Until then nothing is interrupted: a reload leaves answers whole.
const GRACE: Duration = Duration::from_secs(25);

/// Resolves when the generation drains and what streams has had its grace.
pub(crate) async fn over(draining: Draining) {
    draining.wait().await;
    tokio::time::sleep(GRACE).await;
}
