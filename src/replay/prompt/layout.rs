use std::ops::Range;

use crate::anonymise::{MARKER_BYTES, MEDIA_BYTES};
use crate::shape::{BlockId, MediaPart, MessageShape, ToolsShape};

/// Where the text of a byte-block prompt lies: which stretch of which message falls into which block of the rendered stream.
pub(super) struct Layout {
    /// One for each block of the chain, in order, then one for all that follows it (its `block` is `None`).
    pub(super) pieces: Vec<Piece>,
    /// The stretches of text, in order.
    pub(super) segments: Vec<Segment>,
}

/// The text of one block, or of the tail.
pub(super) struct Piece {
    pub(super) block: Option<BlockId>,
    /// Its segments.
    pub(super) segments: Range<usize>,
    /// Messages that begin in it (their marker does).
    pub(super) openings: u32,
    /// Bytes of text.
    pub(super) bytes: u64,
}

/// A stretch of one message's text in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) message: usize,
    pub(super) bytes: u64,
    /// Whether the message starts with it.
    pub(super) opens: bool,
}

/// Cuts the rendered stream of [`crate::anonymise::PromptRender`] along the blocks of a chain.
pub(super) fn cut(
    block_bytes: u64,
    chain: &[BlockId],
    tools: ToolsShape,
    messages: &[MessageShape],
    media: &[MediaPart],
) -> Layout {
    let mut cutter = Cutter {
        block_bytes: block_bytes.max(1),
        position: u64::from(tools.count) * MARKER_BYTES + u64::from(tools.bytes),
        layout: Layout {
            pieces: Vec::with_capacity(chain.len() + 1),
            segments: Vec::with_capacity(chain.len() + messages.len()),
        },
        chain,
    };
    let mut parts = vec![0_u64; messages.len()];
    for part in media {
        if let Some(count) = parts.get_mut(usize::from(part.message)) {
            *count += 1;
        }
    }
    for (index, (message, parts)) in messages.iter().zip(parts).enumerate() {
        cutter.message(index, u64::from(message.bytes));
        cutter.position += parts * MEDIA_BYTES;
    }
    cutter.reach(chain.len());
    cutter.layout
}

struct Cutter<'a> {
    block_bytes: u64,
    position: u64,
    layout: Layout,
    chain: &'a [BlockId],
}

impl Cutter<'_> {
    fn message(&mut self, message: usize, bytes: u64) {
        let at = self.piece_at(self.position);
        self.reach(at);
        if let Some(piece) = self.layout.pieces.last_mut() {
            piece.openings += 1;
        }
        self.position += MARKER_BYTES;
        let mut left = bytes;
        while left > 0 {
            let at = self.piece_at(self.position);
            self.reach(at);
            let take = if at < self.chain.len() {
                left.min((at as u64 + 1) * self.block_bytes - self.position)
            } else {
                left
            };
            self.layout.segments.push(Segment {
                message,
                bytes: take,
                opens: left == bytes,
            });
            if let Some(piece) = self.layout.pieces.last_mut() {
                piece.segments.end = self.layout.segments.len();
                piece.bytes += take;
            }
            self.position += take;
            left -= take;
        }
    }

    /// The piece that holds this byte: a block, or the tail.
    fn piece_at(&self, position: u64) -> usize {
        usize::try_from(position / self.block_bytes)
            .map_or(self.chain.len(), |index| index.min(self.chain.len()))
    }

    /// Opens pieces up to and with `index`.
    fn reach(&mut self, index: usize) {
        while self.layout.pieces.len() <= index {
            let here = self.layout.segments.len();
            self.layout.pieces.push(Piece {
                block: self.chain.get(self.layout.pieces.len()).copied(),
                segments: here..here,
                openings: 0,
                bytes: 0,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Role;

    fn message(bytes: u32) -> MessageShape {
        MessageShape {
            role: Role::User,
            bytes,
            tokens: None,
        }
    }

    #[test]
    fn markers_and_tools_take_their_room_and_messages_split_at_blocks() {
        let chain = [BlockId(5), BlockId(6)];
        let tools = ToolsShape { count: 2, bytes: 8 };
        // 10 bytes of tools, then 1 + 20, then 1 + 100: the second message's text starts at byte 32.
        let layout = cut(64, &chain, tools, &[message(20), message(100)], &[]);
        let segment = |message, bytes, opens| Segment {
            message,
            bytes,
            opens,
        };
        assert_eq!(
            layout.segments,
            [
                segment(0, 20, true),
                segment(1, 32, true),
                segment(1, 64, false),
                segment(1, 4, false),
            ]
        );
        let pieces: Vec<_> = layout
            .pieces
            .iter()
            .map(|p| (p.block, p.segments.clone(), p.openings, p.bytes))
            .collect();
        assert_eq!(
            pieces,
            [
                (Some(BlockId(5)), 0..2, 2, 52),
                (Some(BlockId(6)), 2..3, 0, 64),
                (None, 3..4, 0, 4),
            ]
        );
    }

    #[test]
    fn a_chain_longer_or_shorter_than_the_text_is_no_trouble() {
        let chain: Vec<_> = (0..4).map(BlockId).collect();
        let layout = cut(64, &chain, ToolsShape::default(), &[message(10)], &[]);
        assert_eq!(layout.pieces.len(), 5);
        assert_eq!(layout.segments.len(), 1);
        let layout = cut(64, &[], ToolsShape::default(), &[message(1000)], &[]);
        assert_eq!(layout.pieces.len(), 1);
        assert_eq!(layout.segments[0].bytes, 1000);
    }

    #[test]
    fn media_take_nine_bytes_at_the_end_of_their_message() {
        use crate::shape::MediaKind;
        let picture = MediaPart {
            message: 0,
            kind: MediaKind::Image,
            bytes: 4,
            pixels: None,
        };
        let chain = [BlockId(0)];
        // 1 + 50 + 9 + 1 = 61 bytes before the second message's text.
        let layout = cut(
            64,
            &chain,
            ToolsShape::default(),
            &[message(50), message(10)],
            &[picture],
        );
        assert_eq!(layout.segments[1].bytes, 3);
        assert_eq!(layout.segments[2].bytes, 7);
    }
}
