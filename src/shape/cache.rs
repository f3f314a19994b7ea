use serde::{Deserialize, Serialize};

/// A mark up to which a client asks for its prompt to be kept (Anthropic's `cache_control`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CacheMark {
    /// What it stands behind.
    #[serde(flatten)]
    pub place: CachePlace,
    /// For how long.
    #[serde(skip_serializing_if = "CacheLife::is_unsaid", default)]
    pub life: CacheLife,
}

/// What a mark stands behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "on", rename_all = "snake_case")]
pub enum CachePlace {
    /// The whole request: the server chooses.
    Request,
    /// A tool.
    Tool {
        /// Its index among the tools.
        index: u16,
    },
    /// A part of a message.
    Message {
        /// The message's index.
        index: u16,
        /// Bytes of the message's text up to the mark.
        bytes: u32,
    },
}

/// How long what is marked is asked to be kept.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CacheLife {
    /// As the server does it.
    #[default]
    Unsaid,
    /// `5m`
    FiveMinutes,
    /// `1h`
    OneHour,
    /// Any other.
    Other,
}

impl CacheLife {
    /// Every life, in the order of their codes in the trace file.
    pub const ALL: [Self; 4] = [Self::Unsaid, Self::FiveMinutes, Self::OneHour, Self::Other];

    fn is_unsaid(&self) -> bool {
        *self == Self::Unsaid
    }
}
