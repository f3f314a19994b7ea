use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::connect::{ConnectError, Connection, Connector};
use crate::replay::pace::RunClock;

/// The connections of one worker.
///
/// A request is announced before its instant ([`Pool::expect`]); from then on the pool sees to it that there are as many idle or
/// opening connections as announced requests, so that none waits for a handshake. A connection that has answered goes back and
/// is taken again first (the freshest first, so that surplus ones grow old and are dropped).
///
/// Where their number is limited, idle connections and turns (one for each connection that is in use or opening) are never more
/// than the limit together, and requests get their turns in the order in which they came. The wait for one delays the send, so it
/// counts as lateness.
pub(in crate::replay) struct Pool {
    connector: Connector,
    clock: RunClock,
    turns: Option<Arc<Semaphore>>,
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
    pub(in crate::replay) fn new(
        connector: Connector,
        clock: RunClock,
        limit: Option<usize>,
    ) -> Self {
        Self {
            connector,
            clock,
            turns: limit.map(|limit| Arc::new(Semaphore::new(limit))),
            state: Mutex::default(),
        }
    }

    /// Announces one request; opens a connection for it where those at hand do not suffice.
    pub(in crate::replay) fn expect(self: &Arc<Self>) {
        let mut state = self.state();
        state.expected += 1;
        drop_stale(&mut state);
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
            Some(connection) => {
                if connection.used {
                    self.connector
                        .traffic()
                        .reused
                        .fetch_add(1, Ordering::Relaxed);
                }
                connection
            }
            None => self.open().await?,
        };
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
        self.connector.connect(self.clock).await
    }

    /// Puts a connection in that was opened elsewhere.
    pub(in crate::replay) fn put(&self, connection: Connection) {
        self.state().idle.push((connection, Instant::now()));
    }

    /// Takes a connection back whose answer was read to its end.
    pub(in crate::replay) fn give_back(self: &Arc<Self>, mut connection: Connection) {
        connection.used = true;
        if !self.connector.keep_alive || connection.sender.is_closed() {
            return;
        }
        if self.turns.is_none() {
            self.state().idle.push((connection, Instant::now()));
            return;
        }
        // Whoever gets its turn would pass over a connection that is not ready yet, and open one too many.
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            if connection.sender.ready().await.is_ok() {
                let turn = connection.turn.take();
                pool.state().idle.push((connection, Instant::now()));
                drop(turn);
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The freshest that is ready. One that has just answered may need a moment until it is, and is passed over.
fn take_idle(state: &mut State) -> Option<Connection> {
    drop_stale(state);
    let ready = state
        .idle
        .iter()
        .rposition(|(connection, _)| connection.sender.is_ready())?;
    Some(state.idle.remove(ready).0)
}

fn drop_stale(state: &mut State) {
    let stale = state
        .idle
        .iter()
        .take_while(|(connection, since)| connection.sender.is_closed() || since.elapsed() >= FRESH)
        .count();
    state.idle.drain(..stale);
}
