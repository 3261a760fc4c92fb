//! Names of icons: ChatKit's own, or one of a vendor's or of Lucide's set.

use serde::{Deserialize, Serialize};

/// A name that the reference's `IconName` accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Icon(String);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no icon of ChatKit's: take one of its names, or `lucide:…` or `vendor:…`")]
pub(crate) struct UnknownIcon(String);

impl TryFrom<String> for Icon {
    type Error = UnknownIcon;

    fn try_from(name: String) -> Result<Icon, UnknownIcon> {
        let of_a_set = name.starts_with("lucide:") || name.starts_with("vendor:");
        match of_a_set || NAMES.contains(&name.as_str()) {
            true => Ok(Icon(name)),
            false => Err(UnknownIcon(name.chars().take(64).collect())),
        }
    }
}

/// `chatkit/icons.py`.
const NAMES: &[&str] = &[
    "agent",
    "analytics",
    "atom",
    "batch",
    "bolt",
    "book-open",
    "book-closed",
    "book-clock",
    "bug",
    "calendar",
    "chart",
    "check",
    "check-circle",
    "check-circle-filled",
    "chevron-left",
    "chevron-right",
    "circle-question",
    "clock",
    "compass",
    "confetti",
    "cube",
    "desktop",
    "document",
    "dot",
    "dots-horizontal",
    "dots-vertical",
    "empty-circle",
    "external-link",
    "globe",
    "keys",
    "lab",
    "images",
    "info",
    "lifesaver",
    "lightbulb",
    "mail",
    "map-pin",
    "maps",
    "mobile",
    "name",
    "notebook",
    "notebook-pencil",
    "page-blank",
    "phone",
    "play",
    "plus",
    "profile",
    "profile-card",
    "reload",
    "star",
    "star-filled",
    "search",
    "sparkle",
    "sparkle-double",
    "square-code",
    "square-image",
    "square-text",
    "suitcase",
    "settings-slider",
    "user",
    "wreath",
    "write",
    "write-alt",
    "write-alt2",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_client_can_draw_are_taken() {
        for name in ["agent", "write-alt2", "lucide:anything", "vendor:x"] {
            assert!(Icon::try_from(name.to_owned()).is_ok(), "{name}");
        }
        for name in ["", "Agent", "robot", "other:x"] {
            let error = Icon::try_from(name.to_owned()).unwrap_err();
            assert!(error.to_string().contains("lucide:"), "{error}");
        }
    }
}
