//! Answers of chat completions and completions, in a stream and whole.

use serde::Deserialize;

use crate::dialect::answer::{Carried, Plain, Reader, Tally};
use crate::dialect::json::{Count, Fault, List, Presence, Said, Text, null_is_empty};
use crate::shape::FinishReason;

/// Answers of both endpoints: they differ in where a choice holds its text, and one reading covers both.
pub(in crate::dialect) struct Answers;

impl Reader for Answers {
    fn event<'a>(&self, at_us: u64, data: &'a [u8], tally: &mut Tally) -> Option<Plain<'a>> {
        if data.trim_ascii() == b"[DONE]" {
            tally.sight.ended = true;
            return None;
        }
        let chunk: Answer<'_> = tally.read(data)?;
        let mut carried = None;
        for choice in chunk.choices.iter() {
            let delta = &choice.delta;
            if choice.is_first() {
                tally.said(choice.text.bytes + delta.said());
            }
            let calls = delta.tool_calls.iter().flat_map(List::iter);
            let named = calls.clone().filter(|call| call.is_named()).count();
            tally.tool_calls(u32::try_from(named).unwrap_or(u32::MAX));
            let called = calls.clone().any(ToolCall::says_anything);
            tally.choice(choice.index.0.unwrap_or(0), choice.ended());
            if choice.text.anything
                || delta.content.anything
                || delta.refusal.anything
                || called
                || delta.function_call.0
                || delta.audio.data.0
                || delta.audio.transcript.0
            {
                carried = Some(Carried::Answer);
            } else if delta.reasoning.anything || delta.reasoning_content.anything {
                carried = carried.or(Some(Carried::Reasoning));
            }
        }
        if let Some(carried) = carried {
            tally.token(at_us, carried);
        }
        chunk.note(tally);
        chunk.plain(carried?)
    }

    fn body(&self, body: &[u8], tally: &mut Tally) {
        let Some(answer) = tally.read::<Answer<'_>>(body) else {
            return;
        };
        for choice in answer.choices.iter() {
            if choice.is_first() {
                tally.said(choice.text.bytes + choice.message.said());
            }
            let calls = choice.message.tool_calls.as_ref().map_or(0, List::len);
            tally.tool_calls(u32::try_from(calls).unwrap_or(u32::MAX));
        }
        answer.note(tally);
        tally.sight.ended = true;
    }

    /// Some servers close without the mark. Once every choice has told why it stopped, there is no more to come.
    fn finish(&self, tally: &mut Tally) {
        tally.sight.ended |= tally.all_choices_ended();
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    choices: List<Choice<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
    /// Where Groq puts a stream's usage.
    #[serde(default)]
    x_groq: Option<Aside>,
    #[serde(borrow, default)]
    error: Fault<'a>,
}

#[derive(Deserialize)]
struct Aside {
    #[serde(default)]
    usage: Option<Usage>,
}

impl<'a> Answer<'a> {
    /// What it carried, if it did nothing but carry one text.
    fn plain(&self, carried: Carried) -> Option<Plain<'a>> {
        let mut choices = self.choices.iter();
        let (Some(choice), None) = (choices.next(), choices.next()) else {
            return None;
        };
        let delta = &choice.delta;
        let more = self.usage.is_some()
            || self.x_groq.is_some()
            || self.error.0.is_some()
            || choice.finish_reason.is_some()
            || delta.refusal.anything
            || delta.tool_calls.is_some()
            || delta.function_call.0
            || delta.audio.data.0
            || delta.audio.transcript.0;
        let texts = [
            choice.text,
            delta.content,
            delta.reasoning,
            delta.reasoning_content,
        ];
        let mut said = texts.into_iter().filter(|said| said.anything);
        match (said.next(), said.next()) {
            (Some(said), None) if !more => said.plainly.map(|text| Plain {
                text,
                carried,
                repeatable: choice.is_first() && carried == Carried::Answer,
            }),
            _ => None,
        }
    }

    fn note(&self, tally: &mut Tally) {
        for choice in self.choices.iter() {
            if let Some(reason) = choice.finish_reason.as_ref().filter(|_| choice.ended()) {
                tally.finish_reason(finish_reason(&reason.0));
            }
        }
        let aside = self.x_groq.as_ref().and_then(|aside| aside.usage.as_ref());
        if let Some(usage) = self.usage.as_ref().or(aside) {
            tally.prompt_tokens(usage.prompt_tokens);
            tally.output_tokens(usage.completion_tokens);
            // The servers' own places for both first, so that OpenAI's count where there are two.
            tally.cached_tokens(usage.prompt_cache_hit_tokens);
            tally.cached_tokens(usage.cached_tokens);
            tally.reasoning_tokens(usage.reasoning_tokens);
            if let Some(details) = &usage.prompt_tokens_details {
                tally.cached_tokens(details.cached_tokens);
            }
            if let Some(details) = &usage.completion_tokens_details {
                tally.reasoning_tokens(details.reasoning_tokens);
            }
        }
        tally.fault(self.error);
    }
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Count,
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    delta: Delta<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    message: Delta<'a>,
    #[serde(borrow, default)]
    text: Said<'a>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
}

impl Choice<'_> {
    fn is_first(&self) -> bool {
        self.index.0.unwrap_or(0) == 0
    }

    /// Some servers send an empty reason until there is one.
    fn ended(&self) -> bool {
        let reason = self.finish_reason.as_ref();
        reason.is_some_and(|reason| !reason.0.is_empty())
    }
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Said<'a>,
    #[serde(borrow, default)]
    refusal: Said<'a>,
    #[serde(borrow, default)]
    reasoning: Said<'a>,
    #[serde(borrow, default)]
    reasoning_content: Said<'a>,
    #[serde(borrow, default)]
    tool_calls: Option<List<ToolCall<'a>>>,
    /// The form before tools.
    #[serde(default)]
    function_call: Presence,
    #[serde(default, deserialize_with = "null_is_empty")]
    audio: Audio,
}

/// What is spoken, beside the name of the recording and how long it is kept.
#[derive(Default, Deserialize)]
struct Audio {
    #[serde(default)]
    data: Presence,
    #[serde(default)]
    transcript: Presence,
}

impl Delta<'_> {
    /// Bytes that a next turn's message would repeat.
    fn said(&self) -> usize {
        let calls = self.tool_calls.iter().flat_map(List::iter);
        let called: usize = calls.map(ToolCall::said).sum();
        self.content.bytes + self.refusal.bytes + called
    }
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    function: Function<'a>,
    /// Of a tool whose input has no schema.
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    custom: Function<'a>,
}

impl ToolCall<'_> {
    /// Its name has come: once for each call, at its start.
    fn is_named(&self) -> bool {
        self.function.name.anything || self.custom.name.anything
    }

    fn says_anything(&self) -> bool {
        let parts = [&self.function, &self.custom];
        self.is_named() || parts.iter().any(|part| part.arguments.anything)
    }

    fn said(&self) -> usize {
        let parts = [&self.function, &self.custom];
        parts
            .iter()
            .map(|it| it.name.bytes + it.arguments.bytes)
            .sum()
    }
}

#[derive(Default, Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Said<'a>,
    #[serde(borrow, default, alias = "input")]
    arguments: Said<'a>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: Count,
    #[serde(default)]
    completion_tokens: Count,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<OutputDetails>,
    /// Moonshot's
    #[serde(default)]
    cached_tokens: Count,
    /// DeepSeek's
    #[serde(default)]
    prompt_cache_hit_tokens: Count,
    /// SGLang's
    #[serde(default)]
    reasoning_tokens: Count,
}

#[derive(Deserialize)]
pub(super) struct PromptDetails {
    #[serde(default)]
    pub(super) cached_tokens: Count,
}

#[derive(Deserialize)]
pub(super) struct OutputDetails {
    #[serde(default)]
    pub(super) reasoning_tokens: Count,
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        "error" => FinishReason::Error,
        _ => FinishReason::Other,
    }
}
