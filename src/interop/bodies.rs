//! Request bodies that some formats hold: read by the dialects as the recorder reads them. Nothing of their text is kept.

use super::input::{Labels, Row, Told};
use crate::anonymise::{ChainKey, RenderedPrompt};
use crate::dialect::{RequestSight, observe_request};
use crate::shape::Endpoint;

/// What a body showed.
pub(super) struct Seen {
    endpoint: Endpoint,
    sight: RequestSight,
    bytes: u64,
}

/// Reads an OpenAI body: a chat where it has messages, a completion where it has a prompt.
///
/// # Errors
/// When it is neither.
pub(super) fn observe(body: &str, key: &ChainKey) -> Result<Seen, String> {
    const KINDS: Labels<2> = Labels::new(["messages", "prompt"]);
    let kinds = KINDS;
    let fields = kinds.read(body.as_bytes())?;
    let endpoint = if fields.raw(0).is_some() {
        Endpoint::ChatCompletions
    } else if fields.raw(1).is_some() {
        Endpoint::Completions
    } else {
        return Err("the body has neither `messages` nor `prompt`".to_owned());
    };
    let sight =
        observe_request(endpoint, body.as_bytes(), key).map_err(|error| error.to_string())?;
    Ok(Seen {
        endpoint,
        sight,
        bytes: body.len() as u64,
    })
}

/// Reads the messages and tools of a chat, given apart.
///
/// # Errors
/// When they are none.
pub(super) fn observe_messages(
    messages: &str,
    tools: Option<&str>,
    key: &ChainKey,
) -> Result<RenderedPrompt, String> {
    let tools = tools.unwrap_or("[]");
    let body = format!(r#"{{"messages":{messages},"tools":{tools}}}"#);
    observe_request(Endpoint::ChatCompletions, body.as_bytes(), key)
        .map(|sight| sight.prompt)
        .map_err(|_| "`messages` or `tools` is not a list as in a chat request".to_owned())
}

impl Seen {
    /// The row of this body; the rest of it as `told`. With its chain of hashes.
    pub(super) fn into_row(self, told: Told) -> Row {
        let mut row = Row::from(told);
        row.exchange.endpoint = self.endpoint;
        row.exchange.request.bytes = self.bytes;
        row.exchange.request.params = self.sight.params;
        row.model = self.sight.model;
        with_prompt(row, self.sight.prompt)
    }
}

/// The row with a prompt's sizes and its chain.
pub(super) fn with_prompt(mut row: Row, prompt: RenderedPrompt) -> Row {
    row.exchange.request.messages = prompt.messages;
    row.exchange.request.tools = prompt.tools;
    row.exchange.request.media = prompt.media;
    row.chain = Some(prompt.chain);
    row
}
