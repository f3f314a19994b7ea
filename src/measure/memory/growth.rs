//! Growth of memory apart from what the load takes.

use serde::{Deserialize, Serialize};

use crate::measure::growth::{kendall_variance, middle};
use crate::measure::median::median;

/// How memory in use grows, with what the load takes left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryGrowth {
    /// Bytes a second.
    pub bytes_per_s: f64,
    /// Its 95 % interval.
    pub ci95: (f64, f64),
    /// Bytes that a unit of load takes, left out above: of tokens in flight, or (for a share of the KV cache) of the whole cache.
    pub bytes_per_load: f64,
    /// It grows all along, whatever the load: a leak.
    pub leak: bool,
    /// In words, for a person.
    pub reason: String,
}

/// One sample: when (seconds), bytes in use, and the load then (tokens in flight, say), in rising order of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::measure) struct Loaded {
    pub(in crate::measure) t_s: f64,
    pub(in crate::measure) bytes: f64,
    pub(in crate::measure) load: f64,
}

/// The growth of memory apart from the load; `None` where the run is shorter than [`SHORTEST_S`] or has too few samples.
///
/// 1. The run is cut into 20 stretches. Within them, so that neither a step nor a leak is taken for load, memory is regressed on the load
///    and on time at once; what the load takes is left out.
/// 2. A stretch is its median: samples that follow closely on one another say the same thing, medians of stretches hardly so; what
///    dependence is left (their autocorrelation) widens the variance (Yue and Wang 2004).
/// 3. An allocator keeps what the highest load so far took. So stretches with a new high of the load part the run into plateaus, and
///    only stretches of one plateau are held against each other: Theil and Sen's slope of those pairs, and Mann and Kendall's score
///    added up over plateaus (Hirsch, Slack and Smith 1982).
/// 4. It is a leak where that score is beyond one in a thousand, the slope's interval is above 0, and the growth is everywhere: it remains
///    without its largest steps, and in the later half. A few steps of an allocator, or a warm-up, are none.
/// 5. Or where next to every stretch is above the one before (sign test, one in a thousand): the slope is then the median of these rises,
///    which steps do not bend.
pub(in crate::measure) fn apart_from_load(samples: &[Loaded]) -> Option<MemoryGrowth> {
    let (first, last) = (samples.first()?, samples.last()?);
    let span_s = last.t_s - first.t_s;
    if span_s < SHORTEST_S || samples.len() < FEWEST {
        return None;
    }
    let stretches = stretches(samples, first.t_s, span_s);
    let per_load = taken_by_load(&stretches);
    let points = points(&stretches, per_load);
    let plateaus: Vec<&[Point]> = points
        .chunk_by(|a, b| !a.new_high && !b.new_high)
        .filter(|plateau| plateau.len() > 1)
        .collect();
    let trend = Trend::of(&plateaus)?;
    let (trend, everywhere) = match Trend::of_rises(&plateaus) {
        Some(rises) => (rises, true),
        None => (trend, everywhere(&plateaus)),
    };
    let grown = trend.per_s * span_s;
    let leak =
        trend.score > CRITICAL && trend.ci95.0 > 0.0 && everywhere && grown >= LEAST_GROWTH_BYTES;
    let reason = reason(&trend, leak, everywhere, grown);
    Some(MemoryGrowth {
        bytes_per_s: trend.per_s,
        ci95: trend.ci95,
        bytes_per_load: per_load,
        leak,
        reason,
    })
}

fn reason(trend: &Trend, leak: bool, everywhere: bool, grown: f64) -> String {
    let rate = |bytes: f64| format!("{:.2}", bytes / MIB);
    let (low, high) = trend.ci95;
    let rate = format!(
        "{} MiB/s (95 %: {} to {})",
        rate(trend.per_s),
        rate(low),
        rate(high)
    );
    if leak {
        format!("it grows by {rate} whatever the load: a leak")
    } else if trend.score > CRITICAL && low > 0.0 && grown >= LEAST_GROWTH_BYTES && !everywhere {
        format!("it grew by {rate}, in a few steps or at first only: no leak that can be told")
    } else {
        format!("no growth apart from the load: {rate}")
    }
}

/// A stretch of the run.
struct Stretch<'a> {
    samples: &'a [Loaded],
    /// The load was higher in it than ever before.
    new_high: bool,
}

struct Point {
    t_s: f64,
    bytes: f64,
    new_high: bool,
}

fn stretches(samples: &[Loaded], from_s: f64, span_s: f64) -> Vec<Stretch<'_>> {
    let width = span_s / STRETCHES;
    let place = |sample: &Loaded| ((sample.t_s - from_s) / width).floor().min(STRETCHES - 1.0);
    let mut highest = f64::NEG_INFINITY;
    let all = samples.chunk_by(|a, b| (place(a) - place(b)).abs() < 0.5);
    all.filter(|samples| samples.len() >= FEWEST_IN_STRETCH)
        .map(|samples| {
            let most = samples.iter().map(|sample| sample.load).fold(0.0, f64::max);
            // A hair more is the same.
            let new_high = most > highest * 1.005;
            highest = highest.max(most);
            Stretch { samples, new_high }
        })
        .collect()
}

/// Bytes that a unit of load takes: least squares on load and time together, within stretches, twice, the second time without what lay
/// furthest off. Nothing where the load does not explain the memory clearly better than time alone: most engines take their cache at start.
fn taken_by_load(stretches: &[Stretch<'_>]) -> f64 {
    let centred: Vec<(f64, f64, f64)> = stretches
        .iter()
        .flat_map(|stretch| {
            let mean = |value: fn(&Loaded) -> f64| {
                stretch.samples.iter().map(value).sum::<f64>() / float(stretch.samples.len())
            };
            let (t, bytes, load) = (
                mean(|sample| sample.t_s),
                mean(|sample| sample.bytes),
                mean(|sample| sample.load),
            );
            let one =
                move |sample: &Loaded| (sample.t_s - t, sample.bytes - bytes, sample.load - load);
            stretch.samples.iter().map(one)
        })
        .collect();
    let off = |fit: (f64, f64)| {
        move |&(t, bytes, load): &(f64, f64, f64)| (bytes - fit.0 * load - fit.1 * t).abs()
    };
    let usual = |fit| median(&mut centred.iter().map(off(fit)).collect::<Vec<f64>>());
    let first = slopes(centred.iter());
    let Some(bound) = usual(first).map(|usual| 4.0 * usual) else {
        return 0.0;
    };
    let with = slopes(centred.iter().filter(|one| off(first)(one) <= bound));
    let without = (0.0, alone(&centred));
    let better = usual(with) < usual(without).map(|usual| EXPLAINED * usual);
    if better { with.0.max(0.0) } else { 0.0 }
}

/// Slope of bytes on time alone: the median of what each sample says.
fn alone(centred: &[(f64, f64, f64)]) -> f64 {
    let mut slopes: Vec<f64> = centred
        .iter()
        .filter(|(t, ..)| t.abs() > f64::EPSILON)
        .map(|(t, bytes, _)| bytes / t)
        .collect();
    median(&mut slopes).unwrap_or(0.0)
}

/// Least squares of bytes on (load, time), without a constant; zeros where the load never varied.
fn slopes<'a>(points: impl Iterator<Item = &'a (f64, f64, f64)>) -> (f64, f64) {
    let (mut ll, mut lt, mut tt, mut lb, mut tb) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for &(t, bytes, load) in points {
        ll += load * load;
        lt += load * t;
        tt += t * t;
        lb += load * bytes;
        tb += t * bytes;
    }
    let determinant = ll * tt - lt * lt;
    if determinant <= 1e-9 * ll * tt || determinant <= 0.0 {
        return (0.0, 0.0);
    }
    (
        (lb * tt - tb * lt) / determinant,
        (tb * ll - lb * lt) / determinant,
    )
}

fn points(stretches: &[Stretch<'_>], per_load: f64) -> Vec<Point> {
    let point = |stretch: &Stretch<'_>| {
        let mut rest: Vec<f64> = stretch
            .samples
            .iter()
            .map(|sample| sample.bytes - per_load * sample.load)
            .collect();
        let mut times: Vec<f64> = stretch.samples.iter().map(|sample| sample.t_s).collect();
        Some(Point {
            t_s: median(&mut times)?,
            bytes: median(&mut rest)?,
            new_high: stretch.new_high,
        })
    };
    stretches.iter().filter_map(point).collect()
}

struct Trend {
    per_s: f64,
    ci95: (f64, f64),
    /// Mann and Kendall's, in standard deviations.
    score: f64,
}

impl Trend {
    fn of(plateaus: &[&[Point]]) -> Option<Self> {
        let (mut slopes, mut score, mut variance) = (Vec::new(), 0.0, 0.0);
        for plateau in plateaus {
            for (i, a) in plateau.iter().enumerate() {
                for b in plateau.iter().skip(i + 1) {
                    let change = b.bytes - a.bytes;
                    slopes.push(change / (b.t_s - a.t_s));
                    score += if change == 0.0 { 0.0 } else { change.signum() };
                }
            }
            variance += kendall_variance(plateau.iter().map(|point| point.bytes));
        }
        if slopes.len() < FEWEST_PAIRS {
            return None;
        }
        slopes.sort_by(f64::total_cmp);
        let per_s = *slopes.get(slopes.len() / 2)?;
        let deviation = (variance * widened(plateaus, per_s)).sqrt();
        let (per_s, ci95) = middle(&slopes, deviation)?;
        Some(Self {
            per_s,
            ci95,
            score: (score - 1.0).max(0.0) / deviation.max(f64::MIN_POSITIVE),
        })
    }
}

impl Trend {
    /// The median rise from stretch to stretch, where next to all of them rise; its interval by order statistics.
    fn of_rises(plateaus: &[&[Point]]) -> Option<Self> {
        let mut rises: Vec<f64> = plateaus
            .iter()
            .flat_map(|plateau| plateau.windows(2))
            .filter_map(|pair| match pair {
                [a, b] => Some((b.bytes - a.bytes) / (b.t_s - a.t_s)),
                _ => None,
            })
            .collect();
        rises.sort_by(f64::total_cmp);
        let up = rises.iter().filter(|rise| **rise > 0.0).count();
        let all = float(rises.len());
        // The normal approximation with its correction.
        let score = (2.0 * float(up) - all - 1.0) / all.sqrt();
        if score <= SIGNS || rises.len() < FEWEST_RISES {
            return None;
        }
        let (per_s, ci95) = middle(&rises, all.sqrt())?;
        Some(Self {
            per_s,
            ci95,
            score: CRITICAL.max(score) + f64::EPSILON * 8.0,
        })
    }
}

/// How much wider the variance is for the dependence of neighbours, which is measured on what the slope leaves.
fn widened(plateaus: &[&[Point]], per_s: f64) -> f64 {
    let (mut together, mut alone) = (0.0, 0.0);
    for plateau in plateaus {
        let rest: Vec<f64> = plateau
            .iter()
            .map(|point| point.bytes - per_s * point.t_s)
            .collect();
        let mean = rest.iter().sum::<f64>() / float(rest.len());
        alone += rest.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        together += rest
            .windows(2)
            .map(|pair| match pair {
                [a, b] => (a - mean) * (b - mean),
                _ => 0.0,
            })
            .sum::<f64>();
    }
    let correlation = if alone > 0.0 { together / alone } else { 0.0 };
    let correlation = correlation.clamp(0.0, 0.8);
    (1.0 + correlation) / (1.0 - correlation)
}

/// Whether the growth remains without its largest steps, and goes on in the later half.
fn everywhere(plateaus: &[&[Point]]) -> bool {
    let steps: Vec<f64> = plateaus
        .iter()
        .flat_map(|plateau| plateau.windows(2))
        .filter_map(|pair| match pair {
            [a, b] => Some(b.bytes - a.bytes),
            _ => None,
        })
        .collect();
    let grown: f64 = steps.iter().sum();
    let later: f64 = steps.iter().skip(steps.len() / 2).sum();
    let mut sorted = steps.clone();
    sorted.sort_by(f64::total_cmp);
    let without: f64 = sorted
        .iter()
        .take(steps.len() - steps.len().div_ceil(5))
        .sum();
    grown > 0.0 && without >= LEFT_OVER * grown && later >= LEFT_OVER * grown
}

#[allow(clippy::cast_precision_loss, reason = "lengths stay below 2^53")]
fn float(count: usize) -> f64 {
    count as f64
}

const MIB: f64 = 1_048_576.0;
/// Shorter runs are all warm-up.
const SHORTEST_S: f64 = 30.0;
const FEWEST: usize = 30;
const STRETCHES: f64 = 20.0;
const FEWEST_IN_STRETCH: usize = 2;
const FEWEST_PAIRS: usize = 20;
/// Share of what is left unexplained by time that the load must bring it down to.
const EXPLAINED: f64 = 0.8;
/// Signs of ten or more rises: one in a thousand, one side (all of ten, 12 of 13, 15 of 18).
const SIGNS: f64 = 2.8;
const FEWEST_RISES: usize = 10;
/// One in a thousand, both sides.
const CRITICAL: f64 = 3.29;
/// Share of the growth that must be left without its largest steps, and in the later half.
const LEFT_OVER: f64 = 0.2;
/// What an allocator's one segment may be is no growth of a run.
const LEAST_GROWTH_BYTES: f64 = 8.0 * MIB;

#[cfg(test)]
#[path = "growth_simulation.rs"]
mod tests;
