use std::collections::BTreeMap;

use serde::Serialize;

use crate::shape::{Exchange, Outcome};

/// Why an exchange of the trace is not sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// No model generated tokens: `/metrics`, `/v1/models` and the like.
    NotInference,
    /// The server refused it as malformed, unauthorised or unknown (4xx other than 429), so no model worked on it. Nobody knows
    /// what a candidate would have made of it.
    BadRequest,
    /// A turn of a conversation that began before the slice: without its beginning it would ask for a cache that nobody filled.
    BegunBefore,
}

/// Counts by reason.
pub type Skipped = BTreeMap<SkipReason, u64>;

/// Why this exchange is not sent, wherever it stands, if it is not. What the old server could not serve (429, 5xx, a broken
/// connection) is demand all the same, and is sent.
pub(super) fn skip(exchange: &Exchange) -> Option<SkipReason> {
    if !exchange.endpoint.is_inference() {
        return Some(SkipReason::NotInference);
    }
    let status = exchange.response.status;
    (exchange.outcome == Outcome::Rejected && (400..500).contains(&status) && status != 429)
        .then_some(SkipReason::BadRequest)
}
