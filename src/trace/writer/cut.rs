//! How what has gathered becomes blocks of the file: whole, or not at all.

use std::io;
use std::os::unix::fs::FileExt;

use super::TraceWriter;
use crate::trace::block::{Beside, Entry, FULL_ELEMENTS};
use crate::trace::error::TraceError;
use crate::trace::footer::BlockEntry;
use crate::trace::frame::{Frame, KIND_EXCHANGES, KIND_OPENINGS};

impl TraceWriter {
    /// Writes what has gathered: one block, or two where some of it is late.
    pub(super) fn cut(&mut self) -> Result<(), TraceError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.pending_elements = 0;
        let mut exchanges = std::mem::take(&mut self.pending);
        let latest_at_us = self.latest_at_us;
        let is_late = |entry: &Entry| entry.exchange.at.us().saturating_add(LATE_US) < latest_at_us;
        let written = if exchanges.iter().any(is_late) && !exchanges.iter().all(is_late) {
            let (mut late, mut timely): (Vec<_>, Vec<_>) = exchanges.drain(..).partition(is_late);
            let first = self.write_block(&mut timely);
            let second = self.write_block(&mut late);
            joined(first, second)
        } else {
            let written = self.write_block(&mut exchanges);
            // Its room is used again.
            exchanges.clear();
            self.pending = exchanges;
            written
        };
        written.map_err(|(lost, source)| TraceError::Write {
            path: self.path.clone(),
            lost,
            source,
        })
    }

    /// Writes those that are in flight and not in the file yet, and which of the others are gone; says whether there were any. Where
    /// the disk does not take them nothing is lost: they are tried again with the next flush.
    pub(super) fn write_openings(&mut self) -> Result<bool, TraceError> {
        let mut fresh = self.openings.take_fresh();
        if fresh.is_empty() && self.openings.gone_now().is_empty() {
            return Ok(false);
        }
        let (mut failed, mut written) = (None, 0);
        let mut rest = fresh.as_mut_slice();
        while failed.is_none() && (!rest.is_empty() || !self.openings.gone_now().is_empty()) {
            let mut room = FULL_ELEMENTS;
            let fits = rest
                .iter()
                .take(self.options.block_exchanges as usize)
                .take_while(|entry| {
                    let before = room;
                    room = room.saturating_sub(entry.exchange.list_elements());
                    before > 0
                });
            let count = fits.count();
            let (some, others) = rest.split_at_mut(count);
            failed = self.write_frame(KIND_OPENINGS, some).err();
            written += if failed.is_none() { count } else { 0 };
            rest = others;
        }
        match failed {
            None => Ok(true),
            Some(source) => {
                self.openings.put_back(fresh.split_off(written));
                Err(TraceError::Write {
                    path: self.path.clone(),
                    lost: 0,
                    source,
                })
            }
        }
    }

    fn write_frame(&mut self, kind: u8, entries: &mut [Entry]) -> io::Result<Frame> {
        let mut bytes = Vec::new();
        let beside = Beside {
            totals: &self.footer.totals,
            models: &self.models,
            gone: self.openings.gone_now(),
        };
        let frame = self.encoder.encode(kind, entries, beside, &mut bytes)?;
        self.append(&bytes)?;
        if kind == KIND_EXCHANGES {
            self.standing.clone_from(&self.footer.totals);
        }
        self.openings.told_gone();
        Ok(frame)
    }

    fn write_block(&mut self, entries: &mut [Entry]) -> Result<(), (u64, io::Error)> {
        let offset = self.whole;
        let written = self.write_frame(KIND_EXCHANGES, entries);
        if written.is_err() {
            // They ended, and the file will not say how.
            self.openings
                .gone(entries.iter().filter_map(|entry| entry.opening));
        }
        let frame = written.map_err(|error| (entries.len() as u64, error))?;
        self.models.clear();
        self.written += u64::from(frame.count);
        self.latest_at_us = self.latest_at_us.max(frame.last_at_us);
        self.footer.blocks.push(BlockEntry {
            offset,
            count: frame.count,
            first_at_us: frame.first_at_us,
            last_at_us: frame.last_at_us,
        });
        Ok(())
    }

    /// Appends bytes, all or none: what a full disk took of them is cut off again.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.whole)?;
            self.torn = false;
        }
        if let Err(error) = self.file.write_all_at(bytes, self.whole) {
            self.torn = self.file.set_len(self.whole).is_err();
            return Err(error);
        }
        self.whole += bytes.len() as u64;
        Ok(())
    }
}

fn joined(
    first: Result<(), (u64, io::Error)>,
    second: Result<(), (u64, io::Error)>,
) -> Result<(), (u64, io::Error)> {
    match (first, second) {
        (Err((a, _)), Err((b, error))) => Err((a + b, error)),
        (first, second) => first.and(second),
    }
}

/// An exchange that arrived this long before what was last written goes into a block of its own, so that one stream of an
/// hour does not make a block of a second span an hour: a reader must hold all blocks that overlap in time.
const LATE_US: u64 = 60_000_000;
