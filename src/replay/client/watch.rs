use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::talk::Cut;
use crate::replay::FailureKind;
use crate::replay::pace::RunClock;
use crate::replay::synthesise::Cancel;

/// Watches over silence and over the recorded client's patience. One timer serves both, and is moved only when it rings, so that
/// a stream of events does not pay for it.
#[derive(Clone, Copy)]
pub(super) struct Watch {
    clock: RunClock,
    idle_us: u64,
    heard_us: u64,
    /// How long the recorded client waited.
    patience_us: u64,
    cancel_us: u64,
}

impl Watch {
    /// From now on. `idle`: an answer that brings nothing for so long has failed.
    pub(super) fn new(clock: RunClock, idle: Duration, cancel: Option<Cancel>) -> Self {
        let now_us = clock.now_us();
        let patience_us = match cancel {
            Some(Cancel::After(us)) => us,
            _ => u64::MAX,
        };
        Self {
            clock,
            idle_us: u64::try_from(idle.as_micros()).unwrap_or(u64::MAX),
            heard_us: now_us,
            patience_us,
            cancel_us: now_us.saturating_add(patience_us),
        }
    }

    /// The same over a request that has not gone out: no recorded client's patience had to wait for a place on a connection.
    pub(super) fn before_sending(&self) -> Self {
        Self {
            cancel_us: u64::MAX,
            ..*self
        }
    }

    /// Begins anew: the request went out only now. `sleep` is its timer.
    pub(super) fn begin(&mut self, sleep: Pin<&mut Sleep>) {
        self.heard_us = self.clock.now_us();
        self.cancel_us = self.heard_us.saturating_add(self.patience_us);
        sleep.reset(self.next().into());
    }

    /// Something came. True where the recorded client had lost its patience before.
    pub(super) fn heard(&mut self, at_us: u64) -> bool {
        self.heard_us = at_us;
        at_us >= self.cancel_us
    }

    /// When something came last; before that, when the watch began.
    pub(super) fn heard_us(&self) -> u64 {
        self.heard_us
    }

    /// A timer for it.
    pub(super) fn sleep(&self) -> Sleep {
        tokio::time::sleep_until(self.next().into())
    }

    /// What the timer's ringing means; where it means nothing yet, it is set again.
    pub(super) fn poll(&self, cx: &mut Context<'_>, mut sleep: Pin<&mut Sleep>) -> Poll<Cut> {
        loop {
            ready!(sleep.as_mut().poll(cx));
            let now_us = self.clock.now_us();
            if now_us >= self.cancel_us {
                return Poll::Ready(Cut::Cancelled);
            }
            if now_us >= self.heard_us.saturating_add(self.idle_us) {
                return Poll::Ready(Cut::Failed(FailureKind::Timeout));
            }
            sleep.as_mut().reset(self.next().into());
        }
    }

    fn next(&self) -> Instant {
        let silent_us = self.heard_us.saturating_add(self.idle_us);
        self.clock.instant_at(silent_us.min(self.cancel_us))
    }
}
