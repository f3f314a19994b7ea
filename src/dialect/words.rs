//! Words and habits that other APIs share with OpenAI's.

use serde_json::value::RawValue;

use crate::shape::{ReasoningEffort, Role};

/// Whether decoding leaves one choice; `None` where the request does not say.
pub(in crate::dialect) fn greedy(
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<f64>,
) -> Option<bool> {
    if temperature.is_none() && top_p.is_none() && top_k.is_none() {
        return None;
    }
    Some(temperature == Some(0.0) || top_p == Some(0.0) || top_k == Some(1.0))
}

/// A count as a shape keeps it, where nobody needs to know more than that there are many.
pub(in crate::dialect) fn saturated(count: u32) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

/// Bytes of a schema or a grammar.
pub(in crate::dialect) fn schema_bytes(schema: &RawValue) -> u32 {
    u32::try_from(schema.get().len()).unwrap_or(u32::MAX)
}

pub(in crate::dialect) fn reasoning_effort(word: &str) -> ReasoningEffort {
    match word {
        "none" => ReasoningEffort::None,
        "minimal" => ReasoningEffort::Minimal,
        "low" => ReasoningEffort::Low,
        "medium" => ReasoningEffort::Medium,
        "high" => ReasoningEffort::High,
        _ => ReasoningEffort::Other,
    }
}

/// `none` is not taken by every model, and leaving it out means the same.
pub(in crate::dialect) fn effort_name(effort: ReasoningEffort) -> Option<&'static str> {
    match effort {
        ReasoningEffort::None => None,
        ReasoningEffort::Minimal => Some("minimal"),
        ReasoningEffort::Low => Some("low"),
        ReasoningEffort::Medium | ReasoningEffort::Other => Some("medium"),
        ReasoningEffort::High => Some("high"),
    }
}

pub(in crate::dialect) fn role(name: &str) -> Role {
    match name {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        _ => Role::Other,
    }
}

pub(in crate::dialect) fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User | Role::Other => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

/// Some engines take more than OpenAI's four, so that a trace may hold them; a damaged one must not ask for any number.
pub(in crate::dialect) const MOST_STOPS: u8 = 64;
