use serde::Deserialize;

use crate::dialect::answer::{Carried, Plain, Reader, Tally};
use crate::dialect::json::{Count, Fault, Items, Presence, Said, Text, null_is_empty};
use crate::shape::FinishReason;

/// Answers: lines of a stream and whole ones have one form.
pub(in crate::dialect) struct Answers;

impl Reader for Answers {
    fn event<'a>(&self, at_us: u64, data: &'a [u8], tally: &mut Tally) -> Option<Plain<'a>> {
        let line: Answer<'_> = tally.read(data)?;
        let message = &line.message;
        let answers =
            line.response.anything || message.content.anything || message.tool_calls.0 > 0;
        if answers {
            tally.token(at_us, Carried::Answer);
        } else if line.thinking.0 || message.thinking.0 {
            tally.token(at_us, Carried::Reasoning);
        }
        line.note(tally);
        // Every line tells its own time, so none repeats the one before.
        None
    }

    fn body(&self, body: &[u8], tally: &mut Tally) {
        let Some(answer) = tally.read::<Answer<'_>>(body) else {
            return;
        };
        answer.note(tally);
        tally.sight.ended = true;
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    /// `generate`
    #[serde(borrow, default)]
    response: Said<'a>,
    #[serde(default)]
    thinking: Presence,
    /// `chat`
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    message: Spoken<'a>,
    #[serde(default)]
    done: Presence,
    #[serde(borrow, default)]
    done_reason: Option<Text<'a>>,
    #[serde(default)]
    prompt_eval_count: Count,
    #[serde(default)]
    eval_count: Count,
    #[serde(borrow, default)]
    error: Fault<'a>,
}

#[derive(Default, Deserialize)]
struct Spoken<'a> {
    #[serde(borrow, default)]
    content: Said<'a>,
    #[serde(default)]
    thinking: Presence,
    #[serde(default)]
    tool_calls: Items,
}

impl Answer<'_> {
    fn note(&self, tally: &mut Tally) {
        tally.tool_calls(self.message.tool_calls.0);
        tally.said(self.response.bytes + self.message.content.bytes);
        tally.prompt_tokens(self.prompt_eval_count);
        tally.output_tokens(self.eval_count);
        tally.fault(self.error);
        if self.done.0 {
            tally.sight.ended = true;
            let called = tally.sight.tool_calls > 0;
            tally.finish_reason(match self.done_reason.as_ref().map(|reason| &*reason.0) {
                _ if called => FinishReason::ToolCalls,
                // Servers before 0.1.33 gave no reason.
                None | Some("stop") => FinishReason::Stop,
                Some("length") => FinishReason::Length,
                Some(_) => FinishReason::Other,
            });
        }
    }
}
