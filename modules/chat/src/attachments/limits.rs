//! How much may be attached, and how long what nobody needs is kept.

use std::time::Duration;

use super::kind::Types;

/// Attachments of one user that wait for their bytes: a few messages' full. Each holds its room.
pub(super) const WANTED_PER_USER_MAX: usize = 32;
/// Of one user. All are looked at to add one, which takes a few milliseconds with so many.
pub(super) const FILES_PER_USER_MAX: usize = 2_000;
/// From the first byte to the last: 64 MiB, the most the kernel takes, over 1 Mbit/s. What stalls the kernel cuts earlier.
pub(super) const UPLOAD_TIME_MAX: Duration = Duration::from_secs(600);
/// An attachment that was not uploaded in this time will not be.
pub(super) const WANTED_AGE_MAX: Duration = Duration::from_secs(3_600);
/// A file that no message names: a draft may wait overnight.
pub(super) const UNSENT_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Between two looks for what is not needed. They go with requests, so that nothing wakes an idle process.
pub(super) const SWEEP_PAUSE: Duration = Duration::from_secs(3_600);
/// Of images and other files that a model is shown with one question, newest first: base64 makes a third more of it, which is
/// within the 50 MB that OpenAI takes in one request.
pub(super) const SHOWN_BYTES_MAX: u64 = 24 * 1024 * 1024;
/// Of attached text that a model is shown with one question: about 64,000 tokens, half of what a conversation may have.
pub(super) const SHOWN_TEXT_BYTES_MAX: u64 = 256 * 1024;

/// What the operator may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) file_bytes: u64,
    pub(crate) user_bytes: u64,
    pub(crate) per_message: usize,
    /// Of an attachment's name.
    pub(crate) name_bytes: usize,
    pub(crate) types: Types,
    /// Where clients find the kernel, without a slash at the end.
    pub(crate) base_url: String,
}
