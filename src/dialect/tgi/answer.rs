use serde::Deserialize;

use super::request::is_object;
use crate::dialect::answer::{Carried, Plain, Reader, Tally};
use crate::dialect::json::{Count, Fault, Items, Presence, Said, Text};
use crate::shape::FinishReason;

/// Answers.
pub(in crate::dialect) struct Answers;

impl Reader for Answers {
    fn event<'a>(&self, at_us: u64, data: &'a [u8], tally: &mut Tally) -> Option<Plain<'a>> {
        let event: Answer<'_> = tally.read(data)?;
        // The token that ends an answer has been generated too.
        if event.token.0 {
            tally.token(at_us, Carried::Answer);
        }
        event.note(tally);
        tally.sight.ended |= event.generated_text.is_some();
        // Every event tells the number of its token, so none repeats the one before.
        None
    }

    fn body(&self, body: &[u8], tally: &mut Tally) {
        // `/` answers with a list of one.
        let answer = match is_object(body) {
            true => tally.read::<Answer<'_>>(body),
            false => tally.read::<[Answer<'_>; 1]>(body).map(|[answer]| answer),
        };
        let Some(answer) = answer else { return };
        answer.note(tally);
        tally.sight.ended = true;
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    token: Presence,
    /// There, and perhaps empty, at the end alone.
    #[serde(borrow, default)]
    generated_text: Option<Said<'a>>,
    #[serde(borrow, default)]
    details: Option<Details<'a>>,
    #[serde(borrow, default)]
    error: Fault<'a>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
    #[serde(default)]
    generated_tokens: Count,
    #[serde(default)]
    input_length: Count,
    /// The prompt's tokens, where they were asked for.
    #[serde(default)]
    prefill: Items,
}

impl Answer<'_> {
    fn note(&self, tally: &mut Tally) {
        tally.fault(self.error);
        tally.said(self.generated_text.map_or(0, |text| text.bytes));
        let Some(details) = &self.details else { return };
        tally.output_tokens(details.generated_tokens);
        let prefill = Some(details.prefill.0).filter(|&tokens| tokens > 0);
        tally.prompt_tokens(Count(details.input_length.0.or(prefill)));
        if let Some(reason) = &details.finish_reason {
            tally.finish_reason(match &*reason.0 {
                "length" => FinishReason::Length,
                "eos_token" | "stop_sequence" => FinishReason::Stop,
                _ => FinishReason::Other,
            });
        }
    }
}
