//! Where a run changed its course: moments from which on a figure is another than before.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::median::median;
use super::summary::Window;

/// A lasting change of one figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangePoint {
    /// When, in seconds since the run's start.
    pub t_s: f64,
    /// Of what: `ttft_p50_ms`, `e2e_p50_ms`, `output_tokens_per_s`.
    pub metric: &'static str,
    /// Its median from the change before (or the start) to this one.
    pub before: f64,
    /// Its median from here to the next change (or the end).
    pub after: f64,
}

/// A figure of a window.
type Series = fn(&Window) -> Option<f64>;

/// The changes in a run's windows.
///
/// Binary segmentation: the place that splits a stretch best by the sum of ranks (Pettitt 1979) is a change if fewer than one in a
/// hundred shufflings of the stretch have one as good (199 seeded permutations, so that the same run tells the same); then both parts are
/// searched. A part has five windows at least. Each split is then put where it is best between its neighbours, and told if the medians on
/// both sides differ by a fifth at least. Ranks do not mind a spike.
pub(super) fn change_points(windows: &[Window]) -> Vec<ChangePoint> {
    let series: [(&'static str, Series); 3] = [
        ("ttft_p50_ms", |window| window.ttft_p50_ms),
        ("e2e_p50_ms", |window| window.e2e_p50_ms),
        ("output_tokens_per_s", |window| window.output_tokens_per_s),
    ];
    // What happens in the drain is no change of course.
    let sending = windows
        .iter()
        .rposition(|window| window.sent > 0)
        .map_or(0, |last| last + 1);
    let windows = windows.get(..sending).unwrap_or_default();
    let mut found = Vec::new();
    for (metric, value) in series {
        let points: Vec<(f64, f64)> = windows
            .iter()
            .filter_map(|window| Some((window.t_s, value(window)?)))
            .collect();
        let mut splits = Vec::new();
        split(&points, 0, &mut splits);
        splits.sort_unstable();
        refine(&points, &mut splits);
        found.extend(told(&points, splits, metric));
    }
    found.sort_by(|a, b| a.t_s.total_cmp(&b.t_s));
    found
}

/// Puts each split where it is best between its neighbours: it was found among everything, which blurs it.
fn refine(points: &[(f64, f64)], splits: &mut [usize]) {
    for place in 0..splits.len() {
        let from = place.checked_sub(1).and_then(|before| splits.get(before));
        let from = from.copied().unwrap_or(0);
        let to = splits.get(place + 1).copied().unwrap_or(points.len());
        let stretch = points.get(from..to).unwrap_or_default();
        if let (Some(split), Some((at, _))) = (splits.get_mut(place), best(&ranks(stretch))) {
            *split = from + at;
        }
    }
}

/// The splits at which the median changes enough to be told; without the others.
fn told(points: &[(f64, f64)], mut splits: Vec<usize>, metric: &'static str) -> Vec<ChangePoint> {
    loop {
        let edges: Vec<usize> = [0]
            .into_iter()
            .chain(splits.iter().copied())
            .chain([points.len()])
            .collect();
        let changes: Vec<ChangePoint> = edges
            .windows(3)
            .filter_map(|around| {
                let &[from, at, to] = around else { return None };
                Some(ChangePoint {
                    t_s: points.get(at)?.0,
                    metric,
                    before: usual(points.get(from..at)?)?,
                    after: usual(points.get(at..to)?)?,
                })
            })
            .collect();
        let share = |change: &ChangePoint| {
            let largest = change.before.abs().max(change.after.abs());
            (change.after - change.before).abs() / largest.max(f64::MIN_POSITIVE)
        };
        let least = (0..)
            .zip(&changes)
            .min_by(|a, b| share(a.1).total_cmp(&share(b.1)));
        match least {
            Some((place, change)) if share(change) < LEAST_CHANGE => {
                splits.remove(place);
            }
            _ => return changes,
        }
    }
}

fn split(points: &[(f64, f64)], offset: usize, found: &mut Vec<usize>) {
    if points.len() < 2 * FEWEST || found.len() >= MOST {
        return;
    }
    let mut ranks = ranks(points);
    let Some((at, score)) = best(&ranks) else {
        return;
    };
    let (left, right) = points.split_at(at);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let as_good = (0..SHUFFLINGS)
        .filter(|_| {
            ranks.shuffle(&mut rng);
            best(&ranks).is_some_and(|(_, shuffled)| shuffled >= score)
        })
        .count();
    if as_good > 0 {
        return;
    }
    found.push(offset + at);
    split(left, offset, found);
    split(right, offset + at, found);
}

/// The split of the largest sum of ranks: Pettitt's statistic, which trusts the ends of a stretch least.
fn best(ranks: &[f64]) -> Option<(usize, f64)> {
    let n = float(ranks.len());
    let mean = (n + 1.0) / 2.0;
    let mut sum = 0.0;
    let mut best = None;
    for (at, rank) in (1..).zip(ranks) {
        sum += rank - mean;
        if at < FEWEST || ranks.len() - at < FEWEST {
            continue;
        }
        if best.is_none_or(|(_, most)| sum.abs() > most) {
            best = Some((at, sum.abs()));
        }
    }
    best
}

/// Mid-ranks of the values, in their order.
fn ranks(points: &[(f64, f64)]) -> Vec<f64> {
    let mut sorted: Vec<f64> = points.iter().map(|point| point.1).collect();
    sorted.sort_by(f64::total_cmp);
    points
        .iter()
        .map(|&(_, value)| {
            let below = sorted.partition_point(|&other| other < value);
            let up_to = sorted.partition_point(|&other| other <= value);
            (float(below) + float(up_to) + 1.0) / 2.0
        })
        .collect()
}

fn usual(points: &[(f64, f64)]) -> Option<f64> {
    median(&mut points.iter().map(|point| point.1).collect::<Vec<f64>>())
}

#[allow(clippy::cast_precision_loss, reason = "a few hundred windows")]
fn float(count: usize) -> f64 {
    count as f64
}

const FEWEST: usize = 5;
const SHUFFLINGS: usize = 199;
const LEAST_CHANGE: f64 = 0.2;
/// Nobody reads more.
const MOST: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ttft: impl Fn(u32) -> f64) -> Vec<Window> {
        (0..120)
            .map(|t| Window {
                t_s: f64::from(t),
                sent: 10,
                ttft_p50_ms: Some(ttft(t)),
                ..Window::default()
            })
            .collect()
    }

    #[test]
    fn a_lasting_change_is_found_where_it_is() {
        let noise = |t: u32| f64::from(t * 7919 % 23);
        let told = change_points(&run(|t| noise(t) + if t < 70 { 100.0 } else { 180.0 }));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].t_s, told[0].metric), (70.0, "ttft_p50_ms"));
        assert!(told[0].before < 125.0 && told[0].after > 175.0);
        let there_and_back = change_points(&run(|t| {
            noise(t) + if (40..80).contains(&t) { 300.0 } else { 100.0 }
        }));
        let at: Vec<f64> = there_and_back.iter().map(|change| change.t_s).collect();
        assert_eq!(at, [40.0, 80.0]);
    }

    #[test]
    fn noise_and_a_spike_are_no_change() {
        let noise = |t: u32| 100.0 + f64::from(t * 7919 % 23);
        assert_eq!(change_points(&run(noise)), []);
        let spike = change_points(&run(|t| if t == 50 { 9000.0 } else { noise(t) }));
        assert_eq!(spike, []);
        assert_eq!(change_points(&[]), []);
    }
}
