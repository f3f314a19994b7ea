//! How late the thread is that takes the candidate's times: by as much they may be too long.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// How late each beat was that came while there was something to do.
#[derive(Default)]
pub(super) struct Beat(Mutex<Option<Histogram<u64>>>);

impl Beat {
    /// Beats for ever.
    pub(super) async fn go_on(&self, is_busy: impl Fn() -> bool) {
        loop {
            let before = is_busy();
            let due = Instant::now() + EVERY;
            tokio::time::sleep_until(due).await;
            // Idle hours would hide a busy minute. What is over by now was held up all the same.
            if is_busy() || before {
                self.note(due.elapsed());
            }
        }
    }

    /// Within 1 %; beats that would have come meanwhile count as late, too.
    fn note(&self, late: Duration) {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut whole = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if whole.is_none() {
            *whole = Histogram::new_with_bounds(1, us(MOST), 2).ok();
        }
        if let Some(whole) = &mut *whole {
            // It is within the bounds.
            let _ = whole.record_correct(us(late).clamp(1, us(MOST)), us(EVERY));
        }
    }

    /// In microseconds; `None` where there was nothing to do.
    pub(super) fn p99_us(&self) -> Option<u64> {
        let whole = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        whole.as_ref().map(|whole| whole.value_at_quantile(0.99))
    }
}

/// Seldom enough to cost nothing beside traffic.
const EVERY: Duration = Duration::from_millis(20);
const MOST: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_thread_that_was_held_up_is_late_by_all_the_beats_that_it_missed() {
        let beat = Beat::default();
        assert_eq!(beat.p99_us(), None);
        (0..200).for_each(|_| beat.note(Duration::from_millis(1)));
        assert!(beat.p99_us().unwrap() < 1_100);
        beat.note(Duration::from_millis(400));
        assert!(beat.p99_us().unwrap() > 300_000);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn it_counts_only_while_there_is_something_to_do() {
        // As a beat begins, and as it comes.
        for (before, then) in [(false, false), (true, false), (false, true), (true, true)] {
            let beat = Beat::default();
            let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel();
            let is_first = Cell::new(true);
            let is_busy = || ask.send(()).is_ok() && if is_first.take() { before } else { then };
            let twice = async { (asked.recv().await, asked.recv().await) };
            tokio::select! {
                () = beat.go_on(is_busy) => {}
                _ = twice => {}
            }
            assert_eq!(beat.p99_us().is_some(), before || then, "{before}, {then}");
        }
    }
}
