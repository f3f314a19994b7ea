use super::growth::growth;
use super::memory::MemoryGrowth;
use super::summary::{GpuProcess, GpuSummary, GpuXid};
use crate::telemetry::{GpuSeries, GpuTimeline, Xid, xid_meaning};

/// Puts the growth apart from the load in the place of the mere trend.
pub(super) fn put_growth(gpu: &mut GpuSummary, growth: Option<MemoryGrowth>) {
    if let Some(growth) = growth {
        gpu.growth_bytes_per_s = Some(growth.bytes_per_s);
        gpu.growth_ci95 = Some(growth.ci95);
        gpu.growth = Some(growth);
    }
}

/// What the samples of each GPU say; a GPU of which no sample was taken is left out.
pub fn summarise_gpus(timeline: &GpuTimeline) -> Vec<GpuSummary> {
    timeline.gpus.iter().filter_map(summarise).collect()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "bytes and microseconds stay below 2^53"
)]
fn summarise(gpu: &GpuSeries) -> Option<GpuSummary> {
    let (first, last) = (gpu.samples.first()?, gpu.samples.last()?);
    let points: Vec<(f64, f64)> = gpu
        .samples
        .iter()
        .map(|sample| (sample.at_us as f64 / 1e6, sample.used_bytes as f64))
        .collect();
    let trend = growth(&points);
    Some(GpuSummary {
        source: gpu.source.clone().into_owned(),
        index: gpu.index,
        uuid: gpu.uuid.clone(),
        name: gpu.name.clone(),
        total_bytes: gpu.total_bytes,
        used_start_bytes: first.used_bytes,
        used_peak_bytes: gpu.samples.iter().map(|sample| sample.used_bytes).max()?,
        used_end_bytes: last.used_bytes,
        growth_bytes_per_s: trend.map(|trend| trend.per_s),
        growth_ci95: trend.map(|trend| trend.ci95),
        growth: None,
        instance: gpu.instance,
        processes: gpu
            .processes
            .iter()
            .map(|(&pid, process)| GpuProcess {
                pid,
                used_peak_bytes: process.most_bytes,
                name: process.name.clone(),
                of_target: process.of_target,
            })
            .collect(),
        xids: gpu
            .xids
            .iter()
            .map(|&Xid { at_us, code }| GpuXid {
                t_s: at_us as f64 / 1e6,
                xid: code,
                meaning: xid_meaning(code).map(str::to_owned),
            })
            .collect(),
        xids_unwatched: gpu.xids_unwatched.clone(),
        samples: gpu.taken,
        state: gpu.state.clone(),
    })
}
