use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::MergeError;
use super::samples::samples;
use super::shard::Shard;
use crate::measure::{GapSample, Latencies, RECORDED, TargetMeasure};
use crate::report::{RunGaps, RunHistograms, read_gaps, read_histograms};
use crate::telemetry::Timelines;

/// A target and its run.
type Key = (String, u64);

/// Gaps between tokens, shard by shard; of a shard that has none of a run, none.
type Gaps = BTreeMap<Key, Vec<Option<GapSample>>>;

/// What no row of the requests has, of each target and run over all shards.
pub(super) struct Whole {
    pub(super) latencies: BTreeMap<Key, Latencies>,
    /// `None` where a shard does not tell.
    pub(super) gaps: Option<Gaps>,
    pub(super) sampled: BTreeMap<Key, Timelines>,
    /// Where the shards lie.
    places: Vec<PathBuf>,
}

impl Whole {
    /// What the shards tell of it.
    pub(super) fn of(shards: &[Shard]) -> Result<Self, MergeError> {
        Ok(Self {
            latencies: latencies(shards)?,
            gaps: gaps(shards)?,
            sampled: samples(shards)?,
            places: shards.iter().map(|shard| shard.path.clone()).collect(),
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
        let Some(gaps) = &self.gaps else {
            return Ok(());
        };
        let parts = gaps.get(key).map_or(&[][..], Vec::as_slice);
        let foreign = |part: usize| MergeError::Gaps {
            path: self.place(part),
        };
        // One that had none of what production felt has no entry of it.
        let missing = parts.iter().position(Option::is_none);
        if let Some(part) = missing.filter(|_| key.0 != RECORDED) {
            return Err(foreign(part));
        }
        let parts = parts.iter().map(|part| part.clone().unwrap_or_default());
        let put = measure.put_gaps(parts.collect());
        put.map_err(|other| foreign(other.part))
    }

    /// That the files of the shards are not of one run.
    pub(super) fn mixed(&self) -> MergeError {
        MergeError::Mixed {
            path: self.place(0),
        }
    }

    fn place(&self, shard: usize) -> PathBuf {
        self.places.get(shard).cloned().unwrap_or_default()
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
fn gaps(shards: &[Shard]) -> Result<Option<Gaps>, MergeError> {
    let mut parts = Gaps::new();
    let mut are_known = true;
    for (number, shard) in shards.iter().enumerate() {
        let told = read_gaps(&shard.path).map_err(MergeError::UnreadGaps)?;
        are_known &= told.is_some();
        for RunGaps { target, run, gaps } in told.into_iter().flatten() {
            let of_run = parts
                .entry((target, run))
                .or_insert_with(|| vec![None; shards.len()]);
            if let Some(part) = of_run.get_mut(number) {
                *part = Some(gaps);
            }
        }
    }
    Ok(are_known.then_some(parts))
}
