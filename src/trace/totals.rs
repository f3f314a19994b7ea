use std::collections::BTreeMap;
use std::fmt;

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
        self.losses()
            .fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// What is missing from the trace that should be in it; `None` where nothing is.
    pub fn missing(&self) -> Option<Missing> {
        let exchanges = self.lost();
        let all = self.recorded.saturating_add(exchanges);
        #[allow(clippy::cast_precision_loss, reason = "a share")]
        (exchanges > 0).then(|| Missing {
            exchanges,
            of: all,
            share: exchanges as f64 / all as f64,
            reasons: self
                .losses()
                .map(|(reason, count)| (reason.to_owned(), count))
                .collect(),
        })
    }

    fn losses(&self) -> impl Iterator<Item = (&str, u64)> {
        self.dropped
            .iter()
            .filter(|&(reason, &count)| reason != PROBE && count > 0)
            .map(|(reason, &count)| (reason.as_str(), count))
    }
}

/// Why a probe is not in the trace.
const PROBE: &str = "probe";

/// Exchanges that the recorder saw, was to record, and lost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Missing {
    /// How many.
    pub exchanges: u64,
    /// Of how many that were to be recorded.
    pub of: u64,
    /// Their share.
    pub share: f64,
    /// How many for which reason.
    pub reasons: BTreeMap<String, u64>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            exchanges,
            of,
            share,
            reasons,
        } = self;
        write!(f, "{exchanges} of {of} exchanges ({:.2} %)", share * 100.0)?;
        for (number, (reason, count)) in reasons.iter().enumerate() {
            let before = if number == 0 { ": " } else { ", " };
            write!(f, "{before}{reason} {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_of_what_was_to_be_recorded() {
        let dropped = [("memory", 3), ("disk_full", 7), ("probe", 100), ("off", 0)];
        let totals = Totals {
            seen: 1100,
            recorded: 190,
            sampled_out: 800,
            dropped: dropped.map(|(reason, n)| (reason.to_owned(), n)).into(),
            simulated: 0,
        };
        let missing = totals.missing().unwrap();
        assert_eq!((missing.exchanges, missing.of), (10, 200));
        assert_eq!(
            missing.to_string(),
            "10 of 200 exchanges (5.00 %): disk_full 7, memory 3"
        );
        assert_eq!(Totals::default().missing(), None);
    }
}
