//! Whether a queue only grew, so that its tail says how long the run was and nothing else.

use super::growth::{FEWEST, Growth, growth};
use super::median::median;
use super::summary::Window;

/// Looks at the windows in which requests were sent; says why the target was saturated, if it was: what was in flight grew all along (the
/// Theil–Sen slope's lower end is above 0, Mann–Kendall sees a trend at 5 %), by at least 5 % of what was sent, and answers took longer
/// all along, too. A rise in the trace's own rate lets the first grow, and the last where larger batches are slower: then what was answered
/// each second must have stopped following what was sent, too.
pub(super) fn saturated(windows: &[Window]) -> Option<String> {
    let sending = windows.iter().rposition(|window| window.sent > 0)? + 1;
    // Nothing is answered in the last of all but what was in flight anyway.
    let before_last = windows.get(..sending.min(windows.len() - 1))?;
    let answered = points(before_last, |window| Some(float(window.ended)));
    let windows = windows.get(..sending)?;
    let in_flight = points(windows, |window| Some(window.in_flight));
    let slow = points(windows, |window| window.e2e_p50_ms);
    let (queue, latency) = (growth(&in_flight)?, growth(&slow)?);
    let span_s = span_s(windows);
    let sent: u64 = windows.iter().map(|window| window.sent).sum();
    let grown = queue.per_s * span_s;
    let share = grown / float(sent.max(1));
    let slower = latency.per_s * span_s;
    let usual = median(&mut slow.iter().map(|point| point.1).collect::<Vec<f64>>())?;
    let grew = rises(&queue) && share >= LEAST_SHARE;
    // Half a median more from one end of the run to the other: more than batching costs at a steady rate.
    let waited = rises(&latency) && slower >= 0.5 * usual;
    (grew && waited && !followed(windows, &in_flight, &answered)).then(|| {
        format!(
            "saturated: {grown:.0} more requests were in flight at the end than at the start and each took longer than those before, so the tail says how long the run was, not how fast the target is"
        )
    })
}

/// Whether more was sent as the run went on, and the target answered more in step: its queue is no longer than what it was fed explains.
///
/// Little's law alone does not tell: requests in flight are the rate times the latency, whether these wait or are served. What does is
/// throughput. Where latencies grow by `w` seconds each second, a target that keeps up with a rise of the rate answers `1 / (1 + w)²` of that
/// rise, and one that is above its capacity nothing of it. It is looked for in the later half, since a rising rate may pass the capacity on
/// its way.
fn followed(windows: &[Window], in_flight: &[(f64, f64)], answered: &[(f64, f64)]) -> bool {
    let sent = points(windows, |window| Some(float(window.sent)));
    let total: f64 = sent.iter().map(|point| point.1).sum();
    let (Some(sent_all), Some(answered_all)) = (growth(&sent), growth(answered)) else {
        return false;
    };
    let of_mean = sent_all.per_s * span_s(windows) / total * float(windows.len() as u64);
    if !rises(&sent_all) || of_mean < LEAST_RISE {
        return false;
    }
    let (Some(sent_later), Some(answered_later), Some(queue_later)) =
        (later(&sent), later(answered), later(in_flight))
    else {
        return false;
    };
    if !rises(&queue_later) {
        return true;
    }
    let (sent, answered) = match rises(&sent_later) {
        true => (sent_later, answered_later),
        // Of few requests, half a run shows no trend; but it must not be one that has ended.
        false if sent_later.per_s >= LEAST_FOLLOWED * sent_all.per_s => (sent_all, answered_all),
        false => return false,
    };
    answered.per_s >= LEAST_FOLLOWED * sent.per_s
}

/// The trend of the later half, or of as many of the last as a trend takes.
fn later(points: &[(f64, f64)]) -> Option<Growth> {
    let half = (points.len() / 2).max(FEWEST);
    growth(points.get(points.len().saturating_sub(half)..)?)
}

fn points(windows: &[Window], value: impl Fn(&Window) -> Option<f64>) -> Vec<(f64, f64)> {
    let each = windows.iter();
    each.filter_map(|window| Some((window.t_s, value(window)?)))
        .collect()
}

/// From the first window's start to that of the last, in seconds.
fn span_s(windows: &[Window]) -> f64 {
    let (first, last) = (windows.first(), windows.last());
    first
        .zip(last)
        .map_or(0.0, |(first, last)| last.t_s - first.t_s)
}

fn rises(trend: &Growth) -> bool {
    trend.significant && trend.ci95.0 > 0.0
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

/// Of the requests sent, so many must have piled up.
const LEAST_SHARE: f64 = 0.05;

/// A rate rose if by so much of its mean, from one end of the run to the other.
const LEAST_RISE: f64 = 0.2;

/// So much of a rise of the rate must have been answered. Between what keeping up answers of it (two thirds and more, see [`followed`]) and
/// nothing: half a short run holds few requests, so either is found with noise.
const LEAST_FOLLOWED: f64 = 1.0 / 3.0;

#[cfg(test)]
mod tests {
    use super::super::observed::Sampled;
    use super::super::windows::Windows;
    use super::*;
    use crate::measure::target::tests::outcome;
    use rand::{RngExt, SeedableRng};

    /// The windows of a run whose requests come at `per_s(t)` and, where `jitter`, at random; `takes` has the instant at which one that
    /// came at an instant is answered. In seconds.
    fn run(
        length_s: f64,
        jitter: Option<u64>,
        per_s: impl Fn(f64) -> f64,
        mut takes: impl FnMut(f64) -> f64,
    ) -> Vec<Window> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(jitter.unwrap_or(0));
        let mut windows = Windows::new();
        let (mut now, mut index) = (0.0, 0);
        while now < length_s {
            let took = takes(now) - now;
            windows.record(&outcome(index, micros(now), micros(took)));
            let gap = jitter.map_or(1.0, |_| -rng.random::<f64>().max(1e-9).ln());
            now += gap / per_s(now);
            index += 1;
        }
        windows.finish(|_, _| Sampled::default())
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn micros(seconds: f64) -> u64 {
        (seconds * 1e6) as u64
    }

    /// First come, first served: half a second each, `per_s` of them a second at most.
    fn capacity(per_s: f64) -> impl FnMut(f64) -> f64 {
        let mut free = 0.0_f64;
        move |now| {
            free = free.max(now) + 1.0 / per_s;
            free + 0.5
        }
    }

    /// Runs of each kind at random instants.
    const RUNS: u64 = 20;

    fn alarms(run: impl Fn(u64) -> Vec<Window>) -> u64 {
        let told = |seed| u64::from(saturated(&run(seed)).is_some());
        (0..RUNS).map(told).sum()
    }

    #[test]
    fn a_rising_load_at_a_target_that_keeps_up_is_not_saturation() {
        // Four times the rate within half a minute, and batches that slow every answer to the threefold.
        let rate = |t: f64| 20.0 + 2.0 * t;
        let batched = |t: f64| t + 1.0 + t / 15.0;
        let rising = run(30.0, None, rate, batched);
        let (queue, slow): (Vec<_>, Vec<_>) = rising
            .iter()
            .take(30)
            .map(|it| ((it.t_s, it.in_flight), (it.t_s, it.e2e_p50_ms.unwrap())))
            .unzip();
        assert!(rises(&growth(&queue).unwrap()) && rises(&growth(&slow).unwrap()));
        assert_eq!(saturated(&rising), None);
        // At random instants, and at so few that every window differs by half from the next.
        let busy = alarms(|seed| run(30.0, Some(seed), rate, batched));
        let quiet = alarms(|seed| {
            run(
                60.0,
                Some(seed),
                |t| rate(t / 2.0) / 4.0,
                |t| t + 1.0 + t / 30.0,
            )
        });
        let short = alarms(|seed| run(14.0, Some(seed), |t| rate(2.0 * t), |t| t + 1.0 + t / 7.0));
        assert!(
            busy == 0 && quiet <= 1 && short <= 1,
            "{busy}, {quiet}, {short} of {RUNS}"
        );
        // It rises, and stays where it is.
        let settles = |t: f64| 20.0 + 2.0 * t.min(20.0);
        let settled = |t: f64| t + 1.0 + t.min(20.0) / 10.0;
        assert_eq!(saturated(&run(60.0, None, settles, settled)), None);
    }

    #[test]
    fn a_constant_load_above_capacity_is_saturation() {
        assert!(saturated(&run(30.0, None, |_| 60.0, capacity(40.0))).is_some());
        let found = alarms(|seed| run(30.0, Some(seed), |_| 60.0, capacity(40.0)));
        assert_eq!(found, RUNS);
    }

    #[test]
    fn a_rising_load_above_capacity_is_saturation() {
        let rate = |t: f64| 40.0 + 2.0 * t;
        assert!(saturated(&run(30.0, None, rate, capacity(30.0))).is_some());
        let above = alarms(|seed| run(30.0, Some(seed), rate, capacity(30.0)));
        // It passes the capacity on its way.
        let passing = alarms(|seed| run(30.0, Some(seed), rate, capacity(55.0)));
        let short = alarms(|seed| run(14.0, Some(seed), |t| rate(2.0 * t), capacity(30.0)));
        // A step to above it.
        let step = |t: f64| if t < 10.0 { 30.0 } else { 80.0 };
        let stepped = alarms(|seed| run(40.0, Some(seed), step, capacity(50.0)));
        assert!(
            above == RUNS && passing >= 18 && short >= 18 && stepped >= 19,
            "{above}, {passing}, {short}, {stepped} of {RUNS}"
        );
    }

    fn window(t: u32, sent: u64, in_flight: u32, e2e_ms: f64) -> Window {
        Window {
            t_s: f64::from(t),
            sent,
            in_flight: f64::from(in_flight),
            e2e_p50_ms: Some(e2e_ms),
            ..Window::default()
        }
    }

    #[test]
    fn a_queue_that_only_grows_is_told() {
        let growing: Vec<Window> = (0..60)
            .map(|t| window(t, 100, 10 + t * 20, f64::from(100 + t * 200)))
            .collect();
        assert!(saturated(&growing).is_some());
    }

    #[test]
    fn neither_a_busy_nor_a_rising_load_is_saturation() {
        let busy: Vec<Window> = (0..60)
            .map(|t| window(t, 100, 200 + t * 7 % 40, f64::from(2000 + t * 13 % 300)))
            .collect();
        assert_eq!(saturated(&busy), None);
        // Three times the rate at the end, and answers as fast as before.
        let rising: Vec<Window> = (0..60)
            .map(|t| window(t, u64::from(100 + t * 4), 50 + t * 2, 500.0))
            .collect();
        assert_eq!(saturated(&rising), None);
        assert_eq!(saturated(&[]), None);
    }
}
