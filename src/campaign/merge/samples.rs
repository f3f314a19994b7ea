use std::collections::BTreeMap;

use super::error::MergeError;
use super::shard::Shard;
use crate::report::{RunSamples, read_samples};
use crate::telemetry::{EngineTimeline, GpuTimeline, Timelines};

/// What was sampled beside the requests, by target and run. Every shard reads the same pages, and a machine's own GPUs are seen by its own shard
/// alone: what was sampled most often tells most, and to add it up would count it twice.
pub(super) fn samples(shards: &[Shard]) -> Result<BTreeMap<(String, u64), Timelines>, MergeError> {
    let mut most: BTreeMap<(String, u64), Timelines> = BTreeMap::new();
    for shard in shards {
        let Some(runs) = read_samples(&shard.path)? else {
            if shard.has_samples() {
                return Err(MergeError::Unsampled {
                    path: shard.path.clone(),
                });
            }
            continue;
        };
        for RunSamples {
            target,
            run,
            sampled,
        } in runs
        {
            let known = most.entry((target, run)).or_default();
            let Timelines { engine, gpus } = sampled;
            if taken(&gpus) > taken(&known.gpus) {
                known.gpus = gpus;
            }
            // A page that was never to be had is told of, too.
            let told = |it: &EngineTimeline| (it.taken, it.state.is_some());
            if told(&engine) > told(&known.engine) {
                known.engine = engine;
            }
        }
    }
    Ok(most)
}

fn taken(gpus: &GpuTimeline) -> u64 {
    gpus.gpus.iter().map(|gpu| gpu.taken).sum()
}
