use serde::Deserialize;

use crate::dialect::answer::{Carried, Plain, Reader, Tally};
use crate::dialect::json::{Count, Fault, List, Presence, Said, Text, null_is_empty};
use crate::shape::FinishReason;

/// Answers: pieces of a stream and whole ones have one form.
pub(in crate::dialect) struct Answers;

impl Reader for Answers {
    fn event<'a>(&self, at_us: u64, data: &'a [u8], tally: &mut Tally) -> Option<Plain<'a>> {
        let answer: Answer<'_> = tally.read(data)?;
        let parts = || {
            answer
                .candidates
                .iter()
                .flat_map(|it| it.content.parts.iter())
        };
        if parts().any(SpokenPart::answers) {
            tally.token(at_us, Carried::Answer);
        } else if parts().any(|part| part.text.anything) {
            tally.token(at_us, Carried::Reasoning);
        }
        answer.note(tally);
        // Counts grow from piece to piece, so none repeats the one before.
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
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    candidates: List<Candidate<'a>>,
    #[serde(default, alias = "usageMetadata")]
    usage_metadata: Option<Usage>,
    #[serde(default, alias = "promptFeedback")]
    prompt_feedback: Option<Feedback>,
    #[serde(borrow, default)]
    error: Fault<'a>,
}

#[derive(Deserialize)]
struct Feedback {
    #[serde(default, alias = "blockReason")]
    block_reason: Presence,
}

#[derive(Deserialize)]
struct Candidate<'a> {
    #[serde(default)]
    index: Count,
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    content: Spoken<'a>,
    #[serde(borrow, default, alias = "finishReason")]
    finish_reason: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
struct Spoken<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    parts: List<SpokenPart<'a>>,
}

#[derive(Deserialize)]
struct SpokenPart<'a> {
    #[serde(borrow, default)]
    text: Said<'a>,
    /// The text is thought, not said.
    #[serde(default)]
    thought: Presence,
    #[serde(default, alias = "functionCall")]
    function_call: Presence,
    #[serde(default, alias = "inlineData")]
    inline_data: Presence,
    #[serde(default, alias = "executableCode")]
    executable_code: Presence,
}

impl SpokenPart<'_> {
    fn answers(&self) -> bool {
        self.text.anything && !self.thought.0
            || self.function_call.0
            || self.inline_data.0
            || self.executable_code.0
    }
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default, alias = "promptTokenCount")]
    prompt_token_count: Count,
    /// What the server's tools gave to read; not among the prompt's.
    #[serde(default, alias = "toolUsePromptTokenCount")]
    tool_use_prompt_token_count: Count,
    /// Thoughts are not among them.
    #[serde(default, alias = "candidatesTokenCount")]
    candidates_token_count: Count,
    #[serde(default, alias = "thoughtsTokenCount")]
    thoughts_token_count: Count,
    #[serde(default, alias = "cachedContentTokenCount")]
    cached_content_token_count: Count,
}

impl Answer<'_> {
    fn note(&self, tally: &mut Tally) {
        let mut called = false;
        for candidate in self.candidates.iter() {
            let parts = candidate.content.parts.iter();
            if candidate.index.0.unwrap_or(0) == 0 {
                let said = parts.clone().filter(|part| !part.thought.0);
                tally.said(said.map(|part| part.text.bytes).sum());
            }
            let calls = parts.filter(|part| part.function_call.0).count();
            called |= calls > 0;
            tally.tool_calls(u32::try_from(calls).unwrap_or(u32::MAX));
            if let Some(reason) = &candidate.finish_reason {
                tally.sight.ended = true;
                tally.finish_reason(match &*reason.0 {
                    "STOP" if called || tally.sight.tool_calls > 0 => FinishReason::ToolCalls,
                    "STOP" => FinishReason::Stop,
                    "MAX_TOKENS" => FinishReason::Length,
                    "SAFETY"
                    | "RECITATION"
                    | "BLOCKLIST"
                    | "PROHIBITED_CONTENT"
                    | "SPII"
                    | "IMAGE_SAFETY"
                    | "IMAGE_PROHIBITED_CONTENT"
                    | "IMAGE_RECITATION" => FinishReason::ContentFilter,
                    _ => FinishReason::Other,
                });
            }
        }
        if let Some(usage) = &self.usage_metadata {
            tally.prompt_parts([
                usage.prompt_token_count,
                usage.tool_use_prompt_token_count,
                Count(None),
            ]);
            tally.output_parts([usage.candidates_token_count, usage.thoughts_token_count]);
            tally.reasoning_tokens(usage.thoughts_token_count);
            tally.cached_tokens(usage.cached_content_token_count);
        }
        tally.fault(self.error);
        if self
            .prompt_feedback
            .as_ref()
            .is_some_and(|it| it.block_reason.0)
        {
            tally.sight.ended = true;
            tally.finish_reason(FinishReason::ContentFilter);
        }
    }
}
