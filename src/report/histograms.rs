use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::directory::ReportError;
use super::packed::{pack, unpack};
use crate::measure::{Distribution, Latencies, StoredDistribution};

/// Every latency of one run of one target, whole.
#[derive(Debug, Clone)]
pub struct RunHistograms {
    /// The target.
    pub target: String,
    /// Which of its runs or steps, from 0.
    pub run: u64,
    /// Its latencies.
    pub latencies: Latencies,
}

/// One run in `histograms.json.zst`.
#[derive(Serialize, Deserialize)]
struct Run {
    target: String,
    run: u64,
    latency: BTreeMap<String, Stored>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    hdr_v2: String,
    misses: u64,
    sum_us: u64,
    dependent: u64,
}

/// The bytes of `histograms.json.zst`.
pub(super) fn render(runs: &[RunHistograms]) -> Result<Vec<u8>, ReportError> {
    let stored = |distribution: &Distribution| {
        let StoredDistribution {
            hdr_v2,
            misses,
            sum_us,
            dependent,
        } = distribution.store();
        Stored {
            hdr_v2: STANDARD.encode(hdr_v2),
            misses,
            sum_us,
            dependent,
        }
    };
    let runs: Vec<Run> = runs
        .iter()
        .map(|run| Run {
            target: run.target.clone(),
            run: run.run,
            latency: run
                .latencies
                .named()
                .into_iter()
                .map(|(name, distribution)| (plain(name), stored(distribution)))
                .collect(),
        })
        .collect();
    pack(NAME, SCHEMA, &runs)
}

/// Reads `histograms.json.zst`.
///
/// # Errors
/// When the file cannot be read, or is not what its name says.
pub fn read_histograms(path: &Path) -> Result<Vec<RunHistograms>, ReportError> {
    let runs: Vec<Run> = unpack(path, SCHEMA)?;
    let foreign = |why: String| ReportError::Foreign {
        path: path.to_owned(),
        why,
    };
    runs.into_iter()
        .map(|run| {
            let mut latencies = Latencies::default();
            for (name, distribution) in latencies.named_mut() {
                let Some(stored) = run.latency.get(&plain(name)) else {
                    return Err(foreign(format!("it lacks {name} of {}", run.target)));
                };
                let restored = STANDARD.decode(&stored.hdr_v2).ok().and_then(|hdr_v2| {
                    Distribution::restore(&StoredDistribution {
                        hdr_v2,
                        misses: stored.misses,
                        sum_us: stored.sum_us,
                        dependent: stored.dependent,
                    })
                });
                *distribution = restored
                    .ok_or_else(|| foreign(format!("{name} of {} is no histogram", run.target)))?;
            }
            Ok(RunHistograms {
                target: run.target,
                run: run.run,
                latencies,
            })
        })
        .collect()
}

/// A latency's name without the unit that a result document has it in.
fn plain(name: &str) -> String {
    name.trim_end_matches("_ms").to_owned()
}

pub(super) const NAME: &str = "histograms.json.zst";
const SCHEMA: &str = "reenact.histograms/2";
