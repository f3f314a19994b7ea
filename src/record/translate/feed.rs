//! A request's body that the task of an HTTP/1 client reads, and an upstream connection takes: one piece at a time, so that
//! the client is read no faster than the upstream takes it.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

/// The two ends.
pub(in crate::record) fn feed() -> (Feed, Fed) {
    let slot = Rc::new(RefCell::default());
    (Feed(Rc::clone(&slot)), Fed(slot))
}

#[derive(Default)]
struct Slot {
    piece: Option<Bytes>,
    trailers: Option<HeaderMap>,
    state: State,
    /// Whoever takes waits for a piece; whoever gives waits for room.
    taker: Option<Waker>,
    giver: Option<Waker>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// Nothing more will be given.
    Ended,
    /// The giver left before the end.
    Broken,
    /// The taker wants no more.
    Refused,
}

/// The reader's end. Dropped before its end, the body is broken.
pub(in crate::record) struct Feed(Rc<RefCell<Slot>>);

/// The upstream's end.
pub(in crate::record) struct Fed(Rc<RefCell<Slot>>);

/// The request's body broke off.
#[derive(Debug, thiserror::Error)]
#[error("the client broke off")]
pub(in crate::record) struct BrokeOff;

impl Feed {
    /// Ready when there is room for a piece. `false` if the upstream wants no more.
    pub(in crate::record) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut slot = self.0.borrow_mut();
        match slot.state {
            State::Refused => Poll::Ready(false),
            _ if slot.piece.is_none() => Poll::Ready(true),
            _ => {
                slot.giver = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether everything that was given has been taken.
    pub(in crate::record) fn is_taken(&self) -> bool {
        self.0.borrow().piece.is_none()
    }

    /// Gives a piece. There must be room.
    pub(in crate::record) fn give(&self, piece: Bytes) {
        if !piece.is_empty() {
            self.change(|slot| slot.piece = Some(piece));
        }
    }

    /// The body is whole.
    pub(in crate::record) fn end(&self, trailers: HeaderMap) {
        self.change(|slot| {
            slot.trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
            slot.state = State::Ended;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Slot)) {
        let mut slot = self.0.borrow_mut();
        if slot.state != State::Open {
            return;
        }
        change(&mut slot);
        if let Some(taker) = slot.taker.take() {
            taker.wake();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.change(|slot| slot.state = State::Broken);
    }
}

impl Fed {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        let mut slot = self.0.borrow_mut();
        if let Some(giver) = slot.giver.take() {
            giver.wake();
        }
        if let Some(piece) = slot.piece.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match slot.state {
            State::Ended => {
                let trailers = slot.trailers.take();
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            State::Broken => Poll::Ready(Some(Err(BrokeOff))),
            State::Open | State::Refused => {
                slot.taker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let slot = self.0.borrow();
        slot.state == State::Ended && slot.piece.is_none() && slot.trailers.is_none()
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        let mut slot = self.0.borrow_mut();
        slot.state = State::Refused;
        if let Some(giver) = slot.giver.take() {
            giver.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(fed: &mut Fed) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        fed.poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    fn room(feed: &Feed) -> Poll<bool> {
        feed.poll_room(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn one_piece_waits_at_a_time() {
        let (feed, mut fed) = feed();
        assert_eq!(room(&feed), Poll::Ready(true));
        feed.give(Bytes::from_static(b"a"));
        assert_eq!(room(&feed), Poll::Pending);
        let Poll::Ready(Some(Ok(frame))) = next(&mut fed) else {
            panic!("a piece was given");
        };
        assert_eq!(frame.into_data().unwrap(), "a");
        assert_eq!(room(&feed), Poll::Ready(true));
        assert!(next(&mut fed).is_pending() && !fed.is_end_stream());
        feed.end(HeaderMap::new());
        assert!(fed.is_end_stream() && matches!(next(&mut fed), Poll::Ready(None)));
    }

    #[test]
    fn an_end_that_does_not_come_is_no_end() {
        let (feed, mut fed) = feed();
        drop(feed);
        assert!(!fed.is_end_stream());
        assert!(matches!(next(&mut fed), Poll::Ready(Some(Err(_)))));
    }

    #[test]
    fn a_taker_that_leaves_wants_no_more() {
        let (feed, fed) = feed();
        feed.give(Bytes::from_static(b"a"));
        drop(fed);
        assert_eq!(room(&feed), Poll::Ready(false));
    }
}
