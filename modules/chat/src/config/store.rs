//! The member `store`: where conversations are kept.

use serde::Deserialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreName {
    /// In the module store: they outlive this generation, and the kernel.
    Durable,
    /// They end with this generation.
    Memory,
}
