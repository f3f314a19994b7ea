use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::memory::MemoryGrowth;
use crate::telemetry::{EngineKind, EngineTimeline, Signal};

/// What a target's engine told of itself over the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineSummary {
    /// Which engine: `vllm`, `sglang`, `tgi`, `llama.cpp`, `triton`; `unknown` where its page was never to be had.
    pub kind: String,
    /// Where it was read.
    pub url: String,
    /// Under which of the engine's names each figure was read.
    pub names: BTreeMap<String, String>,
    /// The fullest that the KV cache was seen, 0 to 1; a lower bound, since samples are points in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache_peak: Option<f64>,
    /// Tokens that the KV cache holds at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_capacity_tokens: Option<f64>,
    /// Requests thrown out of the batch during the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preemptions: Option<f64>,
    /// The most requests seen in the batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_peak: Option<f64>,
    /// The most requests seen to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_peak: Option<f64>,
    /// Share of the prompt tokens looked up during the run that the prefix cache held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_hit_rate: Option<f64>,
    /// Its process in the host's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_memory: Option<HostMemory>,
    /// Largest share of the memory that its allocator holds which nothing is in: reserved and not allocated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragmentation_peak: Option<f64>,
    /// How often it was started anew during the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u64>,
    /// Pages read.
    pub samples: u64,
    /// Pages that were not to be had.
    pub missed: u64,
    /// What went wrong first, where something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// What the engine's process has in the host's memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostMemory {
    /// In the first page.
    pub used_start_bytes: f64,
    /// The most.
    pub used_peak_bytes: f64,
    /// In the last page.
    pub used_end_bytes: f64,
    /// How it grew apart from the load, from half a minute on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth: Option<MemoryGrowth>,
}

/// What the pages of an engine say; `None` where they are of no engine that is known. A page that was never to be had is told of, with
/// its state and no figures.
pub fn summarise_engine(timeline: &EngineTimeline) -> Option<EngineSummary> {
    let values = |signal| {
        let samples = timeline.samples.iter();
        samples.filter_map(move |sample| sample.get(signal))
    };
    let peak = |signal| values(signal).reduce(f64::max);
    // Counters count from the run's start.
    let total = |signal| values(signal).next_back();
    let hits = total(Signal::PrefixHits).zip(total(Signal::PrefixQueries));
    let hit_rate = hits
        .filter(|(_, queries)| *queries > 0.0)
        .map(|(hits, queries)| hits / queries);
    let host_memory = values(Signal::HostBytes).next().map(|first| HostMemory {
        used_start_bytes: first,
        used_peak_bytes: peak(Signal::HostBytes).unwrap_or(first),
        used_end_bytes: total(Signal::HostBytes).unwrap_or(first),
        growth: None,
    });
    let fragmentation = timeline.samples.iter().filter_map(|sample| {
        let reserved = sample.get(Signal::ReservedBytes)?;
        let allocated = sample.get(Signal::AllocatedBytes)?;
        (reserved > 0.0).then(|| (1.0 - allocated / reserved).clamp(0.0, 1.0))
    });
    let never_read = timeline.taken == 0 && timeline.state.is_some();
    let kind = timeline.kind.map(EngineKind::name);
    Some(EngineSummary {
        kind: kind.or(never_read.then_some("unknown"))?.to_owned(),
        url: timeline.url.clone(),
        names: timeline
            .names
            .iter()
            .map(|(signal, name)| (signal.name().to_owned(), name.clone()))
            .collect(),
        kv_cache_peak: peak(Signal::KvUsage),
        kv_capacity_tokens: peak(Signal::KvCapacity),
        preemptions: total(Signal::Preemptions),
        running_peak: peak(Signal::Running),
        waiting_peak: peak(Signal::Waiting),
        prefix_hit_rate: hit_rate.or_else(|| values(Signal::PrefixHitRate).next_back()),
        host_memory,
        fragmentation_peak: fragmentation.reduce(f64::max),
        restarts: (timeline.taken > 0).then_some(timeline.restarts_us.len() as u64),
        samples: timeline.taken,
        missed: timeline.missed,
        state: timeline.state.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::EngineSample;

    #[test]
    fn peaks_are_peaks_and_counters_are_of_the_run() {
        let sample = |at_us, kv, preemptions, hits| EngineSample {
            at_us,
            values: BTreeMap::from([
                (Signal::KvUsage, kv),
                (Signal::Preemptions, preemptions),
                (Signal::PrefixQueries, 2.0 * hits),
                (Signal::PrefixHits, hits),
            ]),
        };
        let timeline = EngineTimeline {
            kind: Some(EngineKind::Vllm),
            samples: vec![
                sample(0, 0.1, 0.0, 0.0),
                sample(1, 0.9, 3.0, 50.0),
                sample(2, 0.2, 4.0, 70.0),
            ],
            ..EngineTimeline::default()
        };
        let summary = summarise_engine(&timeline).unwrap();
        assert_eq!(summary.kind, "vllm");
        assert_eq!(
            (
                summary.kv_cache_peak,
                summary.preemptions,
                summary.prefix_hit_rate
            ),
            (Some(0.9), Some(4.0), Some(0.5))
        );
        assert_eq!(summary.running_peak, None, "absent, not zero");
        assert_eq!(summarise_engine(&EngineTimeline::default()), None);
    }

    #[test]
    fn fragmentation_is_the_largest_share_that_was_reserved_and_not_allocated() {
        let peak = |pairs: &[(Option<f64>, Option<f64>)]| {
            let sample = |&(reserved, allocated): &(Option<f64>, Option<f64>)| EngineSample {
                at_us: 0,
                values: [
                    (Signal::ReservedBytes, reserved),
                    (Signal::AllocatedBytes, allocated),
                ]
                .into_iter()
                .filter_map(|(signal, value)| Some((signal, value?)))
                .collect(),
            };
            let timeline = EngineTimeline {
                kind: Some(EngineKind::Vllm),
                samples: pairs.iter().map(sample).collect(),
                ..EngineTimeline::default()
            };
            summarise_engine(&timeline).unwrap().fragmentation_peak
        };
        let of = |reserved, allocated| (Some(reserved), Some(allocated));
        assert_eq!(
            peak(&[of(80.0, 80.0), of(100.0, 25.0), of(200.0, 100.0)]),
            Some(0.75)
        );
        assert_eq!(peak(&[of(64.0, 60.0)]), Some(0.0625));
        // A page between two updates may have more allocated than reserved.
        assert_eq!(peak(&[of(64.0, 65.0)]), Some(0.0));
        // Half of the pair, or an allocator that holds nothing, says nothing.
        for none in [(Some(64.0), None), (None, Some(64.0)), of(0.0, 0.0)] {
            assert_eq!(peak(&[none]), None);
        }
    }
}
