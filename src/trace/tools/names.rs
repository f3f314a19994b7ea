//! Names of models that stand in blocks which are not read: a name is written once, where its model first appears.

use crate::shape::{ModelId, TraceTime};
use crate::trace::block::BlockDecoder;
use crate::trace::file::read_block;
use crate::trace::reader::Trace;
use crate::trace::store::Bytes;
use crate::trace::{TraceError, footer::BlockEntry};

/// Makes a trace know the names that a reader from a moment on would miss. Each frame says how many models there were up to
/// its block, so the blocks in which that number rises are found by halving: some twenty reads for a model, however long the
/// file.
pub(super) fn learn_earlier_names(trace: &mut Trace, from: TraceTime) -> Result<(), TraceError> {
    let mut learnt = Vec::new();
    for (number, placed) in trace.files.iter().enumerate() {
        let file = &placed.file;
        let skips =
            |entry: &BlockEntry| entry.last_at_us.saturating_add(placed.shift_us) < from.us();
        if file.ids.models == 0 || !file.blocks.iter().any(skips) {
            continue;
        }
        let io = || TraceError::io(&file.path);
        let bytes = file.place.open().map_err(io())?;
        let len = bytes.len().map_err(io())?;
        let mut search = Search {
            bytes,
            len,
            blocks: &file.blocks,
            decoder: BlockDecoder::new().map_err(io())?,
            found: Vec::new(),
        };
        search
            .between(0, file.blocks.len(), 0, file.ids.models)
            .map_err(io())?;
        learnt.push((number, search.found));
    }
    for (file, names) in learnt {
        trace.learn(file, names);
    }
    Ok(())
}

struct Search<'a> {
    bytes: Bytes,
    len: u64,
    blocks: &'a [BlockEntry],
    decoder: BlockDecoder,
    found: Vec<(ModelId, String)>,
}

impl Search<'_> {
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
        if let Some((frame, payload)) = block
            && let Ok(names) = self.decoder.names(&frame, &payload)
        {
            self.found.extend(names);
        }
        self.between(middle + 1, to, upto.unwrap_or(before), after)
    }
}
