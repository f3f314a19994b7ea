use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// A connection's one timer. Deadlines move forward with every piece that passes, so it is left to fire at the old one and
/// set anew then, which keeps the timer wheel out of the traffic path.
#[derive(Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready when `deadline` has passed; otherwise the task is woken when it has.
    pub(super) fn poll_at(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(deadline);
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if tokio::time::Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// `base + wait`, or as good as never where that cannot be expressed.
pub(super) fn later(base: Instant, wait: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    base.checked_add(wait)
        .or_else(|| base.checked_add(NEVER))
        .unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(flavor = "current_thread")]
    async fn a_deadline_that_moved_on_does_not_fire_early() {
        let mut alarm = Alarm::default();
        let start = Instant::now();
        let near = start + Duration::from_millis(20);
        poll_fn(|cx| {
            assert!(alarm.poll_at(cx, near).is_pending());
            Poll::Ready(())
        })
        .await;
        let far = start + Duration::from_millis(60);
        poll_fn(|cx| alarm.poll_at(cx, far)).await;
        assert!(start.elapsed() >= Duration::from_millis(60));
        let nearer = Instant::now() + Duration::from_millis(5);
        poll_fn(|cx| alarm.poll_at(cx, nearer)).await;
        assert!(Instant::now() >= nearer);
    }
}
