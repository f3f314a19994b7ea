use std::hash::Hasher;
use std::ops::Range;

use siphasher::sip::SipHasher24;

use super::ruler::Ruler;
use crate::shape::{BlockId, MediaPart};

/// Where the text of a prompt lies: which stretch of which message falls into which block of the rendered stream.
pub(super) struct Layout {
    /// In order; the last is what belongs to this prompt alone.
    pub(super) pieces: Vec<Piece>,
    /// The stretches of text, in order.
    pub(super) segments: Vec<Segment>,
}

/// Text that is the same wherever it comes up.
pub(super) struct Piece {
    pub(super) text: Text,
    /// The block that it lies in; `None` behind the last full one.
    pub(super) block: Option<BlockId>,
    /// Its segments.
    pub(super) segments: Range<usize>,
    /// Messages that begin in it (their marker does).
    pub(super) openings: u32,
    /// Bytes of text.
    pub(super) bytes: u64,
}

/// What the text of a piece is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// The number of its block.
    Block(BlockId),
    /// The block before, and how many messages have ended how far into this one. Prompts that share all blocks up to the end of a
    /// message and end it in the same place share that end, though no block tells: a system prompt, or all of the turn before.
    /// (Two messages that differ only in their last few bytes are taken for one; that is less than a block.)
    Head(u64),
    /// Nothing: it belongs to one prompt alone.
    Own,
}

/// A stretch of one message's text in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) message: usize,
    pub(super) bytes: u64,
    /// Whether the message starts with it.
    pub(super) opens: bool,
}

/// Cuts the rendered stream along the blocks of a chain.
pub(super) fn cut(ruler: &Ruler, chain: &[BlockId], media: &[MediaPart]) -> Layout {
    let mut cutter = Cutter {
        ruler,
        position: ruler.tools,
        stretches: Vec::with_capacity(chain.len() + ruler.messages.len()),
        openings: Vec::new(),
        chain,
    };
    let mut parts = vec![0_u64; ruler.messages.len()];
    for part in media {
        if let Some(count) = parts.get_mut(usize::from(part.message)) {
            *count += 1;
        }
    }
    for (index, (&length, parts)) in ruler.messages.iter().zip(parts).enumerate() {
        cutter.message(index, length);
        cutter.position += parts * ruler.media;
    }
    cutter.layout()
}

/// Where each media part lies: its block and how far into it; `None` behind the last full one.
pub(super) fn media_places(
    ruler: &Ruler,
    chain: &[BlockId],
    media: &[MediaPart],
) -> Vec<Option<(BlockId, u64)>> {
    let mut position = ruler.tools;
    // After its message's text and the parts before it.
    let mut ends = Vec::with_capacity(ruler.messages.len());
    let mut parts = media
        .iter()
        .map(|part| usize::from(part.message))
        .peekable();
    for (index, length) in ruler.messages.iter().enumerate() {
        position += ruler.marker + length;
        while parts.next_if(|&message| message == index).is_some() {
            ends.push(position);
            position += ruler.media;
        }
    }
    let place = |end: &u64| {
        let block = usize::try_from(end / ruler.block).ok()?;
        Some((*chain.get(block)?, end % ruler.block))
    };
    let mut places: Vec<_> = ends.iter().map(place).collect();
    places.resize(media.len(), None);
    places
}

struct Cutter<'a> {
    ruler: &'a Ruler,
    position: u64,
    stretches: Vec<Stretch>,
    /// Blocks in which messages open.
    openings: Vec<usize>,
    chain: &'a [BlockId],
}

/// A segment on its way into a piece.
struct Stretch {
    /// The block that it lies in; one more than the last for what is behind them.
    at: usize,
    segment: Segment,
    /// Its length by the ruler.
    length: u64,
    /// Whether the message ends with it, where in its block.
    closes: Option<u64>,
}

impl Cutter<'_> {
    fn message(&mut self, message: usize, length: u64) {
        self.openings.push(self.block_at(self.position));
        self.position += self.ruler.marker;
        let mut left = length;
        while left > 0 {
            let at = self.block_at(self.position);
            let take = if at < self.chain.len() {
                left.min((at as u64 + 1) * self.ruler.block - self.position)
            } else {
                left
            };
            let opens = left == length;
            left -= take;
            self.position += take;
            let within = self.position - at as u64 * self.ruler.block;
            self.stretches.push(Stretch {
                at,
                segment: Segment {
                    message,
                    bytes: (take.saturating_mul(self.ruler.bytes_per_1024) / 1024).max(1),
                    opens,
                },
                length: take,
                closes: (left == 0).then_some(within),
            });
        }
    }

    /// The block that holds this place, or what is behind them.
    fn block_at(&self, position: u64) -> usize {
        usize::try_from(position / self.ruler.block)
            .map_or(self.chain.len(), |index| index.min(self.chain.len()))
    }

    fn layout(self) -> Layout {
        let mut layout = Layout {
            pieces: Vec::with_capacity(self.chain.len() + 1),
            segments: self.stretches.iter().map(|it| it.segment).collect(),
        };
        let (mut next, mut opening) = (0, self.openings.iter().peekable());
        for at in 0..=self.chain.len() {
            let block = self.chain.get(at).copied();
            let mut openings = 0;
            while opening.next_if(|&&it| it == at).is_some() {
                openings += 1;
            }
            let rest = self.stretches.get(next..).unwrap_or_default();
            let count = rest.iter().take_while(|it| it.at == at).count();
            let stretches = rest.get(..count).unwrap_or_default();
            let mut piece = |text, from: usize, to: usize| {
                let bytes = stretches.get(from..to).unwrap_or_default();
                layout.pieces.push(Piece {
                    text,
                    block,
                    segments: next + from..next + to,
                    openings: std::mem::take(&mut openings),
                    bytes: bytes.iter().map(|it| it.segment.bytes).sum(),
                });
            };
            let mut from = 0;
            let mut head = Head::after(at.checked_sub(1).and_then(|it| self.chain.get(it)));
            let mut left: u64 = stretches.iter().map(|it| it.length).sum();
            for (place, stretch) in stretches.iter().enumerate() {
                left -= stretch.length;
                let Some(end) = stretch.closes else { continue };
                // What is left of the block must be able to tell it from others; behind the blocks nothing needs to.
                let fits = match block {
                    Some(_) => left >= self.ruler.block / 4,
                    None => end < self.ruler.block,
                };
                if fits {
                    piece(Text::Head(head.ends(end)), from, place + 1);
                    from = place + 1;
                }
            }
            piece(block.map_or(Text::Own, Text::Block), from, stretches.len());
            next += count;
        }
        layout
    }
}

/// What stands at a block's beginning, as far as the ends of messages tell.
struct Head(SipHasher24);

impl Head {
    fn after(block: Option<&BlockId>) -> Self {
        let mut hasher = SipHasher24::new();
        hasher.write_u64(block.map_or(u64::MAX, |block| u64::from(block.0)));
        Self(hasher)
    }

    /// A message ends so far into the block.
    fn ends(&mut self, at: u64) -> u64 {
        self.0.write_u64(at);
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{MessageShape, RequestShape, Role, ToolsShape};

    fn message(bytes: u32) -> MessageShape {
        MessageShape {
            role: Role::User,
            bytes,
            tokens: None,
        }
    }

    fn cut(
        block: u64,
        chain: &[BlockId],
        tools: ToolsShape,
        messages: &[MessageShape],
        media: &[MediaPart],
    ) -> Layout {
        let request = RequestShape {
            tools,
            ..RequestShape::default()
        };
        let bytes: Vec<_> = messages.iter().map(|it| u64::from(it.bytes)).collect();
        let ruler = Ruler::bytes(block, &request, bytes);
        super::cut(&ruler, chain, media)
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
                (Some(BlockId(5)), 0..1, 2, 20),
                (Some(BlockId(5)), 1..2, 0, 32),
                (Some(BlockId(6)), 2..3, 0, 64),
                (None, 3..4, 0, 4),
                (None, 4..4, 0, 0),
            ]
        );
        assert!(matches!(layout.pieces[0].text, Text::Head(_)));
        assert_eq!(layout.pieces[1].text, Text::Block(BlockId(5)));
        assert!(matches!(layout.pieces[3].text, Text::Head(_)));
        assert_eq!(layout.pieces[4].text, Text::Own);
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
        use crate::shape::{MediaKind, PictureFormat};
        let picture = MediaPart {
            message: 0,
            kind: MediaKind::Image,
            format: PictureFormat::Other,
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

    #[test]
    fn the_next_turn_begins_with_all_that_the_turn_before_said() {
        let (first, second) = (
            [message(100), message(50)],
            [message(100), message(50), message(90)],
        );
        let chain = [BlockId(0), BlockId(1), BlockId(2)];
        let none = ToolsShape::default();
        let before = cut(64, &chain[..2], none, &first, &[]);
        let after = cut(64, &chain, none, &second, &[]);
        let texts = |layout: &Layout| layout.pieces.iter().map(|it| it.text).collect::<Vec<_>>();
        // Its last piece but the empty one is behind its blocks, and within a block of the next turn's.
        let (before, after) = (texts(&before), texts(&after));
        assert_eq!(before[..before.len() - 1], after[..before.len() - 1]);
        assert!(matches!(after[before.len() - 2], Text::Head(_)));
    }
}
