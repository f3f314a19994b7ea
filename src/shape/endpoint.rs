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
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/embeddings`
    Embeddings,
    /// Ollama: `POST /api/generate`
    OllamaGenerate,
    /// Ollama: `POST /api/chat`
    OllamaChat,
    /// Ollama: `POST /api/embed`
    OllamaEmbed,
    /// TGI: `POST /generate`, and `POST /`
    TgiGenerate,
    /// TGI: `POST /generate_stream`
    TgiGenerateStream,
    /// Cohere: `POST /v2/chat`
    CohereChat,
    /// Gemini: `POST …/models/MODEL:generateContent`
    GeminiGenerate,
    /// Gemini: `POST …/models/MODEL:streamGenerateContent`
    GeminiStream,
    /// Triton: `POST /v2/models/MODEL/generate`
    TritonGenerate,
    /// Triton: `POST /v2/models/MODEL/generate_stream`
    TritonGenerateStream,
    /// KServe v2: `POST /v2/models/MODEL/infer`
    Infer,
    /// KServe v2 over gRPC: `ModelInfer`
    GrpcInfer,
    /// KServe v2 over gRPC: `ModelStreamInfer`
    GrpcStreamInfer,
    /// `GET /v1/realtime`, a WebSocket
    Realtime,
    /// `POST /detokenize`
    Detokenize,
    /// `POST /rerank`
    Rerank,
    /// `POST /score`
    Score,
    /// `POST /pooling`
    Pooling,
    /// `POST /classify`
    Classify,
    /// `GET /version`
    Version,
}

impl Endpoint {
    /// Every endpoint, in the order of their codes in the trace file.
    pub const ALL: [Self; 30] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Messages,
        Self::Models,
        Self::Health,
        Self::Metrics,
        Self::Tokenize,
        Self::Other,
        Self::Responses,
        Self::Embeddings,
        Self::OllamaGenerate,
        Self::OllamaChat,
        Self::OllamaEmbed,
        Self::TgiGenerate,
        Self::TgiGenerateStream,
        Self::CohereChat,
        Self::GeminiGenerate,
        Self::GeminiStream,
        Self::TritonGenerate,
        Self::TritonGenerateStream,
        Self::Infer,
        Self::GrpcInfer,
        Self::GrpcStreamInfer,
        Self::Realtime,
        Self::Detokenize,
        Self::Rerank,
        Self::Score,
        Self::Pooling,
        Self::Classify,
        Self::Version,
    ];

    /// The wire dialect that this endpoint speaks.
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::ChatCompletions => Dialect::OpenAiChat,
            Self::Completions => Dialect::OpenAiCompletions,
            Self::Messages => Dialect::AnthropicMessages,
            Self::Responses => Dialect::OpenAiResponses,
            Self::Embeddings => Dialect::OpenAiEmbeddings,
            Self::OllamaGenerate => Dialect::OllamaGenerate,
            Self::OllamaChat => Dialect::OllamaChat,
            Self::OllamaEmbed => Dialect::OllamaEmbed,
            Self::TgiGenerate | Self::TgiGenerateStream => Dialect::Tgi,
            Self::CohereChat => Dialect::CohereChat,
            Self::GeminiGenerate | Self::GeminiStream => Dialect::Gemini,
            Self::TritonGenerate | Self::TritonGenerateStream => Dialect::Triton,
            Self::Infer => Dialect::Kserve,
            Self::GrpcInfer | Self::GrpcStreamInfer => Dialect::KserveGrpc,
            Self::Realtime => Dialect::Realtime,
            Self::Models
            | Self::Health
            | Self::Metrics
            | Self::Tokenize
            | Self::Other
            | Self::Detokenize
            | Self::Rerank
            | Self::Score
            | Self::Pooling
            | Self::Classify
            | Self::Version => Dialect::Generic,
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
            Self::Responses => "/v1/responses",
            Self::Embeddings => "/v1/embeddings",
            Self::OllamaGenerate => "/api/generate",
            Self::OllamaChat => "/api/chat",
            Self::OllamaEmbed => "/api/embed",
            Self::TgiGenerate => "/generate",
            Self::TgiGenerateStream => "/generate_stream",
            Self::CohereChat => "/v2/chat",
            Self::GeminiGenerate => "/v1beta/models/MODEL:generateContent",
            Self::GeminiStream => "/v1beta/models/MODEL:streamGenerateContent",
            Self::TritonGenerate => "/v2/models/MODEL/generate",
            Self::TritonGenerateStream => "/v2/models/MODEL/generate_stream",
            Self::Infer => "/v2/models/MODEL/infer",
            Self::GrpcInfer => "/inference.GRPCInferenceService/ModelInfer",
            Self::GrpcStreamInfer => "/inference.GRPCInferenceService/ModelStreamInfer",
            Self::Realtime => "/v1/realtime",
            Self::Detokenize => "/detokenize",
            Self::Rerank => "/rerank",
            Self::Score => "/score",
            Self::Pooling => "/pooling",
            Self::Classify => "/classify",
            Self::Version => "/version",
        }
    }

    /// Its name in traces, configuration and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Messages => "messages",
            Self::Models => "models",
            Self::Health => "health",
            Self::Metrics => "metrics",
            Self::Tokenize => "tokenize",
            Self::Other => "other",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::OllamaGenerate => "ollama_generate",
            Self::OllamaChat => "ollama_chat",
            Self::OllamaEmbed => "ollama_embed",
            Self::TgiGenerate => "tgi_generate",
            Self::TgiGenerateStream => "tgi_generate_stream",
            Self::CohereChat => "cohere_chat",
            Self::GeminiGenerate => "gemini_generate",
            Self::GeminiStream => "gemini_stream",
            Self::TritonGenerate => "triton_generate",
            Self::TritonGenerateStream => "triton_generate_stream",
            Self::Infer => "infer",
            Self::GrpcInfer => "grpc_infer",
            Self::GrpcStreamInfer => "grpc_stream_infer",
            Self::Realtime => "realtime",
            Self::Detokenize => "detokenize",
            Self::Rerank => "rerank",
            Self::Score => "score",
            Self::Pooling => "pooling",
            Self::Classify => "classify",
            Self::Version => "version",
        }
    }

    /// The endpoint of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|endpoint| endpoint.name() == name)
    }

    /// The method by which it is asked.
    pub const fn method(self) -> Method {
        match self {
            Self::Models | Self::Health | Self::Metrics | Self::Version | Self::Realtime => {
                Method::Get
            }
            _ => Method::Post,
        }
    }

    /// Whether a dialect reads what passes here.
    pub const fn is_read(self) -> bool {
        !matches!(self.dialect(), Dialect::Generic)
    }

    /// Whether a model works on a prompt here: these are the exchanges that a replay re-issues. Tensors and spoken frames are
    /// read, but a replay has nothing to send in their place.
    pub const fn is_inference(self) -> bool {
        !matches!(
            self.dialect(),
            Dialect::Generic | Dialect::Kserve | Dialect::KserveGrpc | Dialect::Realtime
        )
    }

    /// Whether the answer is tokens: embeddings are vectors.
    pub const fn generates(self) -> bool {
        self.is_inference() && !matches!(self, Self::Embeddings | Self::OllamaEmbed)
    }

    /// Whether its prompt is messages that have roles, and not one text or several.
    pub const fn has_roles(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions
                | Self::Messages
                | Self::Responses
                | Self::OllamaChat
                | Self::CohereChat
                | Self::GeminiGenerate
                | Self::GeminiStream
        )
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
    /// OpenAI responses.
    OpenAiResponses,
    /// OpenAI embeddings.
    OpenAiEmbeddings,
    /// Ollama, one prompt.
    OllamaGenerate,
    /// Ollama, a conversation.
    OllamaChat,
    /// Ollama, embeddings.
    OllamaEmbed,
    /// Hugging Face's Text Generation Inference.
    Tgi,
    /// Cohere's chat, version 2.
    CohereChat,
    /// Google's Gemini.
    Gemini,
    /// Triton's generate extension.
    Triton,
    /// KServe's open inference protocol, version 2, over REST: tensors.
    Kserve,
    /// The same over gRPC: sizes and times of messages, and the tensors of requests.
    KserveGrpc,
    /// OpenAI realtime: sizes and times of a WebSocket's frames.
    Realtime,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_traces_say() {
        for endpoint in Endpoint::ALL {
            let said = serde_json::to_string(&endpoint).unwrap();
            assert_eq!(said, format!("\"{}\"", endpoint.name()));
            assert_eq!(Endpoint::named(endpoint.name()), Some(endpoint));
        }
        assert_eq!(Endpoint::named("chat"), None);
    }

    #[test]
    fn what_a_replay_sends_again_is_read_first() {
        for endpoint in Endpoint::ALL {
            assert!(endpoint.is_read() || !endpoint.is_inference());
            assert!(endpoint.is_inference() || !endpoint.generates());
            assert!(endpoint.is_inference() || !endpoint.has_roles());
        }
    }
}
