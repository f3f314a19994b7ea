//! Streaming in order of arrival: a merge of blocks, each of which is loaded when time reaches its first arrival.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::vec::IntoIter;

use super::block::BlockDecoder;
use super::error::TraceError;
use super::file::read_block;
use super::frame::{FRAME, KIND_EXCHANGES};
use super::openings::LeftOpen;
use super::reader::{Scheduled, Trace};
use crate::shape::{Exchange, ModelId};

/// The exchanges of a [`Trace`] in order of arrival; equal arrivals in the order in which they were written.
pub struct Exchanges<'a> {
    trace: &'a mut Trace,
    /// The next block to load, by place in the schedule.
    next: usize,
    loaded: BinaryHeap<Reverse<Loaded>>,
    decoder: Option<BlockDecoder>,
    open: Option<(usize, File, u64)>,
    failed: bool,
}

/// A loaded block by its next exchange.
struct Loaded {
    /// Where it stands in time now.
    place: Scheduled,
    exchange: Exchange,
    rest: IntoIter<Exchange>,
}

impl PartialEq for Loaded {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Loaded {}

impl PartialOrd for Loaded {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Loaded {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

impl<'a> Exchanges<'a> {
    pub(super) fn new(trace: &'a mut Trace) -> Self {
        Self {
            trace,
            next: 0,
            loaded: BinaryHeap::new(),
            decoder: None,
            open: None,
            failed: false,
        }
    }

    /// Loads the next block. One that cannot be read is counted and left out.
    fn load(&mut self, scheduled: Scheduled) -> Result<(), TraceError> {
        let Some(placed) = self.trace.files.get(scheduled.file) else {
            return Ok(());
        };
        let path = &placed.file.path;
        if scheduled.block == placed.file.blocks.len() {
            let LeftOpen { exchanges, models } = placed.file.left_open.clone();
            self.adopt(scheduled, models, exchanges);
            return Ok(());
        }
        let Some(&entry) = placed.file.blocks.get(scheduled.block) else {
            return Ok(());
        };
        if !matches!(self.open, Some((file, ..)) if file == scheduled.file) {
            let file = File::open(path).map_err(TraceError::io(path))?;
            let len = file.metadata().map_err(TraceError::io(path))?.len();
            self.open = Some((scheduled.file, file, len));
        }
        if self.decoder.is_none() {
            self.decoder = Some(BlockDecoder::new().map_err(TraceError::io(path))?);
        }
        let (Some((_, file, len)), Some(decoder)) = (&self.open, &mut self.decoder) else {
            return Ok(());
        };
        let block = read_block(file, entry.offset, *len).map_err(TraceError::io(path))?;
        let spec = placed.file.header.block;
        let bytes = block
            .as_ref()
            .map_or(FRAME as u64, |(frame, _)| frame.len());
        let decoded = block
            // An index that says otherwise is not this block's.
            .filter(|(frame, _)| {
                frame.kind == KIND_EXCHANGES
                    && frame.count == entry.count
                    && frame.first_at_us == entry.first_at_us
            })
            .and_then(|(frame, payload)| decoder.decode(&frame, &payload, spec).ok());
        let Some(decoded) = decoded else {
            let damage = &mut self.trace.read_damage;
            damage.bad_blocks += 1;
            damage.bad_bytes += bytes;
            damage.lost_exchanges += u64::from(entry.count);
            return Ok(());
        };
        self.adopt(scheduled, decoded.models, decoded.exchanges);
        Ok(())
    }

    fn adopt(
        &mut self,
        scheduled: Scheduled,
        models: Vec<(ModelId, String)>,
        mut exchanges: Vec<Exchange>,
    ) {
        self.trace.adopt(scheduled.file, models, &mut exchanges);
        let mut rest = exchanges.into_iter();
        if let Some(exchange) = rest.next() {
            self.loaded.push(Reverse(Loaded {
                place: Scheduled {
                    first_at_us: exchange.at.us(),
                    ..scheduled
                },
                exchange,
                rest,
            }));
        }
    }

    /// Takes the earliest loaded exchange.
    fn pop(&mut self) -> Option<Exchange> {
        let mut top = self.loaded.peek_mut()?;
        match top.0.rest.next() {
            Some(next) => {
                top.0.place.first_at_us = next.at.us();
                Some(std::mem::replace(&mut top.0.exchange, next))
            }
            None => Some(PeekMut::pop(top).0.exchange),
        }
    }
}

impl Iterator for Exchanges<'_> {
    type Item = Result<Exchange, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        while let Some(&scheduled) = self.trace.schedule.get(self.next) {
            let due = match self.loaded.peek() {
                None => true,
                Some(Reverse(top)) => scheduled < top.place,
            };
            if !due {
                break;
            }
            self.next += 1;
            if let Err(error) = self.load(scheduled) {
                self.failed = true;
                return Some(Err(error));
            }
        }
        self.pop().map(Ok)
    }
}
