use serde::Deserialize;

use crate::dialect::answer::{Carried, Plain, Reader, Tally};
use crate::dialect::json::{Count, Fault, List, OneOrMany, Presence, Said, Text, null_is_empty};
use crate::dialect::openai::answer::{OutputDetails, PromptDetails};
use crate::shape::FinishReason;

/// Answers.
pub(in crate::dialect) struct Answers;

impl Reader for Answers {
    fn event<'a>(&self, at_us: u64, data: &'a [u8], tally: &mut Tally) -> Option<Plain<'a>> {
        if data.trim_ascii() == b"[DONE]" {
            return None;
        }
        let event: Event<'_> = tally.read(data)?;
        match &*event.kind.0 {
            "response.output_item.added" => {
                if let Some(call) = event.item.filter(Kind::is_call) {
                    tally.tool_calls(1);
                    // A call without arguments says no more than its name.
                    if call.name.0 {
                        tally.token(at_us, Carried::Answer);
                    }
                }
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                if let Some(response) = event.response {
                    response.note(tally);
                }
                tally.sight.ended = true;
            }
            "error" => tally.error(data),
            kind => {
                let carried = carried(kind).filter(|_| event.delta.anything)?;
                tally.token(at_us, carried);
                // What tools were called with are items of their own.
                let repeatable = is_text(kind);
                tally.said(if repeatable { event.delta.bytes } else { 0 });
                return event.delta.plainly.map(|text| Plain {
                    text,
                    carried,
                    repeatable,
                });
            }
        }
        None
    }

    fn body(&self, body: &[u8], tally: &mut Tally) {
        let Some(answer) = tally.read::<Answer<'_>>(body) else {
            return;
        };
        let calls = answer.output.iter().filter(|item| item.is_call()).count();
        tally.tool_calls(u32::try_from(calls).unwrap_or(u32::MAX));
        tally.said(answer.output.iter().map(Kind::said).sum());
        answer.note(tally);
        tally.sight.ended = true;
    }
}

fn is_text(kind: &str) -> bool {
    matches!(
        kind,
        "response.output_text.delta" | "response.refusal.delta"
    )
}

/// What the deltas of a kind of event are pieces of.
fn carried(kind: &str) -> Option<Carried> {
    match kind.strip_prefix("response.")?.strip_suffix(".delta")? {
        "reasoning_text" | "reasoning_summary_text" => Some(Carried::Reasoning),
        "output_text"
        | "refusal"
        | "function_call_arguments"
        | "custom_tool_call_input"
        | "mcp_call_arguments"
        | "code_interpreter_call_code"
        | "shell_call_command"
        | "audio.transcript" => Some(Carried::Answer),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default, deserialize_with = "null_is_empty")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    delta: Said<'a>,
    #[serde(borrow, default)]
    item: Option<Kind<'a>>,
    #[serde(borrow, default)]
    response: Option<Answer<'a>>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    content: OneOrMany<'a, Spoken<'a>>,
    /// Of what is called, where the model chose it.
    #[serde(default)]
    name: Presence,
}

#[derive(Deserialize)]
struct Spoken<'a> {
    #[serde(borrow, default)]
    text: Said<'a>,
    #[serde(borrow, default)]
    refusal: Said<'a>,
}

impl Kind<'_> {
    /// Bytes of text that a whole message says.
    fn said(&self) -> usize {
        match &self.content {
            OneOrMany::Many(parts) if self.kind.0 == "message" => parts
                .iter()
                .map(|part| part.text.bytes + part.refusal.bytes)
                .sum(),
            _ => 0,
        }
    }

    fn is_call(&self) -> bool {
        self.kind.0.ends_with("_call")
    }

    /// A call that waits for the client. Those of the server's own tools are over before the answer is.
    fn is_the_clients(&self) -> bool {
        matches!(
            &*self.kind.0,
            "function_call"
                | "custom_tool_call"
                | "computer_call"
                | "local_shell_call"
                | "apply_patch_call"
        )
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    id: Said<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    output: List<Kind<'a>>,
    #[serde(borrow, default)]
    status: Option<Text<'a>>,
    #[serde(borrow, default)]
    incomplete_details: Option<Incomplete<'a>>,
    #[serde(borrow, default)]
    error: Fault<'a>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Incomplete<'a> {
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
    #[serde(default)]
    input_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

impl Answer<'_> {
    fn note(&self, tally: &mut Tally) {
        if let Some(name) = self.id.plainly {
            tally.named(name);
        }
        if let Some(usage) = &self.usage {
            tally.prompt_tokens(usage.input_tokens);
            tally.output_tokens(usage.output_tokens);
            if let Some(details) = &usage.input_tokens_details {
                tally.cached_tokens(details.cached_tokens);
            }
            if let Some(details) = &usage.output_tokens_details {
                tally.reasoning_tokens(details.reasoning_tokens);
            }
        }
        let reason = self
            .incomplete_details
            .as_ref()
            .and_then(|details| details.reason.as_ref());
        match (self.status.as_ref().map(|status| &*status.0), reason) {
            (Some("failed"), _) => tally.error(self.error.0.unwrap_or_default().as_bytes()),
            _ if self.error.0.is_some() => tally.fault(self.error),
            (Some("incomplete"), Some(reason)) => tally.finish_reason(match &*reason.0 {
                "max_output_tokens" => FinishReason::Length,
                "content_filter" => FinishReason::ContentFilter,
                _ => FinishReason::Other,
            }),
            (Some("completed"), _) if self.output.iter().any(Kind::is_the_clients) => {
                tally.finish_reason(FinishReason::ToolCalls);
            }
            (Some("completed"), _) => tally.finish_reason(FinishReason::Stop),
            _ => tally.finish_reason(FinishReason::Other),
        }
    }
}
