use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::headers::clean_trailers;
use crate::record::tape::tap::{Passage, Piece};

/// A request's body on its way to the upstream, watched.
pub(in crate::record) struct Upload {
    incoming: Incoming,
    passage: Rc<Passage>,
    over: bool,
}

impl Upload {
    pub(super) fn new(incoming: Incoming, passage: &Rc<Passage>) -> Self {
        let over = incoming.is_end_stream();
        if over {
            passage.upload_end();
        }
        Self {
            incoming,
            passage: Rc::clone(passage),
            over,
        }
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.passage.upload_end();
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let mut frame = ready!(Pin::new(&mut this.incoming).poll_frame(cx));
        match &mut frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    clean_trailers(trailers);
                }
                if let Some(piece) = frame.data_ref() {
                    let now = this.passage.moved();
                    let piece = Piece::Shared(piece);
                    let all = 0..piece.bytes().len();
                    this.passage.upload_runs(now, piece, &[all]);
                }
                if this.incoming.is_end_stream() || frame.is_trailers() {
                    this.finish();
                }
            }
            Some(Err(_)) => this.passage.upload_broke(),
            None => this.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
