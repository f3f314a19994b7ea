use crate::trace::varint::Malformed;

/// How the numbers of a block are to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// As format 1.0 has them.
    Plain,
    /// Prompt tokens, token events and bytes of answers are differences from what else is known of them; counts of gaps stand in columns by the
    /// bucket before; chains are guessed from what their conversation went on with.
    Predicted,
}

/// The coding that blocks are written in.
pub(super) const CODING: u8 = 1;

impl Coding {
    pub(super) fn of(code: u8) -> Result<Self, Malformed> {
        match code {
            0 => Ok(Self::Plain),
            CODING => Ok(Self::Predicted),
            _ => Err(Malformed("its numbers are coded in an unknown way")),
        }
    }
}
