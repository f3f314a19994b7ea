use std::collections::BTreeMap;
use std::sync::Arc;

use super::words::Words;
use crate::anonymise::PromptTokenizer;
use crate::shape::{Endpoint, ModelId};

/// What a replay's prompts are made of, and where they go.
#[derive(Debug, Clone)]
pub struct PromptOptions {
    /// The words.
    pub words: Arc<Words>,
    /// The target's own tokenizer: words that are more than one token of it are left out, and prompts can go out as its ids.
    pub tokenizer: Option<PromptTokenizer>,
    /// Tokens wanted for each recorded one, of prompts and answers alike.
    pub token_ratio: f64,
    /// How prompts of completions go out.
    pub prompt_as: PromptAs,
    /// The endpoint that everything goes to; where absent, the recorded one, or one of its kind where a target lacks that.
    pub send_as: Option<Endpoint>,
    /// What the user said of models: the recorded one, by the name that the trace kept or by its pseudonym, and the one to ask for
    /// in its place.
    pub model_map: BTreeMap<String, String>,
    /// The same for the models of one trace; the target's own model for all others.
    pub models: BTreeMap<ModelId, String>,
}

impl Default for PromptOptions {
    fn default() -> Self {
        Self {
            words: Words::house(),
            tokenizer: None,
            token_ratio: 1.0,
            prompt_as: PromptAs::Auto,
            send_as: None,
            model_map: BTreeMap::new(),
            models: BTreeMap::new(),
        }
    }
}

/// How prompts of endpoints that take texts as token ids go out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PromptAs {
    /// As recorded, where the target takes it.
    #[default]
    Auto,
    /// As text.
    Text,
    /// As token ids.
    TokenIds,
}
