//! Prompts without content: text of the recorded shape, made of words that are one token each.
//!
//! The words of a block depend on the run's salt and the block's number alone, so prompts that shared leading blocks in
//! production share exactly that leading text here. How many words a block gets is settled when it first appears, from that
//! prompt's own tokens per byte, and kept; what follows the blocks takes the rest, so that the whole prompt has exactly the
//! recorded number of tokens by the target's own count (see [`TokenCosts`]).

mod allot;
mod corpus;
mod costs;
mod dice;
mod fill;
mod heads;
mod ids;
mod layout;
mod ledger;
mod media;
mod messages;
mod options;
mod ruler;
mod spread;
mod tokens;
mod words;
mod write;

pub use corpus::CorpusError;
pub use costs::TokenCosts;
pub use dice::{Cache, Salt};
pub(super) use ids::IdTable;
pub use media::MediaShape;
pub(super) use media::Studio;
pub use options::{PromptAs, PromptOptions};
pub(super) use tokens::plain_words;
pub use words::Words;
pub(super) use write::{Counts, Prompter, times};

#[cfg(test)]
mod tests {
    /// What the simulator's tokenizer counts: one for each optional space plus run of at most 12 letters, one for each other
    /// character.
    pub(super) fn sim_tokens(text: &str) -> u64 {
        let bytes = text.as_bytes();
        let (mut at, mut tokens) = (0, 0);
        while at < bytes.len() {
            let start = at + usize::from(bytes[at] == b' ');
            let mut end = start;
            while end < bytes.len() && bytes[end].is_ascii_alphabetic() {
                end += 1;
            }
            if end > start {
                tokens += ((end - start) as u64).div_ceil(12);
                at = end;
            } else {
                tokens += 1;
                at += 1;
            }
        }
        tokens
    }
}
