//! Whether a queue only grew, so that its tail says how long the run was and nothing else.

use super::growth::growth;
use super::summary::Window;

/// Looks at the windows in which requests were sent; says why the target was saturated, if it was: what was in flight grew all along (the
/// Theil–Sen slope's lower end is above 0, Mann–Kendall sees a trend at 5 %), by at least 5 % of what was sent, and answers took longer
/// all along, too. A rise in the trace's own rate lets the first grow, but not the last.
pub(super) fn saturated(windows: &[Window]) -> Option<String> {
    let sending = windows.iter().rposition(|window| window.sent > 0)? + 1;
    let windows = windows.get(..sending)?;
    let in_flight: Vec<(f64, f64)> = windows
        .iter()
        .map(|window| (window.t_s, float(window.in_flight)))
        .collect();
    let slow: Vec<(f64, f64)> = windows
        .iter()
        .filter_map(|window| Some((window.t_s, window.e2e_p50_ms?)))
        .collect();
    let (queue, latency) = (growth(&in_flight)?, growth(&slow)?);
    let span_s = windows.last()?.t_s - windows.first()?.t_s;
    let sent: u64 = windows.iter().map(|window| window.sent).sum();
    let grown = queue.per_s * span_s;
    let share = grown / float(sent.max(1));
    let slower = latency.per_s * span_s;
    let median = middle(slow.iter().map(|point| point.1).collect())?;
    let grew = queue.significant && queue.ci95.0 > 0.0 && share >= LEAST_SHARE;
    // Half a median more from one end of the run to the other: more than batching costs.
    let waited = latency.significant && latency.ci95.0 > 0.0 && slower >= 0.5 * median;
    (grew && waited).then(|| {
        format!(
            "saturated: {grown:.0} more requests were in flight at the end than at the start and each took longer than those before, so the tail says how long the run was, not how fast the target is"
        )
    })
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

/// Of the requests sent, so many must have piled up.
const LEAST_SHARE: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    fn window(t: u32, sent: u64, in_flight: u64, e2e_ms: f64) -> Window {
        Window {
            t_s: f64::from(t),
            sent,
            in_flight,
            e2e_p50_ms: Some(e2e_ms),
            ..Window::default()
        }
    }

    #[test]
    fn a_queue_that_only_grows_is_told() {
        let growing: Vec<Window> = (0..60)
            .map(|t| window(t, 100, u64::from(10 + t * 20), f64::from(100 + t * 200)))
            .collect();
        assert!(saturated(&growing).is_some());
    }

    #[test]
    fn neither_a_busy_nor_a_rising_load_is_saturation() {
        let busy: Vec<Window> = (0..60)
            .map(|t| {
                window(
                    t,
                    100,
                    u64::from(200 + t * 7 % 40),
                    f64::from(2000 + t * 13 % 300),
                )
            })
            .collect();
        assert_eq!(saturated(&busy), None);
        // Three times the rate at the end, and answers as fast as before.
        let rising: Vec<Window> = (0..60)
            .map(|t| window(t, u64::from(100 + t * 4), u64::from(50 + t * 2), 500.0))
            .collect();
        assert_eq!(saturated(&rising), None);
        assert_eq!(saturated(&[]), None);
    }
}
