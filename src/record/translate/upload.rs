use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::feed::{BrokeOff, Fed};
use super::headers::clean_trailers;
use crate::record::tape::passage::Passage;
use crate::record::tape::tap::Piece;

/// A request's body on its way to the upstream.
pub(in crate::record) struct Upload(From);

enum From {
    /// A client of HTTP/2, watched here.
    Http2(Watched),
    /// A client of HTTP/1, whose task reads it, and notes what passes.
    Http1(Fed),
}

struct Watched {
    incoming: Incoming,
    passage: Rc<Passage>,
    over: bool,
}

/// The client's side broke.
#[derive(Debug, thiserror::Error)]
pub(in crate::record) enum UploadError {
    #[error(transparent)]
    Http1(#[from] BrokeOff),
    /// The source tells the upstream's connection the code of a reset.
    #[error("the client broke off")]
    Http2(#[source] hyper::Error),
}

impl Upload {
    pub(super) fn watched(incoming: Incoming, passage: &Rc<Passage>) -> Self {
        let over = incoming.is_end_stream();
        if over {
            passage.upload_end(passage.arrived);
        }
        Self(From::Http2(Watched {
            incoming,
            passage: Rc::clone(passage),
            over,
        }))
    }

    pub(in crate::record) fn fed(fed: Fed) -> Self {
        Self(From::Http1(fed))
    }
}

impl Watched {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &mut frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    clean_trailers(trailers);
                }
                if let Some(piece) = frame.data_ref() {
                    let now = self.passage.moved();
                    let piece = Piece::Shared(piece);
                    let all = 0..piece.bytes().len();
                    self.passage.upload_runs(now, piece, &[all]);
                }
                if self.incoming.is_end_stream() || frame.is_trailers() {
                    self.finish();
                }
            }
            Some(Err(_)) => self.passage.upload_broke(),
            None => self.finish(),
        }
        Poll::Ready(frame)
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.passage.upload_end(self.passage.moved());
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match &mut self.get_mut().0 {
            From::Http2(watched) => {
                let frame = ready!(watched.poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(UploadError::Http2)))
            }
            From::Http1(fed) => {
                let frame = ready!(fed.poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(UploadError::Http1)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            From::Http2(watched) => watched.incoming.is_end_stream(),
            From::Http1(fed) => fed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            From::Http2(watched) => watched.incoming.size_hint(),
            From::Http1(_) => SizeHint::default(),
        }
    }
}
