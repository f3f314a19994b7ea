//! Streaming in order of arrival: a merge of blocks, each of which is loaded when time reaches its first arrival.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::vec::IntoIter;

use super::block::BlockDecoder;
use super::damage::Damage;
use super::error::TraceError;
use super::file::read_block;
use super::frame::{FRAME, KIND_EXCHANGES};
use super::openings::LeftOpen;
use super::reader::{Scheduled, Trace};
use super::store::Bytes;
use crate::shape::{Exchange, ModelId, TraceTime};

/// The exchanges of a [`Trace`] in order of arrival; equal arrivals in the order in which they were written.
///
/// Blocks that overlap in time are held side by side, up to a bound of bytes. Beyond it those that are needed last are let go
/// and read again when their time comes: a trace in which everything overlaps takes longer, not more memory.
pub struct Exchanges<'a> {
    trace: &'a mut Trace,
    from_us: u64,
    /// The next block to load, by place in the schedule.
    next: usize,
    begun: BinaryHeap<Reverse<Begun>>,
    held_bytes: usize,
    most_held_bytes: usize,
    decoder: Option<BlockDecoder>,
    open: Vec<(usize, Bytes, u64)>,
    failed: bool,
    /// Whether the names must still be learnt before an exchange is given.
    nameless: bool,
}

/// What blocks may take once they are unpacked. One block always may.
const MOST_HELD_BYTES: usize = 128 << 20;

/// Files that stay open between two of their blocks: as many recorders can be merged without opening files again and again.
const MOST_OPEN: usize = 16;

/// A block of which some exchanges are still to come, by its next one.
struct Begun {
    /// Where it stands in time now.
    place: Scheduled,
    /// Exchanges already given.
    given: usize,
    /// Let go where memory was short.
    held: Option<Held>,
}

struct Held {
    /// At least one.
    rest: IntoIter<Exchange>,
    bytes: usize,
}

impl Held {
    fn next_at_us(&self) -> Option<u64> {
        let next = self.rest.as_slice().first();
        next.map(|exchange| exchange.at.us())
    }
}

impl PartialEq for Begun {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Begun {}

impl PartialOrd for Begun {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Begun {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

impl<'a> Exchanges<'a> {
    pub(super) fn new(trace: &'a mut Trace, from: TraceTime) -> Self {
        Self {
            nameless: trace.must_learn_names_first(),
            trace,
            from_us: from.us(),
            next: 0,
            begun: BinaryHeap::new(),
            held_bytes: 0,
            most_held_bytes: MOST_HELD_BYTES,
            decoder: None,
            open: Vec::new(),
            failed: false,
        }
    }

    /// Begins again with the first exchange. What reading showed of damage is counted anew.
    pub fn restart(&mut self) {
        self.trace.read_damage = Damage::default();
        self.next = 0;
        self.begun.clear();
        self.held_bytes = 0;
        self.failed = false;
    }

    #[cfg(test)]
    pub(super) fn holding_at_most(mut self, bytes: usize) -> Self {
        self.most_held_bytes = bytes;
        self
    }

    /// Bytes of unpacked blocks that are held now.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// A model's name, where it was kept and its block has been read.
    pub fn model_name(&self, model: ModelId) -> Option<&str> {
        self.trace.model_name(model)
    }

    /// Begins the next block of the schedule.
    fn begin(&mut self, scheduled: Scheduled) -> Result<(), TraceError> {
        let ended = self.trace.files.get(scheduled.file).is_some_and(|placed| {
            let entry = placed.file.blocks.get(scheduled.block);
            // What was left open stands behind the last block, and is few.
            let last_at_us = entry.map_or(u64::MAX, |entry| entry.last_at_us);
            last_at_us.saturating_add(placed.shift_us) < self.from_us
        });
        if !ended && let Some(held) = self.load(scheduled, 0)? {
            self.push(scheduled, 0, held);
        }
        Ok(())
    }

    fn push(&mut self, scheduled: Scheduled, given: usize, held: Held) {
        self.held_bytes += held.bytes;
        self.begun.push(Reverse(Begun {
            place: Scheduled {
                first_at_us: held.next_at_us().unwrap_or(scheduled.first_at_us),
                ..scheduled
            },
            given,
            held: Some(held),
        }));
        if self.held_bytes > self.most_held_bytes {
            self.let_go();
        }
    }

    /// Lets those go that are needed last, down to half of what may be held, so that this is not asked for at every block.
    fn let_go(&mut self) {
        let mut begun = std::mem::take(&mut self.begun).into_vec();
        begun.sort_unstable();
        // The largest of the reversed order come first: the last in time stand first.
        let most = begun.len().saturating_sub(1);
        for Reverse(block) in begun.iter_mut().take(most) {
            if self.held_bytes <= self.most_held_bytes / 2 {
                break;
            }
            if let Some(held) = block.held.take() {
                self.held_bytes -= held.bytes;
            }
        }
        self.begun = begun.into();
    }

    /// Reads a block, but for those of its exchanges that were given before. One that cannot be read is counted and left out.
    fn load(&mut self, scheduled: Scheduled, given: usize) -> Result<Option<Held>, TraceError> {
        let Some(placed) = self.trace.files.get(scheduled.file) else {
            return Ok(None);
        };
        let path = &placed.file.path;
        if scheduled.block == placed.file.blocks.len() {
            let LeftOpen {
                exchanges, models, ..
            } = placed.file.left_open.clone();
            return Ok(self.adopt(scheduled, given, models, exchanges));
        }
        let Some(&entry) = placed.file.blocks.get(scheduled.block) else {
            return Ok(None);
        };
        if !self.open.iter().any(|(file, ..)| *file == scheduled.file) {
            let file = placed.file.place.open().map_err(TraceError::io(path))?;
            let len = file.len().map_err(TraceError::io(path))?;
            if self.open.len() >= MOST_OPEN {
                self.open.remove(0);
            }
            self.open.push((scheduled.file, file, len));
        }
        if self.decoder.is_none() {
            let terms = placed.file.header.terms();
            self.decoder = Some(BlockDecoder::new(terms).map_err(TraceError::io(path))?);
        }
        let open = self.open.iter().find(|(file, ..)| *file == scheduled.file);
        let (Some((_, file, len)), Some(decoder)) = (open, &mut self.decoder) else {
            return Ok(None);
        };
        let block = read_block(file, entry.offset, *len).map_err(TraceError::io(path))?;
        decoder.read_by(placed.file.header.terms());
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
            .and_then(|(frame, payload)| decoder.decode(&frame, &payload).ok());
        let Some(decoded) = decoded else {
            let damage = &mut self.trace.read_damage;
            damage.bad_blocks += 1;
            damage.bad_bytes += bytes;
            damage.lost_exchanges += u64::from(entry.count);
            return Ok(None);
        };
        Ok(self.adopt(scheduled, given, decoded.models, decoded.exchanges))
    }

    /// What of a block's exchanges is still to be given.
    fn adopt(
        &mut self,
        scheduled: Scheduled,
        given: usize,
        models: Vec<(ModelId, String)>,
        mut exchanges: Vec<Exchange>,
    ) -> Option<Held> {
        self.trace.adopt(scheduled.file, models, &mut exchanges);
        let before = exchanges.partition_point(|exchange| exchange.at.us() < self.from_us);
        let done = before.saturating_add(given).min(exchanges.len());
        let bytes = exchanges.iter().map(Exchange::held_bytes).sum();
        exchanges.drain(..done);
        let held = Held {
            rest: exchanges.into_iter(),
            bytes,
        };
        held.next_at_us().is_some().then_some(held)
    }

    /// Takes the earliest exchange of the blocks that have begun.
    fn pop(&mut self) -> Result<Option<Exchange>, TraceError> {
        loop {
            let Some(mut top) = self.begun.peek_mut() else {
                return Ok(None);
            };
            if let Some(held) = &mut top.0.held {
                let exchange = held.rest.next();
                if let Some(next_at_us) = held.next_at_us() {
                    top.0.given += 1;
                    top.0.place.first_at_us = next_at_us;
                } else {
                    self.held_bytes -= held.bytes;
                    PeekMut::pop(top);
                }
                return Ok(exchange);
            }
            let Begun { place, given, .. } = PeekMut::pop(top).0;
            if let Some(held) = self.load(place, given)? {
                self.push(place, given, held);
            }
        }
    }

    fn next_exchange(&mut self) -> Result<Option<Exchange>, TraceError> {
        if std::mem::take(&mut self.nameless) && !self.trace.knows_names {
            self.trace.learn_names(TraceTime::from_us(self.from_us))?;
        }
        while let Some(&scheduled) = self.trace.schedule.get(self.next) {
            let due = match self.begun.peek() {
                None => true,
                Some(Reverse(top)) => scheduled < top.place,
            };
            if !due {
                break;
            }
            self.next += 1;
            self.begin(scheduled)?;
        }
        self.pop()
    }
}

impl Iterator for Exchanges<'_> {
    type Item = Result<Exchange, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_exchange();
        self.failed = next.is_err();
        next.transpose()
    }
}
