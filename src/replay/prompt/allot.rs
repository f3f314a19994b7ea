//! How many words each piece of a prompt gets.

use crate::shape::RequestShape;

use super::costs::TokenCosts;
use super::fill::fitting;
use super::layout::{Layout, Piece, Text};
use super::ledger::{Entry, Ledger};
use super::ruler::Ruler;
use super::spread::{Share, spread};

/// Whether the pieces that may still choose can make up the words of the whole prompt.
pub(super) fn can_be_met(words: u64, layout: &Layout, entries: &[Entry]) -> bool {
    let (mut least, mut most) = (0_u64, 0_u64);
    for (entry, piece) in entries.iter().zip(&layout.pieces) {
        let (min, max) = match entry.words {
            Some(words) => (words, words),
            None => room(layout, piece),
        };
        least = least.saturating_add(min);
        most = most.saturating_add(max);
    }
    (least..=most).contains(&words)
}

/// How many words each piece gets: a block that was seen keeps what it had, the others share the rest by their bytes.
pub(super) fn share_out(words: u64, layout: &Layout, entries: &[Entry]) -> Vec<u64> {
    let fixed: u64 = entries.iter().filter_map(|entry| entry.words).sum();
    let mut free: Vec<Share> = layout
        .pieces
        .iter()
        .zip(entries)
        .filter(|(_, entry)| entry.words.is_none())
        .map(|(piece, _)| Share::new(piece.bytes, room(layout, piece)))
        .collect();
    // The tail is always free and always last, so a rest that fits nowhere ends up there.
    spread(words.saturating_sub(fixed), &mut free);
    let mut over = 0;
    let mut free = free.into_iter();
    let mut counts: Vec<u64> = entries
        .iter()
        .zip(&layout.pieces)
        .map(|(entry, piece)| {
            let count = match entry.words {
                Some(words) => words,
                None => free.next().map_or(0, |share| share.got),
            };
            // A block without text takes no words, and an entry of the ledger holds so many and no more.
            let most = match piece.text {
                Text::Own => u64::MAX,
                _ if piece.bytes == 0 => 0,
                Text::Block(_) | Text::Head(_) => Ledger::MOST_WORDS,
            };
            over += count.saturating_sub(most);
            count.min(most)
        })
        .collect();
    if let Some(tail) = counts.last_mut() {
        *tail += over;
    }
    counts
}

/// Tokens of the leading blocks that were seen before.
pub(super) fn shared_tokens(
    layout: &Layout,
    entries: &[Entry],
    counts: &[u64],
    request: &RequestShape,
    ruler: &Ruler,
    costs: &TokenCosts,
) -> u32 {
    let leading = entries.iter().take_while(|entry| entry.seen).count();
    let mut tokens = 0_i64;
    for (piece, &count) in layout.pieces.iter().zip(counts).take(leading) {
        let words = i64::try_from(costs.of_words(count)).unwrap_or(i64::MAX);
        tokens = tokens
            .saturating_add(words)
            .saturating_add(i64::from(piece.openings) * costs.per_message);
    }
    let blocks = layout.pieces.iter().take(leading);
    let blocks = blocks.filter(|piece| matches!(piece.text, Text::Block(_)));
    if leading > 0 && ruler.is_past_tools(blocks.count()) {
        tokens = tokens.saturating_add(costs.of_tools(request.tools));
    }
    u32::try_from(tokens.max(0)).unwrap_or(u32::MAX)
}

/// The fewest and the most words that fit into a piece's text.
fn room(layout: &Layout, piece: &Piece) -> (u64, u64) {
    let segments = layout.segments.get(piece.segments.clone()).unwrap_or(&[]);
    let (mut min, mut max) = (0_u64, 0_u64);
    for segment in segments {
        let (fewest, most) = fitting(segment.bytes, segment.opens);
        min += fewest;
        max += most;
    }
    let most = match piece.text {
        Text::Own => u64::MAX,
        Text::Block(_) | Text::Head(_) => Ledger::MOST_WORDS,
    };
    (min.min(most), max.min(most))
}
