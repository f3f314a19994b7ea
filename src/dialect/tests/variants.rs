//! Forms that servers and clients have beside the plainest one: each was once misread here, or could be.

use crate::anonymise::ChainKey;
use crate::dialect::{
    RequestSight, ResponseHead, ResponseObserver, ResponseSight, observe_request,
};
use crate::shape::{
    Endpoint, FinishReason, MediaKind, ReasoningEffort, Role, Structured, TokenCount, TokenSource,
};

const KEY: ChainKey = ChainKey::from_bytes([3; 16]);

fn answer(endpoint: Endpoint, kind: &str, body: &str) -> ResponseSight {
    let head = ResponseHead {
        status: 200,
        content_type: Some(kind),
        content_encoding: None,
    };
    let mut observer = ResponseObserver::new(endpoint, head, false);
    observer.data(7, body.as_bytes());
    let sight = observer.finish();
    assert!(!sight.unparsable, "{body}");
    sight
}

/// A stream of these events, named as their `type` says where they have one.
fn stream(endpoint: Endpoint, events: &[&str]) -> ResponseSight {
    let named = |data: &&str| {
        let read: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
        let name = read["type"].as_str().map(|name| format!("event: {name}\n"));
        format!("{}data: {data}\n\n", name.unwrap_or_default())
    };
    let body: String = events.iter().map(named).collect();
    answer(endpoint, "text/event-stream", &body)
}

fn plain(endpoint: Endpoint, body: &str) -> ResponseSight {
    answer(endpoint, "application/json", body)
}

fn request(endpoint: Endpoint, body: &str) -> RequestSight {
    observe_request(endpoint, body.as_bytes(), &KEY).unwrap_or_else(|why| panic!("{why}: {body}"))
}

fn messages(endpoint: Endpoint, body: &str) -> Vec<(Role, u32)> {
    let messages = request(endpoint, body).prompt.messages;
    messages.iter().map(|it| (it.role, it.bytes)).collect()
}

fn tokens(count: u32, source: TokenSource) -> Option<TokenCount> {
    Some(TokenCount { count, source })
}

#[test]
fn what_a_claude_stream_counts_at_its_start_is_not_what_it_said() {
    let start =
        r#"{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}"#;
    let delta = r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}"#;
    let cut = stream(Endpoint::Messages, &[start, delta, delta, delta]);
    assert_eq!(cut.output_tokens, tokens(3, TokenSource::Counted));
    assert_eq!(cut.prompt_tokens, Some(9));
    let end = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},
        "usage":{"output_tokens":8,"output_tokens_details":{"thinking_tokens":5}}}"#
        .replace('\n', "");
    let whole = stream(Endpoint::Messages, &[start, delta, &end]);
    assert_eq!(whole.output_tokens, tokens(8, TokenSource::Usage));
    assert_eq!(whole.reasoning_tokens, Some(5));
}

#[test]
fn a_call_without_arguments_is_a_token_all_the_same() {
    let claude = stream(
        Endpoint::Messages,
        &[
            r#"{"type":"content_block_start","content_block":{"type":"tool_use","name":"now","input":{}}}"#,
            r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":""}}"#,
        ],
    );
    assert_eq!((claude.token_events, claude.tool_calls), (1, 1));
    assert_eq!(claude.first_answer_us, Some(7));
    let responses = stream(
        Endpoint::Responses,
        &[
            r#"{"type":"response.output_item.added","item":{"type":"function_call","name":"now","arguments":""}}"#,
            r#"{"type":"response.output_item.added","item":{"type":"web_search_call"}}"#,
            r#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"custom_tool_call"}]}}"#,
        ],
    );
    // A search at the server's has no name, and says nothing by its start.
    assert_eq!((responses.token_events, responses.tool_calls), (1, 2));
    assert_eq!(responses.finish, Some(FinishReason::ToolCalls));
}

#[test]
fn responses_speak_and_type_commands() {
    for kind in ["audio.transcript", "shell_call_command"] {
        let event = format!(r#"{{"type":"response.{kind}.delta","delta":"ls"}}"#);
        let sight = stream(Endpoint::Responses, &[&event]);
        assert_eq!((sight.token_events, sight.answer_bytes), (1, 0), "{kind}");
    }
    // What a tool gave is no token of the model's.
    let gave = r#"{"type":"response.shell_call_output_content.delta","delta":"ls"}"#;
    assert_eq!(stream(Endpoint::Responses, &[gave]).token_events, 0);
}

#[test]
fn claude_is_sent_what_was_found_and_documents_of_parts() {
    let found = r#"{"messages":[{"role":"user","content":[{"type":"search_result","source":"https://x",
        "title":"abc","content":[{"type":"text","text":"defg"}]},{"type":"text","text":"?"}]}]}"#;
    assert_eq!(messages(Endpoint::Messages, found), [(Role::User, 8)]);
    let document = |source: &str| {
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"document","title":"ab","context":"c","source":{source}}}]}}]}}"#
        );
        let sight = request(Endpoint::Messages, &body);
        (sight.prompt.messages[0].bytes, sight.prompt.media.len())
    };
    let parts = r#"{"type":"content","content":[{"type":"text","text":"defg"},{"type":"image","source":{"type":"url","url":"https://x"}}]}"#;
    assert_eq!(document(parts), (7, 1));
    assert_eq!(document(r#"{"type":"content","content":"defg"}"#), (7, 0));
    assert_eq!(document(r#"{"type":"text","data":"defg"}"#), (7, 0));
    assert_eq!(document(r#"{"type":"url","url":"https://x"}"#), (3, 1));
}

#[test]
fn claude_is_asked_for_a_schema() {
    let body = r#"{"messages":[],"output_config":{"effort":"low","format":{"type":"json_schema","schema":{"a":1}}}}"#;
    let params = request(Endpoint::Messages, body).params;
    assert_eq!(
        (params.structured, params.schema_bytes),
        (Structured::JsonSchema, 7)
    );
}

#[test]
fn an_empty_finish_reason_is_none() {
    let piece = r#"{"choices":[{"delta":{"content":"a"},"finish_reason":""}]}"#;
    let last = r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#;
    let sight = stream(Endpoint::ChatCompletions, &[piece, piece, last, "[DONE] "]);
    assert_eq!(sight.finish, Some(FinishReason::Length));
    assert!(sight.ended);
}

#[test]
fn a_stream_that_ends_with_every_choices_reason_is_whole_without_a_mark() {
    let says = |index: u32, reason: &str| {
        format!(
            r#"{{"choices":[{{"index":{index},"delta":{{"content":"a"}},"finish_reason":{reason}}}]}}"#
        )
    };
    let (open, done) = ("null", "\"stop\"");
    let ended = |events: &[String]| {
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        stream(Endpoint::ChatCompletions, &events).ended
    };
    assert!(ended(&[says(0, open), says(0, open), says(0, done)]));
    assert!(ended(&[
        says(0, open),
        says(1, open),
        says(0, done),
        says(1, done)
    ]));
    assert!(!ended(&[says(0, open), says(0, open)]));
    assert!(!ended(&[says(0, open), says(1, open), says(0, done)]));
    assert!(!ended(&[says(0, done), says(1, open)]));
    assert!(!ended(&[]));
}

#[test]
fn media_may_be_no_more_than_their_address() {
    let body = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"see"},
        {"type":"image_url","image_url":"data:image/gif;base64,R0lGODlhAgADAIAAAP"},
        {"type":"video_url","video_url":"https://x"},{"type":"input_audio","input_audio":"AAAA"}]}]}"#;
    let prompt = request(Endpoint::ChatCompletions, body).prompt;
    let media: Vec<_> = prompt.media.iter().map(|it| (it.kind, it.bytes)).collect();
    assert_eq!(
        media,
        [
            (MediaKind::Image, 13),
            (MediaKind::Video, 0),
            (MediaKind::Audio, 3)
        ]
    );
    assert_eq!(prompt.media[0].pixels, Some((2, 3)));
}

#[test]
fn what_an_assistant_thought_and_called_is_its_message() {
    let said = |message: &str| {
        let body = format!(r#"{{"messages":[{{"role":"assistant",{message}}}]}}"#);
        messages(Endpoint::ChatCompletions, &body)
    };
    for message in [
        r#""reasoning_content":"abcd","content":null"#,
        r#""reasoning":"abcd","content":"""#,
        r#""content":[{"type":"thinking","thinking":"abcd"}]"#,
        r#""content":[{"type":"thinking","thinking":[{"type":"text","text":"abcd"}]}]"#,
        r#""tool_calls":[{"type":"custom","custom":{"name":"ab","input":"cd"}}]"#,
        r#""function_call":{"name":"ab","arguments":"cd"}"#,
    ] {
        assert_eq!(said(message), [(Role::Assistant, 4)], "{message}");
    }
    let both = r#""reasoning_content":"abcd","reasoning":"abcd""#;
    assert_eq!(said(both), [(Role::Assistant, 4)], "one under two names");
    let functions = r#"{"messages":[],"functions":[{"name":"f"},{"name":"g"}]}"#;
    let tools = request(Endpoint::ChatCompletions, functions).prompt.tools;
    assert_eq!((tools.count, tools.bytes), (2, 24));
}

#[test]
fn chat_answers_call_tools_of_any_kind_and_speak() {
    let event = |delta: &str| {
        let event = format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#);
        let sight = stream(Endpoint::ChatCompletions, &[&event]);
        (sight.token_events, sight.tool_calls)
    };
    assert_eq!(
        event(r#"{"tool_calls":[{"custom":{"name":"f","input":""}}]}"#),
        (1, 1)
    );
    assert_eq!(
        event(r#"{"tool_calls":[{"custom":{"input":"a"}}]}"#),
        (1, 0)
    );
    assert_eq!(event(r#"{"audio":{"id":"a","transcript":"hi"}}"#), (1, 0));
    assert_eq!(event(r#"{"audio":{"data":"AAAA"}}"#), (1, 0));
    assert_eq!(event(r#"{"audio":{"id":"a","expires_at":5}}"#), (0, 0));
}

#[test]
fn cached_and_reasoning_tokens_are_found_under_every_name() {
    for (usage, cached, reasoning) in [
        (r#"{"cached_tokens":5}"#, Some(5), None),
        (
            r#"{"prompt_cache_hit_tokens":5,"prompt_cache_miss_tokens":2}"#,
            Some(5),
            None,
        ),
        (
            r#"{"prompt_cache_hit_tokens":5,"prompt_tokens_details":{"cached_tokens":6}}"#,
            Some(6),
            None,
        ),
        (
            r#"{"cached_tokens":5,"prompt_tokens_details":null}"#,
            Some(5),
            None,
        ),
        (r#"{"reasoning_tokens":4}"#, None, Some(4)),
        (
            r#"{"reasoning_tokens":0,"completion_tokens_details":{"reasoning_tokens":4}}"#,
            None,
            Some(4),
        ),
    ] {
        let sight = plain(
            Endpoint::ChatCompletions,
            &format!(r#"{{"choices":[],"usage":{usage}}}"#),
        );
        assert_eq!(
            (sight.cached_tokens, sight.reasoning_tokens),
            (cached, reasoning),
            "{usage}"
        );
    }
}

#[test]
fn a_conversation_is_named_as_a_word_or_an_object() {
    let follows = |conversation: &str| {
        let body = format!(r#"{{"input":"hi","conversation":{conversation}}}"#);
        let sight = request(Endpoint::Responses, &body);
        (sight.params.continues, sight.prompt.turns)
    };
    let (word, object) = (follows("\"conv_1\""), follows(r#"{"id":"conv_1"}"#));
    assert_eq!(word, object);
    assert_ne!(word, follows("null"));
    assert!(object.0);
}

#[test]
fn calls_of_the_servers_tools_are_text_of_the_prompt() {
    let body = r#"{"input":[{"type":"shell_call","call_id":"c","action":{"commands":["ls"]}},
        {"type":"shell_call_output","call_id":"c","output":[{"stdout":"abc","stderr":"d","outcome":{"type":"exit","exit_code":0}}]},
        {"type":"apply_patch_call","call_id":"c","operation":{"type":"delete_file","path":"x"}}]}"#;
    assert_eq!(
        messages(Endpoint::Responses, body),
        [
            (Role::Assistant, 19),
            (Role::Tool, 4),
            (Role::Assistant, 33)
        ]
    );
}

#[test]
fn gemini_counts_what_its_tools_read_and_keeps_what_it_said_before() {
    let sight = stream(
        Endpoint::GeminiStream,
        &[
            r#"{"candidates":[{"content":{"parts":[{"text":"a","thought":true}]}}],"usageMetadata":{"promptTokenCount":9,"thoughtsTokenCount":4}}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}],
                "usageMetadata":{"promptTokenCount":9,"toolUsePromptTokenCount":20,"candidatesTokenCount":2}}"#
                .replace('\n', "")
                .as_str(),
        ],
    );
    assert_eq!(sight.prompt_tokens, Some(29));
    assert_eq!(sight.output_tokens, tokens(6, TokenSource::Usage));
    assert_eq!(sight.reasoning_tokens, Some(4));
}

#[test]
fn gemini_is_told_how_hard_to_think_in_words() {
    let effort = |config: &str| {
        let body = format!(r#"{{"contents":[],"generationConfig":{{"thinkingConfig":{config}}}}}"#);
        request(Endpoint::GeminiGenerate, &body)
            .params
            .reasoning_effort
    };
    assert_eq!(
        effort(r#"{"thinkingLevel":"LOW"}"#),
        Some(ReasoningEffort::Low)
    );
    assert_eq!(
        effort(r#"{"thinking_level":"high"}"#),
        Some(ReasoningEffort::High)
    );
    assert_eq!(
        effort(r#"{"thinkingBudget":0}"#),
        Some(ReasoningEffort::None)
    );
    assert_eq!(
        effort(r#"{"thinkingBudget":99}"#),
        Some(ReasoningEffort::Other)
    );
    assert_eq!(
        effort(r#"{"includeThoughts":true}"#),
        Some(ReasoningEffort::Other)
    );
}
