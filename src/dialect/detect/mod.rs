//! Which dialect an exchange speaks: by its path, or as an operator says, or, where neither does, by the request's body.

mod body;
mod rule;

pub use body::endpoint_of_body;
pub use rule::{DialectRule, RuleError, detect};

use crate::shape::{Endpoint, Method};

/// What a path tells of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detected {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// What that rests on.
    pub told: Told,
}

/// What an exchange's endpoint rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Told {
    /// Its path, or what an operator says of it.
    #[default]
    ByPath,
    /// Its path, which others use too: it is this endpoint only if the request's body is of its form, and `other` if not.
    IfBodyFits,
    /// Nothing, for its path says nothing; a body of JSON may (see [`endpoint_of_body`]), and then the answer must bear it out.
    ByBody,
}

/// Which endpoint a request speaks to, from its method and path (query excluded).
///
/// By the path's end, since a gateway may mount an API anywhere (`/openai/v1/chat/completions`); one trailing slash is
/// tolerated.
pub fn endpoint_of(method: Method, path: &str) -> Detected {
    let path = path.strip_suffix('/').unwrap_or(path);
    let found = TABLE
        .iter()
        .find(|(allowed, suffix, _)| allowed.contains(&method) && path.ends_with(suffix));
    let endpoint = found.map_or(Endpoint::Other, |&(_, _, endpoint)| endpoint);
    let is_tgis = matches!(
        endpoint,
        Endpoint::TgiGenerate | Endpoint::TgiGenerateStream
    );
    if (is_tgis || found.is_none() && method == Method::Post)
        && let Some((_, verb)) = triton_model(path)
    {
        return Detected {
            endpoint: match verb {
                "infer" => Endpoint::Infer,
                "generate" => Endpoint::TritonGenerate,
                "generate_stream" => Endpoint::TritonGenerateStream,
                _ => Endpoint::Other,
            },
            told: Told::ByPath,
        };
    }
    let told = match found {
        // SGLang and vLLM's own server have bodies of their own here.
        Some(_) if is_tgis => Told::IfBodyFits,
        None if method == Method::Post => Told::ByBody,
        _ => Told::ByPath,
    };
    Detected { endpoint, told }
}

/// The model that an endpoint's path names, where it is the path that names it.
pub fn model_in_path(endpoint: Endpoint, path: &str) -> Option<&str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    match endpoint {
        Endpoint::GeminiGenerate | Endpoint::GeminiStream => {
            let (_, last) = path.rsplit_once('/')?;
            last.split_once(':').map(|(model, _)| model)
        }
        Endpoint::Infer | Endpoint::TritonGenerate | Endpoint::TritonGenerateStream => {
            triton_model(path).map(|(model, _)| model)
        }
        _ => None,
    }
}

/// Model and verb of `…/v2/models/MODEL[/versions/VERSION]/VERB`.
fn triton_model(path: &str) -> Option<(&str, &str)> {
    let (_, rest) = path.split_once("/v2/models/")?;
    let mut parts = rest.split('/');
    let model = parts.next().filter(|model| !model.is_empty())?;
    let verb = match (parts.next()?, parts.next()) {
        ("versions", Some(_)) => parts.next()?,
        (verb, None) => verb,
        _ => return None,
    };
    parts.next().is_none().then_some((model, verb))
}

const ASK: &[Method] = &[Method::Get, Method::Head];
const GET: &[Method] = &[Method::Get];
const POST: &[Method] = &[Method::Post];

/// The first match counts, so longer endings stand above shorter ones.
const TABLE: &[(&[Method], &str, Endpoint)] = &[
    (POST, "/chat/completions", Endpoint::ChatCompletions),
    // Bodies as those of chats and completions, and no text is generated.
    (POST, "/images/generations", Endpoint::Other),
    (POST, "/images/edits", Endpoint::Other),
    (POST, "/videos", Endpoint::Other),
    (POST, "/threads", Endpoint::Other),
    (POST, "/token_counter", Endpoint::Other),
    (POST, "/count_tokens", Endpoint::Other),
    (POST, ":countTokens", Endpoint::Other),
    (POST, "/apply-template", Endpoint::Other),
    (POST, "/completions/render", Endpoint::Other),
    (POST, "/completions", Endpoint::Completions),
    (POST, "/v1/messages", Endpoint::Messages),
    (POST, "/v1/responses", Endpoint::Responses),
    (POST, "/openai/responses", Endpoint::Responses),
    (POST, "/api/embeddings", Endpoint::OllamaEmbed),
    (POST, "/embeddings", Endpoint::Embeddings),
    (POST, "/api/generate", Endpoint::OllamaGenerate),
    (POST, "/api/chat", Endpoint::OllamaChat),
    (POST, "/api/embed", Endpoint::OllamaEmbed),
    (POST, ":generateContent", Endpoint::GeminiGenerate),
    (POST, ":streamGenerateContent", Endpoint::GeminiStream),
    (POST, "/v2/chat", Endpoint::CohereChat),
    (
        POST,
        "/inference.GRPCInferenceService/ModelInfer",
        Endpoint::GrpcInfer,
    ),
    (
        POST,
        "/inference.GRPCInferenceService/ModelStreamInfer",
        Endpoint::GrpcStreamInfer,
    ),
    (POST, "/generate", Endpoint::TgiGenerate),
    (POST, "/generate_stream", Endpoint::TgiGenerateStream),
    (GET, "/v1/realtime", Endpoint::Realtime),
    (GET, "/v1/models", Endpoint::Models),
    (POST, "/tokenize", Endpoint::Tokenize),
    (POST, "/detokenize", Endpoint::Detokenize),
    (POST, "/rerank", Endpoint::Rerank),
    (POST, "/score", Endpoint::Score),
    (POST, "/pooling", Endpoint::Pooling),
    (POST, "/classify", Endpoint::Classify),
    (GET, "/version", Endpoint::Version),
    (GET, "/metrics", Endpoint::Metrics),
    (ASK, "/health", Endpoint::Health),
    (ASK, "/healthz", Endpoint::Health),
    (ASK, "/readyz", Endpoint::Health),
    (ASK, "/livez", Endpoint::Health),
    (ASK, "/ping", Endpoint::Health),
    (ASK, "/health/ready", Endpoint::Health),
    (ASK, "/health/live", Endpoint::Health),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_known_by_the_paths_end() {
        for (method, path, endpoint) in [
            (
                Method::Post,
                "/v1/chat/completions",
                Endpoint::ChatCompletions,
            ),
            (
                Method::Post,
                "/openai/v1/chat/completions/",
                Endpoint::ChatCompletions,
            ),
            (Method::Post, "/v1/completions", Endpoint::Completions),
            (Method::Post, "/anthropic/v1/messages", Endpoint::Messages),
            (Method::Post, "/v1/messages/count_tokens", Endpoint::Other),
            (
                Method::Post,
                "/v1beta/models/g:countTokens",
                Endpoint::Other,
            ),
            (Method::Post, "/v1/images/generations", Endpoint::Other),
            (Method::Get, "/v1/messages", Endpoint::Other),
            (Method::Get, "/v1/models", Endpoint::Models),
            (Method::Get, "/v1/models/abc", Endpoint::Other),
            (Method::Get, "/v2/health/ready", Endpoint::Health),
            (Method::Get, "/", Endpoint::Other),
            (Method::Other, "", Endpoint::Other),
            (Method::Post, "/v1/responses", Endpoint::Responses),
            (Method::Get, "/v1/responses", Endpoint::Other),
            (
                Method::Post,
                "/openai/deployments/d/embeddings",
                Endpoint::Embeddings,
            ),
            (Method::Post, "/api/embeddings", Endpoint::OllamaEmbed),
            (Method::Post, "/api/embed", Endpoint::OllamaEmbed),
            (Method::Post, "/api/generate", Endpoint::OllamaGenerate),
            (Method::Post, "/ollama/api/chat", Endpoint::OllamaChat),
            (Method::Post, "/v2/chat", Endpoint::CohereChat),
            (
                Method::Post,
                "/v2/models/m/versions/1/generate",
                Endpoint::TritonGenerate,
            ),
            (
                Method::Post,
                "/v2/models/m/generate_stream",
                Endpoint::TritonGenerateStream,
            ),
            (Method::Post, "/kserve/v2/models/m/infer", Endpoint::Infer),
            (Method::Post, "/v2/models/m/load", Endpoint::Other),
            (Method::Get, "/v2/models/m", Endpoint::Other),
            (
                Method::Post,
                "/inference.GRPCInferenceService/ModelInfer",
                Endpoint::GrpcInfer,
            ),
            (Method::Get, "/v1/realtime", Endpoint::Realtime),
            (Method::Post, "/v1/rerank", Endpoint::Rerank),
            (Method::Get, "/version", Endpoint::Version),
        ] {
            let expected = Detected {
                endpoint,
                told: Told::ByPath,
            };
            assert_eq!(endpoint_of(method, path), expected, "{method:?} {path}");
        }
    }

    #[test]
    fn paths_that_do_not_say_enough_are_left_to_the_body() {
        for (path, endpoint, told) in [
            ("/generate", Endpoint::TgiGenerate, Told::IfBodyFits),
            ("/", Endpoint::Other, Told::ByBody),
            (
                "/m/generate_stream",
                Endpoint::TgiGenerateStream,
                Told::IfBodyFits,
            ),
            ("/invocations", Endpoint::Other, Told::ByBody),
            ("/v1/responses/abc/cancel", Endpoint::Other, Told::ByBody),
        ] {
            let expected = Detected { endpoint, told };
            assert_eq!(endpoint_of(Method::Post, path), expected, "{path}");
        }
    }

    #[test]
    fn models_are_found_in_paths_that_name_them() {
        let vertex = "/v1/projects/p/locations/l/publishers/google/models/g-2.5:generateContent";
        for (method, path, model) in [
            (Method::Post, vertex, Some("g-2.5")),
            (
                Method::Post,
                "/v1beta/models/g:streamGenerateContent",
                Some("g"),
            ),
            (Method::Post, "/v2/models/llama/infer", Some("llama")),
            (
                Method::Post,
                "/v2/models/llama/versions/3/generate",
                Some("llama"),
            ),
            (Method::Post, "/v1/chat/completions", None),
        ] {
            let endpoint = endpoint_of(method, path).endpoint;
            assert_ne!(endpoint, Endpoint::Other);
            assert_eq!(model_in_path(endpoint, path), model, "{path}");
        }
    }
}
