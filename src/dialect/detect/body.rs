//! What a request's body says where its path says nothing: a gateway with one path for all, SageMaker's `/invocations`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::json;
use crate::shape::Endpoint;

/// Which endpoint a body of JSON is for, by fields that tell APIs apart; `None` where none is there. Others have such fields too
/// (a prompt for a picture): whoever believes it must look whether the answer is that endpoint's.
pub fn endpoint_of_body(body: &[u8]) -> Option<Endpoint> {
    let fields: Fields<'_> = json::read(body).ok()?;
    let is_ollamas = is(fields.options, "{") || fields.keep_alive.is_some();
    if is(fields.messages, "[") {
        return Some(match fields {
            _ if is_ollamas => Endpoint::OllamaChat,
            Fields {
                system: None,
                anthropic_version: None,
                ..
            } => Endpoint::ChatCompletions,
            _ => Endpoint::Messages,
        });
    }
    if is(fields.contents, "[") {
        return Some(Endpoint::GeminiGenerate);
    }
    if is(fields.text_input, "\"") {
        return Some(Endpoint::TritonGenerate);
    }
    if is(fields.inputs, "\"") {
        return Some(Endpoint::TgiGenerate);
    }
    is(fields.prompt, "\"[").then_some(match is_ollamas {
        true => Endpoint::OllamaGenerate,
        false => Endpoint::Completions,
    })
}

/// Whether a value begins with one of these.
fn is(value: Option<&RawValue>, begins: &str) -> bool {
    value.is_some_and(|value| value.get().starts_with(|first| begins.contains(first)))
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
    #[serde(borrow, default)]
    system: Option<&'a RawValue>,
    #[serde(borrow, default)]
    anthropic_version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    options: Option<&'a RawValue>,
    #[serde(borrow, default)]
    keep_alive: Option<&'a RawValue>,
    #[serde(borrow, default)]
    contents: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text_input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    inputs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompt: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_told_apart_by_their_fields() {
        for (body, endpoint) in [
            (
                r#"{"model":"m","messages":[]}"#,
                Some(Endpoint::ChatCompletions),
            ),
            (
                r#"{"messages": [{"role":"user"}],"system":"s","max_tokens":1}"#,
                Some(Endpoint::Messages),
            ),
            (
                r#"{"anthropic_version":"bedrock-2023-05-31","messages":[]}"#,
                Some(Endpoint::Messages),
            ),
            (
                r#"{"messages":[],"options":{"num_ctx":1}}"#,
                Some(Endpoint::OllamaChat),
            ),
            (
                r#"{"messages":[],"keep_alive":0}"#,
                Some(Endpoint::OllamaChat),
            ),
            (
                r#"{"contents":[{"parts":[]}]}"#,
                Some(Endpoint::GeminiGenerate),
            ),
            (r#"{"text_input":"a"}"#, Some(Endpoint::TritonGenerate)),
            (
                r#"{"inputs":"a","parameters":{}}"#,
                Some(Endpoint::TgiGenerate),
            ),
            (r#"{"inputs":["a","b"]}"#, None),
            (r#"{"prompt":"a"}"#, Some(Endpoint::Completions)),
            (r#"{"prompt":[1,2]}"#, Some(Endpoint::Completions)),
            (r#"{"prompt":{"a":1}}"#, None),
            (
                r#"{"prompt":"a","options":{}}"#,
                Some(Endpoint::OllamaGenerate),
            ),
            (r#"{"messages":"none","prompt":null}"#, None),
            (r#"{"input":"a"}"#, None),
            (r#"["messages"]"#, None),
            ("messages", None),
        ] {
            assert_eq!(endpoint_of_body(body.as_bytes()), endpoint, "{body}");
        }
    }
}
