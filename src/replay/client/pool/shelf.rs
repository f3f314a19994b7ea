use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::connect::ConnectError;
use super::super::connection::Connection;

/// What a pool has at hand, and what has been announced to it.
pub(super) struct Shelf {
    /// Oldest first.
    idle: Vec<(Connection, Instant)>,
    /// Opened for requests that begin one, oldest first. Empty where connections are not as recorded.
    unused: VecDeque<(Connection, Instant)>,
    pub(super) opening: usize,
    /// Requests that go over an idle one.
    expected: usize,
    /// Requests that begin one.
    beginning: usize,
    /// The last attempt to open one ahead that failed.
    pub(super) failed: Option<(Instant, ConnectError)>,
    /// Idle connections are taken however old they are.
    trusting: bool,
}

/// Servers close idle connections after some seconds (uvicorn: 5); one that is older than this is not trusted.
const FRESH: Duration = Duration::from_secs(4);

impl Shelf {
    /// `as_recorded`: the recorded clients came back to their connections after whatever time they did, so idle ones are kept for as long
    /// as the target keeps them. Once it has closed one it is trusted no more: a request that crosses a close on its way fails.
    pub(super) fn new(as_recorded: bool) -> Self {
        Self {
            idle: Vec::new(),
            unused: VecDeque::new(),
            opening: 0,
            expected: 0,
            beginning: 0,
            failed: None,
            trusting: as_recorded,
        }
    }

    /// Announces a request. Says whether another connection has to be opened for it.
    pub(super) fn expect(&mut self, begins: bool) -> bool {
        match begins {
            true => self.beginning += 1,
            false => self.expected += 1,
        }
        self.drop_stale();
        self.drop_closed();
        let ahead = self.unused.len() + self.opening;
        ahead < self.beginning || self.idle.len() + ahead < self.beginning + self.expected
    }

    /// A request that was announced takes its connection, or never will.
    pub(super) fn has_come(&mut self, begins: bool) {
        let announced = match begins {
            true => &mut self.beginning,
            false => &mut self.expected,
        };
        *announced = announced.saturating_sub(1);
    }

    /// How many are idle.
    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Whether there are fewer than requests announced.
    pub(super) fn is_short(&self) -> bool {
        self.idle.len() + self.unused.len() < self.expected + self.beginning
    }

    /// Whether more were opened ahead than there are requests announced that begin one.
    pub(super) fn has_spare(&self) -> bool {
        self.unused.len() + self.opening > self.beginning
    }

    /// Adds one that is idle since then.
    pub(super) fn put(&mut self, connection: Connection, since: Instant) {
        self.idle.push((connection, since));
    }

    /// Adds one that was opened ahead, then.
    pub(super) fn put_unused(&mut self, connection: Connection, at: Instant) {
        self.unused.push_back((connection, at));
    }

    /// Closes those that were idle longest beyond so many, as long as there is one for each request announced.
    pub(super) fn keep(&mut self, kept: usize) {
        let surplus = self.idle.len().saturating_sub(kept.max(self.expected));
        self.idle.drain(..surplus);
    }

    /// The freshest that is still open.
    pub(super) fn take_idle(&mut self) -> Option<Connection> {
        self.drop_stale();
        while let Some((mut connection, _)) = self.idle.pop() {
            if connection.is_idle() {
                return Some(connection);
            }
            self.distrust();
        }
        None
    }

    /// The first that was opened ahead and is still open.
    pub(super) fn take_unused(&mut self) -> Option<Connection> {
        let open =
            |(mut connection, _): (Connection, Instant)| connection.is_idle().then_some(connection);
        std::iter::from_fn(|| self.unused.pop_front()).find_map(open)
    }

    /// The target has closed one that was idle: from now on old ones are not trusted.
    pub(super) fn distrust(&mut self) {
        self.trusting = false;
    }

    fn drop_stale(&mut self) {
        let is_stale = |(_, since): &&(Connection, Instant)| since.elapsed() >= FRESH;
        let stale = self.unused.iter().take_while(is_stale).count();
        self.unused.drain(..stale);
        if !self.trusting {
            let stale = self.idle.iter().take_while(is_stale).count();
            self.idle.drain(..stale);
        }
    }

    /// Makes sure of the connection that the request announced last would take: the servers of some others close theirs after every
    /// answer, and who finds that out at the instant is late by a handshake.
    fn drop_closed(&mut self) {
        while let Some(at) = self.idle.len().checked_sub(self.expected)
            && let Some((connection, _)) = self.idle.get_mut(at)
            && !connection.is_idle()
        {
            self.idle.remove(at);
            self.distrust();
        }
    }
}
