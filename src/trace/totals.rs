use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What became of every exchange that the recorder saw; cumulative, kept in every block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Exchanges that went through the proxy.
    pub seen: u64,
    /// Exchanges in the trace.
    pub recorded: u64,
    /// Exchanges that sampling left out.
    pub sampled_out: u64,
    /// Exchanges lost, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Exchanges that a simulated server answered.
    pub simulated: u64,
}

impl Totals {
    /// Adds another file's accounts.
    pub fn add(&mut self, other: &Self) {
        self.seen = self.seen.saturating_add(other.seen);
        self.recorded = self.recorded.saturating_add(other.recorded);
        self.sampled_out = self.sampled_out.saturating_add(other.sampled_out);
        self.simulated = self.simulated.saturating_add(other.simulated);
        for (reason, &count) in &other.dropped {
            let sum = self.dropped.entry(reason.clone()).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// What of these accounts came after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            seen: self.seen.saturating_sub(earlier.seen),
            recorded: self.recorded.saturating_sub(earlier.recorded),
            sampled_out: self.sampled_out.saturating_sub(earlier.sampled_out),
            dropped: self
                .dropped
                .iter()
                .map(|(reason, &count)| {
                    let before = earlier.dropped.get(reason).copied().unwrap_or(0);
                    (reason.clone(), count.saturating_sub(before))
                })
                .filter(|&(_, count)| count > 0)
                .collect(),
            simulated: self.simulated.saturating_sub(earlier.simulated),
        }
    }

    /// Exchanges lost, over all reasons. A replay's probes are no traffic, so leaving them out is no loss.
    pub fn lost(&self) -> u64 {
        let lost = self.dropped.iter().filter(|(reason, _)| *reason != PROBE);
        lost.fold(0, |sum, (_, &count)| sum.saturating_add(count))
    }
}

/// Why a probe is not in the trace.
const PROBE: &str = "probe";
