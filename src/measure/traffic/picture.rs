//! What a picture of a trace's traffic is drawn from: the same pass as [`TrafficMeter`](super::TrafficMeter), with the
//! shapes that its figures sum up. Memory is bounded whatever the trace's length: windows are joined when there are too many,
//! histograms have a fixed number of buckets, and what is told apart (prefixes, sessions, exchanges open at once) has a stated
//! number of places, with a count of what had to be let go.

mod buckets;
mod burstiness;
mod grown;
mod in_flight;
mod prefix_tree;
mod prefix_view;
mod timeline;
mod turns;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::burstiness::Dispersion;
pub use self::prefix_view::{Branch, PassBand, PrefixTree, SharedPrefix};
pub use self::timeline::Timeline;
pub use self::turns::SessionTurns;

use self::buckets::LogBuckets;
use self::burstiness::BurstinessMeter;
use self::prefix_tree::PrefixTreeMeter;
use self::timeline::TimelineMeter;
use self::turns::TurnMeter;
use crate::shape::{BlockSpec, Exchange};

/// The shapes of a trace's traffic. What is absent was not measured.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Picture {
    /// Traffic over time, in windows of equal length.
    pub timeline: Timeline,
    /// Burstiness at rising lengths of window.
    pub dispersion: Vec<Dispersion>,
    /// Histograms, by the name of the figures that sum them up (`prompt_tokens`, `output_tokens`, `ttft_ms`, `e2e_ms`, `gap_ms`,
    /// `longest_stall_ms`): (upper edge, values), eight buckets to the decade, empty ones left out.
    pub histograms: BTreeMap<&'static str, Vec<(f64, u64)>>,
    /// Where prompts share their beginnings; absent where the trace has no chains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_tree: Option<PrefixTree>,
    /// Turns of sessions and the times between them; absent where no exchange has a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_turns: Option<SessionTurns>,
}

/// Gathers a [`Picture`].
pub struct PictureMeter {
    timeline: TimelineMeter,
    burstiness: BurstinessMeter,
    prompt_tokens: LogBuckets,
    output_tokens: LogBuckets,
    ttft: LogBuckets,
    e2e: LogBuckets,
    gaps: LogBuckets,
    stalls: LogBuckets,
    tree: Option<PrefixTreeMeter>,
    turns: TurnMeter,
}

impl PictureMeter {
    /// A meter for a trace with chains of `blocks`.
    pub fn new(blocks: Option<BlockSpec>) -> Self {
        Self {
            timeline: TimelineMeter::default(),
            burstiness: BurstinessMeter::new(),
            prompt_tokens: LogBuckets::default(),
            output_tokens: LogBuckets::default(),
            ttft: LogBuckets::default(),
            e2e: LogBuckets::default(),
            gaps: LogBuckets::default(),
            stalls: LogBuckets::default(),
            tree: blocks.map(PrefixTreeMeter::new),
            turns: TurnMeter::default(),
        }
    }

    /// Adds an exchange. They must come in order of arrival.
    pub fn add(&mut self, exchange: &Exchange) {
        self.timeline.add(exchange);
        self.burstiness.add(exchange.at.us());
        self.turns.add(exchange);
        if let Some(tree) = &mut self.tree {
            tree.add(&exchange.request);
        }
        let (request, response) = (&exchange.request, &exchange.response);
        if let Some(tokens) = request.prompt_tokens {
            self.prompt_tokens.add(tokens.count.into(), 1);
        }
        if let Some(tokens) = response.output_tokens {
            self.output_tokens.add(tokens.count.into(), 1);
        }
        if let Some(us) = response.first_token_us {
            self.ttft.add(us, 1);
        }
        if let (true, Some(us)) = (exchange.outcome.is_ok(), response.end_us) {
            self.e2e.add(us, 1);
        }
        if let Some(gaps) = response.token_gaps() {
            for (gap_us, count) in gaps.values() {
                self.gaps.add(gap_us, count.into());
            }
            self.stalls.add(gaps.longest_us(), 1);
        }
    }

    /// The picture.
    pub fn finish(self) -> Picture {
        let histograms = [
            ("prompt_tokens", self.prompt_tokens, 1.0),
            ("output_tokens", self.output_tokens, 1.0),
            ("ttft_ms", self.ttft, 1000.0),
            ("e2e_ms", self.e2e, 1000.0),
            ("gap_ms", self.gaps, 1000.0),
            ("longest_stall_ms", self.stalls, 1000.0),
        ];
        Picture {
            timeline: self.timeline.finish(),
            dispersion: self.burstiness.finish(),
            histograms: histograms
                .into_iter()
                .map(|(name, buckets, unit)| (name, buckets.finish(unit)))
                .filter(|(_, buckets)| !buckets.is_empty())
                .collect(),
            prefix_tree: self.tree.and_then(PrefixTreeMeter::finish),
            session_turns: self.turns.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_read_is_nothing_measured() {
        let picture = PictureMeter::new(Some(BlockSpec::LIVE)).finish();
        assert_eq!(picture.timeline, Timeline::default());
        assert!(picture.dispersion.is_empty() && picture.histograms.is_empty());
        assert!(picture.prefix_tree.is_none() && picture.session_turns.is_none());
    }
}
