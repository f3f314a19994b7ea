//! Carries closed trace files to a store, on a thread of its own.
//!
//! The trace directory is the spool: a file that is closed waits there until the store has taken it, for as long as that takes,
//! over restarts too, and is not removed before. What waits is found by looking, so there is no list that could be lost:
//! every file of the recorder's name that nobody writes, and that the store does not hold as it is. Neither traffic nor
//! recording waits for any of this.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::record::options::{RecordError, StoreOptions, TraceOptions};
use crate::record::tape::current_file::CurrentFile;
use crate::trace::{Rotation, Store, is_being_written, remove_unless_written, retire, trace_files};

/// What has been carried, and what waits.
#[derive(Debug, Default)]
pub(in crate::record) struct UploadCounts {
    files: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
    waiting: AtomicU64,
}

/// The thread, from outside.
#[derive(Debug)]
pub(in crate::record) struct Uploads {
    finish: Arc<AtomicBool>,
    file: CurrentFile,
    done: Receiver<()>,
    counts: Arc<UploadCounts>,
}

/// How long the end of the recorder waits for its last files to be taken.
const LAST_PATIENCE: Duration = Duration::from_secs(10);
/// After a failure the next attempt comes after this long, then after twice as long, and so on.
const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// Looked anew even where nothing was rotated: another recorder's file may have been left behind.
const ROUND: Duration = Duration::from_secs(60);

impl Uploads {
    /// Begins to carry the closed files of `options` to `to`.
    pub(in crate::record) fn start(
        options: &TraceOptions,
        to: &StoreOptions,
        file: CurrentFile,
    ) -> Result<Self, RecordError> {
        let store = Store::connect(&to.url).map_err(|source| RecordError::Store {
            url: to.url.clone(),
            source,
        })?;
        let counts = Arc::new(UploadCounts::default());
        let finish = Arc::new(AtomicBool::new(false));
        let carrier = Carrier {
            dir: options.dir.clone(),
            name: options.name.clone(),
            keep: Rotation {
                keep_bytes: options.keeping.keep_bytes,
                keep_age: options.keeping.keep_age,
                ..Rotation::default()
            },
            to: to.clone(),
            store,
            file: file.clone(),
            stored: BTreeSet::new(),
            counts: Arc::clone(&counts),
            failing: false,
        };
        let (ended, done) = bounded(1);
        let last = Arc::clone(&finish);
        std::thread::Builder::new()
            .name("reenact-upload".to_owned())
            .spawn(move || {
                // Not fatal where it is not allowed: traffic comes first where cores are short.
                let _ = rustix::process::nice(5);
                carrier.run(&last);
                let _ = ended.send(());
            })?;
        Ok(Self {
            finish,
            file,
            done,
            counts,
        })
    }

    pub(in crate::record) fn counts(&self) -> Arc<UploadCounts> {
        Arc::clone(&self.counts)
    }

    /// Tries all that waits once more, now that the last file is closed. What is not taken in time stays for the next start.
    pub(in crate::record) fn finish(self) {
        // Before the flag: the last file is nobody's any more.
        self.file.set(None);
        self.finish.store(true, Ordering::Release);
        self.file.nudge();
        let in_time = self.done.recv_timeout(LAST_PATIENCE).is_ok();
        let waiting = self.counts.waiting.load(Ordering::Relaxed);
        if !in_time || waiting > 0 {
            tracing::warn!(
                waiting,
                "the store has not taken every trace file; the next start carries them on"
            );
        }
    }
}

struct Carrier {
    dir: PathBuf,
    name: String,
    keep: Rotation,
    to: StoreOptions,
    store: Store,
    file: CurrentFile,
    /// Files that are in the store and here.
    stored: BTreeSet<PathBuf>,
    counts: Arc<UploadCounts>,
    failing: bool,
}

impl Carrier {
    fn run(mut self, last: &AtomicBool) {
        let mut rest = SHORTEST_REST;
        loop {
            // Read before looking: what was closed before the flag was set is then seen.
            let is_last = last.load(Ordering::Acquire);
            // A panic is a bug of ours; it costs this round.
            let round = catch_unwind(AssertUnwindSafe(|| self.round())).unwrap_or(false);
            if is_last {
                return;
            }
            let wait = if round { ROUND } else { rest };
            rest = match round {
                true => SHORTEST_REST,
                false => (rest * 2).min(LONGEST_REST),
            };
            self.wait(wait, round, last);
        }
    }

    /// Waits for something to do. While the store is away a new file is none: it would only be asked more often.
    fn wait(&self, for_at_most: Duration, is_idle: bool, last: &AtomicBool) {
        let until = Instant::now() + for_at_most;
        while self.file.changes().recv_deadline(until).is_ok() {
            if is_idle || last.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Carries what waits, oldest first, up to the first that is not taken. Says whether all was.
    fn round(&mut self) -> bool {
        let all = self.carry_all();
        // Also while the store is away: what it has already must not fill the disk.
        retire(&self.dir, &self.name, &self.keep, |path| {
            self.stored.contains(path)
        });
        self.stored.retain(|path| path.exists());
        all
    }

    fn carry_all(&mut self) -> bool {
        let mut waiting = self.waiting();
        self.counts.wait(waiting.len());
        waiting.reverse();
        while let Some(path) = waiting.pop() {
            match self.carry(&path) {
                Ok(()) => self.recovered(),
                Err(error) => {
                    self.counts.failures.fetch_add(1, Ordering::Relaxed);
                    self.complain(&path, &error);
                    return false;
                }
            }
            self.counts.wait(waiting.len());
        }
        true
    }

    fn waiting(&self) -> Vec<PathBuf> {
        let current = self.file.get();
        let mut files = trace_files(&self.dir, &self.name).unwrap_or_default();
        files.retain(|path| {
            Some(path) != current.as_ref() && !self.stored.contains(path) && !is_being_written(path)
        });
        files
    }

    fn carry(&mut self, path: &Path) -> io::Result<()> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or(ErrorKind::InvalidFilename)?;
        let mut key = self.to.url.join(name);
        if !Store::is_conditional(path.metadata()?.len()) {
            // Another recorder may be uploading to the same key at this moment.
            key = self.to.url.join(&self.name_of_its_own(path, name)?);
        }
        let is_there = match self.is_stored(path, key.key())? {
            Some(false) => {
                // Two recorders with one name and one prefix: neither may cost the other a file.
                key = self.to.url.join(&self.name_of_its_own(path, name)?);
                self.is_stored(path, key.key())? == Some(true)
            }
            of_that_name => of_that_name.is_some(),
        };
        if !is_there {
            let bytes = self.store.upload(File::open(path)?, key.key())?;
            self.counts.files.fetch_add(1, Ordering::Relaxed);
            self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
            tracing::info!(file = %path.display(), url = %key, bytes, "stored a trace file");
        }
        if self.to.keep_local {
            self.stored.insert(path.to_owned());
            return Ok(());
        }
        match remove_unless_written(path) {
            // One that stays had only just been made when it was looked at, and is marked by now: it waits like any other.
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "could not remove a stored trace file");
                self.stored.insert(path.to_owned());
            }
        }
        Ok(())
    }

    /// Whether the store holds this file under a key; `None` where it holds nothing there, false where it is another.
    fn is_stored(&self, path: &Path, key: &str) -> io::Result<Option<bool>> {
        let facts = match self.store.facts(key) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let file = std::fs::File::open(path)?;
        let bytes = file.metadata()?.len();
        if facts.bytes != bytes {
            return Ok(Some(false));
        }
        // Headers hold a random number, ends the checksums of all that is in the file: two ends that agree are of one file.
        for range in [0..bytes.min(ENDS), bytes.saturating_sub(ENDS)..bytes] {
            let len = usize::try_from(range.end - range.start).unwrap_or(0);
            let mut here = vec![0; len];
            file.read_exact_at(&mut here, range.start)?;
            if len > 0 && self.store.read(key, facts.version.as_deref(), range)? != here {
                return Ok(Some(false));
            }
        }
        Ok(Some(true))
    }

    /// `trace-000001-1a2b3c4d.rt`: with the checksum of its start, where the recorder's run stands.
    fn name_of_its_own(&self, path: &Path, name: &str) -> io::Result<String> {
        let file = std::fs::File::open(path)?;
        let len = usize::try_from(file.metadata()?.len().min(ENDS)).unwrap_or(0);
        let mut start = vec![0; len];
        file.read_exact_at(&mut start, 0)?;
        let (stem, end) = match name.strip_suffix(".rt.age") {
            Some(stem) => (stem, ".rt.age"),
            None => (name.strip_suffix(".rt").unwrap_or(name), ".rt"),
        };
        Ok(format!("{stem}-{:08x}{end}", crc32c::crc32c(&start)))
    }

    /// Once for each time of trouble, not for each attempt.
    fn complain(&mut self, path: &Path, error: &io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            let (url, file) = (&self.to.url, path.display());
            tracing::warn!(
                %url, %file, %error,
                "the store does not take a trace file; it stays here, and is tried again"
            );
        }
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!(url = %self.to.url, "the store takes trace files again");
        }
    }
}

/// What of a file's ends is compared.
const ENDS: u64 = 4096;

impl UploadCounts {
    fn wait(&self, files: usize) {
        self.waiting.store(files as u64, Ordering::Relaxed);
    }
}

/// The counts, read at each scrape.
pub(in crate::record) struct CountedUploads(pub(in crate::record) Arc<UploadCounts>);

impl fmt::Debug for CountedUploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CountedUploads")
    }
}

impl Collector for CountedUploads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, help, count) in [
            (
                "reenact_stored_files",
                "Trace files that the store has taken",
                load(&self.0.files),
            ),
            (
                "reenact_stored_bytes",
                "Bytes of trace files that the store has taken",
                load(&self.0.bytes),
            ),
            (
                "reenact_store_failures",
                "Attempts to store a trace file that failed; each is repeated",
                load(&self.0.failures),
            ),
        ] {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let waiting = ConstGauge::new(i64::try_from(load(&self.0.waiting)).unwrap_or(i64::MAX));
        waiting.encode(encoder.encode_descriptor(
            "reenact_store_waiting_files",
            "Closed trace files that wait in the trace directory for the store",
            None,
            MetricType::Gauge,
        )?)
    }
}
