//! One block: exchanges to a payload of columns and back. Everything here works on bytes in memory.
//!
//! A block needs no other to be read. Predictions that reach back over earlier blocks were tried: with blocks of 1,024
//! exchanges they saved 3.5 % of the Mooncake slice, with 4,096 less, which is too little for what it costs: damage that
//! spreads, seeks that decode what they skip, and no decoding side by side.

mod chains;
mod codes;
mod columns;
mod flags;
mod layout;
mod ratio;
mod request;
mod response;
mod terms;

use std::io::Write;

use serde::{Deserialize, Serialize};

use self::chains::{ChainReader, ChainWriter, Predictor};
use self::codes::Coded;
use self::columns::{ColumnNumbers, Columns};
use self::flags::flags_of;
use self::layout::{ColumnBytes, LaidOut};
use self::ratio::Ratio;
pub(super) use self::terms::Terms;
use super::frame::{CODEC_SEALED, CODEC_ZSTD, Frame, IdLimits, MAX_BLOCK_BYTES};
use super::seal::{SEAL, Sealer};
use super::totals::Totals;
use super::varint::{Malformed, Numbers, put, put_residual, unzigzag, zigzag};
use crate::shape::{
    BlockSpec, ClientId, Endpoint, Exchange, Method, ModelId, SessionId, ShapeStatus, TraceTime,
};

/// List elements (messages, blocks, media parts, gap buckets) that a block may hold, so that a few bytes cannot ask for
/// much memory.
const MAX_ELEMENTS: usize = 1 << 22;

/// The longest list that an exchange is written with; the rest of a longer one is cut off. A chain of that length is 64 MiB
/// of prompt.
const MAX_LIST: usize = 1 << 20;

/// A writer starts the next block beyond this many list elements.
pub(super) const FULL_ELEMENTS: usize = 1 << 18;

/// An exchange on its way into a block.
pub(super) struct Entry {
    pub(super) exchange: Exchange,
    /// Its number among those of the file that were written while they were in flight.
    pub(super) opening: Option<u32>,
}

/// A block's payload, once unpacked.
#[derive(Serialize)]
struct Document<'a> {
    columns: &'a LaidOut<'a>,
    coding: u8,
    base: IdLimits,
    totals: &'a Totals,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    models: &'a [(u32, String)],
    #[serde(skip_serializing_if = "<[_]>::is_empty", with = "serde_bytes")]
    gone: &'a [u8],
}

#[derive(Deserialize)]
struct DocumentRead<'a> {
    #[serde(borrow)]
    columns: ColumnBytes<'a>,
    #[serde(default)]
    coding: u8,
    #[serde(default)]
    base: IdLimits,
    #[serde(default)]
    models: Vec<(u32, String)>,
}

/// The parts of a document that need no decoding of exchanges.
#[derive(Deserialize)]
struct Accounts {
    #[serde(default)]
    totals: Totals,
}

#[derive(Deserialize)]
struct Names {
    #[serde(default)]
    models: Vec<(u32, String)>,
}

/// Turns exchanges into blocks.
pub(super) struct BlockEncoder {
    spec: Option<BlockSpec>,
    predictor: Predictor,
    columns: Columns,
    compressor: zstd::bulk::Compressor<'static>,
    sealer: Option<Sealer>,
    ids: IdLimits,
}

/// Turns blocks back into exchanges.
pub(super) struct BlockDecoder {
    terms: Terms,
    predictor: Predictor,
    decompressor: zstd::bulk::Decompressor<'static>,
}

/// The numbers of a block's exchanges among those of the file that were written while in flight; 0 for none, else one more.
#[derive(Deserialize)]
struct OpeningsRead<'a> {
    #[serde(borrow)]
    columns: ColumnBytes<'a>,
    #[serde(borrow, default)]
    gone: &'a serde_bytes::Bytes,
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

impl BlockEncoder {
    pub(super) fn new(spec: Option<BlockSpec>) -> std::io::Result<Self> {
        Ok(Self {
            spec,
            predictor: Predictor::new(),
            columns: Columns::default(),
            compressor: zstd::bulk::Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL)?,
            sealer: None,
            ids: IdLimits::default(),
        })
    }

    /// The same, with payloads sealed where there is a sealer.
    pub(super) fn sealed(mut self, sealer: Option<Sealer>) -> Self {
        self.sealer = sealer;
        self
    }

    /// One more than the highest ids written so far.
    pub(super) fn ids(&self) -> IdLimits {
        self.ids
    }

    /// Appends frame and payload of a block to `out`. Sorts the exchanges by arrival.
    pub(super) fn encode(
        &mut self,
        kind: u8,
        entries: &mut [Entry],
        beside: Beside<'_>,
        out: &mut Vec<u8>,
    ) -> std::io::Result<Frame> {
        entries.sort_by_key(|entry| entry.exchange.at);
        let first_at_us = entries.first().map_or(0, |entry| entry.exchange.at.us());
        let last_at_us = entries.last().map_or(0, |entry| entry.exchange.at.us());
        let base = self.ids;
        self.predictor.restart(base.blocks);
        self.columns.clear();
        let mut before = Before::new(first_at_us, base, Coding::Predicted);
        let mut before_opening = 0;
        for Entry { exchange, opening } in entries.iter_mut() {
            exchange.request.messages.truncate(MAX_LIST);
            exchange.request.media.truncate(MAX_LIST);
            exchange.request.blocks.truncate(MAX_LIST);
            exchange.response.trail.truncate(MAX_LIST);
            write(&mut self.columns, exchange, self.spec, &mut before);
            put_opening(&mut self.columns.opening, *opening, &mut before_opening);
        }
        let mut chains = ChainWriter::new(&mut self.predictor);
        for place in completion_order(entries.iter().map(|entry| &entry.exchange)) {
            if let Some(entry) = entries.get(place) {
                let Exchange {
                    request, session, ..
                } = &entry.exchange;
                chains.chain(&mut self.columns, &request.blocks, *session);
            }
        }
        chains.finish(&mut self.columns);
        self.ids = IdLimits {
            blocks: self.predictor.next_new(),
            ..before.ids
        };

        let mut gone = Vec::new();
        let mut gone_before = 0;
        for &number in beside.gone {
            put(&mut gone, zigzag(i64::from(number) - gone_before));
            gone_before = number.into();
        }
        let columns = LaidOut::of(&self.columns);
        let document = Document {
            columns: &columns,
            coding: CODING,
            base,
            totals: beside.totals,
            models: beside.models,
            gone: &gone,
        };
        let document = rmp_serde::to_vec_named(&document).map_err(std::io::Error::other)?;
        let mut payload = pack(&mut self.compressor, &document, &columns)?;
        let length = |len: usize| {
            u32::try_from(len)
                .ok()
                .filter(|&len| len <= MAX_BLOCK_BYTES)
                .ok_or_else(|| std::io::Error::other("a block is over 64 MiB"))
        };
        let mut frame = Frame {
            kind,
            codec: CODEC_ZSTD,
            payload_len: length(payload.len())?,
            unpacked_len: length(document.len())?,
            count: length(entries.len())?,
            ids: self.ids,
            first_at_us,
            last_at_us,
            payload_crc: 0,
        };
        if let Some(sealer) = &self.sealer {
            frame.codec = CODEC_SEALED;
            frame.payload_len = length(payload.len() + SEAL)?;
            payload = sealer.seal(&frame, &payload)?;
        }
        frame.payload_crc = crc32c::crc32c(&payload);
        out.extend_from_slice(&frame.encode());
        out.extend_from_slice(&payload);
        Ok(frame)
    }
}

/// Compresses a document. In a large one, every large column or plane becomes a zstd block of its own and so has its own entropy
/// tables: 6 % smaller for live traffic, and the same to any decoder.
fn pack(
    compressor: &mut zstd::bulk::Compressor<'static>,
    document: &[u8],
    columns: &LaidOut<'_>,
) -> std::io::Result<Vec<u8>> {
    const LARGE: usize = 512;
    if document.len() < 16 * LARGE {
        return compressor.compress(document);
    }
    let mut out = zstd::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)?;
    out.set_pledged_src_size(Some(document.len() as u64))?;
    // The document begins with its columns: a map of one byte, their key of eight, their map of three at most, and for each
    // its number of one byte and its length of three or five. Where exactly a piece ends does not matter.
    let mut rest = document;
    let mut piece = 12;
    for len in columns.lengths() {
        if len < LARGE {
            piece += len + 3;
            continue;
        }
        for end in [piece, len + 4] {
            let (head, tail) = rest.split_at(end.min(rest.len()));
            out.write_all(head)?;
            out.flush()?;
            rest = tail;
        }
        piece = 0;
    }
    out.write_all(rest)?;
    out.finish()
}

impl BlockDecoder {
    pub(super) fn new(terms: Terms) -> std::io::Result<Self> {
        Ok(Self {
            terms,
            predictor: Predictor::new(),
            decompressor: zstd::bulk::Decompressor::new()?,
        })
    }

    /// Reads blocks of another file from here on.
    pub(super) fn read_by(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// The exchanges of a block.
    pub(super) fn decode(&mut self, frame: &Frame, payload: &[u8]) -> Result<Decoded, Malformed> {
        let spec = self.terms.spec;
        let document = self.unpack(frame, payload)?;
        let DocumentRead {
            columns,
            coding,
            base,
            models,
        } = rmp_serde::from_slice(&document)
            .map_err(|_| Malformed("its document does not read"))?;
        let mut columns = columns.numbers();
        let coding = Coding::of(coding)?;
        self.predictor.restart(base.blocks);
        let mut before = Before::new(frame.first_at_us, base, coding);
        let mut budget = Budget(MAX_ELEMENTS);
        let count = frame.count as usize;
        let mut exchanges = Vec::with_capacity(count);
        let mut chain_lens = Vec::with_capacity(count);
        for _ in 0..count {
            let terms = (spec, coding);
            let chain_len = read(
                &mut columns,
                terms,
                &mut budget,
                &mut before,
                &mut exchanges,
            )?;
            chain_lens.push(chain_len);
        }
        let mut chains = ChainReader::new(&mut self.predictor, &columns);
        for place in completion_order(exchanges.iter()) {
            if let (Some(exchange), Some(&len)) = (exchanges.get_mut(place), chain_lens.get(place))
            {
                let session = exchange.session.filter(|_| coding == Coding::Predicted);
                exchange.request.blocks = chains.chain(len, session)?;
            }
        }
        Ok(Decoded {
            exchanges,
            models: models
                .into_iter()
                .map(|(id, name)| (ModelId(id), name))
                .collect(),
        })
    }

    /// Which of the exchanges that the file holds as in flight a block tells of.
    pub(super) fn openings(
        &mut self,
        frame: &Frame,
        payload: &[u8],
    ) -> Result<OpeningsOf, Malformed> {
        let document = self.unpack(frame, payload)?;
        let OpeningsRead { columns, gone } = rmp_serde::from_slice(&document)
            .map_err(|_| Malformed("its document does not read"))?;
        let mut columns = columns.numbers();
        let step = |before: &mut i64, step: u64| {
            *before = before.wrapping_add(unzigzag(step));
            u32::try_from(*before).map_err(|_| Malformed("an opening is out of range"))
        };
        let mut exchanges = Vec::new();
        let mut before = 0;
        for _ in 0..frame.count {
            let told = columns.opening.next()?.checked_sub(1);
            exchanges.push(told.map(|told| step(&mut before, told)).transpose()?);
        }
        let mut numbers = Numbers::new(gone);
        let mut gone = Vec::new();
        before = 0;
        while !numbers.is_empty() {
            gone.push(step(&mut before, numbers.next()?)?);
        }
        Ok(OpeningsOf { exchanges, gone })
    }

    /// The accounts of a block, without its exchanges.
    pub(super) fn totals(&mut self, frame: &Frame, payload: &[u8]) -> Result<Totals, Malformed> {
        let document = self.unpack(frame, payload)?;
        rmp_serde::from_slice(&document)
            .map(|Accounts { totals }| totals)
            .map_err(|_| Malformed("its document does not read"))
    }

    /// The names of a block, without its exchanges.
    pub(super) fn names(
        &mut self,
        frame: &Frame,
        payload: &[u8],
    ) -> Result<Vec<(ModelId, String)>, Malformed> {
        let document = self.unpack(frame, payload)?;
        rmp_serde::from_slice(&document)
            .map(|Names { models }| models.into_iter())
            .map(|models| models.map(|(id, name)| (ModelId(id), name)).collect())
            .map_err(|_| Malformed("its document does not read"))
    }

    /// A payload's document, after its checksum.
    pub(super) fn unpack(&mut self, frame: &Frame, payload: &[u8]) -> Result<Vec<u8>, Malformed> {
        if crc32c::crc32c(payload) != frame.payload_crc {
            return Err(Malformed("it does not match its checksum"));
        }
        let packed = self.terms.packed(frame, payload)?;
        self.decompressor
            .decompress(&packed, frame.unpacked_len as usize)
            .map_err(|_| Malformed("it does not unpack"))
    }
}

/// How the numbers of a block are to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// As format 1.0 has them.
    Plain,
    /// Prompt tokens, token events and bytes of answers are differences from what else is known of them; counts of gaps stand in columns by the
    /// bucket before; chains are guessed from what their conversation went on with.
    Predicted,
}

/// The coding that blocks are written in.
const CODING: u8 = 1;

impl Coding {
    fn of(code: u8) -> Result<Self, Malformed> {
        match code {
            0 => Ok(Self::Plain),
            CODING => Ok(Self::Predicted),
            _ => Err(Malformed("its numbers are coded in an unknown way")),
        }
    }
}

/// What of an exchange is predicted from the one before it in the block.
struct Before {
    at_us: u64,
    flags: u64,
    in_flight: u64,
    ids: IdLimits,
    tokens_per_byte: Ratio,
    response: response::Before,
}

impl Before {
    fn new(first_at_us: u64, ids: IdLimits, coding: Coding) -> Self {
        Self {
            at_us: first_at_us,
            flags: 0,
            in_flight: 0,
            ids,
            tokens_per_byte: Ratio::default(),
            response: response::Before::of(coding),
        }
    }
}

fn write(out: &mut Columns, exchange: &Exchange, spec: Option<BlockSpec>, before: &mut Before) {
    let at_us = exchange.at.us();
    put(&mut out.at, at_us.saturating_sub(before.at_us));
    before.at_us = at_us;
    let present = flags_of(exchange);
    put(&mut out.flags, present ^ before.flags);
    before.flags = present;
    put(&mut out.endpoint, exchange.endpoint.code());
    put(&mut out.method, exchange.method.code());
    put(&mut out.shape, exchange.shape.code());
    put_residual(
        &mut out.in_flight,
        exchange.in_flight.into(),
        before.in_flight,
    );
    before.in_flight = exchange.in_flight.into();
    if let Some(ModelId(id)) = exchange.model {
        put(&mut out.model, id.into());
        before.ids.models = before.ids.models.max(id.saturating_add(1));
    }
    if let Some(SessionId(id)) = exchange.session {
        put_id(&mut out.session, id, &mut before.ids.sessions);
    }
    if let Some(ClientId(id)) = exchange.client {
        put_id(&mut out.client, id, &mut before.ids.clients);
    }
    request::write(out, &exchange.request, spec, &mut before.tokens_per_byte);
    response::write(out, exchange, &mut before.response);
}

/// Reads an exchange to the end of a list, but for its chain: returns the chain's length.
///
/// It is filled where it stands: it takes some hundreds of bytes, and moving them from hand to hand costs as much as reading does.
fn read(
    columns: &mut ColumnNumbers<'_>,
    (spec, coding): (Option<BlockSpec>, Coding),
    budget: &mut Budget,
    before: &mut Before,
    exchanges: &mut Vec<Exchange>,
) -> Result<usize, Malformed> {
    before.at_us = before
        .at_us
        .checked_add(columns.at.next()?)
        .ok_or(Malformed("an arrival is out of range"))?;
    before.flags ^= columns.flags.next()?;
    let present = before.flags;
    let endpoint = Endpoint::from_code(columns.endpoint.next()?);
    let method = Method::from_code(columns.method.next()?);
    let shape = ShapeStatus::from_code(columns.shape.next()?);
    let in_flight: u32 = columns.in_flight.residual_as(before.in_flight)?;
    before.in_flight = in_flight.into();
    let has = |flag| present & flag != 0;
    let model = has(flags::MODEL)
        .then(|| columns.model.next_as())
        .transpose()?;
    let session = has(flags::SESSION)
        .then(|| next_id(&mut columns.session, &mut before.ids.sessions))
        .transpose()?;
    let client = has(flags::CLIENT)
        .then(|| next_id(&mut columns.client, &mut before.ids.clients))
        .transpose()?;
    let tokens_per_byte = match coding {
        Coding::Plain => None,
        Coding::Predicted => Some(&mut before.tokens_per_byte),
    };
    exchanges.push(Exchange {
        model: model.map(ModelId),
        session: session.map(SessionId),
        client: client.map(ClientId),
        in_flight,
        shape,
        ..Exchange::bare(TraceTime::from_us(before.at_us), endpoint, method)
    });
    let Some(exchange) = exchanges.last_mut() else {
        return Ok(0);
    };
    let request = &mut exchange.request;
    let chain_len = request::read(columns, present, spec, budget, tokens_per_byte, request)?;
    let response = &mut exchange.response;
    exchange.outcome = response::read(columns, present, budget, &mut before.response, response)?;
    Ok(chain_len)
}

/// An id counted back from the next new one, which is 0.
fn put_id(out: &mut Vec<u8>, id: u32, next_new: &mut u32) {
    put_residual(out, (*next_new).into(), id.into());
    *next_new = (*next_new).max(id.saturating_add(1));
}

fn next_id(column: &mut super::varint::Numbers<'_>, next_new: &mut u32) -> Result<u32, Malformed> {
    let back = column.residual(0)?;
    let id = u32::try_from(u64::from(*next_new).wrapping_sub(back))
        .map_err(|_| Malformed("an id is out of range"))?;
    *next_new = (*next_new).max(id.saturating_add(1));
    Ok(id)
}

/// Chains are written in the order in which their exchanges ended, for that is the order in which a recorder numbers them.
fn completion_order<'a>(exchanges: impl Iterator<Item = &'a Exchange>) -> Vec<usize> {
    let ended = |exchange: &Exchange| {
        let end_us = exchange.response.end_us.unwrap_or(0);
        exchange.at.us().saturating_add(end_us)
    };
    let mut order: Vec<_> = exchanges.map(ended).zip(0..).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, place)| place).collect()
}

/// 0 for none, else one more than the step from the opening before.
fn put_opening(out: &mut Vec<u8>, opening: Option<u32>, before: &mut u32) {
    put(
        out,
        opening.map_or(0, |number| {
            let step = i64::from(number) - i64::from(*before);
            *before = number;
            zigzag(step) + 1
        }),
    );
}

/// How many list elements a block may still ask for.
struct Budget(usize);

impl Budget {
    fn take(&mut self, elements: u64) -> Result<usize, Malformed> {
        let elements = usize::try_from(elements)
            .ok()
            .filter(|&elements| elements <= self.0)
            .ok_or(Malformed("its lists are too long"))?;
        self.0 -= elements;
        Ok(elements)
    }
}
