use super::budget::Budget;
use super::chains::{ChainReader, completion_order};
use super::coding::Coding;
use super::document::{self, Accounts, DocumentRead, Names, OpeningsRead};
use super::exchange::{self, Before};
use super::openings::read_openings;
use super::predictor::Predictor;
use super::{Decoded, OpeningsOf, Terms};
use crate::shape::ModelId;
use crate::trace::frame::Frame;
use crate::trace::totals::Totals;
use crate::trace::varint::Malformed;

/// Turns blocks back into exchanges.
pub(in crate::trace) struct BlockDecoder {
    terms: Terms,
    predictor: Predictor,
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl BlockDecoder {
    pub(in crate::trace) fn new(terms: Terms) -> std::io::Result<Self> {
        Ok(Self {
            terms,
            predictor: Predictor::new(),
            decompressor: zstd::bulk::Decompressor::new()?,
        })
    }

    /// Reads blocks of another file from here on.
    pub(in crate::trace) fn read_by(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// The exchanges of a block.
    pub(in crate::trace) fn decode(
        &mut self,
        frame: &Frame,
        payload: &[u8],
    ) -> Result<Decoded, Malformed> {
        let spec = self.terms.spec;
        let document = self.unpack(frame, payload)?;
        let DocumentRead {
            columns,
            coding,
            base,
            models,
        } = document::read(&document)?;
        let mut columns = columns.numbers();
        let coding = Coding::of(coding)?;
        self.predictor.restart(base.blocks);
        let mut before = Before::new(frame.first_at_us, base, coding);
        let mut budget = Budget::full();
        let count = frame.count as usize;
        let mut exchanges = Vec::with_capacity(count);
        let mut chain_lens = Vec::with_capacity(count);
        for _ in 0..count {
            let terms = (spec, coding);
            let chain_len = exchange::read(
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
            models: named(models),
        })
    }

    /// Which of the exchanges that the file holds as in flight a block tells of.
    pub(in crate::trace) fn openings(
        &mut self,
        frame: &Frame,
        payload: &[u8],
    ) -> Result<OpeningsOf, Malformed> {
        let document = self.unpack(frame, payload)?;
        let OpeningsRead { columns, gone } = document::read(&document)?;
        read_openings(&mut columns.numbers(), frame.count, gone)
    }

    /// The accounts of a block, without its exchanges.
    pub(in crate::trace) fn totals(
        &mut self,
        frame: &Frame,
        payload: &[u8],
    ) -> Result<Totals, Malformed> {
        let document = self.unpack(frame, payload)?;
        document::read(&document).map(|Accounts { totals }| totals)
    }

    /// The names of a block, without its exchanges.
    pub(in crate::trace) fn names(
        &mut self,
        frame: &Frame,
        payload: &[u8],
    ) -> Result<Vec<(ModelId, String)>, Malformed> {
        let document = self.unpack(frame, payload)?;
        document::read(&document).map(|Names { models }| named(models))
    }

    /// A payload's document, after its checksum.
    pub(in crate::trace) fn unpack(
        &mut self,
        frame: &Frame,
        payload: &[u8],
    ) -> Result<Vec<u8>, Malformed> {
        if crc32c::crc32c(payload) != frame.payload_crc {
            return Err(Malformed("it does not match its checksum"));
        }
        let packed = self.terms.packed(frame, payload)?;
        self.decompressor
            .decompress(&packed, frame.unpacked_len as usize)
            .map_err(|_| Malformed("it does not unpack"))
    }
}

fn named(models: Vec<(u32, String)>) -> Vec<(ModelId, String)> {
    let models = models.into_iter();
    models.map(|(id, name)| (ModelId(id), name)).collect()
}
