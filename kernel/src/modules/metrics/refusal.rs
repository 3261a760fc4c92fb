//! Why something of a module's is not counted.

use serde::{Deserialize, Serialize};

use super::limits::{
    BOUNDS_MAX, HELP_LEN_MAX, LABEL_VALUE_LEN_MAX, LABELS_MAX, METRICS_MAX, NAME_LEN_MAX,
    SERIES_MAX, SESSION_SERIES_MAX,
};

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error, Serialize, Deserialize,
)]
pub(crate) enum Refusal {
    #[error(
        "a metric's name has letters, digits and _, starts with no digit, ends with no suffix of OpenMetrics' or `_by_session`, and has {NAME_LEN_MAX} bytes at most"
    )]
    Name,
    #[error("a metric is a counter, a gauge or a histogram")]
    Kind,
    #[error("a metric's help is text of {HELP_LEN_MAX} bytes at most, without control characters")]
    Help,
    #[error(
        "a histogram has 1 to {BOUNDS_MAX} bounds, finite, not negative and growing, and nothing else has any"
    )]
    Bounds,
    #[error("it was declared as another kind of metric")]
    Differs,
    #[error("a metric of the kernel's or of another module has that name already")]
    Taken,
    #[error("a module has {METRICS_MAX} metrics at most")]
    TooManyMetrics,
    #[error(
        "labels are {LABELS_MAX} at most, named with letters, digits and _, none twice and none `module`, `session`, `le` or `quantile`, with values of {LABEL_VALUE_LEN_MAX} bytes of text at most, without control characters"
    )]
    Labels,
    #[error("a metric has {SERIES_MAX} series at most: take labels that have few values")]
    TooManySeries,
    #[error("a metric has {SESSION_SERIES_MAX} series of sessions at most: the total goes on")]
    TooManySessions,
    /// The metric, the module, or the room for handles.
    #[error("it is not there any more")]
    Gone,
}
