mod shelf;

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, Semaphore};

use self::shelf::Shelf;
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
/// Where connections are as recorded, a request that began one gets one that was opened for it. The others prefer those that have answered.
/// As long as those do not suffice one is opened ahead for them, too; where it turns out that it was not needed, the next request that
/// begins one has it, so that no more are opened than were.
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
    /// Where connections are as recorded: how many idle ones are kept.
    kept: Option<usize>,
    shelf: Mutex<Shelf>,
    /// One was opened ahead, or could not be.
    opened: Notify,
}

/// How a pool gives its connections to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::replay) enum Sharing {
    /// To requests as their clients had them, where the trace tells; so many idle ones are kept.
    AsRecorded(usize),
    /// To any, as many as it takes.
    Free,
    /// To any, and at most so many are open at once.
    AtMost(usize),
}

impl Pool {
    pub(in crate::replay) fn new(connector: Connector, sharing: Sharing) -> Self {
        let limit = match sharing {
            Sharing::AtMost(limit) => Some(limit),
            Sharing::AsRecorded(_) | Sharing::Free => None,
        };
        let links = (connector.http == HttpVersion::Http2).then(|| Links::new(limit));
        let turns = limit.filter(|_| links.is_none());
        let kept = match sharing {
            Sharing::AsRecorded(kept) if links.is_none() && connector.keep_alive => Some(kept),
            _ => None,
        };
        Self {
            connector,
            turns: turns.map(|limit| Arc::new(Semaphore::new(limit))),
            links,
            kept,
            shelf: Mutex::new(Shelf::new(kept.is_some())),
            opened: Notify::new(),
        }
    }

    /// Announces one request, which `begins` its client's connection or does not, as far as the trace tells; opens a connection for it
    /// where those at hand do not suffice.
    pub(in crate::replay) fn expect(self: &Arc<Self>, begins: Option<bool>) {
        let mut shelf = self.shelf();
        if !shelf.expect(self.begins(begins)) {
            return;
        }
        let turn = match &self.turns {
            None => None,
            Some(turns) if shelf.idle() < turns.available_permits() => {
                match Arc::clone(turns).try_acquire_owned() {
                    Ok(turn) => Some(turn),
                    Err(_) => return,
                }
            }
            Some(_) => return,
        };
        shelf.opening += 1;
        drop(shelf);
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            let opened = pool.open().await;
            let mut shelf = pool.shelf();
            shelf.opening -= 1;
            let now = Instant::now();
            match opened {
                Ok(connection) if pool.kept.is_some() => shelf.put_unused(connection, now),
                Ok(connection) => shelf.put(connection, now),
                // Told to those only who wait for it: another request will try once more, and its failure is the one that counts.
                Err(error) => shelf.failed = Some((now, error)),
            }
            drop(shelf);
            // Only now: whoever gets it has to find the connection.
            drop(turn);
            pool.opened.notify_waiters();
        });
    }

    /// Takes an announcement back.
    pub(in crate::replay) fn renounce(&self, begins: Option<bool>) {
        self.shelf().has_come(self.begins(begins));
        self.connector.traffic().takes_none(begins);
    }

    /// A connection for an announced request: an idle one, or a new one where none is ready or the request began one.
    pub(in crate::replay) async fn take(
        &self,
        begins: Option<bool>,
    ) -> Result<Connection, ConnectError> {
        let turn = match &self.turns {
            None => None,
            // An error would say that the semaphore is closed, which nobody does.
            Some(turns) => Arc::clone(turns).acquire_owned().await.ok(),
        };
        let gets_new = self.begins(begins);
        let (idle, ahead) = {
            let mut shelf = self.shelf();
            let idle = (!gets_new).then(|| shelf.take_idle()).flatten();
            let ahead = idle.is_none() && self.kept.is_some() && (gets_new || shelf.has_spare());
            // Who waits for one that is being opened stays announced until it has it, or it would be promised to another as well.
            if !ahead {
                shelf.has_come(gets_new);
            }
            (idle, ahead)
        };
        let mut connection = match idle {
            Some(connection) => connection,
            None if ahead => {
                let opened = self.opened_ahead().await;
                self.shelf().has_come(gets_new);
                self.told(begins, opened)?
            }
            None => self.told(begins, self.open().await)?,
        };
        self.connector.traffic().takes(begins, connection.used);
        connection.begins = begins;
        connection.turn = turn;
        Ok(connection)
    }

    /// A new connection in place of one that was found closed.
    pub(in crate::replay) async fn replace(
        &self,
        mut closed: Connection,
    ) -> Result<Connection, ConnectError> {
        let (begins, turn) = (closed.begins, closed.turn.take());
        let traffic = self.connector.traffic();
        traffic.takes_back(begins, closed.used);
        if closed.used {
            self.distrust();
        }
        drop(closed);
        let mut connection = self.told(begins, self.open().await)?;
        traffic.takes(begins, connection.used);
        connection.begins = begins;
        connection.turn = turn;
        Ok(connection)
    }

    /// A request that gets no connection did not do as it had, either.
    fn told(
        &self,
        begins: Option<bool>,
        opened: Result<Connection, ConnectError>,
    ) -> Result<Connection, ConnectError> {
        opened.inspect_err(|_| self.connector.traffic().takes_none(begins))
    }

    /// A connection that had been idle was found closed when a request came to be sent over it.
    pub(super) fn distrust(&self) {
        self.shelf().distrust();
    }

    /// Whether some of what is announced has no connection yet, and may have one without waiting for its turn.
    pub(in crate::replay) fn is_short(&self) -> bool {
        let shelf = self.shelf();
        let has_turns = |turns: &Arc<Semaphore>| turns.available_permits() > 0;
        shelf.is_short() && self.turns.as_ref().is_none_or(has_turns)
    }

    /// A new connection. What that takes lies apart, so that an exchange, most of which open none, has no room for it.
    pub(in crate::replay) fn open(
        &self,
    ) -> Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send + '_>> {
        match &self.links {
            None => Box::pin(self.connector.connect()),
            Some(links) => Box::pin(links.place(&self.connector)),
        }
    }

    /// Puts a connection in that was opened elsewhere.
    pub(in crate::replay) fn put(&self, connection: Connection) {
        if let (Some(links), Wire::Http2(link)) = (&self.links, &connection.wire) {
            links.adopt(link);
        }
        self.shelf().put(connection, Instant::now());
    }

    /// Takes a connection back whose answer was read to its end, and which may bring another.
    pub(in crate::replay) fn give_back(&self, mut connection: Connection) {
        connection.used = true;
        if !self.connector.keep_alive {
            return;
        }
        let turn = connection.turn.take();
        let mut shelf = self.shelf();
        shelf.put(connection, Instant::now());
        if let Some(kept) = self.kept {
            shelf.keep(kept);
        }
        drop(shelf);
        // Only now: whoever gets it has to find the connection.
        drop(turn);
    }

    /// An answer was taken slowly, and did or did not come faster than that.
    pub(super) fn note_slow(&self, held_up: bool) {
        self.connector.traffic().reads_slowly(held_up);
    }

    /// Whether a request gets a connection that no other has used.
    fn begins(&self, begins: Option<bool>) -> bool {
        self.kept.is_some() && begins == Some(true)
    }

    /// One that was opened ahead, or is being opened; else a new one.
    async fn opened_ahead(&self) -> Result<Connection, ConnectError> {
        let asked = Instant::now();
        loop {
            // Whether one is being opened is looked at in the same breath in which one would be waited for.
            let opened = self.opened.notified();
            {
                let mut shelf = self.shelf();
                if let Some(connection) = shelf.take_unused() {
                    return Ok(connection);
                }
                if let Some((at, error)) = shelf.failed.take()
                    && at >= asked
                {
                    return Err(error);
                }
                if shelf.opening == 0 {
                    break;
                }
            }
            opened.await;
        }
        self.open().await
    }

    /// Held for moments only, never while anything is waited for.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
