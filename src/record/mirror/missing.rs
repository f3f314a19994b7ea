//! What was to be mirrored and is in no result.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What was to be mirrored and was not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unmeasured {
    /// Of these production's end was not seen, or was while recording was paused.
    pub without_production: u64,
    /// For these the measuring had no room: it was too slow.
    pub behind: u64,
    /// Over these the measuring stumbled.
    pub failed: u64,
}

/// What was to be mirrored and is in no result, as the metrics page has it.
pub(super) struct Missing {
    pub(super) without_production: Counter,
    pub(super) behind: Counter,
    pub(super) not_taken: Counter,
    pub(super) failed: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

impl Missing {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let missing = Family::<Why, Counter>::default();
        registry.register(
            "reenact_mirror_unmeasured",
            "Requests that were to be mirrored and are in no result, by reason",
            missing.clone(),
        );
        let counter = |reason| missing.get_or_create(&Why { reason }).clone();
        Self {
            without_production: counter("without_production"),
            behind: counter("behind"),
            not_taken: counter("not_taken"),
            failed: counter("failed"),
        }
    }

    /// What the result does not know of.
    pub(super) fn unmeasured(&self) -> Unmeasured {
        Unmeasured {
            without_production: self.without_production.get(),
            behind: self.behind.get(),
            failed: self.failed.get(),
        }
    }
}
