use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::connect::{ConnectError, Connector};
use super::connection::{Connection, Wire};
use super::link::Links;
use crate::replay::target::HttpVersion;

/// The connections of one worker.
///
/// A request is announced before its instant ([`Pool::expect`]); from then on the pool sees to it that there are as many idle or
/// opening connections as announced requests, so that none waits for a handshake. A connection that has answered goes back and
/// is taken again first (the freshest first, so that surplus ones grow old and are dropped).
///
/// Where their number is limited, idle connections and turns (one for each connection that is in use or opening) are never more
/// than the limit together, and requests get their turns in the order in which they came. The wait for one delays the send, so it
/// counts as lateness.
///
/// In HTTP/2 what it keeps are places on connections that requests share, and the limit is one of these connections.
pub(in crate::replay) struct Pool {
    connector: Connector,
    turns: Option<Arc<Semaphore>>,
    /// Where connections are shared.
    links: Option<Links>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    idle: Vec<(Connection, Instant)>,
    opening: usize,
    expected: usize,
}

/// Servers close idle connections after some seconds (uvicorn: 5); one that is older than this is not trusted.
const FRESH: Duration = Duration::from_secs(4);

impl Pool {
    /// `limit`: connections open at once, at most.
    pub(in crate::replay) fn new(connector: Connector, limit: Option<usize>) -> Self {
        let links = (connector.http == HttpVersion::Http2).then(|| Links::new(limit));
        let turns = limit.filter(|_| links.is_none());
        Self {
            connector,
            turns: turns.map(|limit| Arc::new(Semaphore::new(limit))),
            links,
            state: Mutex::default(),
        }
    }

    /// Announces one request; opens a connection for it where those at hand do not suffice.
    pub(in crate::replay) fn expect(self: &Arc<Self>) {
        let mut state = self.state();
        state.expected += 1;
        drop_stale(&mut state);
        drop_closed(&mut state);
        if state.idle.len() + state.opening >= state.expected {
            return;
        }
        let turn = match &self.turns {
            None => None,
            Some(turns) if state.idle.len() < turns.available_permits() => {
                match Arc::clone(turns).try_acquire_owned() {
                    Ok(turn) => Some(turn),
                    Err(_) => return,
                }
            }
            Some(_) => return,
        };
        state.opening += 1;
        drop(state);
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            let opened = pool.open().await;
            let mut state = pool.state();
            state.opening -= 1;
            // A failure here is not told: the request will try once more, and its failure is the one that counts.
            if let Ok(connection) = opened {
                state.idle.push((connection, Instant::now()));
            }
            // Only now: whoever gets it has to find the connection.
            drop(turn);
        });
    }

    /// Takes an announcement back.
    pub(in crate::replay) fn renounce(&self) {
        let mut state = self.state();
        state.expected = state.expected.saturating_sub(1);
    }

    /// A connection for an announced request: an idle one, or a new one where none is ready.
    pub(in crate::replay) async fn take(&self) -> Result<Connection, ConnectError> {
        let turn = match &self.turns {
            None => None,
            // An error would say that the semaphore is closed, which nobody does.
            Some(turns) => Arc::clone(turns).acquire_owned().await.ok(),
        };
        let idle = {
            let mut state = self.state();
            state.expected = state.expected.saturating_sub(1);
            take_idle(&mut state)
        };
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.open().await?,
        };
        if connection.used {
            let reused = &self.connector.traffic().reused;
            reused.fetch_add(1, Ordering::Relaxed);
        }
        connection.turn = turn;
        Ok(connection)
    }

    /// A new connection in place of one that was found closed.
    pub(in crate::replay) async fn replace(
        &self,
        mut closed: Connection,
    ) -> Result<Connection, ConnectError> {
        let turn = closed.turn.take();
        drop(closed);
        let mut connection = self.open().await?;
        connection.turn = turn;
        Ok(connection)
    }

    /// A new connection.
    pub(in crate::replay) async fn open(&self) -> Result<Connection, ConnectError> {
        match &self.links {
            None => self.connector.connect().await,
            Some(links) => links.place(&self.connector).await,
        }
    }

    /// Puts a connection in that was opened elsewhere.
    pub(in crate::replay) fn put(&self, connection: Connection) {
        if let (Some(links), Wire::Http2(link)) = (&self.links, &connection.wire) {
            links.adopt(link);
        }
        self.state().idle.push((connection, Instant::now()));
    }

    /// Takes a connection back whose answer was read to its end, and which may bring another.
    pub(in crate::replay) fn give_back(&self, mut connection: Connection) {
        connection.used = true;
        if !self.connector.keep_alive {
            return;
        }
        let turn = connection.turn.take();
        self.state().idle.push((connection, Instant::now()));
        // Only now: whoever gets it has to find the connection.
        drop(turn);
    }

    /// An answer was taken slowly, and did or did not come faster than that.
    pub(super) fn note_slow(&self, held_up: bool) {
        let traffic = self.connector.traffic();
        traffic.read_slowly.fetch_add(1, Ordering::Relaxed);
        traffic.held_up.fetch_add(held_up.into(), Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The freshest that is still open.
fn take_idle(state: &mut State) -> Option<Connection> {
    drop_stale(state);
    while let Some((mut connection, _)) = state.idle.pop() {
        if connection.is_idle() {
            return Some(connection);
        }
    }
    None
}

fn drop_stale(state: &mut State) {
    let stale = state
        .idle
        .iter()
        .take_while(|(_, since)| since.elapsed() >= FRESH)
        .count();
    state.idle.drain(..stale);
}

/// Makes sure of the connection that the request announced last would take: the servers of some others close theirs after every
/// answer, and who finds that out at the instant is late by a handshake.
fn drop_closed(state: &mut State) {
    while let Some(at) = state.idle.len().checked_sub(state.expected)
        && let Some((connection, _)) = state.idle.get_mut(at)
        && !connection.is_idle()
    {
        state.idle.remove(at);
    }
}
