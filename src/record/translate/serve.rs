use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::executor::TurnsExecutor;
use super::forward::forward;
use super::rewound::Rewound;
use crate::record::alarm::{Alarm, later};
use crate::record::front::client_io::ClientIo;
use crate::record::lane::{Client, Lane};

/// Serves a client of HTTP/2 until its connection ends. `ahead` has been read from it already.
pub(in crate::record) async fn serve(
    lane: &Rc<Lane>,
    client: Rc<Client>,
    io: ClientIo,
    ahead: Bytes,
) {
    let io = TokioIo::new(Rewound::new(ahead, io));
    let busy = Rc::new(Busy::default());
    let service = service_fn(|request| {
        let new_connection = client.asks();
        let working = Working::begin(&busy);
        let exchange = forward(Rc::clone(lane), Rc::clone(&client), request, new_connection);
        async move {
            let answer = exchange.await;
            Ok::<_, Infallible>(answer.map(|body| body.holding(working)))
        }
    });
    let mut server = http2::Builder::new(TurnsExecutor(Rc::clone(lane)));
    let max_head = u32::try_from(lane.limits.max_head).unwrap_or(u32::MAX);
    server
        .timer(TokioTimer::new())
        .max_header_list_size(max_head)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .auto_date_header(false);
    let connection = server.serve_connection(io, service);
    until_over(lane, &client, &busy, pin!(connection), |connection| {
        connection.graceful_shutdown();
    })
    .await;
}

/// Exchanges at once on one connection; more wait at the client.
const STREAMS: u32 = 1024;
/// What a peer may send ahead of its reader, for one exchange and for all of a connection.
pub(super) const STREAM_WINDOW: u32 = 1 << 20;
pub(super) const CONNECTION_WINDOW: u32 = 4 << 20;

/// Polls a connection until it is over. At a drain's beginning, and when nothing has been asked for too long, it is told to
/// take nothing new.
async fn until_over<C: Future>(
    lane: &Lane,
    client: &Client,
    busy: &Busy,
    mut connection: Pin<&mut C>,
    end: impl Fn(Pin<&mut C>),
) {
    let mut drained = pin!(lane.drain.notified());
    let mut registered = false;
    let mut told = false;
    let mut alarm = Alarm::default();
    let began = Instant::now();
    poll_fn(|cx| {
        if !registered {
            registered = true;
            let _ = drained.as_mut().poll(cx);
        }
        let until = client.idle_until(lane, began);
        let leaves = lane.is_draining() && (until <= began || alarm.poll_at(cx, until).is_ready());
        if !told && (leaves || busy.poll_idle(cx, &mut alarm, lane).is_ready()) {
            told = true;
            end(connection.as_mut());
        }
        connection.as_mut().poll(cx).map(|_| ())
    })
    .await;
}

/// How many exchanges a connection carries.
#[derive(Default)]
struct Busy {
    exchanges: Cell<usize>,
    idle_since: Cell<Option<Instant>>,
}

impl Busy {
    fn poll_idle(&self, cx: &mut Context<'_>, alarm: &mut Alarm, lane: &Lane) -> Poll<()> {
        if self.exchanges.get() > 0 {
            return Poll::Pending;
        }
        let since = self.idle_since.get().unwrap_or_else(Instant::now);
        self.idle_since.set(Some(since));
        alarm.poll_at(cx, later(since, lane.limits.client_idle))
    }
}

/// One exchange of them, until it is dropped.
pub(super) struct Working(Rc<Busy>);

impl Working {
    fn begin(busy: &Rc<Busy>) -> Self {
        busy.exchanges.set(busy.exchanges.get() + 1);
        Self(Rc::clone(busy))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.exchanges.set(self.0.exchanges.get() - 1);
        self.0.idle_since.set(Some(Instant::now()));
    }
}
