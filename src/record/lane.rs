use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::TcpStream as StdTcpStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::LocalOptions;
use tokio::sync::{Notify, mpsc};

use super::accounts::Accounts;
use super::alarm::Alarm;
use super::capture::Capture;
use super::forward::forward;
use super::link::{Link, Pool};
use super::pulse::Pulse;
use super::signals::Stop;
use super::upstream::Upstream;

/// Time limits of an exchange. There is none on its whole length: streams may last for hours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) first_byte: Duration,
    pub(super) idle: Duration,
    pub(super) pool_idle: Duration,
}

/// What every lane needs.
#[derive(Clone)]
pub(super) struct LaneParts {
    pub(super) upstream: Arc<Upstream>,
    pub(super) capture: Option<Arc<Capture>>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) limits: Limits,
    pub(super) stop: Stop,
    pub(super) pulse: Pulse,
}

/// One traffic thread's own world: everything in it is touched by that thread only.
pub(super) struct Lane {
    pub(super) upstream: Arc<Upstream>,
    pub(super) capture: Option<Arc<Capture>>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) limits: Limits,
    pool: RefCell<Pool>,
    ids: Cell<u64>,
    draining: Cell<bool>,
    cutting: Cell<bool>,
    drain: Notify,
    /// Open client connections, which the listener reads to choose a lane.
    open: Arc<AtomicUsize>,
    emptied: Notify,
}

impl Lane {
    /// A number that no other exchange of this process has.
    pub(super) fn next_id(&self) -> u64 {
        let id = self.ids.get();
        self.ids.set(id + 1);
        id
    }

    /// The recorder is ending exchanges that have not finished in time.
    pub(super) fn is_cutting(&self) -> bool {
        self.cutting.get()
    }

    /// An idle upstream connection.
    pub(super) fn take(&self, now: Instant) -> Option<Box<Link>> {
        self.pool.borrow_mut().take(self.oldest(now))
    }

    /// Gives an upstream connection back.
    pub(super) fn put(&self, now: Instant, link: Box<Link>) {
        self.pool.borrow_mut().put(now, link);
    }

    fn oldest(&self, now: Instant) -> Option<Instant> {
        now.checked_sub(self.limits.pool_idle)
    }
}

/// A running lane, as the listener sees it.
pub(super) struct LaneHandle {
    clients: mpsc::Sender<StdTcpStream>,
    open: Arc<AtomicUsize>,
}

impl LaneHandle {
    /// Open client connections.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Hands a client to this lane; gives it back when the lane has too many waiting.
    pub(super) fn serve(&self, client: StdTcpStream) -> Result<(), StdTcpStream> {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.clients.try_send(client).map_err(|error| {
            self.open.fetch_sub(1, Ordering::Relaxed);
            error.into_inner()
        })
    }
}

/// Starts a lane on a thread of its own. It ends when its handle is dropped and its clients are done, or at the drain's end.
pub(super) fn start(
    number: usize,
    parts: LaneParts,
) -> std::io::Result<(LaneHandle, JoinHandle<()>)> {
    let (clients, waiting) = mpsc::channel(CLIENTS_WAITING);
    let open = Arc::new(AtomicUsize::new(0));
    let handle = LaneHandle {
        clients,
        open: Arc::clone(&open),
    };
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
    };
    // Made here once so that a failure is an error of the start; the runtime itself must be born on its thread.
    drop(runtime()?);
    let thread = std::thread::Builder::new()
        .name(format!("reenact-lane-{number}"))
        .spawn(move || match runtime() {
            Ok(runtime) => {
                let lane = Rc::new(Lane {
                    upstream: parts.upstream,
                    capture: parts.capture,
                    accounts: parts.accounts,
                    limits: parts.limits,
                    pool: RefCell::default(),
                    ids: Cell::new((number as u64) << 48),
                    draining: Cell::new(false),
                    cutting: Cell::new(false),
                    drain: Notify::new(),
                    open,
                    emptied: Notify::new(),
                });
                runtime.spawn_local(parts.pulse.beat());
                runtime.block_on(run(&lane, waiting, parts.stop));
                lane.cutting.set(true);
                drop(runtime); // Ends what is still open; each passage tells its tap.
            }
            Err(error) => tracing::error!(kind = ?error.kind(), "a lane could not start"),
        })?;
    Ok((handle, thread))
}

/// Accepted clients that may wait for one lane; more are refused by the listener.
const CLIENTS_WAITING: usize = 4096;

async fn run(lane: &Rc<Lane>, mut waiting: mpsc::Receiver<StdTcpStream>, stop: Stop) {
    let sweeper = Rc::clone(lane);
    tokio::task::spawn_local(async move {
        let mut tick = tokio::time::interval(SWEEP);
        loop {
            tick.tick().await;
            let oldest = sweeper.oldest(Instant::now());
            sweeper.pool.borrow_mut().sweep(oldest);
        }
    });
    while let Some(client) = waiting.recv().await {
        let guard = OpenClient(Rc::clone(lane));
        if let Ok(stream) = TcpStream::from_std(client) {
            // Not fatal: without it small writes may wait for an acknowledgement.
            let _ = stream.set_nodelay(true);
            tokio::task::spawn_local(serve(guard, stream));
        }
    }
    lane.draining.set(true);
    lane.drain.notify_waiters();
    let all_done = async {
        while lane.open.load(Ordering::Relaxed) > 0 {
            lane.emptied.notified().await;
        }
    };
    tokio::select! {
        () = all_done => {}
        () = stop.deadline() => {}
    }
}

const SWEEP: Duration = Duration::from_secs(1);

/// Counts a client's connection as open until it is dropped.
struct OpenClient(Rc<Lane>);

impl Drop for OpenClient {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.emptied.notify_one();
        }
    }
}

async fn serve(open: OpenClient, stream: TcpStream) {
    let lane = &open.0;
    let client = Rc::new(Client::default());
    let io = ClientIo {
        stream,
        client: Rc::clone(&client),
    };
    let accepted = Instant::now();
    let service = service_fn(|request| {
        client.asked.set(true);
        let exchange = forward(Rc::clone(lane), Rc::clone(&client), request);
        async { Ok::<_, Infallible>(exchange.await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .preserve_header_case(true)
            .auto_date_header(false)
            // One copy of small pieces into one buffer is cheaper than a vectored write.
            .writev(false)
            .serve_connection(TokioIo::new(io), service)
    );
    // Registered with the first poll; from then on the flag is enough.
    let mut drain = pin!(lane.drain.notified());
    let mut registered = false;
    let mut told = false;
    let _ = poll_fn(|cx| {
        if !registered {
            registered = true;
            let _ = drain.as_mut().poll(cx);
        }
        loop {
            // A client that has just come has its request on the way: it would be refused by a plain shutdown.
            if !told && lane.draining.get() {
                let deadline = accepted + FIRST_REQUEST;
                told = client.asked.get() || client.poll_alarm(cx, deadline).is_ready();
                if told {
                    connection.as_mut().graceful_shutdown();
                }
            }
            let fresh = !client.asked.get();
            match connection.as_mut().poll(cx) {
                Poll::Pending if fresh && client.asked.get() => {}
                other => return other,
            }
        }
    })
    .await;
}

/// How long after its arrival a client's first request is waited for while draining.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// What belongs to one client's connection.
#[derive(Default)]
pub(super) struct Client {
    pub(super) alarm: RefCell<Alarm>,
    reset: Cell<bool>,
    /// A request has come.
    asked: Cell<bool>,
}

impl Client {
    /// Ready when `deadline` has passed.
    pub(super) fn poll_alarm(&self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.alarm.borrow_mut().poll_at(cx, deadline)
    }

    /// Makes the connection end in a reset.
    pub(super) fn reset_on_close(&self) {
        self.reset.set(true);
    }
}

/// A client's connection.
struct ClientIo {
    stream: TcpStream,
    client: Rc<Client>,
}

impl Drop for ClientIo {
    fn drop(&mut self) {
        if self.client.reset.get() {
            let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
