//! OpenAI's APIs, which most servers speak too. Chat completions and completions share their answers and most parameters.

mod answer;
mod body;
pub(super) mod chat;
pub(super) mod completions;
pub(super) mod embeddings;
mod parameters;
mod prompt;
pub(super) mod responses;
mod wire;

pub(super) use answer::Answers;
pub(super) use prompt::{Prompt, Prompts};
