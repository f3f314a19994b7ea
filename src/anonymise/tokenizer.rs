use std::fmt;
use std::sync::Arc;

/// A model's own tokenizer (`tokenizer.json`), with which prompts are counted and cut as its engine does.
#[derive(Clone)]
pub struct PromptTokenizer(Arc<tokenizers::Tokenizer>);

/// What is not a tokenizer.
#[derive(Debug, thiserror::Error)]
#[error("not a tokenizer.json that can be read: {0}")]
pub struct TokenizerError(String);

impl PromptTokenizer {
    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// When it is none, or of a kind that is not known.
    pub fn from_json(json: &[u8]) -> Result<Self, TokenizerError> {
        tokenizers::Tokenizer::from_bytes(json)
            .map(|mut tokenizer| {
                // These cut or fill prompts to a length of their own.
                let _ = tokenizer.with_truncation(None);
                tokenizer.with_padding(None);
                // A cache would keep pieces of prompts, in some models whole sentences, for as long as the process lives.
                let mut model = tokenizer.get_model().clone();
                model.resize_cache(0);
                tokenizer.with_model(model);
                Self(Arc::new(tokenizer))
            })
            .map_err(|error| TokenizerError(error.to_string()))
    }

    /// The tokens that end an answer in the common families of models, as far as it has them.
    pub fn end_tokens(&self) -> Vec<u32> {
        const ENDS: [&str; 9] = [
            "</s>",
            "<|endoftext|>",
            "<|im_end|>",
            "<|eot_id|>",
            "<|end_of_text|>",
            "<|eom_id|>",
            "<end_of_turn>",
            "<|end|>",
            "<|return|>",
        ];
        let id = |token: &str| self.0.token_to_id(token);
        ENDS.into_iter().filter_map(id).collect()
    }

    /// The tokens of a text; `None` where the tokenizer gives up on it.
    pub fn tokens(&self, text: &str) -> Option<Vec<u32>> {
        // Special tokens are the template's, which is not in the text.
        let encoding = self.0.encode_fast(text, false).ok()?;
        Some(encoding.get_ids().to_vec())
    }
}

impl fmt::Debug for PromptTokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PromptTokenizer({})", self.0.get_vocab_size(true))
    }
}
