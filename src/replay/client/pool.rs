use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connect::{ConnectError, Connection, Connector};
use crate::replay::pace::RunClock;

/// The connections of one worker.
///
/// A request is announced before its instant ([`Pool::expect`]); from then on the pool sees to it that there are as many idle or
/// opening connections as announced requests, so that none waits for a handshake. A connection that has answered goes back and
/// is taken again first (the freshest first, so that surplus ones grow old and are dropped).
pub(in crate::replay) struct Pool {
    connector: Connector,
    clock: RunClock,
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
    pub(in crate::replay) fn new(connector: Connector, clock: RunClock) -> Self {
        Self {
            connector,
            clock,
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
        });
    }

    /// Takes an announcement back.
    pub(in crate::replay) fn renounce(&self) {
        let mut state = self.state();
        state.expected = state.expected.saturating_sub(1);
    }

    /// A connection for an announced request: an idle one, or a new one where none is ready.
    pub(in crate::replay) async fn take(&self) -> Result<Connection, ConnectError> {
        let idle = {
            let mut state = self.state();
            state.expected = state.expected.saturating_sub(1);
            take_idle(&mut state)
        };
        match idle {
            Some(connection) => {
                if connection.used {
                    self.connector
                        .traffic()
                        .reused
                        .fetch_add(1, Ordering::Relaxed);
                }
                Ok(connection)
            }
            None => self.open().await,
        }
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
    pub(in crate::replay) fn give_back(&self, mut connection: Connection) {
        connection.used = true;
        if !connection.sender.is_closed() {
            self.state().idle.push((connection, Instant::now()));
        }
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
