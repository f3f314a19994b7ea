use crate::trace::varint::Malformed;

/// How many list elements a block may still ask for.
pub(super) struct Budget(usize);

impl Budget {
    /// All that a block may ask for.
    pub(super) fn full() -> Self {
        Self(MAX_ELEMENTS)
    }

    pub(super) fn take(&mut self, elements: u64) -> Result<usize, Malformed> {
        let elements = usize::try_from(elements)
            .ok()
            .filter(|&elements| elements <= self.0)
            .ok_or(Malformed("its lists are too long"))?;
        self.0 -= elements;
        Ok(elements)
    }
}

/// List elements (messages, blocks, media parts, tensors, cache marks, buckets of gaps and sizes, gaps in order) that a block may hold, so that a few bytes cannot ask for
/// much memory.
const MAX_ELEMENTS: usize = 1 << 22;
