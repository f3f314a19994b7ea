//! Patience with a target that is starting: a pipeline starts the engine and the replay together, and a model takes its time to load.

use std::time::{Duration, Instant};

use super::error::{Problem, TargetError};
use crate::replay::Stop;

/// How long a target that is not ready is waited for, in all of its probes together.
pub(super) struct Patience<'a> {
    left: Duration,
    pause: Duration,
    told: bool,
    stop: &'a Stop,
    tell: &'a dyn Fn(&TargetError, Duration),
}

impl<'a> Patience<'a> {
    /// Of so much; `tell` hears once that a target is waited for, why, and for how long at most. `stop` ends it.
    pub(super) fn new(
        most: Duration,
        stop: &'a Stop,
        tell: &'a dyn Fn(&TargetError, Duration),
    ) -> Self {
        Self {
            left: most,
            pause: FIRST_PAUSE,
            told: false,
            stop,
            tell,
        }
    }

    /// Whether to try again, after a pause, what failed with `error` and was begun at `began`.
    pub(super) async fn outlasts(&mut self, error: &TargetError, began: Instant) -> bool {
        self.left = self.left.saturating_sub(began.elapsed());
        if !error.problem.may_pass() || self.left.is_zero() || self.stop.is_requested() {
            return false;
        }
        if !std::mem::replace(&mut self.told, true) {
            (self.tell)(error, self.left);
        }
        let pause = self.pause.min(self.left);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.stop.requested() => return false,
        }
        self.left -= pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

impl Problem {
    /// Whether it is what a server that starts, or one that is busy for a moment, has: what else is wrong stays wrong.
    fn may_pass(&self) -> bool {
        match self {
            // A port that is forwarded into a container takes connections before its server does, and breaks them.
            Self::Absent(_) | Self::Reset(_) => true,
            Self::Refused { status, .. } => matches!(status, 429 | 503 | 529),
            _ => false,
        }
    }
}

/// A server that is there at once is asked again at once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// And one that loads for minutes is not asked for its every second.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
