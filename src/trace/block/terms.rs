use std::borrow::Cow;

use crate::shape::BlockSpec;
use crate::trace::frame::{CODEC_SEALED, CODEC_ZSTD, Frame};
use crate::trace::seal::opened;
use crate::trace::varint::Malformed;

/// What of a file's header its blocks are read by. The default is that of a file in clear without prompt chains.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::trace) struct Terms {
    pub(in crate::trace) spec: Option<BlockSpec>,
    /// The id of the envelope whose key seals every payload; `None` where none is sealed.
    pub(in crate::trace) seal: Option<u64>,
}

impl Terms {
    /// A payload as it was packed. Who can write to a sealed file but does not have its key must not be able to put a block
    /// into it that reads: so one in clear, or sealed under the key of another file, is refused.
    pub(super) fn packed<'a>(
        &self,
        frame: &Frame,
        payload: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, Malformed> {
        match (frame.codec, self.seal) {
            (CODEC_ZSTD, None) => Ok(Cow::Borrowed(payload)),
            (CODEC_ZSTD, Some(_)) => Err(Malformed("it is in clear, and its file is sealed")),
            (CODEC_SEALED, Some(seal)) => opened(frame, payload, seal).map(Cow::Owned),
            (CODEC_SEALED, None) => Err(Malformed("it is sealed, and its file is in clear")),
            _ => Err(Malformed("it is packed in an unknown way")),
        }
    }
}
