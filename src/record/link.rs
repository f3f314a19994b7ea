use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::alarm::Alarm;
use super::answer::Refusal;
use super::tap::Passage;
use super::upload::Upload;
use super::upstream::UpstreamIo;

/// One connection to the upstream, owned by whoever uses it: nobody drives it in the background. The task that serves the
/// client drives it while it waits for the head and while the body passes, so an event costs no second wake-up; the pool
/// looks after it while it is idle.
pub(super) struct Link {
    sender: SendRequest<Upload>,
    connection: Connection<TokioIo<UpstreamIo>, Upload>,
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
    /// Speaks HTTP/1.1 over a fresh connection.
    pub(super) async fn over(io: UpstreamIo) -> Result<Self, Refusal> {
        let (sender, connection) = Builder::new()
            .preserve_header_case(true)
            .writev(false)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|_| Refusal::UpstreamRefused)?;
        Ok(Self {
            sender,
            connection,
            closed: false,
            reused: false,
        })
    }

    /// Lets the connection read and write what it can.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.closed {
            self.closed = Pin::new(&mut self.connection).poll(cx).is_ready();
        }
    }

    /// Whether another request can be sent: the connection is open, and the exchange before is over on both sides.
    pub(super) fn is_reusable(&mut self) -> bool {
        // Nobody waits for this poll: it reads whether the upstream has closed, and lets the sender know of the end.
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.reused = true;
        !self.closed && self.sender.is_ready()
    }

    /// Sends a request and waits for its response's head.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Upload>,
        passage: &Passage,
        alarm: &std::cell::RefCell<Alarm>,
        patience: Duration,
    ) -> Result<Response<Incoming>, Failed> {
        let mut head = std::pin::pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        let closed = &mut self.closed;
        let outcome = std::future::poll_fn(|cx| {
            if !*closed {
                *closed = Pin::new(&mut *connection).poll(cx).is_ready();
            }
            if let Poll::Ready(outcome) = head.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            let deadline = later(passage.progress(), patience);
            alarm.borrow_mut().poll_at(cx, deadline).map(|()| None)
        })
        .await;
        match outcome {
            Some(Ok(response)) => Ok(response),
            Some(Err(_)) if passage.client_broke() => Err(Failed::Client),
            Some(Err(mut error)) => match error.take_message() {
                Some(request) if self.reused => Err(Failed::Unsent(Box::new(request))),
                _ if error.error().is_parse() => Err(Failed::Upstream(Refusal::UpstreamNotHttp)),
                _ => Err(Failed::Upstream(Refusal::UpstreamClosed)),
            },
            None => Err(Failed::Upstream(Refusal::FirstByteTimeout)),
        }
    }
}

/// `base + wait`, or as good as never where that cannot be expressed.
pub(super) fn later(base: Instant, wait: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    base.checked_add(wait)
        .or_else(|| base.checked_add(NEVER))
        .unwrap_or(base)
}

/// Idle connections, the latest used last.
#[derive(Default)]
pub(super) struct Pool {
    idle: Vec<(Instant, Box<Link>)>,
}

impl Pool {
    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.idle.is_empty()
    }

    /// The latest used connection that is still open, from the ones idle since `oldest` at most.
    pub(super) fn take(&mut self, oldest: Option<Instant>) -> Option<Box<Link>> {
        while let Some((since, mut link)) = self.idle.pop() {
            if oldest.is_some_and(|oldest| since < oldest) {
                self.idle.clear(); // Those below have been idle for longer.
                return None;
            }
            if link.is_reusable() {
                return Some(link);
            }
        }
        None
    }

    /// Keeps a connection whose exchange is over, if it can carry another.
    pub(super) fn put(&mut self, now: Instant, mut link: Box<Link>) {
        if link.is_reusable() {
            self.idle.push((now, link));
        }
    }

    /// Closes what has been idle since before `oldest`, and what the upstream has closed.
    pub(super) fn sweep(&mut self, oldest: Option<Instant>) {
        self.idle.retain_mut(|(since, link)| {
            oldest.is_none_or(|oldest| *since >= oldest) && link.is_reusable()
        });
    }
}
