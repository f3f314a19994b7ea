use zeroize::Zeroizing;

use super::chain::ChainBuilder;
use super::tokenizer::PromptTokenizer;

/// Cuts the texts of one prompt into tokens, which go into the chain at four bytes each. Holds one text at a time, and wipes it.
pub(super) struct TokenCutter {
    tokenizer: PromptTokenizer,
    text: Zeroizing<Vec<u8>>,
    total: u32,
    failed: bool,
}

impl TokenCutter {
    pub(super) fn new(tokenizer: PromptTokenizer) -> Self {
        Self {
            tokenizer,
            text: Zeroizing::default(),
            total: 0,
            failed: false,
        }
    }

    /// More of the text that is to be cut next.
    pub(super) fn text(&mut self, bytes: &[u8]) {
        let needed = self.text.len() + bytes.len();
        if needed > self.text.capacity() {
            // Grown by hand, as a vector that moves leaves its old place as it was.
            let mut larger = Vec::with_capacity(needed.next_power_of_two());
            larger.extend_from_slice(&self.text);
            self.text = Zeroizing::new(larger);
        }
        self.text.extend_from_slice(bytes);
    }

    /// Cuts the text so far; gives its tokens.
    pub(super) fn cut(&mut self, chain: &mut ChainBuilder) -> Option<u32> {
        if self.text.is_empty() || self.failed {
            self.text.clear();
            return (!self.failed).then_some(0);
        }
        let text = String::from_utf8_lossy(&self.text);
        let Some(tokens) = self.tokenizer.tokens(&text).map(Zeroizing::new) else {
            drop(text);
            self.failed = true;
            self.text.clear();
            return None;
        };
        drop(text);
        self.text.clear();
        for token in tokens.iter() {
            chain.push(&token.to_le_bytes());
        }
        let count = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        self.total = self.total.saturating_add(count);
        Some(count)
    }

    /// A marker: a token that no vocabulary has.
    pub(super) fn mark(&mut self, marker: u8, chain: &mut ChainBuilder) {
        let token = u32::MAX - u32::from(marker);
        chain.push(&token.to_le_bytes());
        self.total = self.total.saturating_add(1);
    }

    /// Two tokens' worth of what is no text.
    pub(super) fn foreign(&mut self, digest: &[u8; 8], chain: &mut ChainBuilder) {
        chain.push(digest);
        self.total = self.total.saturating_add(2);
    }

    /// Tokens so far; `None` where the tokenizer gave up on a text.
    pub(super) fn total(&self) -> Option<u32> {
        (!self.failed).then_some(self.total)
    }
}
