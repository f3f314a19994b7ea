use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::connection::READ;

/// Holds a client back to its rate: it reads a portion, and reads on when a link of that rate would have brought it. What it does
/// not read fills the system's buffer, and then the server's.
pub(super) struct Brake {
    bytes_per_s: u64,
    /// When the link has brought all that was read.
    free_at: Instant,
    timer: Pin<Box<Sleep>>,
    /// It waits, or has waited and not looked yet.
    waits: bool,
    /// Something was there that had to wait.
    held: bool,
}

/// How long a portion takes; as much may be caught up on, since timers ring late.
const PORTION: Duration = Duration::from_millis(20);
const NANOS_PER_S: u128 = 1_000_000_000;

impl Brake {
    pub(super) fn new(bytes_per_s: u64) -> Self {
        let now = Instant::now();
        Self {
            bytes_per_s: bytes_per_s.max(1),
            free_at: now,
            timer: Box::pin(tokio::time::sleep_until(now.into())),
            waits: false,
            held: false,
        }
    }

    /// How many bytes may be read now, as soon as any may.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.free_at > Instant::now() {
            self.waits = true;
            if self.timer.deadline() != self.free_at.into() {
                self.timer.as_mut().reset(self.free_at.into());
            }
            ready!(self.timer.as_mut().poll(cx));
        }
        let portion = u128::from(self.bytes_per_s) * PORTION.as_nanos() / NANOS_PER_S;
        Poll::Ready(usize::try_from(portion).unwrap_or(READ).clamp(1, READ))
    }

    /// So many were read.
    pub(super) fn took(&mut self, bytes: usize) {
        self.held |= std::mem::take(&mut self.waits);
        let now = Instant::now();
        let nanos = bytes as u128 * NANOS_PER_S / u128::from(self.bytes_per_s);
        let took = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let begun = self.free_at.max(now.checked_sub(PORTION).unwrap_or(now));
        self.free_at = begun + took;
    }

    /// Nothing was there to be read.
    pub(super) fn found_nothing(&mut self) {
        self.waits = false;
    }

    /// Whether anything came faster than the client took it.
    pub(super) fn has_held(&self) -> bool {
        self.held
    }
}
