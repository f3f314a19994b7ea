use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::tap::Passage;

/// A request's body on its way to the upstream, watched.
pub(super) struct Upload {
    incoming: Incoming,
    passage: Rc<Passage>,
    /// Present where the client waits for `100 Continue`: its body is asked for when the upstream asks.
    gate: Option<Box<Gate>>,
    over: bool,
}

/// Opens when the upstream says `100 Continue`, or after a while when it says nothing, as a client would.
struct Gate {
    opened: Arc<AtomicBool>,
    patience: Pin<Box<Sleep>>,
}

const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

impl Upload {
    pub(super) fn new(incoming: Incoming, passage: &Rc<Passage>) -> Self {
        let over = incoming.is_end_stream();
        if over {
            passage.upload_end();
        }
        Self {
            incoming,
            passage: Rc::clone(passage),
            gate: None,
            over,
        }
    }

    /// Makes `request` wait for the upstream's `100 Continue` before its body is asked for, where its client does.
    pub(super) fn honour_expect(request: &mut http::Request<Self>) {
        if request.body().over || !expects_continue(request.headers()) {
            return;
        }
        let opened = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&opened);
        hyper::ext::on_informational(request, move |informational| {
            if informational.status() == http::StatusCode::CONTINUE {
                flag.store(true, Ordering::Relaxed);
            }
        });
        request.body_mut().gate = Some(Box::new(Gate {
            opened,
            patience: Box::pin(tokio::time::sleep(CONTINUE_PATIENCE)),
        }));
    }
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .map(HeaderValue::as_bytes)
        .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

impl Gate {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The upstream's 100 is read by the poll that polls this, so no wake-up is needed for it.
        if self.opened.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        self.patience.as_mut().poll(cx)
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
        if let Some(gate) = &mut this.gate {
            ready!(gate.poll_open(cx));
            this.gate = None;
        }
        let frame = ready!(Pin::new(&mut this.incoming).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(piece) = frame.data_ref() {
                    this.passage.upload(piece);
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

impl Upload {
    fn finish(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.passage.upload_end();
        }
    }
}
