//! Ollama.

use super::{JSON, KEY, messages, read, told};
use crate::dialect::observe_request;
use crate::shape::{Endpoint, FinishReason, ReasoningEffort, Role, Structured};

#[test]
fn ollama_streams_lines_unless_told_not_to() {
    let stream = "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\"},\"done\":false}\n\
        {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"yes\"},\"done\":false}\n\
        {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{}}}]},\"done\":false}\n\
        {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"total_duration\":9,\"prompt_eval_count\":26,\"eval_count\":5}\n";
    let sight = read(Endpoint::OllamaChat, "application/x-ndjson", stream);
    assert_eq!((sight.events, sight.token_events), (4, 3));
    assert_eq!(sight.answer_bytes, 3);
    assert_eq!(
        (sight.prompt_tokens, sight.output_tokens),
        (Some(26), told(5))
    );
    assert_eq!(sight.finish, Some(FinishReason::ToolCalls));
    assert!(sight.ended);
    let cut_short = "{\"response\":\"a\",\"done\":false}\n{\"response\":\"\",\"done\":true,\"done_reason\":\"length\",\"eval_count\":1}";
    let sight = read(Endpoint::OllamaGenerate, "application/x-ndjson", cut_short);
    assert_eq!(sight.finish, Some(FinishReason::Length));
    let error = "{\"response\":\"a\",\"done\":false}\n{\"error\":\"out of memory\"}\n";
    let sight = read(Endpoint::OllamaGenerate, "application/x-ndjson", error);
    assert!(sight.error && !sight.ended);
    let whole = r#"{"model":"m","response":"yes","done":true,"done_reason":"stop","context":[1,2],"prompt_eval_count":3,"eval_count":4}"#;
    let sight = read(Endpoint::OllamaGenerate, JSON, whole);
    assert_eq!(
        (sight.prompt_tokens, sight.output_tokens),
        (Some(3), told(4))
    );
    let vectors = r#"{"model":"m","embeddings":[[0.1]],"total_duration":1,"prompt_eval_count":6}"#;
    let sight = read(Endpoint::OllamaEmbed, JSON, vectors);
    assert_eq!((sight.prompt_tokens, sight.output_tokens), (Some(6), None));
}

#[test]
fn ollama_requests_have_options() {
    let body = r#"{"model":"m","messages":[{"role":"system","content":"be"},{"role":"user","content":"look","images":["R0lGODlhAgADAIAAAP"]},
        {"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},{"role":"tool","content":"ok"}],
        "tools":[{"type":"function"}],"options":{"num_predict":7,"temperature":0,"stop":["a","b"],"num_ctx":4096},"format":{"type":"object"},"think":true}"#;
    let sight = observe_request(Endpoint::OllamaChat, body.as_bytes(), &KEY).unwrap();
    let params = sight.params;
    assert!(params.stream, "the default");
    assert_eq!((params.max_tokens, params.stop_count), (Some(7), 2));
    assert_eq!(
        (params.structured, params.schema_bytes),
        (Structured::JsonSchema, 17)
    );
    assert_eq!(params.reasoning_effort, Some(ReasoningEffort::Other));
    assert_eq!(sight.prompt.media[0].pixels, Some((2, 3)));
    assert_eq!(
        messages(Endpoint::OllamaChat, body),
        [
            (Role::System, 2),
            (Role::User, 4),
            (Role::Assistant, 8),
            (Role::Tool, 2)
        ]
    );
    let body = r#"{"model":"m","system":"be","prompt":"go on","suffix":"end","context":[1],"stream":false,"format":"json","options":{"num_predict":-1}}"#;
    let sight = observe_request(Endpoint::OllamaGenerate, body.as_bytes(), &KEY).unwrap();
    let params = sight.params;
    assert!(params.continues && !params.stream);
    assert_eq!(
        (params.max_tokens, params.structured),
        (None, Structured::JsonObject)
    );
    assert_eq!(
        messages(Endpoint::OllamaGenerate, body),
        [(Role::System, 2), (Role::User, 8)]
    );
    for (body, sizes) in [
        (r#"{"model":"m","input":["a","bc"]}"#, &[1_u32, 2][..]),
        (r#"{"model":"m","prompt":"abc"}"#, &[3]),
    ] {
        let seen: Vec<u32> = messages(Endpoint::OllamaEmbed, body)
            .iter()
            .map(|(_, bytes)| *bytes)
            .collect();
        assert_eq!(seen, sizes);
    }
}
