use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Ping, PingPong};
use http::uri::Scheme;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use super::connect::{ConnectError, Connector};
use super::connection::{Connection, Wire};
use super::stamped::{LastPacket, Stamped};
use super::traffic::Open;
use crate::net::MaybeTls;

/// What is offered by ALPN.
pub(super) const ALPN: &[u8] = b"h2";

/// One connection that speaks HTTP/2. A task of its own reads and writes it; the exchanges on it hand over their requests and are
/// woken for what came.
pub(super) struct Link {
    pub(super) sender: SendRequest<Bytes>,
    pub(super) scheme: Scheme,
    /// As many turns as the target takes streams, or took when it took the most; closed when it takes no more. Left to itself, h2 takes
    /// any number of requests at once and does not tell which of them wait.
    pub(super) turns: Arc<Semaphore>,
    pub(super) last: Arc<LastPacket>,
    driver: JoinHandle<()>,
}

/// Why a connection does not speak HTTP/2.
#[derive(Debug, Clone, thiserror::Error)]
pub(in crate::replay) enum HandshakeError {
    #[error("by ALPN it agreed on another protocol")]
    Alpn,
    #[error("it closed the connection before it answered a ping")]
    Closed,
    #[error("{0}")]
    Broken(String),
}

/// Bytes of an answer, and of all on a connection, that may be under way: what is read is acknowledged at once, so neither holds a
/// target up that streams tokens.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Streams that were reset and are remembered a while, on a connection.
const RESETS: usize = 100_000;

impl Link {
    /// Begins HTTP/2 on a fresh connection, and waits for an answer to a ping: by then the target has said how many streams it
    /// takes, and has proved that it speaks HTTP/2 at all.
    ///
    /// Its answers may be taken slowly: then no more of each is under way than this window.
    pub(super) async fn over(
        io: MaybeTls<Stamped>,
        open: Open,
        window: Option<u32>,
    ) -> Result<Self, HandshakeError> {
        let scheme = match &io {
            MaybeTls::Plain(_) => Scheme::HTTP,
            MaybeTls::Tls(stream) if stream.get_ref().1.alpn_protocol() != Some(ALPN) => {
                return Err(HandshakeError::Alpn);
            }
            MaybeTls::Tls(_) => Scheme::HTTPS,
        };
        let last = Arc::clone(io.socket().last());
        let (sender, mut connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(window.unwrap_or(STREAM_WINDOW))
            .initial_connection_window_size(CONNECTION_WINDOW)
            // A stream of tokens is made of small frames; that is no attack on us.
            .data_frame_budget(usize::MAX)
            // Nor is what still comes on streams that recorded clients had left, however many those are: by itself h2 ends the
            // connection, and all that is open on it, after a thousand such frames.
            .max_concurrent_reset_streams(RESETS)
            .max_local_error_reset_streams(None)
            .handshake(io)
            .await
            .map_err(|error| broken(&error))?;
        if let Some(ping) = connection.ping_pong() {
            answered(&mut connection, ping).await?;
        }
        let turns = Arc::new(Semaphore::new(streams(&sender)));
        let driver = tokio::spawn(drive(connection, sender.clone(), Arc::clone(&turns), open));
        Ok(Self {
            sender,
            scheme,
            turns,
            last,
            driver,
        })
    }

    /// Whether it takes another stream: it is not closed, and the target did not say that it goes.
    pub(super) fn is_open(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let refused = matches!(self.sender.clone().poll_ready(&mut cx), Poll::Ready(Err(_)));
        !self.driver.is_finished() && !refused
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The last exchange on it is over.
        self.driver.abort();
    }
}

/// Reads and writes until the connection ends. How it ended is told to each stream on it.
async fn drive(
    mut connection: Http2,
    mut sender: SendRequest<Bytes>,
    turns: Arc<Semaphore>,
    _open: Open,
) {
    let mut given = streams(&sender);
    let step = |cx: &mut Context<'_>| {
        let ended = Pin::new(&mut connection).poll(cx);
        // Who waits for a stream is told at once that the target said goodbye, and not when some answer is over.
        if matches!(sender.poll_ready(cx), Poll::Ready(Err(_))) {
            turns.close();
        }
        // A target may come to take more. Where it comes to take fewer, h2 has requests wait.
        let more = streams(&sender).saturating_sub(given);
        if more > 0 {
            turns.add_permits(more);
            given += more;
        }
        ended
    };
    let _ = poll_fn(step).await;
}

type Http2 = h2::client::Connection<MaybeTls<Stamped>>;

/// Streams that the target takes at once, as far as it has said by now.
fn streams(sender: &SendRequest<Bytes>) -> usize {
    sender
        .current_max_send_streams()
        .min(Semaphore::MAX_PERMITS)
}

/// Reads and writes until a ping is answered.
async fn answered(connection: &mut Http2, mut ping: PingPong) -> Result<(), HandshakeError> {
    ping.send_ping(Ping::opaque())
        .map_err(|error| broken(&error))?;
    let step = |cx: &mut Context<'_>| match Pin::new(&mut *connection).poll(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(broken(&error))),
        Poll::Ready(Ok(())) => Poll::Ready(Err(HandshakeError::Closed)),
        Poll::Pending => ping
            .poll_pong(cx)
            .map(|pong| pong.map(drop).map_err(|error| broken(&error))),
    };
    poll_fn(step).await
}

fn broken(error: &h2::Error) -> HandshakeError {
    HandshakeError::Broken(error.to_string())
}

/// The connections of one worker that speak HTTP/2. Another is opened only when every place on those at hand is taken, as many as
/// the target said that it takes.
pub(super) struct Links {
    limit: usize,
    state: Mutex<State>,
    /// One was opened, or could not be.
    opened: Notify,
}

#[derive(Default)]
struct State {
    links: Vec<Arc<Link>>,
    /// One is being opened.
    opening: bool,
    /// The last attempt that failed.
    failed: Option<(Instant, ConnectError)>,
}

impl Links {
    /// `limit`: connections open at once, at most.
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self {
            limit: limit.unwrap_or(usize::MAX),
            state: Mutex::default(),
            opened: Notify::new(),
        }
    }

    /// Has the places of a connection used that was opened elsewhere.
    pub(super) fn adopt(&self, link: &Arc<Link>) {
        self.state().links.push(Arc::clone(link));
    }

    /// A place on one of them. Where there may be no more of them, or no other could be opened, and all are full, one more on the
    /// emptiest: its stream opens when another has ended.
    pub(super) async fn place(&self, connector: &Connector) -> Result<Connection, ConnectError> {
        let asked = Instant::now();
        let opening = loop {
            // Whether one is being opened is looked at in the same breath in which one would be: who is told of its end waits from here on.
            let opened = self.opened.notified();
            if let Some(found) = self.find(asked) {
                return found;
            }
            if let Some(opening) = Opening::begin(self) {
                break opening;
            }
            // Meanwhile a place may come free on those that there are.
            let _ = tokio::time::timeout(LOOK_AGAIN, opened).await;
        };
        let linked = connector.link().await.map(Arc::new);
        let mut state = self.state();
        match &linked {
            Ok(link) => state.links.push(Arc::clone(link)),
            Err(error) => state.failed = Some((Instant::now(), error.again())),
        }
        drop(state);
        drop(opening);
        linked.map(|link| Connection::new(Wire::Http2(link)))
    }

    /// A place on those at hand, or why there is none to be had; `None` where another has to be opened.
    fn find(&self, asked: Instant) -> Option<Result<Connection, ConnectError>> {
        let mut state = self.state();
        state.links.retain(|link| link.is_open());
        let full = |link: &Arc<Link>| taken(link) >= link.sender.current_max_send_streams();
        // Who waited while an attempt failed shares in it, instead of waiting for a further one after the other.
        let failed = state.failed.as_ref().filter(|(at, _)| *at >= asked);
        let may_wait = failed.is_some() || state.links.len() >= self.limit;
        match state.links.iter().min_by_key(|link| taken(link)) {
            Some(link) if !full(link) || may_wait => {
                let mut connection = Connection::new(Wire::Http2(Arc::clone(link)));
                connection.used = true;
                Some(Ok(connection))
            }
            Some(_) => None,
            None => failed.map(|(_, error)| Err(error.again())),
        }
    }

    /// Held for moments only, never while anything is waited for.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it is there nobody else opens a connection; also when who opens one is given up.
struct Opening<'a>(&'a Links);

impl<'a> Opening<'a> {
    fn begin(links: &'a Links) -> Option<Self> {
        let is_first = !std::mem::replace(&mut links.state().opening, true);
        // None is made where there is one: its end would end the other's.
        is_first.then(|| Self(links))
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.state().opening = false;
        self.0.opened.notify_waiters();
    }
}

/// How long who has no place waits for another connection before it looks at the old ones again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Places taken: all who hold it but the list itself.
fn taken(link: &Arc<Link>) -> usize {
    Arc::strong_count(link) - 1
}
