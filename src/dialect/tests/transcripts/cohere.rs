//! Cohere.

use super::{JSON, KEY, SSE, messages, read, told};
use crate::dialect::observe_request;
use crate::shape::{Endpoint, FinishReason, ReasoningEffort, Role, Structured};

#[test]
fn cohere_plans_before_it_calls() {
    let stream = "event: message-start\ndata: {\"id\":\"x\",\"type\":\"message-start\",\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[],\"tool_plan\":\"\",\"tool_calls\":[],\"citations\":[]}}}\n\n\
        event: tool-plan-delta\ndata: {\"type\":\"tool-plan-delta\",\"delta\":{\"message\":{\"tool_plan\":\"I\"}}}\n\n\
        event: tool-call-start\ndata: {\"type\":\"tool-call-start\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}}}}\n\n\
        event: tool-call-delta\ndata: {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"function\":{\"arguments\":\"{\"}}}}}\n\n\
        event: content-start\ndata: {\"type\":\"content-start\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"type\":\"text\",\"text\":\"\"}}}}\n\n\
        event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"a\"}}}}\n\n\
        event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"TOOL_CALL\",\"usage\":{\"billed_units\":{\"input_tokens\":3,\"output_tokens\":4},\"tokens\":{\"input_tokens\":70.0,\"output_tokens\":8.0}}}}\n\n\
        data: [DONE]\n\n";
    let sight = read(Endpoint::CohereChat, SSE, stream);
    assert_eq!((sight.token_events, sight.tool_calls), (4, 1));
    assert_eq!(
        (sight.prompt_tokens, sight.output_tokens),
        (Some(70), told(8))
    );
    assert_eq!(
        (sight.finish, sight.ended),
        (Some(FinishReason::ToolCalls), true)
    );
    let whole = r#"{"id":"x","finish_reason":"MAX_TOKENS","message":{"role":"assistant","content":[{"type":"text","text":"a"}]},"usage":{"tokens":{"input_tokens":7,"output_tokens":1},"cached_tokens":2}}"#;
    let sight = read(Endpoint::CohereChat, JSON, whole);
    assert_eq!(
        (sight.finish, sight.cached_tokens),
        (Some(FinishReason::Length), Some(2))
    );
    let asked = r#"{"model":"m","messages":[{"role":"user","content":"hello"}],"documents":["abc",{"data":{"t":"d"}}],"max_tokens":3,"k":1,"stream":true,
        "response_format":{"type":"json_object","json_schema":{"a":1}},"thinking":{"type":"disabled"},"stop_sequences":["x"]}"#;
    let sight = observe_request(Endpoint::CohereChat, asked.as_bytes(), &KEY).unwrap();
    let params = sight.params;
    assert_eq!(
        (params.greedy, params.structured, params.schema_bytes),
        (Some(true), Structured::JsonSchema, 7)
    );
    assert_eq!(params.reasoning_effort, Some(ReasoningEffort::None));
    assert_eq!(
        messages(Endpoint::CohereChat, asked),
        [(Role::System, 23), (Role::User, 5)]
    );
}
