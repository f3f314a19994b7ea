//! What requests of each dialect are read as, and that no body brings a reader down.

use crate::anonymise::{ChainKey, Private};
use crate::dialect::{ResponseHead, ResponseObserver, observe_request};
use crate::shape::Endpoint;
use crate::shape::{Role, ToolsShape};
use proptest::prelude::*;

const KEY: ChainKey = ChainKey::from_bytes([3; 16]);

proptest! {
    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}:,\"a-z0-9.null -]{0,80}") {
        for endpoint in Endpoint::ALL {
            let _ = observe_request(endpoint, &body, &KEY);
            let _ = observe_request(endpoint, json.as_bytes(), &KEY);
            for kind in ["text/event-stream", "application/json", "application/x-ndjson", "application/grpc"] {
                let head = ResponseHead { status: 200, content_type: Some(kind), content_encoding: None };
                let mut observer = ResponseObserver::new(endpoint, head, true);
                observer.data(1, b"data: ");
                observer.data(2, &body);
                observer.data(3, json.as_bytes());
                let _ = observer.finish();
            }
        }
    }
}

#[test]
fn request_fields_are_read_wherever_they_stand() {
    let body = br#"{"stream":true,"messages":[{"role":"developer","content":"a\u00e9"},
        {"content":[{"type":"text","text":"one"},{"type":"image_url","image_url":{"url":"https://x/y.png"}}],"role":"user"},
        {"role":"assistant","content":null,"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"c","content":"done"}],
        "tools":[{"type":"function"},{"type" : "function"}],"max_completion_tokens":9,"max_tokens":5,"n":2,
        "temperature":0,"logprobs":true,"top_logprobs":3,"stop":["a","b"],"reasoning_effort":"low",
        "response_format":{"type":"json_schema","json_schema":{"name":"s"}},"unknown":{"x":[1]},"model":"gpt"}"#;
    let sight = observe_request(Endpoint::ChatCompletions, body, &KEY).unwrap();
    let messages: Vec<_> = sight
        .prompt
        .messages
        .iter()
        .map(|m| (m.role, m.bytes))
        .collect();
    assert_eq!(
        messages,
        [
            (Role::System, 3),
            (Role::User, 3),
            (Role::Assistant, 3),
            (Role::Tool, 4)
        ]
    );
    assert_eq!(
        sight.prompt.tools,
        ToolsShape {
            count: 2,
            bytes: 40
        }
    );
    assert_eq!(sight.prompt.media.len(), 1);
    let params = sight.params;
    assert_eq!(
        (params.max_tokens, params.n, params.greedy),
        (Some(9), 2, Some(true))
    );
    assert_eq!((params.logprobs, params.stop_count), (Some(3), 2));
    assert_eq!(
        (params.structured, params.schema_bytes),
        (crate::shape::Structured::JsonSchema, 12)
    );
    assert!(params.stream && !params.include_usage);
    assert_eq!(sight.model, Some(Private::new("gpt")));
}

#[test]
fn completions_take_four_kinds_of_prompt() {
    let read = |prompt: &str| {
        let body = format!("{{\"prompt\":{prompt},\"echo\":true,\"logprobs\":2}}");
        let sight = observe_request(Endpoint::Completions, body.as_bytes(), &KEY).unwrap();
        let bytes: Vec<u32> = sight.prompt.messages.iter().map(|m| m.bytes).collect();
        assert!(sight.params.echo);
        assert_eq!(sight.params.logprobs, Some(2));
        (bytes, sight.params.token_ids)
    };
    assert_eq!(read("\"four\""), (vec![4], false));
    assert_eq!(read("[\"four\",\"seven!!\"]"), (vec![4, 7], false));
    assert_eq!(read("[1,2,3]"), (vec![12], true));
    assert_eq!(read("[[1,2],[3]]"), (vec![8, 4], true));
}

#[test]
fn anthropic_content_is_read_in_template_order() {
    let body = br#"{"messages":[{"role":"user","content":[{"type":"text","text":"look"},
        {"type":"image","source":{"type":"base64","media_type":"image/gif","data":"R0lGODlhAgADAIAAAP"}}]},
        {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},
        {"type":"tool_use","id":"i","name":"f","input":{"a":1}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"i","content":[{"type":"text","text":"ok"}]}]}],
        "system":"brief","max_tokens":7,"tools":[{"name":"f"}],"thinking":{"type":"enabled","budget_tokens":100}}"#;
    let sight = observe_request(Endpoint::Messages, body, &KEY).unwrap();
    let messages: Vec<_> = sight
        .prompt
        .messages
        .iter()
        .map(|m| (m.role, m.bytes))
        .collect();
    assert_eq!(
        messages,
        [
            (Role::System, 5),
            (Role::User, 4),
            (Role::Assistant, 10),
            (Role::Tool, 2)
        ]
    );
    assert_eq!(sight.prompt.media[0].pixels, Some((2, 3)));
    assert_eq!(sight.prompt.media[0].message, 1);
    assert_eq!(sight.params.max_tokens, Some(7));
    assert_eq!(
        sight.params.reasoning_effort,
        Some(crate::shape::ReasoningEffort::Other)
    );
}

#[test]
fn nothing_here_shows_what_it_read() {
    let wrong = observe_request(Endpoint::Messages, b"{\"messages\": \"secret\"}", &KEY)
        .err()
        .unwrap();
    assert!(!format!("{wrong} {wrong:?}").contains("secret"));
    assert_eq!(format!("{:?}", Private::new("secret")), "Private(…)");
}
