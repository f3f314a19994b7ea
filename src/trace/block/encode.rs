use super::chains::{ChainWriter, completion_order};
use super::coding::{CODING, Coding};
use super::columns::Columns;
use super::document::{Document, pack};
use super::exchange::{self, Before};
use super::layout::LaidOut;
use super::openings::{gone_as_bytes, put_opening};
use super::predictor::Predictor;
use super::{Beside, Entry};
use crate::shape::{BlockSpec, Exchange};
use crate::trace::frame::{CODEC_SEALED, CODEC_ZSTD, Frame, IdLimits, MAX_BLOCK_BYTES};
use crate::trace::seal::{SEAL, Sealer};

/// Turns exchanges into blocks.
pub(in crate::trace) struct BlockEncoder {
    spec: Option<BlockSpec>,
    predictor: Predictor,
    columns: Columns,
    compressor: zstd::bulk::Compressor<'static>,
    sealer: Option<Sealer>,
    ids: IdLimits,
}

impl BlockEncoder {
    pub(in crate::trace) fn new(spec: Option<BlockSpec>) -> std::io::Result<Self> {
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
    pub(in crate::trace) fn sealed(mut self, sealer: Option<Sealer>) -> Self {
        self.sealer = sealer;
        self
    }

    /// One more than the highest ids written so far.
    pub(in crate::trace) fn ids(&self) -> IdLimits {
        self.ids
    }

    /// Appends frame and payload of a block to `out`. Sorts the exchanges by arrival.
    pub(in crate::trace) fn encode(
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
            exchange.request.tensors.truncate(MAX_LIST);
            exchange.request.blocks.truncate(MAX_LIST);
            exchange.response.trail.truncate(MAX_LIST);
            if let Some(frames) = &mut exchange.frames {
                frames.sent_trail.truncate(MAX_LIST);
            }
            exchange::write(&mut self.columns, exchange, self.spec, &mut before);
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

        let gone = gone_as_bytes(beside.gone);
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

/// The longest list that an exchange is written with; the rest of a longer one is cut off. A chain of that length is 64 MiB
/// of prompt.
const MAX_LIST: usize = 1 << 20;
