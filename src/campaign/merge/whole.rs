use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::MergeError;
use super::samples::samples;
use super::shard::Shard;
use crate::measure::{GapSample, Latencies, TargetMeasure};
use crate::report::{RunGaps, RunHistograms, read_gaps, read_histograms};
use crate::telemetry::Timelines;

/// A target and its run.
type Key = (String, u64);

/// What no row of the requests has, of each target and run over all shards.
pub(super) struct Whole {
    pub(super) latencies: BTreeMap<Key, Latencies>,
    /// Part by part; `None` where a shard does not tell.
    pub(super) gaps: Option<BTreeMap<Key, Vec<GapSample>>>,
    pub(super) sampled: BTreeMap<Key, Timelines>,
    /// Where a shard lies, to name it.
    place: PathBuf,
}

impl Whole {
    /// What the shards tell of it.
    pub(super) fn of(shards: &[Shard]) -> Result<Self, MergeError> {
        Ok(Self {
            latencies: latencies(shards)?,
            gaps: gaps(shards)?,
            sampled: samples(shards)?,
            place: shards
                .first()
                .map(|shard| shard.path.clone())
                .unwrap_or_default(),
        })
    }

    /// Puts what is known of a target's run beside what was measured of it again.
    pub(super) fn complete(
        &self,
        key: &Key,
        measure: &mut TargetMeasure,
    ) -> Result<(), MergeError> {
        if let Some(latencies) = self.latencies.get(key) {
            measure.put_latencies(latencies.clone());
        }
        if let Some(gaps) = &self.gaps {
            let parts = gaps.get(key).cloned().unwrap_or_default();
            measure.put_gaps(parts).map_err(|_| self.mixed())?;
        }
        Ok(())
    }

    /// That the files of the shards are not of one run.
    pub(super) fn mixed(&self) -> MergeError {
        MergeError::Mixed {
            path: self.place.clone(),
        }
    }
}

/// The sum of what the shards measured.
fn latencies(shards: &[Shard]) -> Result<BTreeMap<Key, Latencies>, MergeError> {
    let mut sums: BTreeMap<Key, Latencies> = BTreeMap::new();
    for shard in shards {
        for RunHistograms {
            target,
            run,
            latencies,
        } in read_histograms(&shard.path.join("histograms.json.zst"))?
        {
            sums.entry((target, run)).or_default().add(&latencies);
        }
    }
    Ok(sums)
}

/// The gaps between tokens that are compared; `None` where a shard, of an earlier version, does not tell of them.
fn gaps(shards: &[Shard]) -> Result<Option<BTreeMap<Key, Vec<GapSample>>>, MergeError> {
    let mut parts: BTreeMap<Key, Vec<GapSample>> = BTreeMap::new();
    let mut are_known = true;
    for shard in shards {
        let told = read_gaps(&shard.path)?;
        are_known &= told.is_some();
        for RunGaps { target, run, gaps } in told.into_iter().flatten() {
            parts.entry((target, run)).or_default().push(gaps);
        }
    }
    Ok(are_known.then_some(parts))
}
