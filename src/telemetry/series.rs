use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::process::Processes;

/// What was sampled of every GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuTimeline {
    /// One for each GPU.
    pub gpus: Vec<GpuSeries>,
}

/// One GPU's memory over time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuSeries {
    /// Who told: `nvml`.
    pub source: Cow<'static, str>,
    /// The source's index of it.
    pub index: u32,
    /// Its UUID, where told.
    pub uuid: Option<String>,
    /// Its name, where told.
    pub name: Option<String>,
    /// Memory it has, in bytes.
    pub total_bytes: u64,
    /// Memory in use, in rising order of time; at most [`GpuSeries::MOST`].
    pub samples: Vec<GpuSample>,
    /// Samples taken, those thinned out included.
    pub taken: u64,
    /// Why samples are missing, where some are.
    pub state: Option<String>,
    /// The same with its moment.
    #[serde(skip)]
    pub(crate) fault: Option<Fault>,
    /// Which MIG instance of that GPU it is.
    pub instance: Option<u32>,
    /// What each process was seen to have of it, by process id; empty where the driver does not tell (in a container that does not see the
    /// host's processes, say).
    pub processes: BTreeMap<u32, GpuProcessMemory>,
    /// Errors that the driver reported of it, in order of time; at most [`GpuSeries::MOST_XIDS`]. Those of a GPU that is parted stand with
    /// its first instance.
    pub xids: Vec<Xid>,
    /// Why NVML does not report them, where it does not.
    pub xids_unwatched: Option<String>,
}

/// What one process has of a GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuProcessMemory {
    /// The most that it was seen to have, in bytes.
    pub most_bytes: u64,
    /// What the machine calls it, where it can be asked.
    pub name: Option<String>,
    /// Whether it is the target's, where that can be told.
    pub of_target: Option<bool>,
}

/// An error that the driver reported of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xid {
    /// Microseconds since the run began, when it was noticed: up to one sample later than it was.
    pub at_us: u64,
    /// NVIDIA's number of it.
    pub code: u64,
}

/// Memory in use at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuSample {
    /// Microseconds since the run began.
    pub at_us: u64,
    /// Bytes in use, as NVML's second memory structure counts them (what the driver itself reserves is not in it).
    pub used_bytes: u64,
}

impl GpuSeries {
    /// Samples kept at most: half an hour at ten a second. Beyond that, of each pair the larger is kept.
    pub const MOST: usize = 18_000;

    /// Errors kept at most: a GPU that is lost reports without end.
    pub const MOST_XIDS: usize = 100;

    /// When and to which share its memory was in use; nothing where it does not tell how much it has.
    pub fn shares(&self) -> impl Iterator<Item = (u64, f64)> {
        let total = self.total_bytes;
        let samples = self.samples.iter().filter(move |_| total > 0);
        samples.map(move |sample| (sample.at_us, share(sample.used_bytes, total)))
    }

    /// The largest share of its memory that was in use.
    pub fn fullest(&self) -> Option<f64> {
        self.shares().map(|(_, share)| share).reduce(f64::max)
    }

    /// The most memory in use between two instants; where it was not sampled then, that of the last sample, if it is fresh.
    fn used_between(&self, start_us: u64, end_us: u64) -> Option<u64> {
        let from = self
            .samples
            .partition_point(|sample| sample.at_us < start_us);
        let (before, rest) = self.samples.split_at_checked(from)?;
        let then = rest.iter().take_while(|sample| sample.at_us < end_us);
        let last = before.last();
        let last = last.filter(|last| start_us - last.at_us <= FRESH_US);
        let most = then.map(|sample| sample.used_bytes).max();
        most.or(last.map(|last| last.used_bytes))
    }

    pub(super) fn note_xid(&mut self, at_us: u64, code: u64) {
        let told = format!("the driver told Xid {code}");
        self.complain(Fault::new(at_us, told, ""));
        if self.xids.len() < Self::MOST_XIDS {
            self.xids.push(Xid { at_us, code });
        }
    }

    /// Notes what went wrong, where nothing had before.
    pub(super) fn complain(&mut self, fault: Fault) {
        if self.state.is_none() {
            self.state = Some(fault.told(0));
            self.fault = Some(fault);
        }
    }

    pub(super) fn push(&mut self, sample: GpuSample) {
        self.taken += 1;
        if self.samples.len() >= Self::MOST {
            let larger =
                |pair: &[GpuSample]| pair.iter().copied().max_by_key(|sample| sample.used_bytes);
            self.samples = self.samples.chunks(2).filter_map(larger).collect();
        }
        self.samples.push(sample);
    }
}

#[allow(clippy::cast_precision_loss, reason = "bytes stay below 2^53")]
fn share(used: u64, total: u64) -> f64 {
    used as f64 / total as f64
}

impl GpuTimeline {
    /// The series of a GPU, or of its first instance.
    pub(super) fn gpu(&mut self, index: u32) -> Option<&mut GpuSeries> {
        self.gpus.iter_mut().find(|gpu| gpu.index == index)
    }

    /// Says of each process what it is called, and whether it is of the server that listens on this port of this machine: as far as it can
    /// be told now.
    pub fn name_processes(&mut self, port: Option<u16>) {
        if self.gpus.iter().all(|gpu| gpu.processes.is_empty()) {
            return;
        }
        let Some(here) = Processes::as_the_driver_counts() else {
            return;
        };
        let server = port.map(|port| {
            let mut pids = here.listening_on(port);
            // It holds the sockets of services that it starts, and all descend from it.
            pids.remove(&1);
            pids
        });
        // Where none of them is, the port may be held by one that may not be looked at, or by a proxy before the target.
        let mut pids = self.gpus.iter().flat_map(|gpu| gpu.processes.keys());
        let server = server.filter(|server| pids.any(|&pid| here.descends(pid, server)));
        for (&pid, process) in self.gpus.iter_mut().flat_map(|gpu| &mut gpu.processes) {
            process.name = here.name(pid);
            // Of one that is over there is nothing to tell.
            process.of_target = match (&server, &process.name) {
                (Some(server), Some(_)) => Some(here.descends(pid, server)),
                _ => None,
            };
        }
    }

    /// The same timeline with its moments counted from `lead_us` later; what was sampled before that is left out but for the
    /// last sample, which becomes moment 0.
    #[must_use]
    pub fn since(mut self, lead_us: u64) -> Self {
        for gpu in &mut self.gpus {
            let first = gpu
                .samples
                .partition_point(|sample| sample.at_us <= lead_us)
                .saturating_sub(1);
            gpu.samples.drain(..first);
            for sample in &mut gpu.samples {
                sample.at_us = sample.at_us.saturating_sub(lead_us);
            }
            // What befell it just before the run is still so when it begins.
            for xid in &mut gpu.xids {
                xid.at_us = xid.at_us.saturating_sub(lead_us);
            }
            if let Some(fault) = &gpu.fault {
                gpu.state = Some(fault.told(lead_us));
            }
        }
        self
    }

    /// The most memory in use over all GPUs between two instants, in bytes. `None` where any of them was sampled neither then nor within
    /// `FRESH_US` before: the sum of the others would be a dip that there was not.
    pub fn used_between(&self, start_us: u64, end_us: u64) -> Option<u64> {
        self.gpus
            .iter()
            .filter(|gpu| !gpu.samples.is_empty())
            .map(|gpu| gpu.used_between(start_us, end_us))
            .reduce(|sum, used| Some(sum? + used?))
            .flatten()
    }
}

/// How old a figure may be and still be of now: pages are read once a second, and may be late.
pub(super) const FRESH_US: u64 = 2_500_000;

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_is_thinned_and_keeps_its_peak() {
        let mut series = GpuSeries::default();
        for at_us in 0..100_000 {
            let used_bytes = if at_us == 41_234 { 9_000 } else { 1_000 };
            series.push(GpuSample { at_us, used_bytes });
        }
        assert!(series.samples.len() <= GpuSeries::MOST);
        assert_eq!(series.taken, 100_000);
        let timeline = GpuTimeline {
            gpus: vec![series.clone(), series],
        };
        assert_eq!(timeline.used_between(0, 100_000), Some(18_000));
        assert_eq!(timeline.used_between(0, 30_000), Some(2_000));
        assert_eq!(timeline.used_between(3_000_000, 3_100_000), None);
        let later = timeline.since(50_000);
        assert_eq!(later.gpus[0].samples[0].at_us, 0);
        assert_eq!(later.used_between(0, 50_000), Some(2_000));
    }

    #[test]
    fn what_befell_a_gpu_before_the_run_is_told_as_such() {
        let mut gpu = GpuSeries::default();
        gpu.note_xid(4_000_000, 31);
        gpu.note_xid(7_500_000, 79);
        let gpus = vec![gpu];
        let told = |lead_us| {
            let gpus = GpuTimeline { gpus: gpus.clone() }.since(lead_us).gpus;
            let xids = gpus[0].xids.iter().map(|xid| (xid.at_us, xid.code));
            (xids.collect::<Vec<_>>(), gpus[0].state.clone().unwrap())
        };
        let early = "the driver told Xid 31 at 1.0 s".to_owned();
        assert_eq!(
            told(3_000_000),
            (vec![(1_000_000, 31), (4_500_000, 79)], early)
        );
        let before = "the driver told Xid 31 before the run began".to_owned();
        assert_eq!(told(5_000_000), (vec![(0, 31), (2_500_000, 79)], before));
    }

    #[test]
    fn a_gpu_that_is_seldom_sampled_leaves_no_dip_and_one_that_is_lost_a_gap() {
        let sampled = |every_us: u64, until_us: u64| {
            let mut series = GpuSeries::default();
            for at_us in (0..until_us).step_by(usize::try_from(every_us).unwrap()) {
                let used_bytes = 10;
                series.push(GpuSample { at_us, used_bytes });
            }
            series
        };
        let timeline = GpuTimeline {
            gpus: vec![
                sampled(100_000, 10_000_000),
                sampled(2_200_000, 5_000_000),
                GpuSeries::default(),
            ],
        };
        let told: Vec<Option<u64>> = (0..10)
            .map(|second| timeline.used_between(second * 1_000_000, (second + 1) * 1_000_000))
            .collect();
        assert_eq!(told[..7], [Some(20); 7]);
        assert_eq!(told[7..], [None; 3]);
    }
}
