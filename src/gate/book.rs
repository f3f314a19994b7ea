//! The replays that a gate knows: one that runs, and those whose results are kept.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use super::GateOptions;
use super::account::{Account, State};
use super::order::Order;
use super::running::{LOOK, Running};
use crate::directory;

#[derive(Debug)]
pub(super) struct Book {
    pub(super) options: GateOptions,
    pages: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By id; ids sort as they were given.
    accounts: BTreeMap<String, Account>,
    running: Option<Running>,
    last: u64,
    closed: bool,
}

/// What came of an order.
#[derive(Debug)]
pub(super) enum Ordered {
    Begun(Account),
    /// There was one under that key.
    Known(Account),
    /// There was one under that key, against other targets.
    Other(Account),
    /// That one runs, and there can be no second.
    Busy(Account),
    /// The gate ends.
    Closed,
}

/// What came of a wish to be rid of one.
#[derive(Debug)]
pub(super) enum Removed {
    Cancelled(Account),
    Forgotten(Account),
    Unknown,
}

impl Book {
    /// With what is kept in the directory of results, which is made where there is none.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub(super) fn open(options: GateOptions) -> io::Result<Self> {
        directory::make(&options.results)?;
        let mut inner = Inner::default();
        for entry in std::fs::read_dir(&options.results)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(number) = name.to_str().and_then(|name| name.parse::<u64>().ok()) else {
                continue;
            };
            inner.last = inner.last.max(number);
            if let Some(account) = Account::kept(&entry.path()) {
                inner.accounts.insert(account.id.clone(), account);
            }
        }
        Ok(Self {
            options,
            pages: Mutex::new(inner),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where one's results are.
    pub(super) fn dir(&self, id: &str) -> PathBuf {
        self.options.results.join(id)
    }

    /// Starts a replay, unless one runs, or there was one under its key.
    ///
    /// # Errors
    /// When its directory or its process cannot be made.
    pub(super) fn order(self: &Arc<Self>, order: Order) -> io::Result<Ordered> {
        let mut inner = self.lock();
        if inner.closed {
            return Ok(Ordered::Closed);
        }
        if let Some(known) = inner.by_key(&order.key) {
            return Ok(match known.targets == order.targets {
                true => Ordered::Known(known),
                false => Ordered::Other(known),
            });
        }
        if let Some(running) = inner.running.as_ref().map(|running| running.id.clone())
            && let Some(account) = inner.accounts.get(&running)
        {
            return Ok(Ordered::Busy(account.clone()));
        }
        let number = inner.last + 1;
        let id = format!("{number:06}");
        let dir = self.dir(&id);
        directory::make(&dir)?;
        let mut account = Account::begun(id.clone(), order.key, order.targets);
        account.keep(&dir)?;
        let running = Running::start(id.clone(), &self.options.replay, &account.targets, &dir)?;
        account.process = running.process();
        if let Err(error) = account.keep(&dir) {
            warn!("{}: {error}", dir.display());
        }
        info!(id, key = account.key, "replay begun");
        inner.last = number;
        inner.running = Some(running);
        inner.accounts.insert(id, account.clone());
        drop(inner);
        let book = Arc::clone(self);
        std::thread::Builder::new()
            .name("gate-wait".to_owned())
            .spawn(move || {
                while book.look() {
                    std::thread::sleep(LOOK);
                }
            })?;
        Ok(Ordered::Begun(account))
    }

    /// Whether a replay still runs; takes down its end where it does not.
    fn look(&self) -> bool {
        let mut inner = self.lock();
        let Some(running) = inner.running.as_mut() else {
            return false;
        };
        let Some(exit_code) = running.ended() else {
            return true;
        };
        let ended = (running.id.clone(), running.cancelled);
        self.take_down(&mut inner, ended, exit_code);
        false
    }

    fn take_down(&self, inner: &mut Inner, (id, cancelled): (String, bool), code: Option<i32>) {
        inner.running = None;
        let dir = self.dir(&id);
        if let Some(account) = inner.accounts.get_mut(&id) {
            account.end(&dir, code, cancelled);
            info!(id, state = %account.state, "replay ended");
            if let Err(error) = account.keep(&dir) {
                warn!("{}: {error}", dir.display());
            }
        }
        while inner.accounts.len() > self.options.keep.max(1) {
            let Some((id, _)) = inner.accounts.pop_first() else {
                return;
            };
            self.remove(&id);
        }
    }

    fn remove(&self, id: &str) {
        let dir = self.dir(id);
        if let Err(error) = std::fs::remove_dir_all(&dir) {
            warn!("{}: {error}", dir.display());
        }
    }

    /// Ends the one that runs; forgets one that has ended, with its results, so that its key may be used again.
    pub(super) fn be_rid_of(&self, id: &str) -> Removed {
        let mut inner = self.lock();
        let Some(account) = inner.get(id) else {
            return Removed::Unknown;
        };
        match inner.running.as_mut() {
            Some(running) if running.id == account.id => {
                running.cancel();
                Removed::Cancelled(account)
            }
            _ => {
                inner.accounts.remove(&account.id);
                self.remove(&account.id);
                Removed::Forgotten(account)
            }
        }
    }

    /// One by its id, or the `latest`.
    pub(super) fn get(&self, id: &str) -> Option<Account> {
        self.lock().get(id)
    }

    /// One by its key.
    pub(super) fn by_key(&self, key: &str) -> Option<Account> {
        self.lock().by_key(key)
    }

    /// All of them, the latest first.
    pub(super) fn all(&self) -> Vec<Account> {
        self.lock().accounts.values().rev().cloned().collect()
    }

    /// Ends what runs, and begins no more.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        if let Some(mut running) = inner.running.take() {
            let code = running.end(PATIENCE);
            self.take_down(&mut inner, (running.id, true), code);
        }
    }
}

/// What a replay is given to write what it has measured so far, when the gate ends.
const PATIENCE: Duration = Duration::from_secs(10);

impl Inner {
    fn get(&self, id: &str) -> Option<Account> {
        match id {
            "latest" => self.accounts.values().next_back().cloned(),
            id => self.accounts.get(id).cloned(),
        }
    }

    /// The latest under a key; an empty key is nobody's. What was cancelled was never asked for to its end.
    fn by_key(&self, key: &str) -> Option<Account> {
        let mut from_last = self.accounts.values().rev();
        from_last
            .find(|account| {
                !key.is_empty() && account.key == key && account.state != State::Cancelled
            })
            .cloned()
    }
}
