use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::TraceError;
use super::header::Header;
use super::retention::retire;
use super::totals::Totals;
use super::writer::{TraceWriter, WriterOptions};
use crate::anonymise::Recordable;

/// When a recorder starts the next file, and how much of the old ones it keeps. `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotation {
    /// A file of this size is full.
    pub max_bytes: Option<u64>,
    /// A file of this age is full.
    pub max_age: Option<Duration>,
    /// The oldest files are removed while all of this name together are larger; never one that is being written.
    pub keep_bytes: Option<u64>,
    /// Files last written longer ago are removed.
    pub keep_age: Option<Duration>,
}

/// Writes a trace over a directory of numbered files: `NAME-000001.rt`, `NAME-000002.rt`, …
///
/// Each file has ids of its own, so the caller says when the next one begins: when [`RotatingWriter::should_rotate`] is
/// true it calls [`RotatingWriter::rotate`] and, where that went well, goes on with a fresh
/// [`Anonymiser`](crate::anonymise::Anonymiser).
pub struct RotatingWriter {
    directory: PathBuf,
    name: String,
    header: Header,
    rotation: Rotation,
    options: WriterOptions,
    writer: TraceWriter,
    opened: Instant,
    tidied: Instant,
    closed_bytes: u64,
    /// The accounts so far, and what of them earlier files carry.
    totals: Totals,
    carried: Totals,
}

impl RotatingWriter {
    /// Starts the file after the last of that name in the directory, which is created where it is missing.
    ///
    /// # Errors
    /// When the directory or the file cannot be created.
    pub fn create(
        directory: &Path,
        name: &str,
        header: &Header,
        rotation: Rotation,
        options: WriterOptions,
    ) -> Result<Self, TraceError> {
        crate::directory::make(directory).map_err(TraceError::io(directory))?;
        let writer = next_file(directory, name, header, &options)?;
        let rotating = Self {
            directory: directory.to_owned(),
            name: name.to_owned(),
            header: header.clone(),
            rotation,
            options,
            writer,
            opened: Instant::now(),
            tidied: Instant::now(),
            closed_bytes: 0,
            totals: Totals::default(),
            carried: Totals::default(),
        };
        rotating.retire();
        Ok(rotating)
    }

    /// Adds an exchange, as [`TraceWriter::push`].
    ///
    /// # Errors
    /// When its block cannot be written.
    pub fn push(&mut self, exchange: Recordable) -> Result<(), TraceError> {
        self.writer.push(exchange)
    }

    /// Adds one that is still in flight, as [`TraceWriter::open`]. It is open in the current file only.
    pub fn open(&mut self, key: u64, exchange: Recordable) {
        self.writer.open(key, exchange);
    }

    /// Adds one that may have been opened, as [`TraceWriter::close`].
    ///
    /// # Errors
    /// As [`TraceWriter::push`].
    pub fn close(&mut self, key: u64, exchange: Recordable) -> Result<(), TraceError> {
        self.writer.close(key, exchange)
    }

    /// Forgets one that was opened, as [`TraceWriter::forget`].
    pub fn forget(&mut self, key: u64) {
        self.writer.forget(key);
    }

    /// Says which part of the accounts files of an earlier writer carry already.
    pub fn carry(&mut self, totals: &Totals) {
        self.carried.clone_from(totals);
        self.account(&totals.clone());
    }

    /// Which part of the accounts stands in files, if this one gets no footer.
    pub fn standing(&self) -> Totals {
        let mut standing = self.carried.clone();
        standing.add(self.writer.standing());
        standing
    }

    /// Sets the accounts since the recorder began; each file carries its share of them.
    pub fn account(&mut self, totals: &Totals) {
        self.totals.clone_from(totals);
        self.writer.account(&totals.since(&self.carried));
    }

    /// Writes what has gathered, as [`TraceWriter::flush`].
    ///
    /// # Errors
    /// As [`TraceWriter::flush`].
    pub fn flush(&mut self) -> Result<(), TraceError> {
        self.writer.flush()
    }

    /// Whether the file holds every exchange that is open, as [`TraceWriter::holds_openings`].
    pub fn holds_openings(&self) -> bool {
        self.writer.holds_openings()
    }

    /// Whether there is nothing to flush.
    pub fn is_flushed(&self) -> bool {
        self.writer.is_flushed()
    }

    /// Whether the file is full. One without an exchange never is.
    pub fn should_rotate(&self) -> bool {
        let too_large = self
            .rotation
            .max_bytes
            .is_some_and(|max| self.writer.bytes() >= max);
        let too_old = self
            .rotation
            .max_age
            .is_some_and(|max| self.opened.elapsed() >= max);
        (too_large || too_old) && self.writer.exchanges() > 0
    }

    /// Starts the next file, closes this one, and removes the files that are not to be kept.
    ///
    /// # Errors
    /// When what has gathered cannot be written, or the next file cannot be created: this file then stays the one that is
    /// written, and its ids stay in use.
    pub fn rotate(&mut self) -> Result<(), TraceError> {
        // The next file has nothing to write yet.
        self.rotate_with([]).map(drop)
    }

    /// The same, while these are in flight, under their keys and with the next file's ids. At no moment are they in neither file:
    /// this one gets its footer, which says that what it holds as open is told elsewhere, when the next one has them. What comes back
    /// is what the next file's first flush, of these, came to; where it failed, its next one tries again.
    ///
    /// # Errors
    /// As [`RotatingWriter::rotate`].
    pub fn rotate_with(
        &mut self,
        open: impl IntoIterator<Item = (u64, Recordable)>,
    ) -> Result<Result<(), TraceError>, TraceError> {
        if !self.writer.holds_exchanges() {
            self.writer.flush()?;
        }
        let mut next = next_file(&self.directory, &self.name, &self.header, &self.options)?;
        for (key, exchange) in open {
            next.open(key, exchange);
        }
        let flushed = next.flush();
        let full = std::mem::replace(&mut self.writer, next);
        self.opened = Instant::now();
        self.closed_bytes += full.bytes();
        let (path, standing) = (full.path().to_owned(), full.standing().clone());
        let closed = match flushed {
            Ok(()) => full.finish(),
            // Until the next file has them this one does, so it gets no index that says otherwise.
            Err(_) => {
                drop(full);
                Ok(())
            }
        };
        match &closed {
            // The footer is there, whether or not the disk says that it keeps it.
            Ok(()) | Err(TraceError::Unsynced { .. }) if flushed.is_ok() => {
                self.carried.clone_from(&self.totals);
            }
            // What it was told after its last block, the next one tells.
            _ => self.carried.add(&standing),
        }
        if let Err(error) = closed {
            // All its blocks are on the disk: at most the index is missing, and readers rebuild that.
            tracing::warn!(path = %path.display(), %error, "a full trace file was not closed whole");
        }
        self.retire();
        Ok(flushed)
    }

    /// Bytes written so far, over all files of this writer.
    pub fn bytes(&self) -> u64 {
        self.closed_bytes + self.writer.bytes()
    }

    /// The file that is written now.
    pub fn path(&self) -> &Path {
        self.writer.path()
    }

    /// Closes the last file.
    ///
    /// # Errors
    /// When its last block or its index cannot be written.
    pub fn finish(self) -> Result<(), TraceError> {
        self.writer.finish()
    }

    /// Removes the files that are not to be kept, at most once a minute: ages pass without a rotation, too.
    pub fn tidy(&mut self) {
        if self.tidied.elapsed() >= TIDY {
            self.retire();
            self.tidied = Instant::now();
        }
    }

    fn retire(&self) {
        retire(&self.directory, &self.name, &self.rotation, |path| {
            path != self.writer.path()
        });
    }
}

const TIDY: Duration = Duration::from_secs(60);

/// Creates the file after the last one; another recorder that takes the same number first is stepped over.
fn next_file(
    directory: &Path,
    name: &str,
    header: &Header,
    options: &WriterOptions,
) -> Result<TraceWriter, TraceError> {
    let end = match options.recipients.is_empty() {
        true => "rt",
        false => "rt.age",
    };
    let mut number = numbered(directory, name)?
        .last()
        .map_or(1, |(number, _)| number.saturating_add(1));
    loop {
        let path = directory.join(format!("{name}-{number:06}.{end}"));
        match TraceWriter::create(&path, header, options.clone()) {
            Err(TraceError::Exists { .. }) if number < u64::MAX => number += 1,
            other => return other,
        }
    }
}

/// The files of a recorder's name in a directory, oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn trace_files(directory: &Path, name: &str) -> Result<Vec<PathBuf>, TraceError> {
    let numbered = numbered(directory, name)?;
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

/// The files of a name in a directory, by rising number.
pub(super) fn numbered(directory: &Path, name: &str) -> Result<Vec<(u64, PathBuf)>, TraceError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(TraceError::io(directory))? {
        let path = entry.map_err(TraceError::io(directory))?.path();
        let number = path
            .file_name()
            .and_then(|file| file.to_str())
            .and_then(|file| {
                let file = file.strip_prefix(name)?.strip_prefix('-')?;
                file.strip_suffix(".age")
                    .unwrap_or(file)
                    .strip_suffix(".rt")
            })
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok());
        if let Some(number) = number {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}
