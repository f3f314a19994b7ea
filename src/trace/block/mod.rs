//! One block: exchanges to a payload of columns and back. Everything here works on bytes in memory.
//!
//! A block needs no other to be read. Predictions that reach back over earlier blocks were tried: with blocks of 1,024
//! exchanges they saved 3.5 % of the Mooncake slice, with 4,096 less, which is too little for what it costs: damage that
//! spreads, seeks that decode what they skip, and no decoding side by side.

mod budget;
mod chains;
mod codes;
mod coding;
mod columns;
mod decode;
mod document;
mod encode;
mod exchange;
mod flags;
mod frames;
mod layout;
mod openings;
mod predictor;
mod ratio;
mod request;
mod response;
mod terms;

pub(super) use self::decode::BlockDecoder;
pub(super) use self::encode::BlockEncoder;
pub(super) use self::terms::Terms;
use super::totals::Totals;
use crate::shape::{Exchange, ModelId};

/// An exchange on its way into a block.
pub(super) struct Entry {
    pub(super) exchange: Exchange,
    /// Its number among those of the file that were written while they were in flight.
    pub(super) opening: Option<u32>,
}

/// What a block says beside its exchanges.
#[derive(Clone, Copy)]
pub(super) struct Beside<'a> {
    pub(super) totals: &'a Totals,
    pub(super) models: &'a [(u32, String)],
    /// Numbers of exchanges that the file holds as in flight and will not hold as ended.
    pub(super) gone: &'a [u32],
}

/// Which of the exchanges that a file holds as in flight a block tells of.
pub(super) struct OpeningsOf {
    /// For each exchange of the block, its number if it has one.
    pub(super) exchanges: Vec<Option<u32>>,
    /// Those that will not be in the file as ended.
    pub(super) gone: Vec<u32>,
}

/// What a block held.
pub(super) struct Decoded {
    pub(super) exchanges: Vec<Exchange>,
    /// Names kept of models that first appear in this block.
    pub(super) models: Vec<(ModelId, String)>,
}

/// A writer starts the next block beyond this many list elements.
pub(super) const FULL_ELEMENTS: usize = 1 << 18;
