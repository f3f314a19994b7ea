//! The gate between what was seen and what may be kept.
//!
//! A dialect reads a body and feeds its text to a [`PromptRender`], which keeps lengths and keyed hashes and lets the text
//! go. What it saw travels on as a [`Sighting`]; [`Anonymiser::admit`] turns hashes into small integers in order of first
//! appearance, names into pseudonyms, and hands out a [`Recordable`]. The trace writer takes nothing else, so nothing
//! reaches a disk but through this room.
//!
//! The [`Policy`] says what may leave and how exactly; the gate obeys it, and every trace carries it. Keys live in memory
//! only, are fresh for every trace file (unless the operator gives one, to link files: [`OperatorKey`]) and are wiped when
//! dropped; a hash never leaves the process.

mod admit;
mod chain;
mod conversation;
mod disguise;
mod estimate;
mod gates;
mod keyed;
mod lengths;
mod names;
mod operator;
mod policy;
mod render;
mod sessions;
mod times;
mod token_cutter;
mod tokenizer;

pub use admit::{Anonymiser, Recordable, Sighting};
pub use chain::{Chain, ChainKey};
pub use conversation::{Conversation, ConversationKey};
pub use disguise::Disguise;
pub use gates::Gates;
pub use lengths::{Lengths, NoLengths};
pub use names::{KeptName, Private};
pub use operator::{OperatorKey, OperatorKeyError};
pub use policy::{Gaps, Keys, Policy, Statement, Treatment};
pub use render::{MARKER_BYTES, MAX_PARTS, MEDIA_BYTES, PromptRender, RenderedPrompt};
pub use sessions::Turns;
pub use tokenizer::{PromptTokenizer, TokenizerError};
