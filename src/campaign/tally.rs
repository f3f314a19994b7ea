//! Which of a run's requests are measured.

use crate::measure::{MeasureOptions, TargetMeasure, twin};
use crate::replay::RequestOutcome;
use crate::verdict::{MissCount, Objective};

/// Measures the requests of one run that count.
///
/// A run that is ended as soon as it is decided has requests that were sent after those that decided it. The fast ones of them are over by
/// then and the slow ones are not, so to measure what is over would flatter the target: whatever comes from [`Tally::until`] on waits, and
/// counts only if the run goes on.
pub(super) struct Tally {
    pub(super) measure: TargetMeasure,
    /// Those that missed, objective by objective.
    pub(super) misses: MissCount,
    /// What production felt at the same requests.
    pub(super) recorded: Option<TargetMeasure>,
    /// Requests of which the trace tells nothing that production felt.
    pub(super) without_twin: u64,
    warm_up: u64,
    until: u64,
    aside: Vec<RequestOutcome>,
}

impl Tally {
    /// Requests before `warm_up`, by their place in the plan, do not count.
    pub(super) fn new(
        options: &MeasureOptions,
        objectives: &[Objective],
        with_recorded: bool,
        warm_up: u64,
    ) -> Self {
        let measure = || TargetMeasure::new(options.clone());
        Self {
            measure: measure(),
            misses: MissCount::new(objectives),
            recorded: with_recorded.then(measure),
            without_twin: 0,
            warm_up,
            until: 0,
            aside: Vec::new(),
        }
    }

    /// Adds a request. `judge` is shown it, if it is beyond the warm-up, and says which requests count by now: those before that place of
    /// the plan, which never goes back.
    pub(super) fn add(
        &mut self,
        outcome: RequestOutcome,
        judge: &mut dyn FnMut(&RequestOutcome) -> u64,
    ) {
        if outcome.index < self.warm_up {
            return;
        }
        let until = judge(&outcome);
        if until > self.until {
            self.until = until;
            let aside = std::mem::take(&mut self.aside);
            let (count, wait): (Vec<_>, _) = aside.into_iter().partition(|it| it.index < until);
            self.aside = wait;
            count.iter().for_each(|it| self.measure(it));
        }
        if outcome.index < self.until {
            self.measure(&outcome);
        } else {
            self.aside.push(outcome);
        }
    }

    /// The places in the plan of the requests that count, if the run was ended because it was decided.
    pub(super) fn counted(&self) -> std::ops::Range<u64> {
        self.warm_up..self.until
    }

    /// Measures what waits, too: the run was not ended before its time.
    pub(super) fn take_all(&mut self) {
        self.until = u64::MAX;
        let aside = std::mem::take(&mut self.aside);
        aside.iter().for_each(|outcome| self.measure(outcome));
    }

    fn measure(&mut self, outcome: &RequestOutcome) {
        if self.measure.record(outcome) {
            self.misses.record(outcome);
        }
        if let Some(recorded) = self.recorded.as_mut() {
            match twin(outcome) {
                Some(felt) => {
                    recorded.record(&felt);
                }
                None => self.without_twin += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(index: u64) -> RequestOutcome {
        RequestOutcome {
            index,
            end_us: 1000,
            ..RequestOutcome::default()
        }
    }

    fn measured(tally: &Tally) -> u64 {
        tally.measure.latencies().e2e.count()
    }

    #[test]
    fn what_was_sent_after_the_deciding_requests_counts_only_if_the_run_goes_on() {
        let mut tally = Tally::new(&MeasureOptions::default(), &[], false, 2);
        for index in [0, 5, 2, 9, 3] {
            tally.add(outcome(index), &mut |_| 4);
        }
        assert_eq!((measured(&tally), tally.counted()), (2, 2..4));
        // Not decided: the next look is at the first ten.
        tally.add(outcome(4), &mut |_| 10);
        assert_eq!((measured(&tally), tally.counted()), (5, 2..10));
        tally.add(outcome(12), &mut |_| 10);
        assert_eq!(measured(&tally), 5);
        tally.take_all();
        assert_eq!(measured(&tally), 6);
    }
}
