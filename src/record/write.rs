//! The trace writer's thread: one file at a time, flushed every second. When the disk says no, the file is given up, what it
//! had not been asked to keep is counted as lost, and the observer begins another a few seconds later.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::accounts::{Accounts, DropReason, Summary};
use super::capture::Charge;
use super::options::{RecordError, TraceOptions};
use crate::anonymise::Recordable;
use crate::shape::BlockSpec;
use crate::trace::{Header, Source, TraceError, TraceWriter, WriterOptions};

/// What the observer asks of the writer.
pub(super) enum Order {
    /// Close the file and begin the next.
    Begin { generation: u64, header: Header },
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
    file_bytes: AtomicU64,
    file_exchanges: AtomicU64,
}

impl WriterState {
    /// The generation of the file that is begun before the threads start.
    pub(super) const FIRST: u64 = 1;

    /// The last generation that was given up; 0 where none was.
    pub(super) fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    /// Bytes of the current file.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes.load(Ordering::Relaxed)
    }

    /// Whether rotating would leave more than an empty file behind.
    pub(super) fn file_has_exchanges(&self) -> bool {
        self.file_exchanges.load(Ordering::Relaxed) > 0
    }
}

/// The header of a file of this run.
pub(super) fn header(options: &TraceOptions, run: u64) -> Header {
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

/// The files of one directory and name.
pub(super) struct Writer {
    dir: PathBuf,
    name: String,
    next_number: u32,
    file: Option<OpenFile>,
    accounts: Arc<Accounts>,
    state: Arc<WriterState>,
    /// The accounts up to which files have told.
    told: Summary,
}

struct OpenFile {
    trace: TraceWriter,
    path: PathBuf,
    generation: u64,
    /// Exchanges pushed and not known to be on disk.
    pending: u64,
    /// Bytes already counted.
    bytes: u64,
    identity: Option<(u64, u64)>,
}

impl Writer {
    /// Makes the directory where missing and begins the first file.
    pub(super) fn open(
        options: &TraceOptions,
        header: &Header,
        accounts: Arc<Accounts>,
        state: Arc<WriterState>,
    ) -> Result<Self, RecordError> {
        let unwritable = |source| RecordError::TraceDir {
            dir: options.dir.clone(),
            source,
        };
        make_dir(&options.dir).map_err(unwritable)?;
        let last = last_number(&options.dir, &options.name).map_err(unwritable)?;
        let mut writer = Self {
            dir: options.dir.clone(),
            name: options.name.clone(),
            next_number: last + 1,
            file: None,
            told: accounts.summary(),
            accounts,
            state,
        };
        writer.begin(WriterState::FIRST, header)?;
        Ok(writer)
    }

    /// The current file.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// Carries out orders on a thread of its own until the observer has gone, then closes the file.
    pub(super) fn start(mut self, orders: Receiver<Order>) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("reenact-write".to_owned())
            .spawn(move || {
                let _ = rustix::process::nice(5);
                self.run(&orders);
            })
    }

    fn run(&mut self, orders: &Receiver<Order>) {
        let mut flushed = Instant::now();
        loop {
            match orders.recv_timeout(FLUSH.saturating_sub(flushed.elapsed())) {
                Ok(Order::Begin { generation, header }) => {
                    self.close();
                    if let Err(error) = self.begin(generation, &header) {
                        self.give_up(generation, 0, &error);
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

    fn begin(&mut self, generation: u64, header: &Header) -> Result<(), TraceError> {
        // The directory may have been taken away since.
        let _ = make_dir(&self.dir);
        let path = self
            .dir
            .join(format!("{}-{:06}.rt", self.name, self.next_number));
        self.next_number += 1;
        let trace = TraceWriter::create(&path, header, WriterOptions::default())?;
        let bytes = trace.bytes();
        self.accounts.wrote(bytes);
        self.state.file_bytes.store(bytes, Ordering::Relaxed);
        self.state.file_exchanges.store(0, Ordering::Relaxed);
        self.file = Some(OpenFile {
            trace,
            identity: identity(&path),
            path,
            generation,
            pending: 0,
            bytes,
        });
        Ok(())
    }

    fn keep(&mut self, generation: u64, recordable: Recordable) {
        let Some(file) = self
            .file
            .as_mut()
            .filter(|file| file.generation == generation)
        else {
            return self.accounts.drop_one(DropReason::WriteError);
        };
        let now = self.accounts.summary();
        file.trace
            .account(&now.totals_since(&self.told, file.pending + 1));
        file.pending += 1;
        match file.trace.push(recordable) {
            Ok(()) => {
                self.state.file_exchanges.fetch_add(1, Ordering::Relaxed);
                self.count_written(false);
            }
            Err(error) => self.give_up(generation, 0, &error),
        }
    }

    fn flush(&mut self) {
        let Some(file) = self.file.as_mut().filter(|file| file.pending > 0) else {
            return;
        };
        let generation = file.generation;
        let now = self.accounts.summary();
        file.trace
            .account(&now.totals_since(&self.told, file.pending));
        let flushed = file.trace.flush();
        // A file that is no longer where it was takes writes and keeps nothing.
        let gone = identity(&file.path) != file.identity;
        match flushed {
            Ok(()) if gone => {
                let error = TraceError::Io {
                    path: file.path.clone(),
                    source: io::Error::new(io::ErrorKind::NotFound, "the file has been taken away"),
                };
                self.give_up(generation, 0, &error);
            }
            Ok(()) => self.count_written(true),
            Err(error) => self.give_up(generation, 0, &error),
        }
    }

    /// Counts the bytes that have been written, and the exchanges in them: a block is written whole.
    fn count_written(&mut self, flushed: bool) {
        let Some(file) = &mut self.file else { return };
        let bytes = file.trace.bytes();
        if bytes > file.bytes || flushed {
            self.accounts.wrote(bytes.saturating_sub(file.bytes));
            self.state.file_bytes.store(bytes, Ordering::Relaxed);
            file.bytes = bytes;
            self.accounts.record(std::mem::take(&mut file.pending));
        }
    }

    fn close(&mut self) {
        let Some(mut file) = self.file.take() else {
            return;
        };
        let now = self.accounts.summary();
        file.trace
            .account(&now.totals_since(&self.told, file.pending));
        let path = file.path.clone();
        match file.trace.finish() {
            Ok(()) => {
                self.accounts.record(file.pending);
                self.told = Summary {
                    recorded: now.recorded + file.pending,
                    ..now
                };
                let bytes = std::fs::metadata(&path).map_or(file.bytes, |meta| meta.len());
                self.accounts.wrote(bytes.saturating_sub(file.bytes));
            }
            Err(error) => self.give_up(file.generation, file.pending, &error),
        }
    }

    /// Ends a file that cannot be written. Its blocks up to the last flush read back; the rest is lost.
    fn give_up(&mut self, generation: u64, pending: u64, error: &TraceError) {
        let unwritten = self.file.take().map_or(0, |file| file.pending);
        self.accounts
            .drop_many(DropReason::WriteError, unwritten + pending);
        self.state.broken.store(generation, Ordering::Relaxed);
        tracing::warn!(%error, "the trace cannot be written; traffic goes on, recording tries again");
    }
}

/// A flush writes a block and asks the disk to keep it.
const FLUSH: Duration = Duration::from_secs(1);

fn make_dir(dir: &Path) -> io::Result<()> {
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

/// The highest number of this name's files, 0 where there are none.
fn last_number(dir: &Path, name: &str) -> io::Result<u32> {
    let mut last = 0;
    for entry in std::fs::read_dir(dir)? {
        let file = entry?.file_name();
        let number = file
            .to_str()
            .and_then(|file| {
                file.strip_prefix(name)?
                    .strip_prefix('-')?
                    .strip_suffix(".rt")
            })
            .and_then(|digits| digits.parse::<u32>().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}
