use serde::{Deserialize, Serialize};

use crate::shape::{
    BlockId, BlockSpec, BlockUnit, Dialect, Endpoint, Exchange, MessageShape, RequestShape, Role,
    ShapeStatus, TokenSource,
};

use super::costs::TokenCosts;
use super::dice::{Dice, Salt, Subject};
use super::fill::{fill, fitting};
use super::heads::Heads;
use super::layout::{Layout, Piece, Ruler, Text, cut, media_places};
use super::ledger::{Entry, Ledger};
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

/// A damaged or hostile trace can ask for any length; beyond these a prompt is cut.
const MOST_BYTES: u64 = 32 << 20;
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

/// What a prompt's text is measured by; `None` where nothing tells how long its messages are.
fn ruler(
    spec: Option<BlockSpec>,
    request: &RequestShape,
    messages: &[MessageShape],
    bytes_per_1024: &mut Option<u64>,
) -> Option<Ruler> {
    if text_bytes(messages) == 0 {
        return None;
    }
    let size = match spec {
        Some(spec) if spec.unit == BlockUnit::Tokens => {
            return Ruler::tokens(Some(spec), request, bytes_per_1024);
        }
        Some(spec) => spec.size,
        None => BlockSpec::LIVE.size,
    };
    let bytes = messages.iter().map(|m| u64::from(m.bytes)).collect();
    Some(Ruler::bytes(u64::from(size), request, bytes))
}

/// The chain of a trace whose blocks are of tokens, and their size.
fn blocks_of_tokens(spec: Option<BlockSpec>, request: &RequestShape) -> (&[BlockId], u64) {
    match spec {
        Some(spec) if spec.unit == BlockUnit::Tokens => {
            (request.blocks.as_slice(), u64::from(spec.size))
        }
        _ => (&[], 1),
    }
}

/// Bytes of the messages' text.
fn text_bytes(messages: &[MessageShape]) -> u64 {
    messages.iter().map(|m| u64::from(m.bytes)).sum()
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

/// Whether the pieces that may still choose can make up the words of the whole prompt.
fn can_be_met(words: u64, layout: &Layout, entries: &[Entry]) -> bool {
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
fn share_out(words: u64, layout: &Layout, entries: &[Entry]) -> Vec<u64> {
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

/// Tokens of the leading blocks that were seen before.
fn shared_tokens(
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

/// The messages to write: at least one, within [`MOST_BYTES`] in all, and none empty where the dialect refuses that.
fn bounded(endpoint: Endpoint, request: &RequestShape) -> (Vec<MessageShape>, bool) {
    let mut left = MOST_BYTES;
    let mut was_cut = false;
    let mut messages = request.messages.clone();
    if messages.is_empty() {
        messages.push(MessageShape {
            role: Role::User,
            bytes: 0,
            tokens: None,
        });
        return (messages, false);
    }
    for message in &mut messages {
        let bytes = u64::from(message.bytes).min(left);
        was_cut |= bytes < u64::from(message.bytes);
        left -= bytes;
        message.bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    }
    let all_empty = messages.iter().all(|m| m.bytes == 0);
    let refuses_empty = matches!(
        endpoint.dialect(),
        Dialect::AnthropicMessages | Dialect::CohereChat | Dialect::Gemini
    );
    if refuses_empty && !all_empty {
        for message in &mut messages {
            message.bytes = message.bytes.max(1);
        }
    }
    (messages, was_cut)
}

/// What the messages of a prompt in tokens weigh against each other: their tokens, else their bytes, else all the same.
fn weights(messages: &[MessageShape]) -> Vec<u64> {
    let tokens: Option<Vec<u64>> = messages.iter().map(|m| m.tokens.map(u64::from)).collect();
    let weights = tokens.unwrap_or_else(|| messages.iter().map(|m| u64::from(m.bytes)).collect());
    if weights.iter().all(|&weight| weight == 0) {
        return vec![1; messages.len()];
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::super::dice::Cache;
    use super::super::tests::sim_tokens;
    use super::*;
    use crate::anonymise::{Anonymiser, ChainKey, Policy, PromptRender, Sighting};
    use crate::shape::{Method, RequestParams, TokenCount, TraceTime};
    use proptest::prelude::*;

    const SALT: Salt = Salt::new(11, Cache::Fresh, 0);

    fn chat_costs() -> TokenCosts {
        TokenCosts {
            fixed: 3,
            per_message: 4,
            measured: true,
            ..TokenCosts::default()
        }
    }

    /// Messages as the recorder would keep them, with a token count that the server would have told.
    fn record(gate: &mut Anonymiser, messages: &[(Role, String)], tokens: Option<u32>) -> Exchange {
        let mut render = PromptRender::new(gate.key());
        for (role, text) in messages {
            render.message(*role);
            render.text(text.as_bytes());
        }
        let prompt = render.finish();
        let exchange = Exchange {
            request: RequestShape {
                messages: prompt.messages,
                prompt_tokens: tokens.map(|count| TokenCount {
                    count,
                    source: TokenSource::Usage,
                }),
                params: RequestParams::default(),
                ..RequestShape::default()
            },
            ..Exchange::bare(
                TraceTime::from_us(0),
                Endpoint::ChatCompletions,
                Method::Post,
            )
        };
        gate.admit(Sighting {
            chain: prompt.chain,
            ..Sighting::of(exchange)
        })
        .into_exchange()
    }

    fn gate() -> Anonymiser {
        Anonymiser::with_key(Policy::default(), ChainKey::from_bytes([3; 16]))
    }

    fn prompt(
        prompter: &mut Prompter,
        index: u64,
        exchange: &Exchange,
        costs: &TokenCosts,
    ) -> Prompt {
        let counts = prompter.settle(exchange, exchange.endpoint, costs);
        prompter.write(index, exchange, &counts, exchange.endpoint, &Words::house())
    }

    fn told(messages: &[(Role, String)], bytes_per_token: f64) -> u32 {
        let bytes: usize = messages.iter().map(|(_, text)| text.len()).sum();
        3 + 4 * messages.len() as u32 + (bytes as f64 / bytes_per_token).round() as u32
    }

    /// Conversations: (system prompt, turns), each turn (bytes, reply bytes).
    fn conversations() -> impl Strategy<Value = Vec<(u8, Vec<(usize, usize)>)>> {
        prop::collection::vec(
            (
                0_u8..3,
                prop::collection::vec((1_usize..400, 1_usize..300), 1..5),
            ),
            1..8,
        )
    }

    fn text_of(seed: u64, bytes: usize) -> String {
        let mut dice = Dice::new(Salt::new(seed, Cache::Keep, 0), Subject::Tail(seed));
        (0..bytes)
            .map(|_| char::from(b'!' + u8::try_from(dice.below(90)).unwrap()))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// The closed loop in small: what is recorded of the replayed prompts has the same message bytes, the same block
        /// numbers and the same token counts as what was recorded first.
        #[test]
        fn a_recording_of_the_replay_is_the_recording(
            conversations in conversations(),
            bytes_per_token in 3.4_f64..6.5,
        ) {
            let mut first = gate();
            let mut exchanges = Vec::new();
            for (n, (system, turns)) in conversations.iter().enumerate() {
                let mut messages =
                    vec![(Role::System, text_of(u64::from(*system), 150 + 70 * usize::from(*system)))];
                for (t, &(ask, reply)) in turns.iter().enumerate() {
                    let seed = (n * 100 + t) as u64 + 1000;
                    messages.push((Role::User, text_of(seed, ask)));
                    let tokens = told(&messages, bytes_per_token);
                    exchanges.push(record(&mut first, &messages, Some(tokens)));
                    messages.push((Role::Assistant, text_of(seed + 50, reply)));
                }
            }
            let mut prompter = Prompter::new(SALT, Some(BlockSpec::LIVE), 1.0);
            let mut again = gate();
            for (index, exchange) in exchanges.iter().enumerate() {
                let prompt = prompt(&mut prompter, index as u64, exchange, &chat_costs());
                let words: u64 = prompt.messages.iter().map(|(_, text)| sim_tokens(text)).sum();
                let tokens = words + 3 + 4 * prompt.messages.len() as u64;
                prop_assert_eq!(Some(tokens as u32), exchange.request.prompt_tokens.map(|t| t.count));
                let replayed = record(&mut again, &prompt.messages, None);
                prop_assert_eq!(&replayed.request.messages, &exchange.request.messages);
                prop_assert_eq!(&replayed.request.blocks, &exchange.request.blocks);
            }
        }
    }

    #[test]
    fn a_prompt_is_the_same_whenever_it_is_written() {
        let mut gate = gate();
        let messages = |seed| {
            vec![
                (Role::System, text_of(1, 500)),
                (Role::User, text_of(seed, 300)),
            ]
        };
        let [one, two] = [2, 3].map(|seed| record(&mut gate, &messages(seed), Some(150)));
        let mut prompter = Prompter::new(SALT, Some(BlockSpec::LIVE), 1.0);
        let costs = chat_costs();
        let counts =
            [&one, &two].map(|exchange| prompter.settle(exchange, exchange.endpoint, &costs));
        let late = prompter.write(1, &two, &counts[1], two.endpoint, &Words::house());
        let early = prompter.write(0, &one, &counts[0], one.endpoint, &Words::house());
        let mut in_turn = Prompter::new(SALT, Some(BlockSpec::LIVE), 1.0);
        assert_eq!(prompt(&mut in_turn, 0, &one, &costs), early);
        assert_eq!(prompt(&mut in_turn, 1, &two, &costs), late);
    }

    #[test]
    fn shared_tokens_are_what_the_shared_blocks_hold() {
        let mut gate = gate();
        let system = (Role::System, text_of(1, 64 * 4 - 1));
        let ask = |seed, bytes| vec![system.clone(), (Role::User, text_of(seed, bytes))];
        let one = ask(2, 300);
        let two = ask(3, 300);
        let exchanges = [
            record(&mut gate, &one, Some(told(&one, 4.0))),
            record(&mut gate, &two, Some(told(&two, 4.0))),
        ];
        let mut prompter = Prompter::new(SALT, Some(BlockSpec::LIVE), 1.0);
        let costs = chat_costs();
        let first = prompt(&mut prompter, 0, &exchanges[0], &costs);
        let second = prompt(&mut prompter, 1, &exchanges[1], &costs);
        assert_eq!(first.shared_tokens, 0);
        assert_eq!(first.messages[0], second.messages[0]);
        let system_tokens = sim_tokens(&first.messages[0].1);
        assert_eq!(u64::from(second.shared_tokens), system_tokens + 4);
    }

    #[test]
    fn unknown_token_counts_follow_the_traces_own_bytes_per_token() {
        let mut gate = gate();
        let messages = vec![(Role::User, text_of(1, 6000))];
        let known = record(&mut gate, &messages, Some(1000));
        let unknown = record(&mut gate, &messages, None);
        let mut prompter = Prompter::new(SALT, None, 1.0);
        let costs = TokenCosts::default();
        let count = |prompt: &Prompt| sim_tokens(&prompt.messages[0].1);
        assert_eq!(count(&prompt(&mut prompter, 0, &unknown, &costs)), 6000 / 4);
        prompt(&mut prompter, 1, &known, &costs);
        assert_eq!(count(&prompt(&mut prompter, 2, &unknown, &costs)), 1000);
    }

    #[test]
    fn a_hostile_shape_costs_a_bounded_amount_of_memory() {
        let mut exchange = record(&mut gate(), &[(Role::User, "x".into())], Some(u32::MAX));
        exchange.request.messages[0].bytes = u32::MAX;
        let mut prompter = Prompter::new(SALT, Some(BlockSpec::LIVE), 1.0);
        let prompt = prompt(&mut prompter, 0, &exchange, &TokenCosts::default());
        assert!(prompt.cut);
        assert!(prompt.messages[0].1.len() <= 40 << 20);
    }

    #[test]
    fn the_same_plan_gives_the_same_prompts_and_another_target_other_words() {
        let mut gate = gate();
        let messages = vec![(Role::User, text_of(1, 600))];
        let exchange = record(&mut gate, &messages, Some(150));
        let write = |run| {
            let salt = Salt::new(5, Cache::Fresh, run);
            let mut prompter = Prompter::new(salt, Some(BlockSpec::LIVE), 1.0);
            prompt(&mut prompter, 0, &exchange, &chat_costs())
        };
        assert_eq!(write(0), write(0));
        let (a, b) = (write(0), write(1));
        assert_ne!(a.messages[0].1[..40], b.messages[0].1[..40]);
        assert_eq!(a.messages[0].1.len(), b.messages[0].1.len());
    }
}
