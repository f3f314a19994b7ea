use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

/// Where a replayed request differs from the recorded one beyond its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Alteration {
    /// `stream_options.include_usage` was set, so that the target tells its token counts.
    UsageAsked,
    /// Video or documents were left out, or more pictures than a replay makes.
    MediaLeftOut,
    /// Pictures or sound whose size the trace does not tell were sent at an everyday one.
    MediaAssumed,
    /// Requests went to another endpoint than the recorded one.
    OtherEndpoint,
    /// A prompt of token ids was sent as words.
    TokenIdsAsWords,
    /// The answer's length was not recorded (the exchange failed, or was cancelled), so one was assumed.
    LengthAssumed,
    /// The recorded answer was empty; one token was asked for.
    EmptyAnswer,
    /// The target cannot be forced to a length; the answer was only capped.
    LengthCapped,
    /// Several answers to one prompt were asked for, all of the same length.
    AnswersAlike,
    /// The body was not readable when it was recorded; a prompt of its size was sent.
    ShapeUnknown,
    /// The prompt was larger than a replay writes, and was cut.
    PromptCut,
    /// Answers to earlier turns stand in the prompt as this target gave them.
    LiveHistory,
    /// Such an answer was not to be had (it failed, was no text, came too late, or was let go), and was made up.
    HistoryMadeUp,
    /// A field of the request that the target's dialect cannot carry, or that a replay does not.
    Field(&'static str),
}

impl Alteration {
    /// For reports.
    pub fn describe(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Field(field) => return format!("{field} was not sent as recorded").into(),
            Self::UsageAsked => "stream_options.include_usage was set to learn token counts",
            Self::MediaLeftOut => {
                "video or documents, or more pictures than a replay makes, were left out"
            }
            Self::MediaAssumed => "pictures or sound of unknown size were sent at an everyday one",
            Self::OtherEndpoint => "the request went to another endpoint than the recorded one",
            Self::TokenIdsAsWords => "a prompt of token ids was sent as words",
            Self::LengthAssumed => "the recorded answer's length is unknown; one was assumed",
            Self::EmptyAnswer => "the recorded answer was empty; one token was asked for",
            Self::LiveHistory => "earlier answers are the target's own, not the recorded length",
            Self::HistoryMadeUp => "an earlier answer was not to be had, and was made up",
            Self::LengthCapped => "the target cannot be forced to a length; the answer was capped",
            Self::AnswersAlike => "several answers to one prompt were asked for at one length",
            Self::ShapeUnknown => {
                "the recorded body was not readable; a prompt of its size was sent"
            }
            Self::PromptCut => "the recorded prompt is larger than a replay writes; it was cut",
        })
    }
}

/// How many requests were altered, by what.
pub type Alterations = BTreeMap<Alteration, u64>;
