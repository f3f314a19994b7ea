use serde::{Deserialize, Serialize};

use crate::shape::{
    BlockId, BlockSpec, Endpoint, Exchange, MessageShape, RequestShape, Role, ShapeStatus,
    TokenSource,
};

use super::allot::{can_be_met, share_out, shared_tokens};
use super::costs::TokenCosts;
use super::dice::{Dice, Salt, Subject};
use super::fill::{fill, fitting};
use super::heads::Heads;
use super::layout::{Layout, Piece, Text, cut, media_places};
use super::ledger::{Entry, Ledger};
use super::messages::{blocks_of_tokens, bounded, ruler, text_bytes, weights};
use super::ruler::Ruler;
use super::spread::{Share, spread};
use super::tokens;
use super::words::Words;

/// Writes the prompts of one run, each in two steps. What depends on the prompts before it (how many words its blocks have) is
/// settled in the order of the plan; the text is then a function of that alone, so that it may be written at any time, and a
/// conversation's next turn is the same bytes whenever it comes. Holds the [`Ledger`] of blocks, the [`Heads`] and nothing else
/// that grows.
pub(in crate::replay) struct Prompter {
    salt: Salt,
    spec: Option<BlockSpec>,
    /// Tokens wanted for each recorded one.
    ratio: f64,
    ledger: Ledger,
    heads: Heads,
    /// Bytes of text to 1,024 tokens of a trace that is cut into tokens.
    bytes_per_1024: Option<u64>,
    /// Bytes and tokens of prompts whose both are known, for those whose tokens are not.
    known_bytes: u64,
    known_tokens: u64,
}

/// How many words go where in one prompt: all of it that depends on other prompts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::replay) struct Counts {
    /// In all.
    words: u64,
    /// In each piece of its layout; none where it has no layout.
    pieces: Vec<u32>,
    /// Bytes of text to 1,024 tokens, where the trace is cut into tokens.
    bytes_per_1024: Option<u64>,
    /// See [`Prompt::tokens`].
    tokens: u32,
    /// See [`Prompt::shared_tokens`].
    shared_tokens: u32,
    /// See [`Prompt::cut`].
    cut: bool,
}

impl Counts {
    /// Bytes of the heap that they hold.
    pub(in crate::replay) fn held_bytes(&self) -> usize {
        size_of_val(&self.pieces[..])
    }
}

/// A prompt to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::replay) struct Prompt {
    pub(in crate::replay) messages: Vec<(Role, String)>,
    /// One for each media part, the same for what is the same.
    pub(in crate::replay) media_seeds: Vec<u64>,
    /// Tokens that it was written for, template and tools included.
    pub(in crate::replay) tokens: u32,
    /// Tokens that it repeats from earlier prompts of this run, as an infinite prefix cache would find them.
    pub(in crate::replay) shared_tokens: u32,
    /// The recorded prompt was larger than a replay writes, and was cut.
    pub(in crate::replay) cut: bool,
}

/// A damaged or hostile trace can ask for any length; beyond it a prompt is cut.
const MOST_TOKENS: u32 = 4 << 20;
/// Bytes of English per token, where a trace does not tell.
const EVERYDAY_BYTES_PER_TOKEN: u64 = 4;

impl Prompter {
    /// `ratio`: tokens wanted for each recorded one.
    pub(in crate::replay) fn new(salt: Salt, spec: Option<BlockSpec>, ratio: f64) -> Self {
        Self {
            salt,
            spec,
            ratio,
            ledger: Ledger::new(),
            heads: Heads::default(),
            bytes_per_1024: None,
            known_bytes: 0,
            known_tokens: 0,
        }
    }

    /// Settles the next prompt of the plan, which goes to `endpoint`.
    pub(in crate::replay) fn settle(
        &mut self,
        exchange: &Exchange,
        endpoint: Endpoint,
        costs: &TokenCosts,
    ) -> Counts {
        let request = &exchange.request;
        let (messages, mut was_cut) = bounded(endpoint, request);
        let tokens = times(self.tokens_of(exchange, text_bytes(&messages)), self.ratio);
        was_cut |= tokens > MOST_TOKENS;
        let tokens = tokens.min(MOST_TOKENS);
        let around = costs
            .around(messages.iter().map(|m| m.role), request.tools)
            .saturating_add(costs.of_media(&request.media));
        let words = costs.words(tokens, around).max(1);
        let ruler = ruler(self.spec, request, &messages, &mut self.bytes_per_1024);
        let (pieces, shared_tokens) = match ruler {
            Some(ruler) => self.settle_pieces(request, &ruler, words, costs),
            None => (Vec::new(), times(self.share_of_tokens(request), self.ratio)),
        };
        Counts {
            words,
            pieces,
            bytes_per_1024: self.bytes_per_1024,
            tokens,
            shared_tokens: shared_tokens.min(tokens),
            cut: was_cut,
        }
    }

    /// The prompt of the plan's request number `index`, as settled.
    pub(in crate::replay) fn write(
        &self,
        index: u64,
        exchange: &Exchange,
        counts: &Counts,
        endpoint: Endpoint,
        words: &Words,
    ) -> Prompt {
        let request = &exchange.request;
        let (messages, _) = bounded(endpoint, request);
        let mut bytes_per_1024 = counts.bytes_per_1024;
        let ruler = ruler(self.spec, request, &messages, &mut bytes_per_1024);
        let media_seeds = self.media_seeds(index, request, ruler.as_ref());
        let texts = match ruler {
            Some(ruler) => self.along_messages(index, request, &ruler, counts, words),
            None => self.in_tokens(index, request, &messages, counts.words, words),
        };
        Prompt {
            media_seeds,
            messages: messages.iter().map(|m| m.role).zip(texts).collect(),
            tokens: counts.tokens,
            shared_tokens: counts.shared_tokens,
            cut: counts.cut,
        }
    }

    /// The prompt's tokens: as recorded, else estimated from its bytes at the trace's own bytes per token so far.
    fn tokens_of(&mut self, exchange: &Exchange, text_bytes: u64) -> u32 {
        let request = &exchange.request;
        if let Some(tokens) = request.prompt_tokens {
            let told = matches!(tokens.source, TokenSource::Usage | TokenSource::Tokenizer);
            if told && exchange.shape == ShapeStatus::Known && text_bytes > 0 {
                self.known_bytes = self.known_bytes.saturating_add(text_bytes);
                self.known_tokens = self.known_tokens.saturating_add(tokens.count.into());
            }
            return tokens.count;
        }
        let bytes = if text_bytes > 0 {
            text_bytes + u64::from(request.tools.bytes)
        } else {
            request.bytes
        };
        let estimate = if self.known_bytes > 0 {
            u128::from(bytes) * u128::from(self.known_tokens) / u128::from(self.known_bytes)
        } else {
            u128::from(bytes / EVERYDAY_BYTES_PER_TOKEN)
        };
        u32::try_from(estimate).unwrap_or(u32::MAX).max(1)
    }

    /// Tokens of the leading blocks of a prompt in tokens that were seen before; notes them all.
    fn share_of_tokens(&mut self, request: &RequestShape) -> u32 {
        let (chain, block) = blocks_of_tokens(self.spec, request);
        let mut leading = true;
        let mut shared = 0_u64;
        for &id in chain {
            leading &= self.ledger.look(id, 0).seen;
            shared += u64::from(leading) * block;
        }
        for &id in chain {
            self.ledger.note(id, 0);
        }
        u32::try_from(shared).unwrap_or(u32::MAX)
    }

    fn in_tokens(
        &self,
        index: u64,
        request: &RequestShape,
        messages: &[MessageShape],
        count: u64,
        words: &Words,
    ) -> Vec<String> {
        let (chain, block) = blocks_of_tokens(self.spec, request);
        let block = u64::from(times(u32::try_from(block).unwrap_or(u32::MAX), self.ratio));
        let weights = weights(messages);
        tokens::write(self.salt, index, chain, block, count, &weights, words)
    }

    /// What tells the pictures and clips of a prompt apart: those that were the same, after the same text, are the same again.
    fn media_seeds(&self, index: u64, request: &RequestShape, ruler: Option<&Ruler>) -> Vec<u64> {
        let places = match ruler {
            _ if request.media.is_empty() => return Vec::new(),
            Some(ruler) => media_places(ruler, self.chain(request), &request.media),
            None => vec![None; request.media.len()],
        };
        let own = (0_u64..).map(|part| Dice::new(self.salt, Subject::Tail(index)).nth(part));
        let seed = |(place, own): (Option<(BlockId, u64)>, u64)| match place {
            Some((block, at)) => Dice::new(self.salt, Subject::Block(block)).nth(at),
            None => own,
        };
        places.into_iter().zip(own).map(seed).collect()
    }

    fn chain<'a>(&self, request: &'a RequestShape) -> &'a [BlockId] {
        match self.spec {
            Some(_) => request.blocks.as_slice(),
            None => &[],
        }
    }

    /// The words of every piece of a prompt whose messages are known by their lengths, and so where blocks lie in them.
    fn settle_pieces(
        &mut self,
        request: &RequestShape,
        ruler: &Ruler,
        words: u64,
        costs: &TokenCosts,
    ) -> (Vec<u32>, u32) {
        let layout = self.layout(request, ruler);
        let mut entries: Vec<Entry> = layout
            .pieces
            .iter()
            .map(|piece| {
                let block = piece.block.map(|id| self.ledger.look(id, piece.bytes));
                Entry {
                    seen: block.is_some_and(|entry| entry.seen),
                    words: match piece.text {
                        Text::Block(_) => block.and_then(|entry| entry.words),
                        Text::Head(head) => self.heads.words(head),
                        Text::Own => None,
                    },
                }
            })
            .collect();
        if !can_be_met(words, &layout, &entries) {
            // Tokens count for more than the last few words of a message.
            for (entry, piece) in entries.iter_mut().zip(&layout.pieces) {
                if matches!(piece.text, Text::Head(_)) && !entry.seen {
                    entry.words = None;
                }
            }
        }
        let counts = share_out(words, &layout, &entries);
        let shared = shared_tokens(&layout, &entries, &counts, request, ruler, costs);
        for (piece, &count) in layout.pieces.iter().zip(&counts) {
            match piece.text {
                Text::Block(id) => self.ledger.note(id, count),
                Text::Head(head) => self.heads.note(head, count),
                Text::Own => {}
            }
        }
        // A prompt is of at most MOST_TOKENS words.
        let counts = counts.into_iter().map(|it| u32::try_from(it).unwrap_or(0));
        (counts.collect(), shared)
    }

    /// The text of such a prompt.
    fn along_messages(
        &self,
        index: u64,
        request: &RequestShape,
        ruler: &Ruler,
        counts: &Counts,
        words: &Words,
    ) -> Vec<String> {
        let layout = self.layout(request, ruler);
        let mut texts = vec![String::new(); ruler.messages()];
        for (piece, &count) in layout.pieces.iter().zip(&counts.pieces) {
            let subject = match piece.text {
                Text::Block(id) => Subject::Block(id),
                Text::Head(head) => Subject::Head(head),
                Text::Own => Subject::Tail(index),
            };
            let mut dice = Dice::new(self.salt, subject);
            write_piece(&mut texts, &layout, piece, count.into(), words, &mut dice);
        }
        texts
    }

    fn layout(&self, request: &RequestShape, ruler: &Ruler) -> Layout {
        cut(ruler, self.chain(request), &request.media)
    }
}

/// A number of tokens, in the target's own where a recorded one is `ratio` of them; never none of some.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates"
)]
pub(in crate::replay) fn times(tokens: u32, ratio: f64) -> u32 {
    if ratio == 1.0 || tokens == 0 {
        return tokens;
    }
    ((f64::from(tokens) * ratio).round() as u32).max(1)
}

/// Writes `count` words into a piece's segments.
fn write_piece(
    texts: &mut [String],
    layout: &Layout,
    piece: &Piece,
    count: u64,
    words: &Words,
    dice: &mut Dice,
) {
    let segments = layout.segments.get(piece.segments.clone()).unwrap_or(&[]);
    if segments.is_empty() {
        // Words that no text has room for: behind the last message.
        if let Some(text) = texts.last_mut() {
            let opens = text.is_empty();
            fill(text, 0, count, opens, words, dice);
        }
        return;
    }
    let mut shares: Vec<Share> = segments
        .iter()
        .map(|segment| Share::new(segment.bytes, fitting(segment.bytes, segment.opens)))
        .collect();
    spread(count, &mut shares);
    for (segment, share) in segments.iter().zip(shares) {
        if let Some(text) = texts.get_mut(segment.message) {
            // Not the segment's own word for it: a message whose first stretch was left without words opens later.
            let opens = text.is_empty();
            fill(text, segment.bytes, share.got, opens, words, dice);
        }
    }
}

#[cfg(test)]
mod tests;
