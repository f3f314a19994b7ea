use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Where runs that are to begin at the same instant wait for each other.
#[derive(Debug, Clone)]
pub struct Gate(Arc<(Mutex<Meeting>, Condvar)>);

#[derive(Debug)]
struct Meeting {
    missing: usize,
    latest: Option<Instant>,
}

impl Gate {
    /// A gate that opens when so many runs are ready.
    pub fn of(runs: usize) -> Self {
        let meeting = Meeting {
            missing: runs,
            latest: None,
        };
        Self(Arc::new((Mutex::new(meeting), Condvar::new())))
    }

    /// Lets everyone through who waits, whoever is still missing: a run that cannot begin must not keep the others.
    pub fn open(&self) {
        let (meeting, changed) = &*self.0;
        let mut meeting = meeting.lock().unwrap_or_else(PoisonError::into_inner);
        meeting.missing = 0;
        changed.notify_all();
    }

    /// Waits for the others, and gives the latest of the instants that each could begin at.
    pub(super) fn agree(&self, ready: Instant) -> Instant {
        let (meeting, changed) = &*self.0;
        let mut meeting = meeting.lock().unwrap_or_else(PoisonError::into_inner);
        meeting.missing = meeting.missing.saturating_sub(1);
        let latest = meeting.latest.map_or(ready, |latest| latest.max(ready));
        meeting.latest = Some(latest);
        changed.notify_all();
        while meeting.missing > 0 {
            meeting = changed
                .wait(meeting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        meeting.latest.unwrap_or(ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn runs_agree_on_the_instant_of_the_last_that_is_ready() {
        let gate = Gate::of(3);
        let now = Instant::now();
        let agreed: Vec<Instant> = std::thread::scope(|scope| {
            let runs: Vec<_> = [20, 70, 10]
                .map(|ms| {
                    let gate = gate.clone();
                    scope.spawn(move || gate.agree(now + Duration::from_millis(ms)))
                })
                .into_iter()
                .collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert_eq!(agreed, [now + Duration::from_millis(70); 3]);
    }

    #[test]
    fn a_run_that_cannot_begin_does_not_keep_the_others() {
        let gate = Gate::of(2);
        let now = Instant::now();
        let waiting = {
            let gate = gate.clone();
            std::thread::spawn(move || gate.agree(now))
        };
        gate.open();
        assert_eq!(waiting.join().unwrap(), now);
    }
}
