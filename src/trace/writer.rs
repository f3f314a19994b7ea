mod cut;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::block::{BlockEncoder, Entry, FULL_ELEMENTS};
use super::error::TraceError;
use super::footer::Footer;
use super::frame::MAX_BLOCK_EXCHANGES;
use super::header::Header;
use super::openings::Openings;
use super::partial::{PartialName, create_private, sync_directory_of};
use super::seal::{Envelope, Recipient};
use super::store::{StoreUrl, has_traces_name};
use super::totals::Totals;
use crate::anonymise::Recordable;
use crate::shape::ModelId;

/// How a writer cuts blocks.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Exchanges in a full block. Larger blocks pack better; one wrong bit loses a block, and a crash what was not yet flushed.
    pub block_exchanges: u32,
    /// Whom the payloads are sealed to; to nobody where empty.
    pub recipients: Vec<Recipient>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            block_exchanges: 1024,
            recipients: Vec::new(),
        }
    }
}

/// Writes one trace file. What it has gathered is written as a block when enough has, on [`TraceWriter::flush`] and on
/// [`TraceWriter::finish`]; a writer dropped before leaves a file without a footer, which reads back up to its last block.
pub struct TraceWriter {
    file: File,
    path: PathBuf,
    /// The name to give the file at the end, where it stands under another until then.
    partial: Option<PartialName>,
    /// Bytes of the file that are whole: everything is written at this offset.
    whole: u64,
    /// Whether bytes beyond `whole` could not be cut off yet.
    torn: bool,
    options: WriterOptions,
    encoder: BlockEncoder,
    pending: Vec<Entry>,
    pending_elements: usize,
    openings: Openings,
    models: Vec<(u32, String)>,
    footer: Footer,
    /// The accounts that stand in the file's last block of exchanges, from which readers take them where there is no footer.
    standing: Totals,
    /// Exchanges in blocks, and those of them that the disk has been asked to keep.
    written: u64,
    synced: u64,
    latest_at_us: u64,
}

impl TraceWriter {
    /// Creates the file with mode 0600. Refuses to overwrite.
    ///
    /// # Errors
    /// When the file cannot be created or written.
    pub fn create(
        path: &Path,
        header: &Header,
        options: WriterOptions,
    ) -> Result<Self, TraceError> {
        let file = create_private(path)?;
        let started = Self::start(file, path, None, header, options)
            .and_then(|writer| sync_directory_of(path).map(|()| writer));
        if started.is_err() {
            // A file without a header is of no use to anyone.
            drop(std::fs::remove_file(path));
        }
        started
    }

    /// Creates the file under `PATH.partial`; it gets its name when it is finished, and is removed when it never is. Where the
    /// path is a URL in a store, the object appears there when it is finished.
    ///
    /// # Errors
    /// When the file cannot be created or written, or is there already; when a URL is not that of a trace file.
    pub fn create_whole(
        path: &Path,
        header: &Header,
        options: WriterOptions,
    ) -> Result<Self, TraceError> {
        if StoreUrl::is_one(path) && !path.to_str().is_some_and(has_traces_name) {
            // It would be read as a prefix.
            let why = io::Error::new(io::ErrorKind::InvalidInput, "a trace's name ends in .rt");
            return Err(TraceError::store(path, why));
        }
        let (file, partial) = PartialName::create(path)?;
        Self::start(file, path, Some(partial), header, options)
    }

    fn start(
        file: File,
        path: &Path,
        partial: Option<PartialName>,
        header: &Header,
        mut options: WriterOptions,
    ) -> Result<Self, TraceError> {
        let io = || TraceError::io(path);
        options.block_exchanges = options.block_exchanges.clamp(1, MAX_BLOCK_EXCHANGES);
        let (envelope, sealer) = match options.recipients.as_slice() {
            [] => (None, None),
            recipients => Envelope::new(recipients)
                .map(|(envelope, sealer)| (Some(envelope), Some(sealer)))
                .map_err(io())?,
        };
        let header = Header {
            envelope,
            ..header.clone()
        };
        let head = header.encode();
        file.write_all_at(&head, 0).map_err(io())?;
        file.sync_data().map_err(io())?;
        Ok(Self {
            file,
            path: path.to_owned(),
            partial,
            whole: head.len() as u64,
            torn: false,
            options,
            encoder: BlockEncoder::new(header.block)
                .map_err(io())?
                .sealed(sealer),
            pending: Vec::new(),
            pending_elements: 0,
            openings: Openings::default(),
            models: Vec::new(),
            footer: Footer::default(),
            standing: Totals::default(),
            written: 0,
            synced: 0,
            latest_at_us: 0,
        })
    }

    /// Adds an exchange; writes a block when enough have gathered.
    ///
    /// # Errors
    /// When the block cannot be written: its exchanges are lost (see [`TraceError::lost`]), the file stays whole and the
    /// writer can be used on.
    pub fn push(&mut self, exchange: Recordable) -> Result<(), TraceError> {
        self.add(exchange, None)
    }

    /// Adds an exchange that is still in flight, as it stands now, under a key of the caller's. The next [`TraceWriter::flush`]
    /// writes it, if it is still open by then: a reader of the file then knows of it even if this process is killed.
    pub fn open(&mut self, key: u64, exchange: Recordable) {
        self.learn_name(&exchange);
        self.openings.open(key, exchange.into_exchange());
    }

    /// As [`TraceWriter::push`], for one that may have been [opened](TraceWriter::open) under this key.
    ///
    /// # Errors
    /// As [`TraceWriter::push`].
    pub fn close(&mut self, key: u64, exchange: Recordable) -> Result<(), TraceError> {
        let opening = self.openings.close(key);
        self.add(exchange, opening)
    }

    /// Forgets one that was opened and will not be closed. Where the file holds it by now, the next [`TraceWriter::flush`] says
    /// that it is gone.
    pub fn forget(&mut self, key: u64) {
        let opening = self.openings.close(key);
        self.openings.gone(opening);
    }

    fn learn_name(&mut self, exchange: &Recordable) {
        if let Some((id, name)) = exchange.name() {
            self.models.push((id.0, name.to_owned()));
        }
    }

    fn add(&mut self, exchange: Recordable, opening: Option<u32>) -> Result<(), TraceError> {
        self.learn_name(&exchange);
        let exchange = exchange.into_exchange();
        self.pending_elements += exchange.list_elements();
        self.pending.push(Entry { exchange, opening });
        if self.pending.len() >= self.options.block_exchanges as usize
            || self.pending_elements >= FULL_ELEMENTS
        {
            self.cut()?;
        }
        Ok(())
    }

    /// Keeps a model's name in the next block: for copies of traces, whose exchanges bring numbers only.
    pub fn keep_name(&mut self, model: ModelId, name: &str) {
        self.models.push((model.0, name.to_owned()));
    }

    /// Sets the accounts of this file that the next block and the footer carry.
    pub fn account(&mut self, totals: &Totals) {
        self.footer.totals.clone_from(totals);
    }

    /// Writes what has gathered as a block and asks the disk to keep it.
    ///
    /// # Errors
    /// When it cannot be written, or is and the disk does not say that it keeps it ([`TraceError::Unsynced`]).
    pub fn flush(&mut self) -> Result<(), TraceError> {
        self.cut()?;
        // What is written is synced, even if openings are not.
        let opened = self.write_openings();
        let exchanges = self.written - self.synced;
        if exchanges == 0 && matches!(opened, Ok(false)) {
            return Ok(());
        }
        // Asked once, whatever the answer: pages that a disk has refused count as clean from then on, so that the next success
        // says nothing of them (fsync(2)).
        self.synced = self.written;
        self.file
            .sync_data()
            .map_err(|source| TraceError::Unsynced {
                path: self.path.clone(),
                exchanges,
                source,
            })?;
        opened.map(|_| ())
    }

    /// The accounts that the file tells as it stands, without a footer.
    pub(super) fn standing(&self) -> &Totals {
        &self.standing
    }

    /// Whether there is nothing to flush.
    pub fn is_flushed(&self) -> bool {
        self.holds_exchanges() && self.holds_openings() && self.openings.gone_now().is_empty()
    }

    /// Whether the file holds every exchange that was added, as far as the disk has been asked.
    pub(super) fn holds_exchanges(&self) -> bool {
        self.pending.is_empty() && self.synced == self.written
    }

    /// Whether the file holds every exchange that is open.
    pub fn holds_openings(&self) -> bool {
        self.openings.is_written()
    }

    /// Bytes in the file so far.
    pub fn bytes(&self) -> u64 {
        self.whole
    }

    /// Exchanges in the file so far, those that wait for their block included.
    pub fn exchanges(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the last block and the footer.
    ///
    /// # Errors
    /// When they cannot be written, or are and the disk does not say that it keeps them ([`TraceError::Unsynced`]).
    pub fn finish(mut self) -> Result<(), TraceError> {
        self.cut()?;
        self.footer.ids = self.encoder.ids();
        let bytes = self
            .footer
            .encode(self.whole)
            .map_err(TraceError::io(&self.path))?;
        self.append(&bytes).map_err(TraceError::io(&self.path))?;
        match self.partial {
            Some(partial) => partial.keep(&self.file),
            None => self.file.sync_all().map_err(|source| TraceError::Unsynced {
                path: self.path,
                exchanges: 0,
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Endpoint, Exchange, Method, ShapeStatus, TraceTime};
    use crate::trace::{Source, Trace};

    fn exchange(at_us: u64) -> Recordable {
        Recordable::content_free(Exchange {
            shape: ShapeStatus::Generic,
            ..Exchange::bare(TraceTime::from_us(at_us), Endpoint::Other, Method::Get)
        })
    }

    #[test]
    fn a_failed_write_is_counted_and_does_not_spoil_what_follows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.rt");
        let header = Header {
            tool: "0.1.0".into(),
            source: Source::Recorded,
            block: None,
            epoch_unix_us: None,
            run: 1,
            sample_ppm: 1_000_000,
            policy: None,
            envelope: None,
        };
        let mut writer = TraceWriter::create(&path, &header, WriterOptions::default()).unwrap();
        let seen = |seen| Totals {
            seen,
            ..Totals::default()
        };
        writer.push(exchange(1)).unwrap();
        writer.account(&seen(1));
        writer.flush().unwrap();
        // Readers take no accounts from a block of what is in flight.
        writer.account(&seen(2));
        writer.open(7, exchange(2));
        writer.flush().unwrap();
        assert_eq!(writer.standing(), &seen(1));
        writer.forget(7);
        // A handle that cannot write stands for a disk that will not.
        let read_only = File::open(&path).unwrap();
        let writable = std::mem::replace(&mut writer.file, read_only);
        writer.push(exchange(2)).unwrap();
        writer.push(exchange(3)).unwrap();
        writer.account(&seen(3));
        let error = writer.flush().unwrap_err();
        assert_eq!(error.lost(), 2, "{error}");
        assert!(writer.torn);
        assert_eq!(writer.standing(), &seen(1), "what the file tells");
        // Half a block stands where the failed one began.
        writable
            .write_all_at(b"\xb1\x0cR\x1a half", writer.whole)
            .unwrap();
        writer.file = writable;
        writer.push(exchange(4)).unwrap();
        writer.finish().unwrap();
        let mut trace = Trace::open(&[path]).unwrap();
        let times: Vec<_> = trace.exchanges().map(|e| e.unwrap().at.us()).collect();
        assert_eq!(times, [1, 4]);
        assert_eq!(trace.damage(), crate::trace::Damage::default());
    }
}
