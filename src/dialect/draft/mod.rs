//! Requests on their way to bytes: what a replay wants to say, before it is said in a dialect.

mod content;
mod length;
mod media;
mod rare;
pub(in crate::dialect) mod schema;
pub(in crate::dialect) mod tools;

pub use length::{Forcing, OutputLength};
pub use media::DraftMedia;

pub(in crate::dialect) use content::{ContentPart, WireContent};
pub(in crate::dialect) use length::{Ban, thinking_budget};
pub(in crate::dialect) use media::DataUrl;
pub(in crate::dialect) use rare::Rare;

use std::borrow::Cow;

use serde::Serialize;

use crate::shape::{CacheMark, RequestParams, Role, ToolsShape};

/// A request to be written, in no dialect yet.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// The endpoint to write it for.
    pub endpoint: crate::shape::Endpoint,
    /// The model to ask for.
    pub model: &'a str,
    /// The messages: role and text.
    pub messages: &'a [(Role, String)],
    /// Each message is a text of its own with an answer of its own (completions, embeddings); else they are one conversation.
    pub batch: bool,
    /// The texts as token ids, one list for each message, where they go out so.
    pub ids: Option<&'a [Vec<u32>]>,
    /// Pictures and sound, in the order of their messages.
    pub media: &'a [DraftMedia],
    /// Tools to offer: how many, and their bytes in all. (Their text is the same for the same shape.)
    pub tools: ToolsShape,
    /// Where to mark what shall be kept; a place in a message beyond its text is behind all of it.
    pub cache_marks: &'a [CacheMark],
    /// What a TGI server shall fine-tune its model with.
    pub adapter: Option<&'a str>,
    /// Parameters as recorded.
    pub params: RequestParams,
    /// How long the answer shall be.
    pub output: OutputLength,
    /// The fields by which the target can be forced to a length.
    pub forcing: Forcing<'a>,
}

impl Draft<'_> {
    /// Picture and sound parts of a message.
    pub(in crate::dialect) fn media_of(&self, message: usize) -> impl Iterator<Item = &DraftMedia> {
        // In the order of messages, so most prompts look at none.
        let from = self.media.partition_point(|part| part.message < message);
        let rest = self.media.get(from..).unwrap_or_default();
        rest.iter().take_while(move |part| part.message == message)
    }

    /// All messages as one text. A space between them, so that each begins with a word of its own.
    pub(in crate::dialect) fn one_text(&self) -> Cow<'_, str> {
        join(self.messages)
    }

    /// Names of what a dialect of one text loses of a conversation.
    pub(in crate::dialect) fn lost_in_one_text(&self) -> Vec<&'static str> {
        unsaid([
            (self.batch && self.messages.len() > 1, "batch"),
            (!self.batch && self.messages.len() > 1, "roles"),
            (!self.media.is_empty(), "media"),
            (!self.tools.is_empty(), "tools"),
        ])
    }

    /// Names of what a conversation loses of texts that are not one.
    pub(in crate::dialect) fn lost_in_conversation(&self) -> Vec<&'static str> {
        unsaid([
            (self.batch && self.messages.len() > 1, "batch"),
            (self.params.echo, "echo"),
            (self.params.token_ids, "token_ids"),
            (self.params.best_of.is_some(), "best_of"),
        ])
    }

    /// The temperature that leaves one choice, or one that leaves several; nothing where the recorded request said nothing.
    pub(in crate::dialect) fn temperature(&self) -> Option<f64> {
        self.params
            .greedy
            .map(|greedy| if greedy { 0.0 } else { 1.0 })
    }

    /// As many stop sequences as recorded, none of which an answer of words will hold; a dialect may take only so many.
    pub(in crate::dialect) fn stops(
        &self,
        most: u8,
        altered: &mut Vec<&'static str>,
    ) -> Vec<String> {
        let count = self.params.stop_count;
        if count > most {
            altered.push("stop");
        }
        (0..count.min(most))
            .map(|number| format!("\u{1}{number}\u{1}"))
            .collect()
    }
}

/// Messages as one text.
pub(in crate::dialect) fn join(messages: &[(Role, String)]) -> Cow<'_, str> {
    if let [(_, text)] = messages {
        return Cow::Borrowed(text);
    }
    let bytes = messages.iter().map(|(_, text)| text.len() + 1).sum();
    let mut whole = String::with_capacity(bytes);
    for (_, text) in messages.iter().filter(|(_, text)| !text.is_empty()) {
        if !whole.is_empty() {
            whole.push(' ');
        }
        whole.push_str(text);
    }
    Cow::Owned(whole)
}

/// A request in a dialect's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireRequest {
    /// Path below the target's base URL.
    pub path: Cow<'static, str>,
    /// Headers beyond host, length and credentials.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: Vec<u8>,
    /// What differs from the draft beyond the answer's length, by field: the names are the same in every dialect.
    pub altered: Vec<&'static str>,
}

impl WireRequest {
    pub(in crate::dialect) fn json(
        path: impl Into<Cow<'static, str>>,
        body: &impl Serialize,
        altered: Vec<&'static str>,
        room: usize,
    ) -> Self {
        let mut bytes = Vec::with_capacity(room + BODY_AROUND);
        // Serialising strings and numbers into memory cannot fail; an empty body would be refused by any server.
        if serde_json::to_writer(&mut bytes, body).is_err() {
            bytes.clear();
        }
        Self {
            path: path.into(),
            headers: vec![("content-type", "application/json")],
            body: bytes,
            altered,
        }
    }
}

/// Bytes of a body beside its texts, about.
const BODY_AROUND: usize = 512;

impl Draft<'_> {
    /// Bytes that its body takes, about: what to set aside before it is written.
    pub(in crate::dialect) fn room(&self) -> usize {
        let texts = self.messages.iter().map(|(_, text)| text.len() + 48);
        let media = self.media.iter().map(|part| part.base64.len() + 64);
        texts.sum::<usize>() + media.sum::<usize>() + self.tools.bytes as usize
    }
}

/// The names of what is there and cannot be said.
pub(in crate::dialect) fn unsaid<const N: usize>(
    fields: [(bool, &'static str); N],
) -> Vec<&'static str> {
    let unsaid = |(there, name): (bool, &'static str)| there.then_some(name);
    fields.into_iter().filter_map(unsaid).collect()
}

/// A name as a segment of a path.
pub(in crate::dialect) fn path_segment(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                segment.push(char::from(byte));
            }
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Endpoint, MediaKind};

    fn draft<'a>(messages: &'a [(Role, String)], media: &'a [DraftMedia]) -> Draft<'a> {
        Draft {
            endpoint: Endpoint::ChatCompletions,
            model: "m",
            messages,
            batch: false,
            ids: None,
            media,
            tools: ToolsShape::default(),
            cache_marks: &[],
            adapter: None,
            params: RequestParams::default(),
            output: OutputLength::Exact(7),
            forcing: Forcing::Both,
        }
    }

    #[test]
    fn messages_part_by_a_space_and_parts_find_their_message() {
        let text = |text: &str| (Role::User, text.to_owned());
        let messages = [text("one"), text(""), text("two")];
        let picture = |message| DraftMedia {
            message,
            kind: MediaKind::Image,
            base64: String::new(),
        };
        let media = [picture(0), picture(2), picture(2)];
        let draft = draft(&messages, &media);
        assert_eq!(draft.one_text(), "one two");
        let parts = [0, 1, 2, 3].map(|message| draft.media_of(message).count());
        assert_eq!(parts, [1, 0, 2, 0]);
    }

    #[test]
    fn each_way_of_forcing_sets_its_own_fields() {
        let messages = [(Role::User, "a".to_owned())];
        let lengths = |forcing| {
            let draft = Draft {
                forcing,
                ..draft(&messages, &[])
            };
            let lengths = draft.lengths();
            let bias = lengths
                .logit_bias
                .map(|ban| serde_json::to_string(&ban).unwrap());
            (
                lengths.max_tokens,
                lengths.min_tokens,
                lengths.ignore_eos,
                bias,
            )
        };
        let (some, yes) = (Some(7), Some(true));
        assert_eq!(lengths(Forcing::None), (some, None, None, None));
        assert_eq!(lengths(Forcing::Both), (some, some, yes, None));
        assert_eq!(lengths(Forcing::MinTokens), (some, some, None, None));
        assert_eq!(lengths(Forcing::IgnoreEos), (some, None, yes, None));
        let bias = Some(r#"{"2":-100,"7":-100}"#.to_owned());
        assert_eq!(
            lengths(Forcing::LogitBias(&[2, 7])),
            (some, None, None, bias)
        );
    }
}
