//! The names that OpenTelemetry's semantic conventions for generative AI have (v1.41 and the repository of their own after it), in one place,
//! since they are still called experimental.

use crate::shape::{Endpoint, FinishReason};

pub(super) const OPERATION: &str = "gen_ai.operation.name";
pub(super) const PROVIDER: &str = "gen_ai.provider.name";
/// What [`PROVIDER`] was called until v1.37; LangSmith still reads it.
pub(super) const SYSTEM: &str = "gen_ai.system";
pub(super) const REQUEST_MODEL: &str = "gen_ai.request.model";
pub(super) const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
pub(super) const CONVERSATION: &str = "gen_ai.conversation.id";
pub(super) const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
pub(super) const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
pub(super) const CACHED_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
pub(super) const STREAM: &str = "gen_ai.request.stream";
pub(super) const TOKEN_TYPE: &str = "gen_ai.token.type";
pub(super) const ERROR_TYPE: &str = "error.type";
pub(super) const SERVER_ADDRESS: &str = "server.address";
pub(super) const SERVER_PORT: &str = "server.port";
pub(super) const STATUS_CODE: &str = "http.response.status_code";
/// The name of a metric, and of the attribute that has it for one request.
pub(super) const TIME_TO_FIRST_TOKEN: &str = "gen_ai.server.time_to_first_token";
pub(super) const TIME_PER_OUTPUT_TOKEN: &str = "gen_ai.server.time_per_output_token";
pub(super) const DURATION: &str = "gen_ai.client.operation.duration";
pub(super) const TOKEN_USAGE: &str = "gen_ai.client.token.usage";

/// Upper bounds in seconds.
pub(super) const DURATION_BOUNDS: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
/// Upper bounds in seconds.
pub(super) const FIRST_TOKEN_BOUNDS: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// Upper bounds in seconds.
pub(super) const PER_TOKEN_BOUNDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
];
/// Upper bounds in tokens.
pub(super) const TOKEN_BOUNDS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// What was asked for.
pub(super) const fn operation(endpoint: Option<Endpoint>) -> &'static str {
    match endpoint {
        Some(Endpoint::Embeddings | Endpoint::OllamaEmbed) => "embeddings",
        Some(
            Endpoint::Completions
            | Endpoint::OllamaGenerate
            | Endpoint::TgiGenerate
            | Endpoint::TgiGenerateStream
            | Endpoint::TritonGenerate
            | Endpoint::TritonGenerateStream,
        ) => "text_completion",
        Some(Endpoint::GeminiGenerate | Endpoint::GeminiStream) => "generate_content",
        _ => "chat",
    }
}

/// Whose API was spoken; of who answered, nobody knows more.
pub(super) const fn provider(endpoint: Option<Endpoint>) -> &'static str {
    match endpoint {
        Some(Endpoint::Messages) => "anthropic",
        Some(Endpoint::CohereChat) => "cohere",
        Some(Endpoint::GeminiGenerate | Endpoint::GeminiStream) => "gcp.gemini",
        Some(Endpoint::OllamaGenerate | Endpoint::OllamaChat | Endpoint::OllamaEmbed) => "ollama",
        Some(Endpoint::TgiGenerate | Endpoint::TgiGenerateStream) => "tgi",
        Some(
            Endpoint::TritonGenerate
            | Endpoint::TritonGenerateStream
            | Endpoint::Infer
            | Endpoint::GrpcInfer
            | Endpoint::GrpcStreamInfer,
        ) => "triton",
        _ => "openai",
    }
}

/// As the conventions' examples have it.
pub(super) fn finish(reason: FinishReason) -> String {
    serde_json::to_value(reason)
        .ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default()
}
