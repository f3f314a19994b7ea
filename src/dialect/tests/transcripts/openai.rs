//! OpenAI's responses and embeddings.

use super::{JSON, KEY, SSE, messages, read, told};
use crate::anonymise::Private;
use crate::dialect::observe_request;
use crate::shape::{Endpoint, FinishReason, MediaKind, ReasoningEffort, Role, Structured};

#[test]
fn responses_think_call_and_answer() {
    let stream = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"status\":\"in_progress\",\"usage\":null,\"output\":[]}}\n\n\
        event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"item\":{\"type\":\"reasoning\"}}\n\n\
        event: response.reasoning_summary_text.delta\ndata: {\"type\":\"response.reasoning_summary_text.delta\",\"delta\":\"hm\"}\n\n\
        event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"item\":{\"type\":\"function_call\",\"name\":\"f\"}}\n\n\
        event: response.function_call_arguments.delta\ndata: {\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{}\"}\n\n\
        event: response.function_call_arguments.done\ndata: {\"type\":\"response.function_call_arguments.done\",\"arguments\":\"{}\"}\n\n\
        event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[{\"type\":\"reasoning\"},{\"type\":\"function_call\"}],\
        \"usage\":{\"input_tokens\":30,\"input_tokens_details\":{\"cached_tokens\":16},\"output_tokens\":9,\"output_tokens_details\":{\"reasoning_tokens\":4}}}}\n\n";
    let sight = read(Endpoint::Responses, SSE, stream);
    // A thought, the name of what is called, and what it is called with.
    assert_eq!((sight.token_events, sight.tool_calls), (3, 1));
    assert_eq!(sight.answer_bytes, 0, "calls are items of their own");
    assert_eq!(sight.output_tokens, told(9));
    assert_eq!(
        (
            sight.prompt_tokens,
            sight.cached_tokens,
            sight.reasoning_tokens
        ),
        (Some(30), Some(16), Some(4))
    );
    assert_eq!(sight.finish, Some(FinishReason::ToolCalls));
    assert!(sight.ended && sight.first_answer_us.is_some());

    let cut_short = r#"{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[{"type":"message"}],"usage":{"input_tokens":1,"output_tokens":2}}"#;
    let sight = read(Endpoint::Responses, JSON, cut_short);
    assert_eq!(sight.finish, Some(FinishReason::Length));
    let failed = "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"x\"}}}\n\n";
    assert!(read(Endpoint::Responses, SSE, failed).error);
}

#[test]
fn responses_take_items_and_say_what_the_server_keeps() {
    let body = r#"{"model":"m","instructions":"brief","input":[{"role":"user","content":"hello"},
        {"type":"message","role":"assistant","content":[{"type":"output_text","text":"yes?"}]},
        {"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"abc"},
        {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
        {"type":"function_call_output","call_id":"c","output":"done"},
        {"type":"computer_call_output","call_id":"d","output":{"type":"input_image","image_url":"https://x/y.png"}},
        {"type":"tool_search_call","arguments":{"q":1}},
        {"role":"user","content":[{"type":"input_text","text":"and"},{"type":"input_image","image_url":"data:image/gif;base64,R0lGODlhAgADAIAAAP"},
        {"type":"input_file","file_id":"file-1"}]}],
        "tools":[{"type":"function","name":"f"}],"max_output_tokens":7,"stream":true,"previous_response_id":"resp_1",
        "reasoning":{"effort":"high"},"text":{"format":{"type":"json_schema","schema":{"a":1}}},"top_logprobs":2,"temperature":0}"#;
    let sight = observe_request(Endpoint::Responses, body.as_bytes(), &KEY).unwrap();
    assert_eq!(
        messages(Endpoint::Responses, body),
        [
            (Role::System, 5),
            (Role::User, 5),
            (Role::Assistant, 4),
            (Role::Assistant, 5),
            (Role::Assistant, 3),
            (Role::Tool, 4),
            (Role::Tool, 0),
            (Role::Assistant, 7),
            (Role::User, 3)
        ]
    );
    let kinds: Vec<_> = sight.prompt.media.iter().map(|it| it.kind).collect();
    assert_eq!(
        kinds,
        [MediaKind::Image, MediaKind::Image, MediaKind::Document]
    );
    assert_eq!(sight.prompt.media[1].pixels, Some((2, 3)));
    let params = sight.params;
    assert!(params.continues && params.stream);
    assert_eq!((params.max_tokens, params.logprobs), (Some(7), Some(2)));
    assert_eq!(params.reasoning_effort, Some(ReasoningEffort::High));
    assert_eq!(
        (params.structured, params.schema_bytes),
        (Structured::JsonSchema, 7)
    );
    assert_eq!(
        messages(Endpoint::Responses, r#"{"input":"four"}"#),
        [(Role::User, 4)]
    );
    for continues in [
        r#"{"input":[{"type":"item_reference","id":"x"}]}"#,
        r#"{"input":"a","conversation":"c"}"#,
        r#"{"prompt":{"id":"p"}}"#,
    ] {
        let sight = observe_request(Endpoint::Responses, continues.as_bytes(), &KEY).unwrap();
        assert!(sight.params.continues, "{continues}");
    }
}

#[test]
fn an_answer_of_responses_has_a_name_to_go_on_from() {
    let named = Some(Private::new("resp_7"));
    let whole = r#"{"id":"resp_7","status":"completed","output":[]}"#;
    assert_eq!(read(Endpoint::Responses, JSON, whole).answer_name, named);
    let last = format!(
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{whole}}}\n\n"
    );
    let sight = read(Endpoint::Responses, "text/event-stream", &last);
    assert_eq!(sight.answer_name, named);
}

#[test]
fn embeddings_cost_a_prompt_and_no_answer() {
    let answer = r#"{"object":"list","data":[{"embedding":[0.1,-0.2],"index":0}],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8,"completion_tokens":0}}"#;
    let sight = read(Endpoint::Embeddings, JSON, answer);
    assert_eq!((sight.prompt_tokens, sight.output_tokens), (Some(8), None));
    assert!(sight.ended && sight.finish.is_none());
    assert_eq!(
        messages(
            Endpoint::Embeddings,
            r#"{"input":["one","three"],"model":"m"}"#
        ),
        [(Role::User, 3), (Role::User, 5)]
    );
    let ids = observe_request(Endpoint::Embeddings, br#"{"input":[1,2]}"#, &KEY).unwrap();
    assert!(ids.params.token_ids);
    assert!(observe_request(Endpoint::Embeddings, br#"{"model":"m"}"#, &KEY).is_err());
}
