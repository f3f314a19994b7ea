//! The trace writer's thread: flushes every second, and goes on when the disk has refused: what could not be written is
//! counted as lost, and the next block is tried like any other.

mod files;
mod order;
mod state;
#[cfg(test)]
mod tests;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use self::files::{header, identity, kept, taken_away};
use crate::anonymise::Recordable;
use crate::directory::make_private;
use crate::record::options::{RecordError, TraceOptions};
use crate::record::tape::accounts::{Accounts, DropReason};
use crate::record::tape::ledger::Charge;
use crate::trace::{Header, RotatingWriter, Rotation, Totals, TraceError, WriterOptions};

pub(in crate::record) use self::order::{ORDERS, Open, Order};
pub(in crate::record) use self::state::WriterState;

/// Writes the files of one directory and name.
pub(in crate::record) struct Writer {
    options: TraceOptions,
    header: Header,
    file: Option<RotatingWriter>,
    generation: u64,
    /// Where the file was when it was begun: its device and number.
    identity: Option<(u64, u64)>,
    /// Exchanges that wait for their block.
    pending: u64,
    /// What they weigh.
    charge: Option<Charge>,
    /// What those weigh that are open and that the file does not hold yet.
    open_charge: Option<Charge>,
    /// The accounts that the file was last told, and those that stand in a block of a file.
    told: Totals,
    carried: Totals,
    /// Bytes already counted, of `file`.
    bytes: u64,
    accounts: Arc<Accounts>,
    state: Arc<WriterState>,
    failing: bool,
}

impl Writer {
    /// Makes the directory where missing and begins the first file. `run` and the wall clock are shared by all files of this
    /// recorder.
    pub(in crate::record) fn open(
        options: &TraceOptions,
        run: u64,
        epoch_unix_us: Option<u64>,
        accounts: Arc<Accounts>,
        state: Arc<WriterState>,
    ) -> Result<Self, RecordError> {
        make_private(&options.dir).map_err(|source| RecordError::TraceDir {
            dir: options.dir.clone(),
            source,
        })?;
        let mut writer = Self {
            options: options.clone(),
            header: Header {
                epoch_unix_us,
                ..header(options, run)
            },
            file: None,
            generation: WriterState::FIRST,
            identity: None,
            pending: 0,
            charge: None,
            open_charge: None,
            told: Totals::default(),
            carried: Totals::default(),
            bytes: 0,
            accounts,
            state,
            failing: false,
        };
        writer.begin(WriterState::FIRST, Vec::new())?;
        Ok(writer)
    }

    /// The current file.
    pub(in crate::record) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(RotatingWriter::path)
    }

    /// Carries out orders on a thread of its own until the observer has gone, then closes the file.
    pub(in crate::record) fn start(
        mut self,
        orders: Receiver<Order>,
    ) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("reenact-write".to_owned())
            .spawn(move || {
                // Not fatal where it is not allowed: traffic comes first where cores are short.
                let _ = rustix::process::nice(5);
                self.run(&orders);
            })
    }

    fn run(&mut self, orders: &Receiver<Order>) {
        let mut flushed = Instant::now();
        loop {
            match orders.recv_timeout(FLUSH.saturating_sub(flushed.elapsed())) {
                Ok(order) => self.guarded(|writer| writer.carry_out(order)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.guarded(Self::close),
            }
            if flushed.elapsed() >= FLUSH {
                self.guarded(Self::flush);
                flushed = Instant::now();
            }
        }
    }

    /// A panic is a bug of ours; it costs what is pending, and the observer begins another file.
    fn guarded(&mut self, step: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| step(self))).is_err() {
            self.give_up(self.generation, DropReason::Panic);
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Begin { generation, open } => {
                if let Err(error) = self.begin(generation, open) {
                    self.lose_file(generation, &error);
                }
            }
            Order::Open { generation, open } => {
                if let Some(file) = self.current(generation) {
                    file.open(open.id, *open.recordable);
                    hold(&mut self.open_charge, open.charge);
                }
            }
            Order::Forget { generation, id } => {
                if let Some(file) = self.current(generation) {
                    file.forget(id);
                }
            }
            Order::Keep {
                generation,
                id,
                recordable,
                charge,
            } => self.keep(generation, id, *recordable, charge),
        }
    }

    fn begin(&mut self, generation: u64, open: Vec<Open>) -> Result<(), TraceError> {
        self.generation = generation;
        let open: Vec<_> = open
            .into_iter()
            .map(|open| {
                hold(&mut self.open_charge, open.charge);
                (open.id, *open.recordable)
            })
            .collect();
        self.tell();
        if let Some(file) = &mut self.file {
            // On its own, since a disk that does not say that it keeps the last block is no reason not to begin the next file.
            if !file.is_flushed() {
                let flushed = file.flush();
                self.settle(true, &flushed);
                self.tell();
            }
        }
        if let Some(file) = &mut self.file {
            match file.rotate_with(open) {
                Ok(first_flush) => self.settle(true, &first_flush),
                Err(error) => {
                    let attempt = Err(error);
                    self.settle(true, &attempt);
                    // What it holds is whole: only the next file cannot be begun. Its numbers are another gate's, so it is closed.
                    self.finish();
                    return attempt;
                }
            }
        } else {
            // The directory may have been taken away since; whether it is back shows below.
            let _ = make_private(&self.options.dir);
            let rotation = Rotation {
                max_bytes: Some(self.options.rotate_bytes),
                max_age: Some(self.options.rotate_age),
                ..kept(&self.options)
            };
            let mut file = RotatingWriter::create(
                &self.options.dir,
                &self.options.name,
                &self.header,
                rotation,
                WriterOptions {
                    recipients: self.options.recipients.clone(),
                    ..WriterOptions::default()
                },
            )?;
            // What earlier files carry is theirs to tell.
            file.carry(&self.carried);
            for (id, recordable) in open {
                file.open(id, recordable);
            }
            // At once: a block of what has ended would take those in the file before for told of here.
            let flushed = file.flush();
            self.file = Some(file);
            self.bytes = 0;
            self.settle(true, &flushed);
        }
        self.identity = self.path().and_then(identity);
        self.state.file.set(self.path());
        Ok(())
    }

    /// The file, if it is the one of this generation.
    fn current(&mut self, generation: u64) -> Option<&mut RotatingWriter> {
        self.file.as_mut().filter(|_| generation == self.generation)
    }

    fn keep(&mut self, generation: u64, id: u64, recordable: Recordable, charge: Charge) {
        if self.current(generation).is_none() {
            return self.accounts.drop_one(self.state.broken_by());
        }
        self.pending += 1;
        hold(&mut self.charge, charge);
        self.tell();
        let Some(file) = &mut self.file else { return };
        let pushed = file.close(id, recordable);
        self.settle(false, &pushed);
    }

    /// Tells the file how the accounts stand, for its next block.
    fn tell(&mut self) {
        self.told = self.accounts.totals(self.pending);
        if let Some(file) = &mut self.file {
            file.account(&self.told);
        }
    }

    fn flush(&mut self) {
        if self.file.as_ref().is_some_and(|file| !file.is_flushed()) {
            self.tell();
            let Some(file) = &mut self.file else { return };
            // A file that is no longer where it was takes writes and keeps nothing.
            if identity(file.path()) != self.identity {
                let path = file.path().to_owned();
                return self.lose_file(self.generation, &taken_away(path));
            }
            let flushed = file.flush();
            self.settle(true, &flushed);
        }
        if let Some(file) = &mut self.file {
            file.tidy();
        }
        if self
            .file
            .as_ref()
            .is_some_and(RotatingWriter::should_rotate)
        {
            self.state.fill(self.generation);
        }
    }

    fn close(&mut self) {
        self.flush();
        self.finish();
    }

    /// Closes the file with its index, which tells what was lost after the last block, too.
    fn finish(&mut self) {
        self.tell();
        let Some(file) = self.file.take() else { return };
        let path = file.path().to_owned();
        let before = file.bytes();
        match file.finish() {
            Ok(()) => {}
            Err(error @ TraceError::Unsynced { .. }) => {
                tracing::warn!(%error, "the trace's index may not survive a loss of power");
            }
            Err(error) => return tracing::warn!(%error, "the trace was closed without its index"),
        }
        self.carried.clone_from(&self.told);
        let footer = std::fs::metadata(path).map_or(0, |meta| meta.len());
        self.accounts.wrote(footer.saturating_sub(before));
    }

    /// Counts what an attempt to write came to. A block is written whole or not at all, and leaves nothing pending;
    /// `forced` says that one was written if anything was pending.
    fn settle(&mut self, forced: bool, attempt: &Result<(), TraceError>) {
        let bytes = self.file.as_ref().map_or(0, RotatingWriter::bytes);
        let lost = match attempt {
            Err(TraceError::Write { lost, .. }) => *lost,
            _ => 0,
        };
        if forced || lost > 0 || bytes > self.bytes {
            let pending = std::mem::take(&mut self.pending);
            self.charge = None;
            self.accounts.record(pending.saturating_sub(lost));
            if let Err(error) = attempt {
                self.accounts.drop_many(DropReason::of(error), lost);
            }
            if let Some(file) = &self.file {
                self.carried = file.standing();
            }
            self.accounts.wrote(bytes.saturating_sub(self.bytes));
            self.bytes = bytes;
        }
        if self
            .file
            .as_ref()
            .is_none_or(RotatingWriter::holds_openings)
        {
            self.open_charge = None;
        }
        match attempt {
            // A block that is only gathered proves nothing.
            Ok(()) => self.failing &= !forced,
            Err(error) => {
                // The block is in the file, so it is recorded. It can be read until the page cache lets go of it, and nobody knows
                // whether for longer.
                if let TraceError::Unsynced { exchanges, .. } = error {
                    self.accounts.unsynced(*exchanges);
                }
                self.complain(error);
            }
        }
    }

    /// Gives a file up; the observer begins another when some time has passed.
    fn lose_file(&mut self, generation: u64, error: &TraceError) {
        self.give_up(generation, DropReason::of(error));
        self.complain(error);
    }

    fn give_up(&mut self, generation: u64, reason: DropReason) {
        let pending = std::mem::take(&mut self.pending);
        self.charge = None;
        self.open_charge = None;
        self.accounts.drop_many(reason, pending);
        self.file = None;
        self.state.file.set(None);
        self.state.break_by(generation, reason);
    }

    /// Once for each time of trouble, not for each block.
    fn complain(&mut self, error: &TraceError) {
        if std::mem::replace(&mut self.failing, true) {
            return;
        }
        if matches!(error, TraceError::Unsynced { .. }) {
            tracing::warn!(%error, "what is written to the trace may not survive a loss of power; traffic and recording go on");
        } else {
            tracing::warn!(%error, "the trace cannot be written; traffic goes on, and writing is tried again");
        }
    }
}

/// Lets something weigh beside what does already.
fn hold(all: &mut Option<Charge>, charge: Charge) {
    match all {
        Some(held) => held.absorb(charge),
        None => *all = Some(charge),
    }
}

/// A flush writes a block and asks the disk to keep it.
pub(super) const FLUSH: Duration = Duration::from_secs(1);
