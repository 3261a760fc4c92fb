//! What one answer cost and how it ended, counted beside what ChatKit's turns cost.

use bytes::Bytes;
use http::StatusCode;
use midplane_sdk::Session;

use super::error::GatewayError;
use super::tally::Tally;
use crate::provider::ProviderError;
use crate::usage::Meter;

/// For an answer that does not name its model: a refusal, or none at all.
const UNKNOWN: &str = "unknown";

/// Counted once, when it ends: at the latest when it is dropped, which is the client leaving.
pub(super) struct Account {
    meter: Meter,
    session: Session,
    tally: Tally,
    /// What the provider's status said of how it would end.
    status: StatusCode,
    ended: bool,
}

impl Account {
    pub(super) fn new(meter: Meter, session: Session) -> Account {
        Account {
            meter,
            session,
            tally: Tally::default(),
            status: StatusCode::OK,
            ended: false,
        }
    }

    pub(super) fn begin(&mut self, status: StatusCode) {
        self.status = status;
    }

    pub(super) fn see(&mut self, piece: &Bytes) {
        self.tally.push(piece);
    }

    /// The answer is there as a whole.
    pub(super) fn complete(&mut self) {
        match self.status.is_success() {
            true => self.end("complete"),
            false => self.end(ProviderError::of_status(self.status.as_u16(), None, None).kind()),
        }
    }

    pub(super) fn fail(&mut self, error: &GatewayError) {
        self.end(match error {
            GatewayError::Upstream(error) => ProviderError::from(error.clone()).kind(),
            GatewayError::KeyRefused | GatewayError::KeyRenewed => "key_refused",
            GatewayError::Unreadable(_) => "left",
            GatewayError::Drained => "drained",
            _ => "malformed",
        });
    }

    fn end(&mut self, outcome: &str) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let model = self.tally.model.as_deref().unwrap_or(UNKNOWN);
        self.meter.add_request(&self.session, model, outcome);
        if let Some(usage) = self.tally.usage {
            self.meter.add_tokens(&self.session, model, usage);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.end("left");
    }
}
