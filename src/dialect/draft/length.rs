//! How long an answer shall be, and by which fields a target is made to give one of that length.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::Draft;
use crate::shape::{ReasoningEffort, Structured};

/// How long an answer shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputLength {
    /// Exactly this many tokens, where the engine can (see [`Forcing`]); at most this many, where it cannot.
    Exact(u32),
    /// At most this many.
    Cap(u32),
    /// As the recorded request said.
    Free,
}

/// By which fields a target is forced to a length beyond its cap. Closed APIs refuse fields that they do not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Forcing<'a> {
    /// By none: its answers can only be capped.
    #[default]
    None,
    /// `min_tokens` and `ignore_eos` (vLLM, SGLang, TensorRT-LLM; llama.cpp heeds the second).
    Both,
    /// `min_tokens` alone.
    MinTokens,
    /// `ignore_eos` alone.
    IgnoreEos,
    /// `logit_bias` against these tokens, each of which ends an answer.
    LogitBias(&'a [u32]),
}

impl Draft<'_> {
    /// The fields that set the answer's length.
    pub(in crate::dialect) fn lengths(&self) -> Lengths<'_> {
        let params = &self.params;
        let (min, eos) = match self.forcing {
            Forcing::Both => (true, true),
            Forcing::MinTokens => (true, false),
            Forcing::IgnoreEos => (false, true),
            Forcing::None | Forcing::LogitBias(_) => (false, false),
        };
        match self.output {
            OutputLength::Exact(tokens) => Lengths {
                max_tokens: Some(tokens),
                // A grammar that is at its end leaves the end mark alone, which this would forbid; unless the recorded server took both.
                min_tokens: Some(tokens).filter(|_| {
                    min && (params.structured == Structured::None || params.min_tokens.is_some())
                }),
                ignore_eos: eos.then_some(true),
                logit_bias: match self.forcing {
                    Forcing::LogitBias(ids) => Some(Ban(ids)),
                    _ => None,
                },
            },
            OutputLength::Cap(tokens) => Lengths {
                max_tokens: Some(tokens),
                ..Lengths::default()
            },
            OutputLength::Free => Lengths {
                max_tokens: params.max_tokens,
                min_tokens: params.min_tokens.filter(|_| min),
                ignore_eos: (params.ignore_eos && eos).then_some(true),
                logit_bias: None,
            },
        }
    }
}

/// The fields that set an answer's length.
#[derive(Default)]
pub(in crate::dialect) struct Lengths<'a> {
    pub(in crate::dialect) max_tokens: Option<u32>,
    pub(in crate::dialect) min_tokens: Option<u32>,
    pub(in crate::dialect) ignore_eos: Option<bool>,
    pub(in crate::dialect) logit_bias: Option<Ban<'a>>,
}

/// `logit_bias` that forbids tokens.
#[derive(Clone, Copy)]
pub(in crate::dialect) struct Ban<'a>(&'a [u32]);

impl Serialize for Ban<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for id in self.0 {
            map.serialize_entry(id, &-100)?;
        }
        map.end()
    }
}

/// Tokens that a recorded effort may think, where a dialect wants them counted (Anthropic, Gemini): half-way between the bounds that
/// their own compatibility layers give the words. `None` for an effort that is a budget already, whose size no trace keeps.
pub(in crate::dialect) fn thinking_budget(effort: ReasoningEffort) -> Option<u32> {
    match effort {
        ReasoningEffort::None => Some(0),
        ReasoningEffort::Minimal | ReasoningEffort::Low => Some(1024),
        ReasoningEffort::Medium => Some(8192),
        ReasoningEffort::High => Some(24_576),
        ReasoningEffort::Other => None,
    }
}
