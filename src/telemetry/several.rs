//! What several sources tell of one target, put together: the pages of several engines behind one address, and the same GPU seen by NVML and
//! by an exporter.

use std::collections::BTreeSet;

use super::engine::{EngineSample, EngineTimeline};
use super::series::{FRESH_US, GpuSeries, GpuTimeline};
use super::signals::Signal;

impl EngineTimeline {
    /// Several pages as one. Figures of several engines are put together as those of several ranks on one page are: requests and counters add
    /// up, of caches the fullest counts. A sum is told only of instants at which every engine that tells the figure had told it within
    /// `FRESH_US` before: that of some of them would be a dip that there was not. What went wrong with any page is told, and with which.
    #[must_use]
    pub fn together(pages: Vec<Self>) -> Self {
        // An engine's page names itself as such; an exporter's does not, and has no figures of an engine.
        let (engines, mut others): (Vec<_>, Vec<_>) =
            pages.into_iter().partition(|page| page.kind.is_some());
        // A page that was never read may be an engine's, and is what there is to tell of where no other is.
        others.sort_by_key(|page| page.taken > 0);
        let state = states(engines.iter().chain(&others));
        let samples = (engines.len() > 1).then(|| joined(&engines));
        let mut pages = engines.into_iter();
        let Some(mut whole) = pages.next() else {
            let first = others.into_iter().next().unwrap_or_default();
            return Self { state, ..first };
        };
        for page in pages {
            whole.url = format!("{}, {}", whole.url, page.url);
            whole.taken += page.taken;
            whole.missed += page.missed;
            whole.restarts_us.extend(page.restarts_us);
            for (signal, name) in page.names {
                whole.names.entry(signal).or_insert(name);
            }
        }
        whole.restarts_us.sort_unstable();
        Self {
            samples: samples.unwrap_or(whole.samples),
            state,
            ..whole
        }
    }

    /// The last value of a signal at or before an instant, and when it was told.
    fn last_of(&self, signal: Signal, at_us: u64) -> Option<(u64, f64)> {
        let to = self.samples.partition_point(|sample| sample.at_us <= at_us);
        let before = self.samples.get(..to)?.iter().rev();
        before
            .take(LOOKED_BACK)
            .find_map(|sample| Some((sample.at_us, sample.get(signal)?)))
    }
}

/// What went wrong with pages: where there are several, with which.
fn states<'a>(pages: impl Iterator<Item = &'a EngineTimeline> + Clone) -> Option<String> {
    let is_one = pages.clone().count() == 1;
    let told = pages.filter_map(|page| {
        let state = page.state.as_ref()?;
        Some(if is_one {
            state.clone()
        } else {
            format!("{}: {state}", page.url)
        })
    });
    told.reduce(|all, one| format!("{all}; {one}"))
}

fn joined(engines: &[EngineTimeline]) -> Vec<EngineSample> {
    let signals: BTreeSet<Signal> = engines
        .iter()
        .flat_map(|page| page.names.keys().copied())
        .collect();
    // The one that was read most often sets the clock.
    let clock = engines.iter().rev().max_by_key(|page| page.samples.len());
    let samples = clock.into_iter().flat_map(|page| &page.samples);
    let instants = samples.map(|sample| sample.at_us);
    let mut before = None;
    instants
        .map(|at_us| {
            let values = signals
                .iter()
                .filter_map(|&signal| Some((signal, value(engines, signal, before, at_us)?)));
            let sample = EngineSample {
                at_us,
                values: values.collect(),
            };
            before = Some(at_us);
            sample
        })
        .filter(|sample| !sample.values.is_empty())
        .collect()
}

/// A signal of all engines at an instant; `before` is the instant that was looked at last.
fn value(
    engines: &[EngineTimeline],
    signal: Signal,
    before: Option<u64>,
    at_us: u64,
) -> Option<f64> {
    let telling = engines
        .iter()
        .filter(|page| page.names.contains_key(&signal));
    let fresh = |page: &EngineTimeline| {
        let (told_us, value) = page.last_of(signal, at_us)?;
        (at_us - told_us <= FRESH_US).then_some(value)
    };
    if signal.counts() {
        // A counter that is not told for a while has not gone down.
        let values = telling.filter_map(|page| page.last_of(signal, at_us));
        values
            .map(|(_, value)| value)
            .reduce(|a, b| signal.join(a, b))
    } else if signal.adds_up() {
        telling
            .map(fresh)
            .reduce(|a, b| Some(signal.join(a?, b?)))
            .flatten()
    } else {
        // Whatever was told since the instant before, so that no peak falls between two.
        let from = before.map_or(at_us, |before| before + 1);
        telling
            .filter_map(|page| {
                page.peak_between(signal, from, at_us + 1)
                    .or_else(|| fresh(page))
            })
            .reduce(|a, b| signal.join(a, b))
    }
}

impl GpuTimeline {
    /// Adds what another source tells, but for GPUs that are known already: one that NVML and an exporter see is one, and has its memory once.
    /// Of a known one, errors of the driver are taken where none had been told.
    pub fn add(&mut self, other: Self) {
        let known = self.gpus.len();
        for gpu in other.gpus {
            let same = self
                .gpus
                .iter_mut()
                .take(known)
                .find(|one| !one.samples.is_empty() && one.is_same(&gpu));
            match same {
                None => self.gpus.push(gpu),
                Some(one) => {
                    if one.xids.is_empty() {
                        one.xids = gpu.xids;
                    }
                    if one.state.is_none() {
                        (one.state, one.fault) = (gpu.state, gpu.fault);
                    }
                }
            }
        }
    }
}

impl GpuSeries {
    fn is_same(&self, other: &Self) -> bool {
        let bare = |gpu: &Self| {
            gpu.uuid
                .as_deref()
                .map(|uuid| bare(uuid).to_ascii_lowercase())
        };
        let instances = self.instance.zip(other.instance);
        bare(self).is_some_and(|uuid| bare(other) == Some(uuid))
            && instances.is_none_or(|(one, another)| one == another)
    }
}

/// nvidia_gpu_exporter leaves the kind of a UUID out.
fn bare(uuid: &str) -> &str {
    uuid.strip_prefix("GPU-").unwrap_or(uuid)
}

/// Pages looked at for a figure that the last of them did not tell.
const LOOKED_BACK: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::series::GpuSample;
    use crate::telemetry::{EngineKind, Signal as S};

    fn page(url: &str, samples: &[(u64, f64, f64, f64)]) -> EngineTimeline {
        let sample = |&(at_s, running, kv, preemptions): &(u64, f64, f64, f64)| EngineSample {
            at_us: at_s * 1_000_000,
            values: [
                (S::Running, running),
                (S::KvUsage, kv),
                (S::Preemptions, preemptions),
            ]
            .into(),
        };
        EngineTimeline {
            kind: Some(EngineKind::Vllm),
            url: url.to_owned(),
            names: [S::Running, S::KvUsage, S::Preemptions]
                .map(|signal| (signal, "name".to_owned()))
                .into(),
            samples: samples.iter().map(sample).collect(),
            taken: samples.len() as u64,
            ..EngineTimeline::default()
        }
    }

    #[test]
    fn engines_behind_one_address_add_up_and_their_fullest_cache_counts() {
        let a = page(
            "http://a",
            &[
                (0, 1.0, 0.1, 0.0),
                (1, 2.0, 0.2, 1.0),
                (2, 3.0, 0.3, 1.0),
                (9, 4.0, 0.3, 2.0),
            ],
        );
        let mut b = page("http://b", &[(0, 10.0, 0.9, 0.0), (1, 20.0, 0.1, 5.0)]);
        b.state = Some("it stalled".to_owned());
        let exporter = EngineTimeline {
            url: "http://dcgm".to_owned(),
            state: Some("no figures".to_owned()),
            ..EngineTimeline::default()
        };
        let whole = EngineTimeline::together(vec![exporter, a, b]);
        let told = |signal: S| -> Vec<Option<f64>> {
            whole
                .samples
                .iter()
                .map(|sample| sample.get(signal))
                .collect()
        };
        assert_eq!(told(S::Running), [Some(11.0), Some(22.0), Some(23.0), None]);
        assert_eq!(
            told(S::KvUsage),
            [Some(0.9), Some(0.2), Some(0.3), Some(0.3)]
        );
        assert_eq!(
            told(S::Preemptions),
            [Some(0.0), Some(6.0), Some(6.0), Some(7.0)]
        );
        assert_eq!((whole.url.as_str(), whole.taken), ("http://a, http://b", 6));
        assert_eq!(
            whole.state.as_deref(),
            Some("http://b: it stalled; http://dcgm: no figures")
        );
    }

    #[test]
    fn what_went_wrong_is_told_with_the_page_it_went_wrong_with() {
        let of = |url: &str, kind, taken, state: Option<&str>| EngineTimeline {
            kind,
            url: url.to_owned(),
            taken,
            state: state.map(str::to_owned),
            ..EngineTimeline::default()
        };
        let vllm = Some(EngineKind::Vllm);
        let whole = EngineTimeline::together(vec![
            of("a", vllm, 1, Some("it stalled")),
            of("b", vllm, 1, None),
        ]);
        assert_eq!(whole.state.as_deref(), Some("a: it stalled"));
        let whole = EngineTimeline::together(vec![
            of("dcgm", None, 9, None),
            of("a", None, 0, Some("refused")),
            of("b", None, 0, Some("no answer")),
        ]);
        assert_eq!((whole.url.as_str(), whole.taken), ("a", 0), "never read");
        assert_eq!(whole.state.as_deref(), Some("a: refused; b: no answer"));
    }

    #[test]
    fn a_peak_between_two_instants_of_the_clock_is_kept() {
        let a = page(
            "a",
            &[(0, 1.0, 0.1, 0.0), (4, 1.0, 0.1, 0.0), (8, 1.0, 0.1, 0.0)],
        );
        let b = page("b", &[(2, 1.0, 0.8, 0.0), (3, 1.0, 0.2, 0.0)]);
        let whole = EngineTimeline::together(vec![a, b]);
        assert_eq!(whole.peak_between(S::KvUsage, 0, u64::MAX), Some(0.8));
    }

    #[test]
    fn one_page_stays_as_it_was() {
        let a = page("a", &[(0, 1.0, 0.1, 0.0)]);
        assert_eq!(EngineTimeline::together(vec![a.clone()]), a);
        assert_eq!(
            EngineTimeline::together(Vec::new()),
            EngineTimeline::default()
        );
    }

    #[test]
    fn gpus_of_two_machines_of_amds_are_two() {
        let page = |used| {
            let mut diary = crate::telemetry::engine::Diary::of("");
            let page = format!(
                "gpu_used_vram{{gpu_id=\"0\"}} {used}\ngpu_total_vram{{gpu_id=\"0\"}} 99\n"
            );
            diary.note(0, &page);
            diary.gpus
        };
        let mut all = page(40);
        all.add(page(50));
        assert_eq!(all.used_between(0, 1), Some(90 << 20));
    }

    #[test]
    fn a_gpu_that_two_sources_see_has_its_memory_once() {
        let gpu = |source: &'static str, uuid: Option<&str>, used_bytes| GpuSeries {
            source: source.into(),
            uuid: uuid.map(str::to_owned),
            samples: vec![GpuSample {
                at_us: 5,
                used_bytes,
            }],
            ..GpuSeries::default()
        };
        let mut all = GpuTimeline {
            gpus: vec![gpu("nvml", Some("GPU-AB12"), 100)],
        };
        all.add(GpuTimeline {
            gpus: vec![
                gpu("dcgm", Some("GPU-ab12"), 90),
                gpu("dcgm", Some("GPU-cd34"), 7),
                gpu("dcgm", None, 1),
                gpu("dcgm", None, 1),
            ],
        });
        all.add(GpuTimeline {
            gpus: vec![gpu("nvidia_gpu_exporter", Some("cd34"), 8)],
        });
        assert_eq!(all.used_between(0, 10), Some(109));
        assert_eq!(all.gpus[0].source, "nvml");
    }
}
