use std::task::{Context, Waker};
use std::time::Instant;

use super::Scratch;
use crate::record::upstream::connect::UpstreamIo;

/// A connection to the upstream. Nobody watches it in the background: the task that serves the client polls it while an
/// exchange lasts, and the pool looks after it while it is idle.
pub(in crate::record) struct Link {
    pub(super) io: UpstreamIo,
    /// It has carried an exchange before, so the upstream may be closing it this moment.
    pub(super) reused: bool,
}

impl Link {
    pub(in crate::record) fn over(io: UpstreamIo) -> Box<Self> {
        Box::new(Self { io, reused: false })
    }

    /// Whether it is open and silent, as an idle connection is.
    fn is_idle(&mut self, scratch: &mut Scratch) -> bool {
        // Nobody waits for this read.
        let mut cx = Context::from_waker(Waker::noop());
        scratch.poll_read(&mut cx, &mut self.io).is_pending()
    }
}

/// Idle connections, the latest used last.
#[derive(Default)]
pub(in crate::record) struct Pool {
    idle: Vec<(Instant, Box<Link>)>,
}

impl Pool {
    /// The latest used connection that is still open, from the ones idle since `oldest` at most.
    pub(in crate::record) fn take(
        &mut self,
        oldest: Option<Instant>,
        scratch: &mut Scratch,
    ) -> Option<Box<Link>> {
        while let Some((since, mut link)) = self.idle.pop() {
            if oldest.is_some_and(|oldest| since < oldest) {
                self.idle.clear(); // Those below have been idle for longer.
                return None;
            }
            if link.is_idle(scratch) {
                link.reused = true;
                return Some(link);
            }
        }
        None
    }

    /// Keeps a connection whose exchange is over on both sides.
    pub(in crate::record) fn put(&mut self, now: Instant, link: Box<Link>) {
        self.idle.push((now, link));
    }

    /// Whether it holds none.
    pub(in crate::record) fn is_empty(&self) -> bool {
        self.idle.is_empty()
    }

    /// Closes what has been idle since before `oldest`, and what the upstream has closed.
    pub(in crate::record) fn sweep(&mut self, oldest: Option<Instant>, scratch: &mut Scratch) {
        self.idle.retain_mut(|(since, link)| {
            oldest.is_none_or(|oldest| *since >= oldest) && link.is_idle(scratch)
        });
    }
}
