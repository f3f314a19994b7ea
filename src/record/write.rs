//! The trace writer's thread: flushes every second, and goes on when the disk has refused: what could not be written is
//! counted as lost, and the next block is tried like any other.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::accounts::{Accounts, DropReason};
use super::capture::Charge;
use super::current_file::CurrentFile;
use super::options::{RecordError, TraceOptions};
use crate::anonymise::Recordable;
use crate::shape::BlockSpec;
use crate::trace::{Header, RotatingWriter, Rotation, Source, TraceError, WriterOptions};

/// What the observer asks of the writer.
pub(super) enum Order {
    /// Close the file and begin the next.
    Begin { generation: u64 },
    /// Keep an exchange in the file of this generation.
    Keep {
        generation: u64,
        recordable: Box<Recordable>,
        charge: Charge,
    },
}

/// Orders that can wait; they weigh on the ledger too.
pub(super) const ORDERS: usize = 4096;

/// What the writer lets the observer know. Files are numbered by generation, from [`WriterState::FIRST`].
#[derive(Debug, Default)]
pub(super) struct WriterState {
    broken: AtomicU64,
    full: AtomicU64,
    pub(super) file: CurrentFile,
}

impl WriterState {
    /// The generation of the file that is begun before the threads start.
    pub(super) const FIRST: u64 = 1;

    /// The last generation whose file is lost or could not be begun; 0 where there was none.
    pub(super) fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    /// The last generation whose file is as large or as old as a file may be; 0 where there was none.
    pub(super) fn full(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }
}

/// Writes the files of one directory and name.
pub(super) struct Writer {
    options: TraceOptions,
    header: Header,
    file: Option<RotatingWriter>,
    generation: u64,
    /// Where the file was when it was begun: its device and number.
    identity: Option<(u64, u64)>,
    /// Exchanges that wait for their block.
    pending: u64,
    /// Bytes already counted, of `file`.
    bytes: u64,
    accounts: Arc<Accounts>,
    state: Arc<WriterState>,
    failing: bool,
}

impl Writer {
    /// Makes the directory where missing and begins the first file. `run` is shared by all files of this recorder.
    pub(super) fn open(
        options: &TraceOptions,
        run: u64,
        accounts: Arc<Accounts>,
        state: Arc<WriterState>,
    ) -> Result<Self, RecordError> {
        make_dir(&options.dir).map_err(|source| RecordError::TraceDir {
            dir: options.dir.clone(),
            source,
        })?;
        let mut writer = Self {
            options: options.clone(),
            header: header(options, run),
            file: None,
            generation: WriterState::FIRST,
            identity: None,
            pending: 0,
            bytes: 0,
            accounts,
            state,
            failing: false,
        };
        writer.begin(WriterState::FIRST)?;
        Ok(writer)
    }

    /// The current file.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(RotatingWriter::path)
    }

    /// Carries out orders on a thread of its own until the observer has gone, then closes the file.
    pub(super) fn start(mut self, orders: Receiver<Order>) -> io::Result<JoinHandle<()>> {
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
                Ok(Order::Begin { generation }) => {
                    if let Err(error) = self.begin(generation) {
                        self.lose_file(generation, &error);
                    }
                }
                Ok(Order::Keep {
                    generation,
                    recordable,
                    charge,
                }) => {
                    self.keep(generation, *recordable);
                    drop(charge);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
            if flushed.elapsed() >= FLUSH {
                self.flush();
                flushed = Instant::now();
            }
        }
    }

    fn begin(&mut self, generation: u64) -> Result<(), TraceError> {
        self.generation = generation;
        if let Some(file) = &mut self.file {
            file.account(&self.accounts.totals(self.pending));
            let rotated = file.rotate();
            self.settle(true, &rotated);
            rotated?;
        } else {
            // The directory may have been taken away since; whether it is back shows below.
            let _ = make_dir(&self.options.dir);
            let rotation = Rotation {
                max_bytes: Some(self.options.rotate_bytes),
                max_age: Some(self.options.rotate_age),
                ..Rotation::default()
            };
            self.file = Some(RotatingWriter::create(
                &self.options.dir,
                &self.options.name,
                &self.header,
                rotation,
                WriterOptions::default(),
            )?);
            self.bytes = 0;
            self.settle(true, &Ok(()));
        }
        self.identity = self.path().and_then(identity);
        self.state.file.set(self.path());
        Ok(())
    }

    fn keep(&mut self, generation: u64, recordable: Recordable) {
        let Some(file) = self.file.as_mut().filter(|_| generation == self.generation) else {
            return self.accounts.drop_one(DropReason::WriteError);
        };
        self.pending += 1;
        file.account(&self.accounts.totals(self.pending));
        let pushed = file.push(recordable);
        self.settle(false, &pushed);
    }

    fn flush(&mut self) {
        let Some(file) = &mut self.file else { return };
        if self.pending > 0 {
            file.account(&self.accounts.totals(self.pending));
            // A file that is no longer where it was takes writes and keeps nothing.
            if identity(file.path()) != self.identity {
                let path = file.path().to_owned();
                return self.lose_file(self.generation, &taken_away(path));
            }
            let flushed = file.flush();
            self.settle(true, &flushed);
        }
        if self
            .file
            .as_ref()
            .is_some_and(RotatingWriter::should_rotate)
        {
            self.state.full.store(self.generation, Ordering::Relaxed);
        }
    }

    fn close(&mut self) {
        self.flush();
        let Some(file) = self.file.take() else { return };
        let path = file.path().to_owned();
        let before = file.bytes();
        if let Err(error) = file.finish() {
            return tracing::warn!(%error, "the trace was closed without its index");
        }
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
            self.accounts.record(pending.saturating_sub(lost));
            self.accounts.drop_many(DropReason::WriteError, lost);
            self.accounts.wrote(bytes.saturating_sub(self.bytes));
            self.bytes = bytes;
        }
        match attempt {
            Ok(()) => self.failing = false,
            Err(error) => self.complain(error),
        }
    }

    /// Gives a file up; the observer begins another when some time has passed.
    fn lose_file(&mut self, generation: u64, error: &TraceError) {
        let pending = std::mem::take(&mut self.pending);
        self.accounts.drop_many(DropReason::WriteError, pending);
        self.file = None;
        self.state.file.set(None);
        self.state.broken.store(generation, Ordering::Relaxed);
        self.complain(error);
    }

    /// Once for each time of trouble, not for each block.
    fn complain(&mut self, error: &TraceError) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(%error, "the trace cannot be written; traffic goes on, and writing is tried again");
        }
    }
}

/// A flush writes a block and asks the disk to keep it.
const FLUSH: Duration = Duration::from_secs(1);

fn header(options: &TraceOptions, run: u64) -> Header {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a million"
    )]
    let sample_ppm = (options.sample.clamp(0.0, 1.0) * 1e6).round() as u32;
    Header {
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        source: Source::Recorded,
        block: Some(BlockSpec::LIVE),
        epoch_unix_us: None,
        run,
        sample_ppm,
    }
}

/// Makes a trace directory, which only its owner may look into.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path)
        .ok()
        .map(|meta| (meta.dev(), meta.ino()))
}

fn taken_away(path: PathBuf) -> TraceError {
    TraceError::Io {
        path,
        source: io::Error::new(io::ErrorKind::NotFound, "the file has been taken away"),
    }
}
