use std::collections::HashMap;
use std::io;

use super::block::{BlockDecoder, Entry, Terms};
use super::file::read_block;
use super::footer::BlockEntry;
use super::scan::Wound;
use super::store::Bytes;
use crate::shape::{Exchange, ModelId, Outcome, TraceTime};

/// Exchanges in flight, as a writer keeps count of them: those that the file holds already, and those that it does not.
#[derive(Default)]
pub(super) struct Openings {
    /// In the file or about to be, by the caller's key: their number in it.
    numbers: HashMap<u64, u32>,
    /// Not in the file yet.
    fresh: HashMap<u32, Exchange>,
    /// In the file, which is still to be told that they will not be in it as ended.
    gone: Vec<u32>,
    next: u32,
}

/// How many may wait to be told of as gone: as many as a disk can refuse for a while. Those beyond read as in flight.
const MOST_GONE: usize = 1 << 18;

impl Openings {
    pub(super) fn open(&mut self, key: u64, exchange: Exchange) {
        // Past 2^32 in one file they go unopened: rotation comes long before.
        let Some(next) = self.next.checked_add(1) else {
            return;
        };
        if let Some(before) = self.numbers.insert(key, self.next)
            && self.fresh.remove(&before).is_none()
        {
            self.gone([before]);
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

    /// The file holds these as open, and will not hold them as ended.
    pub(super) fn gone(&mut self, numbers: impl IntoIterator<Item = u32>) {
        let room = MOST_GONE.saturating_sub(self.gone.len());
        self.gone.extend(numbers.into_iter().take(room));
    }

    /// What the next block has to say of those that are gone.
    pub(super) fn gone_now(&self) -> &[u32] {
        &self.gone
    }

    /// The file has been told.
    pub(super) fn told_gone(&mut self) {
        self.gone.clear();
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
    /// Blocks of openings that do not read, and their bytes.
    pub(super) bad_blocks: u64,
    pub(super) bad_bytes: u64,
    /// How many were open beyond what is held of them.
    pub(super) too_many: u64,
    /// How many of them were opened before a damaged place, in which they may have ended.
    pub(super) doubtful: u64,
}

/// What those that are open may weigh together, in list elements and [`BARE`] for each exchange: some 128 MB, far more than a
/// recorder has in flight. A file that was made to be large in memory has more, which are left out and counted.
const MOST_WEIGHT: usize = 1 << 24;
const BARE: usize = 96;

/// Finds the exchanges that were in flight when a file's writer was killed: those in its blocks of openings whose end is in none
/// of its blocks of exchanges. They are few, as all were in flight at one moment; what is read for it are one column of the
/// other blocks. An end may have stood where the file is damaged (`wounds`, and blocks that do not read): what was opened before such
/// a place is counted as doubtful.
pub(super) fn left_open(
    file: &Bytes,
    openings: &[BlockEntry],
    blocks: &[BlockEntry],
    wounds: &[Wound],
    terms: Terms,
) -> io::Result<LeftOpen> {
    let mut left = LeftOpen::default();
    let Some(first) = openings.first() else {
        return Ok(left);
    };
    let mut decoder = BlockDecoder::new(terms)?;
    // Which are open, in the order of the file, so that no more are held than were ever open at once.
    let mut open: HashMap<u32, (u64, Exchange)> = HashMap::new();
    let mut weight = 0;
    let mut damaged_at = wounds.iter().map(|wound| wound.offset).max();
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
        let Ok(numbers) = decoder.openings(&frame, &payload) else {
            // A damaged block of exchanges is counted when it is read.
            damaged_at = damaged_at.max(Some(entry.offset));
            left.bad_blocks += u64::from(opens);
            left.bad_bytes += if opens { frame.len() } else { 0 };
            continue;
        };
        let ended = numbers.exchanges.iter().flatten().filter(|_| !opens);
        for number in ended.chain(&numbers.gone) {
            if let Some((_, exchange)) = open.remove(number) {
                weight -= BARE + exchange.list_elements();
            }
        }
        if !opens {
            continue;
        }
        let Ok(decoded) = decoder.decode(&frame, &payload) else {
            damaged_at = damaged_at.max(Some(entry.offset));
            left.bad_blocks += 1;
            left.bad_bytes += frame.len();
            continue;
        };
        left.models.extend(decoded.models);
        for (number, exchange) in numbers.exchanges.into_iter().zip(decoded.exchanges) {
            let more = BARE + exchange.list_elements();
            if weight + more > MOST_WEIGHT {
                left.too_many += 1;
            } else if let Some(number) = number {
                weight += more;
                if let Some((_, before)) = open.insert(number, (entry.offset, exchange)) {
                    weight -= BARE + before.list_elements();
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
    let is_doubtful = |opened_at: u64| damaged_at.is_some_and(|at| opened_at < at);
    let doubtful = open.values().filter(|(at, _)| is_doubtful(*at));
    left.doubtful = doubtful.count() as u64;
    left.exchanges = open.into_values().map(|(_, exchange)| exchange).collect();
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
