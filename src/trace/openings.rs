use std::collections::HashMap;
use std::io;

use super::block::{BlockDecoder, Entry};
use super::file::read_block;
use super::footer::BlockEntry;
use super::store::Bytes;
use crate::shape::{BlockSpec, Exchange, ModelId, Outcome, TraceTime};

/// Exchanges in flight, as a writer keeps count of them: those that the file holds already, and those that it does not.
#[derive(Default)]
pub(super) struct Openings {
    /// In the file or about to be, by the caller's key: their number in it.
    numbers: HashMap<u64, u32>,
    /// Not in the file yet.
    fresh: HashMap<u32, Exchange>,
    next: u32,
}

impl Openings {
    pub(super) fn open(&mut self, key: u64, exchange: Exchange) {
        // Past 2^32 in one file they go unopened: rotation comes long before.
        let Some(next) = self.next.checked_add(1) else {
            return;
        };
        if let Some(before) = self.numbers.insert(key, self.next) {
            self.fresh.remove(&before);
        }
        self.fresh.insert(self.next, exchange);
        self.next = next;
    }

    /// The number under which the file holds the exchange as open, if it does.
    pub(super) fn close(&mut self, key: u64) -> Option<u32> {
        let number = self.numbers.remove(&key)?;
        match self.fresh.remove(&number) {
            Some(_) => None,
            None => Some(number),
        }
    }

    /// Whether the file holds all that are open.
    pub(super) fn is_written(&self) -> bool {
        self.fresh.is_empty()
    }

    /// Those that the file does not hold yet, which it now will.
    pub(super) fn take_fresh(&mut self) -> Vec<Entry> {
        let entry = |(number, exchange)| Entry {
            exchange,
            opening: Some(number),
        };
        self.fresh.drain().map(entry).collect()
    }

    /// The file does not hold these after all.
    pub(super) fn put_back(&mut self, entries: Vec<Entry>) {
        let numbered = |entry: Entry| entry.opening.map(|number| (number, entry.exchange));
        self.fresh.extend(entries.into_iter().filter_map(numbered));
    }
}

/// What an unfinished file holds as open and never as ended.
#[derive(Debug, Clone, Default)]
pub(super) struct LeftOpen {
    /// By arrival.
    pub(super) exchanges: Vec<Exchange>,
    /// Names kept of models that appear there first.
    pub(super) models: Vec<(ModelId, String)>,
}

/// Finds the exchanges that were in flight when a file's writer was killed: those in its blocks of openings whose end is in none
/// of its blocks of exchanges. They are few, as all were in flight at one moment; what is read for it are one column of the
/// other blocks.
pub(super) fn left_open(
    file: &Bytes,
    openings: &[BlockEntry],
    blocks: &[BlockEntry],
    spec: Option<BlockSpec>,
) -> io::Result<LeftOpen> {
    let mut left = LeftOpen::default();
    let Some(first) = openings.first() else {
        return Ok(left);
    };
    let mut decoder = BlockDecoder::new()?;
    // Which are open, in the order of the file, so that no more are held than were ever open at once.
    let mut open: HashMap<u32, Exchange> = HashMap::new();
    let mut all: Vec<(&BlockEntry, bool)> = openings
        .iter()
        .map(|entry| (entry, true))
        .chain(blocks.iter().map(|entry| (entry, false)))
        .filter(|(entry, _)| entry.offset >= first.offset)
        .collect();
    all.sort_by_key(|(entry, _)| entry.offset);
    for (entry, opens) in all {
        let Some((frame, payload)) = read_block(file, entry.offset, u64::MAX)? else {
            continue;
        };
        // A damaged block is counted when it is read.
        let Ok(numbers) = decoder.openings(&frame, &payload) else {
            continue;
        };
        if !opens {
            for number in numbers.into_iter().flatten() {
                open.remove(&number);
            }
        } else if let Ok(decoded) = decoder.decode(&frame, &payload, spec) {
            left.models.extend(decoded.models);
            for (number, exchange) in numbers.into_iter().zip(decoded.exchanges) {
                if let Some(number) = number {
                    open.insert(number, exchange);
                }
            }
        }
    }
    let seen_us = |entry: &BlockEntry| entry.last_at_us;
    let last_us = openings
        .iter()
        .chain(blocks)
        .map(seen_us)
        .max()
        .unwrap_or(0);
    left.exchanges = open.into_values().collect();
    for exchange in &mut left.exchanges {
        let known_us = exchange.outcome.at_us().unwrap_or(0);
        let at_us = known_us.max(last_us.saturating_sub(exchange.at.us()));
        exchange.outcome = Outcome::InFlight { at_us };
    }
    left.exchanges.sort_by_key(|exchange| exchange.at);
    Ok(left)
}

impl LeftOpen {
    /// The first arrival; `None` where none is left open.
    pub(super) fn first_at(&self) -> Option<TraceTime> {
        self.exchanges.first().map(|exchange| exchange.at)
    }
}
