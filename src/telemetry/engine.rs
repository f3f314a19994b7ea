use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::series::{GpuSample, GpuSeries, GpuTimeline};
use super::signals::{EngineKind, Reading, Signal};

/// What an engine told of itself over a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineTimeline {
    /// Which engine; absent where the page is of none that is known (an exporter's, say).
    pub kind: Option<EngineKind>,
    /// Where it was read.
    pub url: String,
    /// Under which name each signal was read.
    pub names: BTreeMap<Signal, String>,
    /// In rising order of time; at most [`EngineTimeline::MOST`].
    pub samples: Vec<EngineSample>,
    /// Pages read, those thinned out included.
    pub taken: u64,
    /// Pages that should have been read and were not.
    pub missed: u64,
    /// What went wrong first, where something did.
    pub state: Option<String>,
    /// The same, where it has a moment.
    #[serde(skip)]
    pub(crate) fault: Option<Fault>,
    /// When it was seen to have been started anew, in microseconds since the run began.
    pub restarts_us: Vec<u64>,
}

/// What one page said. Counters count from the first page on, restarts of the engine bridged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineSample {
    /// Microseconds since the run began.
    pub at_us: u64,
    /// Values of what the page told.
    pub values: BTreeMap<Signal, f64>,
}

impl EngineSample {
    /// A signal's value.
    pub fn get(&self, signal: Signal) -> Option<f64> {
        self.values.get(&signal).copied()
    }
}

impl EngineTimeline {
    /// Samples kept at most: five hours at one a second. Beyond that, of each pair the one with the fuller cache is kept.
    pub const MOST: usize = 18_000;

    /// The same timeline with its moments counted from `lead_us` later, without what lies before but for the last sample, which
    /// becomes moment 0, and with counters that count from there.
    #[must_use]
    pub fn since(mut self, lead_us: u64) -> Self {
        if let Some(fault) = &self.fault {
            self.state = Some(fault.told(lead_us));
        }
        let first = self
            .samples
            .partition_point(|sample| sample.at_us <= lead_us)
            .saturating_sub(1);
        self.samples.drain(..first);
        let base = self
            .samples
            .first()
            .map(|sample| sample.values.clone())
            .unwrap_or_default();
        self.restarts_us.retain(|at| *at >= lead_us);
        for at in &mut self.restarts_us {
            *at -= lead_us;
        }
        for sample in &mut self.samples {
            sample.at_us = sample.at_us.saturating_sub(lead_us);
            for (signal, value) in &mut sample.values {
                if signal.counts() {
                    *value -= base.get(signal).copied().unwrap_or(0.0);
                }
            }
        }
        self
    }

    /// The largest value of a signal between two instants; `None` where no page was read then.
    pub fn peak_between(&self, signal: Signal, start_us: u64, end_us: u64) -> Option<f64> {
        let from = self
            .samples
            .partition_point(|sample| sample.at_us < start_us);
        let rest = self.samples.get(from..).unwrap_or_default();
        rest.iter()
            .take_while(|sample| sample.at_us < end_us)
            .filter_map(|sample| sample.get(signal))
            .reduce(f64::max)
    }
}

/// Puts pages one after the other.
#[derive(Debug, Default)]
pub(super) struct Diary {
    pub(super) engine: EngineTimeline,
    pub(super) gpus: GpuTimeline,
    /// Counters as last read, and what restarts took from them.
    last: BTreeMap<Signal, (f64, f64)>,
    /// The last error of each GPU, by its place.
    xids: BTreeMap<usize, u64>,
    /// When the engine's process was started, as last told.
    started: Option<f64>,
}

impl Diary {
    pub(super) fn of(url: &str) -> Self {
        Self {
            engine: EngineTimeline {
                url: url.to_owned(),
                ..EngineTimeline::default()
            },
            ..Self::default()
        }
    }

    /// A page was read.
    pub(super) fn note(&mut self, at_us: u64, page: &str) {
        self.note_engine(at_us, super::signals::read(page));
        for gpu in super::exporter::read(page) {
            let Some(used_bytes) = gpu.used_bytes else {
                continue;
            };
            let known = self.gpus.gpus.iter().position(|known| {
                known.source == gpu.source
                    && known.uuid == gpu.uuid
                    && known.instance == gpu.instance
                    && gpu.index.is_none_or(|index| known.index == index)
            });
            let place = known.unwrap_or_else(|| {
                let index = u32::try_from(self.gpus.gpus.len()).unwrap_or(u32::MAX);
                self.gpus.gpus.push(GpuSeries {
                    source: gpu.source.into(),
                    index: gpu.index.unwrap_or(index),
                    instance: gpu.instance,
                    uuid: gpu.uuid.clone(),
                    name: gpu.name.clone(),
                    total_bytes: gpu.total_bytes,
                    ..GpuSeries::default()
                });
                self.gpus.gpus.len() - 1
            });
            if let Some(series) = self.gpus.gpus.get_mut(place) {
                series.total_bytes = series.total_bytes.max(gpu.total_bytes);
                series.push(GpuSample { at_us, used_bytes });
                // What stood there before the run is an old error.
                let before = gpu.xid.and_then(|xid| self.xids.insert(place, xid));
                if let (Some(before), Some(xid)) = (before, gpu.xid)
                    && xid != before
                    && xid > 0
                {
                    series.note_xid(at_us, xid);
                }
            }
        }
    }

    /// A page was not to be had.
    pub(super) fn miss(&mut self, at_us: u64, why: &str) {
        self.engine.missed += 1;
        self.complain(Fault::new(at_us, "no figures", why));
    }

    fn note_engine(&mut self, at_us: u64, reading: Reading) {
        self.engine.taken += 1;
        self.engine.kind = self.engine.kind.or(reading.kind);
        let mut sample = EngineSample {
            at_us,
            ..EngineSample::default()
        };
        let mut restarted = false;
        if let Some((started, _)) = reading.values.get(&Signal::Started) {
            // Two ranks that were started one after the other are no restart: the page tells the younger all along.
            restarted = self.started.is_some_and(|before| *started > before + 0.5);
            self.started = Some(*started);
        }
        for (signal, (value, name)) in reading.values {
            let value = if signal.counts() {
                let (last, lost) = self.last.get(&signal).copied().unwrap_or((value, 0.0));
                // A counter that fell began anew from 0.
                let lost = if value < last {
                    restarted = true;
                    lost + last
                } else {
                    lost
                };
                self.last.insert(signal, (value, lost));
                value + lost
            } else {
                value
            };
            sample.values.insert(signal, value);
            self.engine.names.entry(signal).or_insert(name);
        }
        if restarted {
            self.engine.restarts_us.push(at_us);
            self.complain(Fault::new(
                at_us,
                "its counters began anew",
                "the engine was restarted",
            ));
        }
        if sample.values.is_empty() {
            return;
        }
        if self.engine.samples.len() >= EngineTimeline::MOST {
            self.thin();
        }
        self.engine.samples.push(sample);
    }

    fn thin(&mut self) {
        let fuller = |pair: &[EngineSample]| {
            let kv = |sample: &&EngineSample| sample.get(Signal::KvUsage).unwrap_or(0.0);
            pair.iter().max_by(|a, b| kv(a).total_cmp(&kv(b))).cloned()
        };
        self.engine.samples = self.engine.samples.chunks(2).filter_map(fuller).collect();
    }

    fn complain(&mut self, fault: Fault) {
        if self.engine.state.is_none() {
            self.engine.state = Some(fault.told(0));
            self.engine.fault = Some(fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(running: u32, kv: f64, preemptions: u32) -> String {
        format!(
            "vllm:num_requests_running {running}\nvllm:kv_cache_usage_perc {kv}\nvllm:num_preemptions_total {preemptions}\n"
        )
    }

    #[test]
    fn counters_count_from_the_run_on_and_across_a_restart() {
        let mut diary = Diary::of("http://e/metrics");
        for (at_us, preemptions) in [(0, 100), (1_000_000, 103), (2_000_000, 2), (3_000_000, 4)] {
            diary.note(at_us, &page(1, 0.5, preemptions));
        }
        let engine = diary.engine.since(1_000_000);
        assert_eq!(engine.samples.len(), 3);
        assert_eq!(engine.samples[0].at_us, 0);
        assert_eq!(engine.samples[2].get(Signal::Preemptions), Some(4.0));
        assert!(
            engine
                .state
                .as_deref()
                .is_some_and(|state| state.contains("restarted")),
            "{engine:?}"
        );
    }

    #[test]
    fn a_gap_is_a_gap_and_told() {
        let mut diary = Diary::of("http://e/metrics");
        diary.note(0, &page(1, 0.25, 0));
        diary.miss(1_000_000, "no answer within 1 s");
        diary.note(2_000_000, &page(9, 0.75, 0));
        let engine = diary.engine;
        assert_eq!((engine.taken, engine.missed), (2, 1));
        assert_eq!(
            engine.peak_between(Signal::KvUsage, 1_000_000, 2_000_000),
            None
        );
        assert_eq!(
            engine.peak_between(Signal::KvUsage, 0, 3_000_000),
            Some(0.75)
        );
        assert_eq!(
            engine.state.as_deref(),
            Some("no figures at 1.0 s: no answer within 1 s")
        );
    }

    #[test]
    fn a_long_run_keeps_its_peaks() {
        let mut diary = Diary::of("");
        for at_us in 0..50_000 {
            let kv = if at_us == 12_345 { 0.99 } else { 0.1 };
            diary.note(at_us, &page(1, kv, 0));
        }
        let engine = diary.engine;
        assert!(engine.samples.len() <= EngineTimeline::MOST);
        assert_eq!(engine.taken, 50_000);
        assert_eq!(
            engine.peak_between(Signal::KvUsage, 0, u64::MAX),
            Some(0.99)
        );
    }

    #[test]
    fn an_error_of_the_driver_in_mid_run_is_told_and_an_older_one_is_not() {
        let mut diary = Diary::of("");
        for (at_us, xid) in [(0, 13), (1_000_000, 13), (2_500_000, 31)] {
            let page = format!(
                "DCGM_FI_DEV_FB_USED{{gpu=\"0\",UUID=\"a\"}} 10\nDCGM_FI_DEV_XID_ERRORS{{gpu=\"0\",UUID=\"a\"}} {xid}\n"
            );
            assert_eq!(
                diary.gpus.gpus.first().and_then(|gpu| gpu.state.clone()),
                None
            );
            diary.note(at_us, &page);
        }
        assert_eq!(
            diary.gpus.gpus[0].state.as_deref(),
            Some("the driver told Xid 31 at 2.5 s")
        );
    }

    #[test]
    fn instances_of_one_gpu_have_series_of_their_own() {
        let mut diary = Diary::of("");
        for at_us in [0, 1_000_000] {
            diary.note(
                at_us,
                "DCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"a\",GPU_I_ID=\"1\"} 10\n\
                 DCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"a\",GPU_I_ID=\"2\"} 20\n",
            );
        }
        let series: Vec<_> = diary
            .gpus
            .gpus
            .iter()
            .map(|gpu| {
                let used = gpu.samples.iter().map(|sample| sample.used_bytes >> 20);
                (gpu.index, gpu.instance, used.collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(
            series,
            [(0, Some(1), vec![10, 10]), (0, Some(2), vec![20, 20])]
        );
    }

    #[test]
    fn an_exporters_page_tells_of_gpus_and_of_no_engine() {
        let mut diary = Diary::of("");
        for at_us in [0, 1] {
            diary.note(at_us, "DCGM_FI_DEV_FB_USED{gpu=\"3\",UUID=\"a\"} 10\nDCGM_FI_DEV_FB_FREE{gpu=\"3\",UUID=\"a\"} 30\n");
        }
        assert_eq!(diary.engine.kind, None);
        assert!(diary.engine.samples.is_empty());
        assert_eq!(diary.gpus.gpus.len(), 1);
        let gpu = &diary.gpus.gpus[0];
        assert_eq!(
            (&*gpu.source, gpu.index, gpu.total_bytes, gpu.samples.len()),
            ("dcgm", 3, 40 << 20, 2)
        );
    }
}
