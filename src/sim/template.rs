//! The chat template: how tools, messages and media become one run of tokens.

use super::tokenizer::{each_id, id_of};

/// The tokens of a prompt as it is put together. Past `limit` tokens it only counts, so that an absurd prompt costs no memory.
///
/// A message costs 4 tokens beside its text, the generation prompt 3, a tool 8 beside its JSON text, a media part 85 in all.
/// The generation prompt is how an assistant's message begins, so an answer that comes back as history has the tokens it
/// had when it was generated.
#[derive(Debug)]
pub(super) struct PromptTokens {
    ids: Vec<u32>,
    count: u64,
    limit: usize,
}

impl PromptTokens {
    /// An empty prompt.
    pub(super) fn new(limit: u32) -> Self {
        Self {
            ids: Vec::new(),
            count: 0,
            limit: limit as usize,
        }
    }

    /// Opens a message.
    pub(super) fn open(&mut self, role: &str) {
        self.push(START);
        self.push(id_of(role.as_bytes()));
        self.push(SEPARATOR);
    }

    /// Closes a message.
    pub(super) fn close(&mut self) {
        self.push(END);
    }

    /// Asks for the answer.
    pub(super) fn generation(&mut self) {
        self.open("assistant");
    }

    /// Text as it is.
    pub(super) fn text(&mut self, text: &str) {
        each_id(text, |id| {
            // Written out: a closure cannot borrow all of self while text is read.
            self.count += 1;
            if self.ids.len() < self.limit {
                self.ids.push(id);
            }
        });
    }

    /// One image, sound or document: tokens that follow from `data`, which identifies it.
    pub(super) fn media(&mut self, data: &[u8]) {
        let id = id_of(data);
        for part in 0..MEDIA_TOKENS {
            self.push(id_of(&[id.to_le_bytes(), part.to_le_bytes()].concat()));
        }
    }

    /// One tool, by its definition as JSON.
    pub(super) fn tool(&mut self, definition: &str) {
        for part in 0..TOOL_TOKENS {
            self.push(TOOL + part);
        }
        self.text(definition);
    }

    /// A token by its id.
    pub(super) fn push(&mut self, id: u32) {
        self.count += 1;
        if self.ids.len() < self.limit {
            self.ids.push(id);
        }
    }

    /// How many tokens it has.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The ids; `None` when there were more than the limit.
    pub(super) fn into_ids(self) -> Option<Vec<u32>> {
        (self.count == self.ids.len() as u64).then_some(self.ids)
    }
}

const MEDIA_TOKENS: u32 = 85;
const TOOL_TOKENS: u32 = 8;
/// Ids of their own, at the top of the range.
const START: u32 = 0x7fff_fff0;
const SEPARATOR: u32 = 0x7fff_fff1;
const END: u32 = 0x7fff_fff2;
const TOOL: u32 = 0x7fff_fff4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_tools_and_media_cost_what_is_documented() {
        let mut prompt = PromptTokens::new(1_000);
        prompt.tool("{}");
        assert_eq!(prompt.count(), 10);
        prompt.open("user");
        prompt.text("hello world");
        prompt.close();
        assert_eq!(prompt.count(), 16);
        prompt.media(b"data:image/png;base64,AAAA");
        assert_eq!(prompt.count(), 101);
        prompt.generation();
        assert_eq!(prompt.count(), 104);
        assert_eq!(prompt.into_ids().unwrap().len(), 104);
    }

    #[test]
    fn a_prompt_beyond_the_limit_is_counted_but_not_kept() {
        let mut prompt = PromptTokens::new(10);
        prompt.text(&"word ".repeat(1_000));
        assert_eq!(prompt.count(), 1_001);
        assert!(prompt.ids.len() <= 10);
        assert_eq!(prompt.into_ids(), None);
    }

    #[test]
    fn an_answer_put_back_as_history_continues_the_chain() {
        let mut first = PromptTokens::new(1_000);
        first.open("user");
        first.text("hello");
        first.close();
        first.generation();
        let mut generated = first.into_ids().unwrap();
        generated.extend(super::super::tokenizer::ids("some good words"));

        let mut second = PromptTokens::new(1_000);
        second.open("user");
        second.text("hello");
        second.close();
        second.open("assistant");
        second.text("some good words");
        second.close();
        assert!(second.into_ids().unwrap().starts_with(&generated));
    }
}
