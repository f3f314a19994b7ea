//! Names of models that stand in blocks which are not read: a name is written once, where its model first appears.

use crate::shape::{ModelId, TraceTime};
use crate::trace::block::BlockDecoder;
use crate::trace::file::read_block;
use crate::trace::frame::Frame;
use crate::trace::reader::Trace;
use crate::trace::store::Bytes;
use crate::trace::{Header, TraceError, footer::BlockEntry};

impl Trace {
    /// Makes the trace know the names that a reader from a moment on would miss, or would see too late.
    ///
    /// Where a name was kept at once, it stands in the block in which its model first appears. Each frame says how many models
    /// there were up to its block, so the blocks in which that number rises are found by halving: some twenty reads for a model,
    /// however long the file. Where a policy keeps names only of models that were seen often enough, it stands in any later
    /// block, and all of them are looked at.
    pub(in crate::trace) fn learn_names(&mut self, from: TraceTime) -> Result<(), TraceError> {
        let mut learnt = Vec::new();
        for (number, placed) in self.files.iter().enumerate() {
            let file = &placed.file;
            let skips =
                |entry: &BlockEntry| entry.last_at_us.saturating_add(placed.shift_us) < from.us();
            let late = names_come_late(&file.header);
            if file.ids.models == 0 || !(late || file.blocks.iter().any(skips)) {
                continue;
            }
            let io = || TraceError::io(&file.path);
            let bytes = file.place.open().map_err(io())?;
            let len = bytes.len().map_err(io())?;
            let mut search = Search {
                bytes,
                len,
                blocks: &file.blocks,
                decoder: BlockDecoder::new(file.header.terms()).map_err(io())?,
                found: Vec::new(),
            };
            match late {
                true => search.all(),
                false => search.between(0, file.blocks.len(), 0, file.ids.models),
            }
            .map_err(io())?;
            learnt.push((number, search.found));
        }
        for (file, names) in learnt {
            self.learn(file, names);
        }
        self.knows_names = true;
        Ok(())
    }

    /// Whether exchanges of one model come under several numbers until its names are known: those of different files are the same
    /// by name, and a name may stand behind them.
    pub(in crate::trace) fn must_learn_names_first(&self) -> bool {
        self.files.len() > 1 && self.headers().any(names_come_late)
    }
}

fn names_come_late(header: &Header) -> bool {
    let policy = header.policy.as_ref();
    policy.is_some_and(|policy| policy.name_threshold > 0)
}

struct Search<'a> {
    bytes: Bytes,
    len: u64,
    blocks: &'a [BlockEntry],
    decoder: BlockDecoder,
    found: Vec<(ModelId, String)>,
}

impl Search<'_> {
    fn all(&mut self) -> std::io::Result<()> {
        for entry in self.blocks {
            if let Some(block) = read_block(&self.bytes, entry.offset, self.len)? {
                self.take(&block);
            }
        }
        Ok(())
    }

    fn take(&mut self, (frame, payload): &(Frame, Vec<u8>)) {
        if let Ok(names) = self.decoder.names(frame, payload) {
            self.found.extend(names);
        }
    }

    /// Looks among blocks `from..to`, before which there were `before` models and after which there are `after`.
    fn between(&mut self, from: usize, to: usize, before: u32, after: u32) -> std::io::Result<()> {
        if before >= after || from >= to {
            return Ok(());
        }
        let middle = from + (to - from) / 2;
        let Some(entry) = self.blocks.get(middle) else {
            return Ok(());
        };
        let block = read_block(&self.bytes, entry.offset, self.len)?;
        // Of a torn one nobody knows: both sides may hold all.
        let upto = block.as_ref().map(|(frame, _)| frame.ids.models);
        self.between(from, middle, before, upto.unwrap_or(after))?;
        if let Some(block) = &block {
            self.take(block);
        }
        self.between(middle + 1, to, upto.unwrap_or(before), after)
    }
}
