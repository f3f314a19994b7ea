use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};

use super::relay::{Broken, Relay};
use super::serve::Working;
use crate::record::answer::Refusal;

/// The body of what a client gets.
pub(super) struct Answer {
    from: From,
    /// Its connection is busy as long as this lives.
    _working: Option<Working>,
}

enum From {
    /// The upstream.
    Relayed(Box<Relay>),
    /// The recorder.
    Own(Option<Bytes>),
}

impl Answer {
    pub(super) fn relayed(relay: Box<Relay>) -> Self {
        Self {
            from: From::Relayed(relay),
            _working: None,
        }
    }

    pub(super) fn holding(self, working: Working) -> Self {
        Self {
            _working: Some(working),
            ..self
        }
    }

    /// The recorder's own answer.
    pub(super) fn refusal(refusal: Refusal) -> Response<Self> {
        let (status, name, text) = refusal.parts();
        let mut response = Response::new(Self {
            from: From::Own(Some(Bytes::from_static(text.as_bytes()))),
            _working: None,
        });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert("x-reenact-error", HeaderValue::from_static(name));
        response
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.get_mut().from {
            From::Relayed(relay) => relay.poll_wanted(cx),
            From::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            From::Relayed(relay) => relay.is_end_stream(),
            From::Own(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            From::Relayed(relay) => relay.size_hint(),
            From::Own(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
        }
    }
}
