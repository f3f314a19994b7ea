use std::time::{Duration, Instant};

/// When a source is asked next that was to be asked at `asked_at`, and has answered by `now`. One that takes longer than the period is left
/// alone for as long: who asks without end holds what the engine needs, be it the driver's lock or its own interpreter's.
pub(super) fn next_round(asked_at: Instant, period: Duration, now: Instant) -> Instant {
    let next = asked_at + period;
    if next > now { next } else { now + period }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_keep_to_their_clock_and_leave_a_slow_source_alone() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let quick = start + Duration::from_millis(300);
        assert_eq!(next_round(start, second, quick), start + second);
        for slow in [1, 5].map(|periods| start + periods * second) {
            assert_eq!(next_round(start, second, slow), slow + second);
        }
    }
}
