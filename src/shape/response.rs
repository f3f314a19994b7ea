use serde::{Deserialize, Serialize};

use super::{GapSketch, GapTrail, MediaType, TokenCount};

/// The shape of an answer. Moments are microseconds since the exchange's arrival at the recorder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseShape {
    /// HTTP status; 0 where no response head arrived.
    pub status: u16,
    /// When the response's head arrived.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub headers_us: Option<u64>,
    /// When the first byte of its body arrived.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_byte_us: Option<u64>,
    /// When the first token of any kind arrived (streams only; a reasoning token counts).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_token_us: Option<u64>,
    /// When the first token of the answer proper, after any reasoning, arrived (streams only).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_answer_us: Option<u64>,
    /// When the last token event arrived (streams only).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_token_us: Option<u64>,
    /// When the last byte arrived.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub end_us: Option<u64>,
    /// How long its client kept it waiting by not taking what had come: the time in which a write to it could not go on, until the last byte
    /// arrived. Less than a millisecond is 0. Absent where nobody looked, as in imports.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reader_wait_us: Option<u64>,
    /// Gaps between successive token events; where none of an answer's events is one, between messages (gRPC), frames (WebSockets), or
    /// the reads of a body that no dialect reads.
    #[serde(skip_serializing_if = "GapSketch::is_empty", default)]
    pub gaps: GapSketch,
    /// The same gaps in their order, where that was asked for.
    #[serde(
        rename = "gaps_in_order_us",
        skip_serializing_if = "GapTrail::is_empty",
        default
    )]
    pub trail: GapTrail,
    /// Tokens generated, over all choices.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output_tokens: Option<TokenCount>,
    /// Prompt tokens that the server took from its prefix cache, where it told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cached_tokens: Option<u32>,
    /// Reasoning tokens among the output, where the server told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reasoning_tokens: Option<u32>,
    /// Why generation stopped (of the first choice that said).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finish: Option<FinishReason>,
    /// Tool calls in the answer.
    pub tool_calls: u16,
    /// Bytes of the body as they crossed the wire.
    pub bytes: u64,
    /// What its head says the body is, where no dialect reads it.
    #[serde(skip_serializing_if = "MediaType::is_unsaid", default)]
    pub media_type: MediaType,
    /// Stream events (SSE events with data, or NDJSON lines); 0 for a plain body.
    pub events: u32,
    /// Stream events that carried at least one token.
    pub token_events: u32,
}

impl ResponseShape {
    /// The gaps, where they are between tokens.
    pub fn token_gaps(&self) -> Option<&GapSketch> {
        Some(&self.gaps).filter(|gaps| self.token_events > 0 && !gaps.is_empty())
    }
}

/// Why generation stopped, over all dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// A natural end or a stop sequence.
    Stop,
    /// The token cap.
    Length,
    /// The model called a tool.
    ToolCalls,
    /// A content filter or refusal.
    ContentFilter,
    /// The server reported an error instead of an end.
    Error,
    /// Any other reason.
    Other,
}

impl FinishReason {
    /// Every reason, in the order of their codes in the trace file.
    pub const ALL: [Self; 6] = [
        Self::Stop,
        Self::Length,
        Self::ToolCalls,
        Self::ContentFilter,
        Self::Error,
        Self::Other,
    ];
}
