use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::LocalOptions;
use tokio::sync::{Notify, mpsc};

use crate::anonymise::Conversation;
use crate::record::alarm::{Alarm, later};
use crate::record::daemon::pulse::Pulse;
use crate::record::daemon::signals::Stop;
use crate::record::front::admit::admit;
use crate::record::front::connections::Connections;
use crate::record::front::door::{PoolKey, Route};
use crate::record::front::listen::Accepted;
use crate::record::front::socket::ResetSwitch;
use crate::record::front::turn_away::turn_away;
use crate::record::http1::{Link, Pool, Scratch};
use crate::record::serve::serve;
use crate::record::tape::accounts::Accounts;
use crate::record::tape::capture::Capture;
use crate::record::tape::session_headers::UsualName;
use crate::record::tape::unheard::{ROUND, Unheard};
use crate::record::translate;

/// Time limits of an exchange. There is none on its whole length: streams may last for hours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) first_byte: Duration,
    pub(super) idle: Duration,
    pub(super) pool_idle: Duration,
    /// For a request's head, from its first byte.
    pub(super) header: Duration,
    /// Between two pieces of a request's body.
    pub(super) body: Duration,
    /// Between two requests of a client.
    pub(super) client_idle: Duration,
    /// Bytes of a request's head.
    pub(super) max_head: usize,
    pub(super) handshake: Duration,
}

/// What every lane needs.
#[derive(Clone)]
pub(super) struct LaneParts {
    pub(super) capture: Option<Arc<Capture>>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) connections: Arc<Connections>,
    pub(super) limits: Limits,
    pub(super) stop: Stop,
    pub(super) pulse: Pulse,
}

/// One traffic thread's own world: everything in it is touched by that thread only.
pub(super) struct Lane {
    pub(super) capture: Option<Arc<Capture>>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) limits: Limits,
    pub(super) scratch: RefCell<Scratch>,
    pub(super) unheard: Unheard,
    connections: Arc<Connections>,
    pools: RefCell<HashMap<PoolKey, Pool>>,
    translated: RefCell<translate::Pools>,
    ids: Cell<u64>,
    clients: Cell<u64>,
    turns: Cell<u64>,
    draining: Cell<bool>,
    cutting: Cell<bool>,
    pub(super) drain: Notify,
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

    /// A task that counts its turns begins another.
    pub(super) fn begin_turn(&self) {
        self.turns.set(self.turns.get() + 1);
    }

    /// The turn at hand: the same number twice is the same turn of the same task.
    pub(super) fn turn(&self) -> u64 {
        self.turns.get()
    }

    /// The conversation that a request belongs to by its headers: `field` finds the value of one, `usual` is what those say that
    /// usually name one.
    pub(super) fn conversation<'a>(
        &self,
        field: impl FnOnce(&http::HeaderName) -> Option<&'a [u8]>,
        usual: impl FnOnce() -> UsualName<'a>,
    ) -> Option<Conversation> {
        let headers = self.capture.as_ref()?.session_headers.as_ref()?;
        headers.conversation(field, usual())
    }

    /// The recorder is ending exchanges that have not finished in time.
    pub(super) fn is_cutting(&self) -> bool {
        self.cutting.get()
    }

    /// No new exchanges.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// An idle upstream connection that may serve this client.
    pub(super) fn take(&self, client: &Client, now: Instant) -> Option<Box<Link>> {
        let mut pools = self.pools.borrow_mut();
        let mut scratch = self.scratch.borrow_mut();
        let pool = pools.get_mut(&client.route.pool)?;
        pool.take(self.oldest(now), &mut scratch)
    }

    /// Gives an upstream connection that served this client back.
    pub(super) fn put(&self, client: &Client, now: Instant, link: Box<Link>) {
        let mut pools = self.pools.borrow_mut();
        pools.entry(client.route.pool).or_default().put(now, link);
    }

    /// An upstream connection for a translated exchange of this client.
    pub(super) fn take_translated(&self, client: &Client, now: Instant) -> Option<translate::Link> {
        let mut pools = self.translated.borrow_mut();
        pools.take(client.route.pool, self.oldest(now))
    }

    /// Gives such a connection back, or lets others share it.
    pub(super) fn put_translated(&self, client: &Client, now: Instant, link: translate::Link) {
        self.translated
            .borrow_mut()
            .put(client.route.pool, now, link);
    }

    fn oldest(&self, now: Instant) -> Option<Instant> {
        now.checked_sub(self.limits.pool_idle)
    }
}

/// A running lane, as the listener sees it.
pub(super) struct LaneHandle {
    clients: mpsc::Sender<Accepted>,
    open: Arc<AtomicUsize>,
}

impl LaneHandle {
    /// Open client connections.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Hands a client to this lane; gives it back when the lane has too many waiting.
    pub(super) fn serve(&self, client: Accepted) -> Result<(), Accepted> {
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
                let buffers = parts.capture.as_ref().map(|it| Arc::clone(&it.buffers));
                let lane = Rc::new(Lane {
                    capture: parts.capture,
                    accounts: parts.accounts,
                    limits: parts.limits,
                    scratch: RefCell::new(Scratch::new(buffers)),
                    unheard: Unheard::default(),
                    connections: parts.connections,
                    pools: RefCell::default(),
                    translated: RefCell::default(),
                    ids: Cell::new((number as u64) << 48),
                    clients: Cell::new(0),
                    turns: Cell::new(0),
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

async fn run(lane: &Rc<Lane>, mut waiting: mpsc::Receiver<Accepted>, stop: Stop) {
    let sweeper = Rc::clone(lane);
    tokio::task::spawn_local(async move {
        let mut tick = tokio::time::interval(SWEEP);
        loop {
            tick.tick().await;
            let oldest = sweeper.oldest(Instant::now());
            sweeper.translated.borrow_mut().sweep(oldest);
            let mut scratch = sweeper.scratch.borrow_mut();
            sweeper.pools.borrow_mut().retain(|_, pool| {
                pool.sweep(oldest, &mut scratch);
                !pool.is_empty()
            });
        }
    });
    if lane.capture.is_some() {
        let listener = Rc::clone(lane);
        tokio::task::spawn_local(async move {
            let mut tick = tokio::time::interval(ROUND);
            loop {
                tick.tick().await;
                listener.unheard.speak_up(Instant::now());
            }
        });
    }
    while let Some(client) = waiting.recv().await {
        let guard = OpenClient(Rc::clone(lane));
        tokio::task::spawn_local(welcome(guard, client));
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

async fn welcome(open: OpenClient, accepted: Accepted) {
    let lane = &open.0;
    let Accepted {
        socket,
        door,
        one_too_many,
        permit,
    } = accepted;
    if one_too_many {
        turn_away(socket, door.tls.is_some()).await;
        return;
    }
    let admitted = admit(socket, &door, lane.limits.handshake).await;
    let routed = admitted.and_then(|(io, arrival)| Ok((io, door.route(arrival, &lane.clients)?)));
    match routed {
        Ok((io, route)) => {
            let client = Rc::new(Client {
                alarm: RefCell::default(),
                reset: io.reset_switch(),
                accepted: Instant::now(),
                asked: Cell::new(false),
                route,
            });
            let _own_pool = OwnPool(lane, client.route.pool);
            serve(lane, client, io).await;
        }
        Err(reason) => {
            lane.connections.turn_away(reason);
            tracing::debug!(reason = reason.name(), "a client was turned away");
        }
    }
    drop(permit);
}

/// How long after its arrival a client's first request is waited for while draining.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// What belongs to one client's connection.
pub(super) struct Client {
    pub(super) alarm: RefCell<Alarm>,
    pub(super) route: Route,
    reset: ResetSwitch,
    accepted: Instant,
    /// A request has come.
    asked: Cell<bool>,
}

/// Closes the upstream connections that no other client may use, once their client is gone.
struct OwnPool<'a>(&'a Lane, PoolKey);

impl Drop for OwnPool<'_> {
    fn drop(&mut self) {
        if matches!(self.1, PoolKey::Client(_)) {
            self.0.pools.borrow_mut().remove(&self.1);
            self.0.translated.borrow_mut().remove(self.1);
        }
    }
}

impl Client {
    /// Ready when `deadline` has passed.
    pub(super) fn poll_alarm(&self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.alarm.borrow_mut().poll_at(cx, deadline)
    }

    /// A request has come. Says whether it is the connection's first.
    pub(super) fn asks(&self) -> bool {
        !self.asked.replace(true)
    }

    /// Until when it is waited for, silent since `began`. While draining not at all, unless it has only just come: its first
    /// request is then on its way, and closing would be refusing it.
    pub(super) fn idle_until(&self, lane: &Lane, began: Instant) -> Instant {
        let usual = later(began, lane.limits.client_idle);
        match (lane.is_draining(), self.asked.get()) {
            (false, _) => usual,
            (true, true) => began,
            (true, false) => usual.min(later(self.accepted, FIRST_REQUEST)),
        }
    }

    /// Makes the connection end in a reset.
    pub(super) fn reset_on_close(&self) {
        self.reset.throw();
    }
}
