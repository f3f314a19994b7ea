use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::executor::LaneExecutor;
use super::serve::{CONNECTION_WINDOW, STREAM_WINDOW};
use super::upload::Upload;
use crate::record::alarm::{Alarm, later};
use crate::record::answer::Refusal;
use crate::record::front::client_io::Protocol;
use crate::record::tape::passage::Passage;
use crate::record::upstream::connect::{UpstreamIo, Wanted};

/// A way to the upstream for one exchange: a connection of HTTP/1 of its own, or a stream on one of HTTP/2 that many share.
pub(in crate::record) enum Link {
    /// Driven by the exchange that uses it.
    Http1(Box<Http1>),
    /// Driven by a task of the lane.
    Http2(http2::SendRequest<Upload>),
}

/// A connection of HTTP/1.
pub(in crate::record) struct Http1 {
    sender: http1::SendRequest<Upload>,
    connection: http1::Connection<TokioIo<UpstreamIo>, Upload>,
    closed: bool,
    reused: bool,
}

/// Why no response's head came.
pub(super) enum Failed {
    /// The connection was closed while it was idle and the request was never written: here it is again.
    Unsent(Box<Request<Upload>>),
    /// The client's side broke.
    Client,
    /// The upstream's fault.
    Upstream(Refusal),
}

impl Link {
    /// Speaks over a fresh connection what was wanted, or what TLS agreed on.
    pub(super) async fn over(io: UpstreamIo, wanted: Wanted) -> Result<Self, Refusal> {
        let agreed = match io.protocol() {
            Some(protocol) => protocol,
            None if wanted == Wanted::Http2 => Protocol::Http2,
            None => Protocol::Http1,
        };
        let io = TokioIo::new(io);
        match agreed {
            Protocol::Http1 => {
                let handshake = http1::Builder::new().handshake(io).await;
                let (sender, connection) = handshake.map_err(|_| Refusal::UpstreamRefused)?;
                Ok(Self::Http1(Box::new(Http1 {
                    sender,
                    connection,
                    closed: false,
                    reused: false,
                })))
            }
            Protocol::Http2 => {
                let handshake = http2::Builder::new(LaneExecutor)
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(STREAM_WINDOW)
                    .initial_connection_window_size(CONNECTION_WINDOW)
                    .handshake(io)
                    .await;
                let (sender, connection) = handshake.map_err(|_| Refusal::UpstreamNotHttp)?;
                tokio::task::spawn_local(async move {
                    // Its end shows at the exchanges that it carries.
                    let _ = connection.await;
                });
                Ok(Self::Http2(sender))
            }
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Self::Http1(_) => Protocol::Http1,
            Self::Http2(_) => Protocol::Http2,
        }
    }

    /// Another way over the same connection, where it can be shared.
    pub(super) fn share(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
        }
    }

    /// Lets the connection read and write what it can.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Self::Http1(link) = self {
            link.drive(cx);
        }
    }

    /// Whether another request can be sent.
    pub(super) fn is_reusable(&mut self) -> bool {
        match self {
            Self::Http2(sender) => !sender.is_closed(),
            Self::Http1(link) => {
                // Nobody waits for this poll: it reads whether the upstream has closed, and lets the sender know of the end.
                link.drive(&mut Context::from_waker(Waker::noop()));
                link.reused = true;
                !link.closed && link.sender.is_ready()
            }
        }
    }

    /// Sends a request and waits for its response's head.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Upload>,
        passage: &Passage,
        alarm: &mut Alarm,
        patience: Duration,
    ) -> Result<Response<Incoming>, Failed> {
        let mut http2 = match self {
            Self::Http2(sender) => Some(sender.clone()),
            Self::Http1(_) => None,
        };
        let reused = matches!(self, Self::Http2(_)) || self.is_reused();
        let mut over1 = None;
        let mut over2 = None;
        let mut driven = None;
        match (self, &mut http2) {
            (Self::Http1(link), _) => {
                let Http1 {
                    sender,
                    connection,
                    closed,
                    ..
                } = &mut **link;
                over1 = Some(Box::pin(sender.try_send_request(request)));
                driven = Some((connection, closed));
            }
            (Self::Http2(_), Some(sender)) => {
                over2 = Some(Box::pin(sender.try_send_request(request)));
            }
            (Self::Http2(_), None) => {}
        }
        let outcome = std::future::poll_fn(|cx| {
            if let Some((connection, closed)) = &mut driven
                && !**closed
            {
                **closed = Pin::new(&mut **connection).poll(cx).is_ready();
            }
            let head = match (&mut over1, &mut over2) {
                (Some(head), _) => head.as_mut().poll(cx),
                (None, Some(head)) => head.as_mut().poll(cx),
                (None, None) => Poll::Pending,
            };
            if let Poll::Ready(outcome) = head {
                return Poll::Ready(Some(outcome));
            }
            let deadline = later(passage.progress(), patience);
            alarm.poll_at(cx, deadline).map(|()| None)
        })
        .await;
        match outcome {
            Some(Ok(response)) => Ok(response),
            Some(Err(_)) if passage.client_broke() => Err(Failed::Client),
            Some(Err(error)) => Err(failed(error, reused)),
            None => Err(Failed::Upstream(Refusal::FirstByteTimeout)),
        }
    }

    fn is_reused(&self) -> bool {
        matches!(self, Self::Http1(link) if link.reused)
    }
}

impl Http1 {
    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.closed {
            self.closed = Pin::new(&mut self.connection).poll(cx).is_ready();
        }
    }
}

fn failed(mut error: TrySendError<Request<Upload>>, reused: bool) -> Failed {
    match error.take_message() {
        Some(request) if reused => Failed::Unsent(Box::new(request)),
        _ if error.error().is_parse() => Failed::Upstream(Refusal::UpstreamNotHttp),
        _ => Failed::Upstream(Refusal::UpstreamClosed),
    }
}
