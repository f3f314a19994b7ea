use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use crate::replay::{Progress, RequestOutcome};

/// Who hears how a campaign goes.
pub trait Audience: Sync {
    /// A line for a person.
    fn say(&self, line: &str);

    /// A trace of `exchanges` is read, of which `read` have been so far. What comes back is dropped when it is over.
    fn reading(&self, exchanges: u64, read: &Arc<AtomicU64>) -> Box<dyn Send>;

    /// A run begins. What comes back is dropped when it is over.
    fn watch(&self, ticket: &Ticket, progress: &Progress) -> Box<dyn Send>;

    /// A request to a target is over. Heard on the run's own thread, so it must not take long.
    fn hear(&self, _target: &str, _outcome: &RequestOutcome) {}

    /// A target's run (or step) number `run`, from 0, is over: it began at this moment of the wall clock.
    fn ran(&self, _target: &str, _run: u64, _began: SystemTime) {}
}

/// A run, for those who watch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// What is run, in a few words: the target's name, and the load where it changes.
    pub name: String,
    /// The target's name alone.
    pub target: String,
    /// Requests that it will send.
    pub planned: u64,
    /// From its first send to its last.
    pub span: Duration,
    /// Which of several it is.
    pub place: Place,
}

/// Which of a campaign's runs or steps one is, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A round of the schedule: targets that are run at the same time are in one.
    Run {
        /// Which.
        number: u64,
        /// Of how many.
        of: u64,
    },
    /// A step of a sweep or of a search, which does not know beforehand how many it takes.
    Step {
        /// Which.
        number: u64,
        /// Of how many, where that is known.
        of: Option<u64>,
    },
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.place {
            Place::Run { of: 1, .. } => write!(f, "{name}"),
            Place::Run { number, of } => write!(f, "{name}, run {number} of {of}"),
            Place::Step { number, of: None } => write!(f, "{name}, step {number}"),
            Place::Step {
                number,
                of: Some(of),
            } => write!(f, "{name}, step {number} of {of}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_told_with_its_place_where_there_are_others() {
        let told = |place| {
            let ticket = Ticket {
                name: "a".to_owned(),
                target: "a".to_owned(),
                planned: 1,
                span: Duration::ZERO,
                place,
            };
            ticket.to_string()
        };
        assert_eq!(told(Place::Run { number: 1, of: 1 }), "a");
        assert_eq!(told(Place::Run { number: 2, of: 6 }), "a, run 2 of 6");
        let step = |of| Place::Step { number: 3, of };
        assert_eq!(told(step(None)), "a, step 3");
        assert_eq!(told(step(Some(4))), "a, step 3 of 4");
    }
}
