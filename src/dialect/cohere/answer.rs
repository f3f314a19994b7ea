use serde::Deserialize;

use crate::dialect::answer::{Carried, Plain, Reader, Tally};
use crate::dialect::json::{Count, Fault, Items, List, Said, Text, null_is_empty};
use crate::shape::FinishReason;

/// Answers.
pub(in crate::dialect) struct Answers;

impl Reader for Answers {
    fn event<'a>(&self, at_us: u64, data: &'a [u8], tally: &mut Tally) -> Option<Plain<'a>> {
        if data.trim_ascii() == b"[DONE]" {
            return None;
        }
        let event: Event<'_> = tally.read(data)?;
        let delta = &event.delta;
        match &*event.kind.0 {
            "content-delta" | "tool-plan-delta" => {
                let (said, carried) = delta.message.said()?;
                tally.token(at_us, carried);
                let repeatable = carried == Carried::Answer;
                tally.said(if repeatable { said.bytes } else { 0 });
                return said.plainly.map(|text| Plain {
                    text,
                    carried,
                    repeatable,
                });
            }
            "tool-call-start" => {
                tally.tool_calls(1);
                tally.token(at_us, Carried::Answer);
            }
            "tool-call-delta" => tally.token(at_us, Carried::Answer),
            "message-end" => {
                note(delta.finish_reason.as_ref(), delta.usage.as_ref(), tally);
                tally.fault(delta.error);
                tally.sight.ended = true;
            }
            _ => {}
        }
        None
    }

    fn body(&self, body: &[u8], tally: &mut Tally) {
        let Some(answer) = tally.read::<Answer<'_>>(body) else {
            return;
        };
        tally.tool_calls(answer.message.tool_calls.0);
        let parts = answer.message.content.iter();
        tally.said(parts.map(|part| part.text.bytes).sum());
        note(answer.finish_reason.as_ref(), answer.usage.as_ref(), tally);
        tally.sight.ended = true;
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default, deserialize_with = "null_is_empty")]
    kind: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    delta: Delta<'a>,
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    message: Spoken<'a>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(borrow, default)]
    error: Fault<'a>,
}

#[derive(Default, Deserialize)]
struct Spoken<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    content: Content<'a>,
    #[serde(borrow, default)]
    tool_plan: Said<'a>,
}

#[derive(Default, Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    text: Said<'a>,
    #[serde(borrow, default)]
    thinking: Said<'a>,
}

impl<'a> Spoken<'a> {
    /// The one thing that it says.
    fn said(&self) -> Option<(Said<'a>, Carried)> {
        [
            (self.content.text, Carried::Answer),
            (self.content.thinking, Carried::Reasoning),
            // What it means to do with the tools, said before it does.
            (self.tool_plan, Carried::Reasoning),
        ]
        .into_iter()
        .find(|(said, _)| said.anything)
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    message: Whole<'a>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Default, Deserialize)]
struct Whole<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    content: List<Content<'a>>,
    #[serde(default)]
    tool_calls: Items,
}

/// `billed_units` are what is paid for; `tokens` are what the model read and wrote.
#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    tokens: Option<Tokens>,
    #[serde(default)]
    billed_units: Option<Tokens>,
    #[serde(default)]
    cached_tokens: Count,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
}

fn note(reason: Option<&Text<'_>>, usage: Option<&Usage>, tally: &mut Tally) {
    if let Some(reason) = reason {
        match &*reason.0 {
            "COMPLETE" | "STOP_SEQUENCE" => tally.finish_reason(FinishReason::Stop),
            "MAX_TOKENS" => tally.finish_reason(FinishReason::Length),
            "TOOL_CALL" => tally.finish_reason(FinishReason::ToolCalls),
            "ERROR" | "TIMEOUT" => tally.error(b""),
            _ => tally.finish_reason(FinishReason::Other),
        }
    }
    let Some(usage) = usage else { return };
    tally.cached_tokens(usage.cached_tokens);
    if let Some(tokens) = usage.tokens.as_ref().or(usage.billed_units.as_ref()) {
        tally.prompt_tokens(tokens.input_tokens);
        tally.output_tokens(tokens.output_tokens);
    }
}
