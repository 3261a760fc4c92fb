//! What an assistant's words rest on: annotations, and the sources they name.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::icon::Icon;

/// A reference from a place in the text to a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Annotation {
    #[serde(default)]
    pub(crate) r#type: AnnotationType,
    pub(crate) source: Source,
    /// Behind which character of the text it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<u64>,
}

impl Annotation {
    pub(crate) fn new(source: Source, index: Option<u64>) -> Annotation {
        Annotation {
            r#type: AnnotationType::Annotation,
            source,
            index,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AnnotationType {
    #[default]
    Annotation,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Source {
    Url(UrlSource),
    File(FileSource),
    Entity(EntitySource),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SourceBase {
    pub(crate) title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
}

impl SourceBase {
    pub(crate) fn titled(title: impl Into<String>) -> SourceBase {
        SourceBase {
            title: title.into(),
            description: None,
            timestamp: None,
            group: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct UrlSource {
    #[serde(flatten)]
    pub(crate) base: SourceBase,
    pub(crate) url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attribution: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FileSource {
    #[serde(flatten)]
    pub(crate) base: SourceBase,
    pub(crate) filename: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EntitySource {
    #[serde(flatten)]
    pub(crate) base: SourceBase,
    pub(crate) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) icon: Option<Icon>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inline_label: Option<String>,
    #[serde(default)]
    pub(crate) interactive: bool,
    #[serde(default)]
    pub(crate) data: Map<String, Value>,
    /// Ignored by clients, and still a member of the reference's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preview: Option<Preview>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Preview {
    Lazy,
}

/// A list of sources of one kind says the kind of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum OnlyUrl {
    Url(UrlSource),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum OnlyFile {
    File(FileSource),
}
