use serde::{Deserialize, Serialize};

/// What was asked of the server: a closed list, so that no path of a user's own ever reaches a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Endpoint {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/messages`
    Messages,
    /// `GET /v1/models`
    Models,
    /// `GET /health` and its cousins
    Health,
    /// `GET /metrics`
    Metrics,
    /// `POST /tokenize`
    Tokenize,
    /// Anything else: sizes and times only.
    Other,
}

impl Endpoint {
    /// Every endpoint, in the order of their codes in the trace file.
    pub const ALL: [Self; 8] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Messages,
        Self::Models,
        Self::Health,
        Self::Metrics,
        Self::Tokenize,
        Self::Other,
    ];

    /// The wire dialect that this endpoint speaks.
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::ChatCompletions => Dialect::OpenAiChat,
            Self::Completions => Dialect::OpenAiCompletions,
            Self::Messages => Dialect::AnthropicMessages,
            Self::Models | Self::Health | Self::Metrics | Self::Tokenize | Self::Other => {
                Dialect::Generic
            }
        }
    }

    /// The path as documented by the dialect's owner, for labels and for replay; `other` for the rest.
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Messages => "/v1/messages",
            Self::Models => "/v1/models",
            Self::Health => "/health",
            Self::Metrics => "/metrics",
            Self::Tokenize => "/tokenize",
            Self::Other => "other",
        }
    }

    /// Whether a model generates tokens here: these are the exchanges that a replay re-issues.
    pub const fn is_inference(self) -> bool {
        !matches!(self.dialect(), Dialect::Generic)
    }
}

/// A wire API: how a request's load and an answer's tokens are written in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Dialect {
    /// OpenAI chat completions (also vLLM, SGLang, llama.cpp, Groq, …).
    OpenAiChat,
    /// OpenAI text completions.
    OpenAiCompletions,
    /// Anthropic messages.
    AnthropicMessages,
    /// No dialect known: sizes, times and status only.
    Generic,
}

/// The request method, as a closed list.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum Method {
    /// `POST`
    #[default]
    Post,
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// Every other method.
    Other,
}

impl Method {
    /// Every method, in the order of their codes in the trace file.
    pub const ALL: [Self; 7] = [
        Self::Post,
        Self::Get,
        Self::Head,
        Self::Put,
        Self::Delete,
        Self::Options,
        Self::Other,
    ];
}
