use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::answer::{Carried, Plain, Reader, Tally};
use crate::dialect::json::{Count, List, Said, Text, null_is_empty};
use crate::shape::FinishReason;

/// Answers.
pub(in crate::dialect) struct Answers;

impl Reader for Answers {
    fn event<'a>(&self, at_us: u64, data: &'a [u8], tally: &mut Tally) -> Option<Plain<'a>> {
        let event: Event<'_> = tally.read(data)?;
        match &*event.kind.0 {
            "message_start" => {
                // Its output is the first token or none: in a stream that is cut off it must not pass for the whole answer's.
                if let Some(usage) = event.message.and_then(|message| message.usage) {
                    usage.note_prompt(tally);
                }
            }
            "content_block_start" => {
                if let Some(call) = event.content_block.filter(Kind::is_tool_use) {
                    tally.tool_calls(1);
                    tally.said(call.name.bytes);
                    // A call without arguments says no more than its name.
                    if call.name.anything {
                        tally.token(at_us, Carried::Answer);
                    }
                }
            }
            "content_block_delta" => {
                let delta = &event.delta;
                let (carried, text) = delta.carried()?;
                tally.token(at_us, carried);
                tally.said(delta.text.bytes + delta.partial_json.bytes);
                return text.map(|text| Plain {
                    text,
                    carried,
                    repeatable: carried == Carried::Answer,
                });
            }
            "message_delta" => {
                if let Some(usage) = event.usage {
                    usage.note(tally);
                }
                if let Some(reason) = event.delta.stop_reason {
                    tally.finish_reason(finish_reason(&reason.0));
                }
            }
            "message_stop" => tally.sight.ended = true,
            "error" => tally.error(data),
            _ => {}
        }
        None
    }

    fn body(&self, body: &[u8], tally: &mut Tally) {
        let Some(answer) = tally.read::<Answer<'_>>(body) else {
            return;
        };
        let calls = answer
            .content
            .iter()
            .filter(|block| block.is_tool_use())
            .count();
        tally.tool_calls(u32::try_from(calls).unwrap_or(u32::MAX));
        tally.said(answer.content.iter().map(Kind::said).sum());
        if answer.kind.0 == "error" {
            tally.error(body);
        }
        if let Some(usage) = answer.usage {
            usage.note(tally);
        }
        if let Some(reason) = answer.stop_reason {
            tally.finish_reason(finish_reason(&reason.0));
        }
        tally.sight.ended = true;
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, rename = "type", default, deserialize_with = "null_is_empty")]
    kind: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    content: List<Kind<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default, deserialize_with = "null_is_empty")]
    kind: Text<'a>,
    #[serde(default)]
    message: Option<Start>,
    #[serde(borrow, default)]
    content_block: Option<Kind<'a>>,
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    delta: Delta<'a>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    text: Said<'a>,
    /// Of a tool's call.
    #[serde(borrow, default)]
    name: Said<'a>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
}

impl Kind<'_> {
    /// Bytes that a next turn would repeat of a whole block.
    fn said(&self) -> usize {
        let input = self.input.map_or(0, |input| input.get().len());
        self.text.bytes + self.name.bytes + input
    }

    fn is_tool_use(&self) -> bool {
        matches!(
            &*self.kind.0,
            "tool_use" | "server_tool_use" | "mcp_tool_use"
        )
    }
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    text: Said<'a>,
    #[serde(borrow, default)]
    thinking: Said<'a>,
    #[serde(borrow, default)]
    partial_json: Said<'a>,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
}

impl<'a> Delta<'a> {
    /// What it carries, and the text of it, where it is the only one.
    fn carried(&self) -> Option<(Carried, Option<&'a str>)> {
        let answers = self.text.anything || self.partial_json.anything;
        let all = [self.text, self.partial_json, self.thinking];
        let mut said = all.into_iter().filter(|said| said.anything);
        let first = said.next()?;
        let carried = match answers {
            true => Carried::Answer,
            false => Carried::Reasoning,
        };
        let alone = said.next().is_none();
        Some((carried, first.plainly.filter(|_| alone)))
    }
}

/// `input_tokens` leaves out what came from or went to the cache: the prompt is the sum of the three.
#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    cache_read_input_tokens: Count,
    #[serde(default)]
    cache_creation_input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct OutputDetails {
    #[serde(default)]
    thinking_tokens: Count,
}

impl Usage {
    fn note(&self, tally: &mut Tally) {
        self.note_prompt(tally);
        tally.output_tokens(self.output_tokens);
        if let Some(details) = &self.output_tokens_details {
            tally.reasoning_tokens(details.thinking_tokens);
        }
    }

    fn note_prompt(&self, tally: &mut Tally) {
        tally.prompt_parts([
            self.input_tokens,
            self.cache_read_input_tokens,
            self.cache_creation_input_tokens,
        ]);
        tally.cached_tokens(self.cache_read_input_tokens);
    }
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}
