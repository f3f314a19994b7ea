use super::*;
use crate::shape::FinishReason;
use proptest::prelude::*;

fn observe(endpoint: Endpoint, kind: &str, pieces: &[&[u8]]) -> ResponseSight {
    let head = ResponseHead {
        status: 200,
        content_type: Some(kind),
        content_encoding: None,
    };
    let mut observer = ResponseObserver::new(endpoint, head, true);
    for (at_us, piece) in (100..).zip(pieces) {
        observer.data(at_us, piece);
    }
    observer.finish()
}

const SSE: &str = "text/event-stream; charset=utf-8";

#[test]
fn an_event_without_its_blank_line_is_stamped_with_its_last_piece() {
    let pieces: [&[u8]; 2] = [
        b"data: {\"choices\":[{\"delta\":",
        b"{\"content\":\"a\"}}]}",
    ];
    let sight = observe(Endpoint::ChatCompletions, SSE, &pieces);
    assert_eq!((sight.first_token_us, sight.ended), (Some(101), false));
}

#[test]
fn errors_inside_an_answer_are_seen() {
    for (endpoint, kind, body) in [
        (
            Endpoint::ChatCompletions,
            SSE,
            &b"data: {\"error\":{\"message\":\"secret\"}}\n\n"[..],
        ),
        (
            Endpoint::ChatCompletions,
            SSE,
            b"event: error\ndata: {\"message\":\"secret\"}\n\n",
        ),
        (
            Endpoint::Completions,
            "application/json",
            b"{\"error\":{\"code\":500}}",
        ),
        (
            Endpoint::Messages,
            SSE,
            b"event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n",
        ),
        (
            Endpoint::Messages,
            SSE,
            b"event: error\ndata: {\"error\":{\"type\":\"overloaded_error\"}}\n\n",
        ),
        (
            Endpoint::Messages,
            SSE,
            b"event: error\ndata: gone away\n\n",
        ),
        (
            Endpoint::Messages,
            "application/json",
            b"{\"type\":\"error\",\"error\":{\"type\":\"api_error\"}}",
        ),
    ] {
        let sight = observe(endpoint, kind, &[body]);
        assert!(sight.error, "{endpoint:?} {kind}");
        assert_eq!(sight.finish, Some(FinishReason::Error));
    }
}

#[test]
fn memory_that_ran_out_within_an_answer_is_seen_in_every_dialect() {
    const LINES: &str = "application/x-ndjson";
    const JSON: &str = "application/json";
    let cases = [
        (
            Endpoint::ChatCompletions,
            SSE,
            "data: {\"error\":{\"message\":\"WORDS\",\"code\":500}}\n\ndata: [DONE]\n\n",
        ),
        (
            Endpoint::Completions,
            SSE,
            "data: {\"error\":{\"message\":\"WORDS\"}}\n\n",
        ),
        (
            Endpoint::ChatCompletions,
            SSE,
            "event: error\ndata: WORDS\n\n",
        ),
        (
            Endpoint::Completions,
            JSON,
            "{\"error\":{\"message\":\"WORDS\"}}",
        ),
        (
            Endpoint::Messages,
            SSE,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"WORDS\"}}\n\n",
        ),
        (
            Endpoint::Messages,
            SSE,
            "data: {\"type\":\"error\",\"error\":{\"message\":\"WORDS\"}}\n\n",
        ),
        (
            Endpoint::Responses,
            SSE,
            "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"message\":\"WORDS\"}}}\n\n",
        ),
        (Endpoint::OllamaChat, LINES, "{\"error\":\"WORDS\"}\n"),
        (
            Endpoint::OllamaGenerate,
            LINES,
            "{\"response\":\"a\",\"done\":false}\n{\"error\":\"WORDS\"}\n",
        ),
        (
            Endpoint::TgiGenerateStream,
            SSE,
            "data:{\"error\":\"WORDS\",\"error_type\":\"generation\"}\n\n",
        ),
        (
            Endpoint::TritonGenerateStream,
            SSE,
            "data: {\"error\":\"WORDS\"}\n\n",
        ),
        (
            Endpoint::GeminiStream,
            JSON,
            "[{\"error\":{\"code\":500,\"message\":\"WORDS\"}}\n]",
        ),
        (
            Endpoint::Embeddings,
            JSON,
            "{\"error\":{\"message\":\"WORDS\"}}",
        ),
    ];
    for (endpoint, kind, stream) in cases {
        for (words, is_memory) in [
            ("CUDA out of memory. Tried to allocate 2 GiB", true),
            ("torch.OutOfMemoryError", true),
            ("overloaded", false),
        ] {
            let sight = observe(endpoint, kind, &[stream.replace("WORDS", words).as_bytes()]);
            assert!(sight.error, "{endpoint:?} {kind}");
            assert_eq!(
                sight.out_of_memory, is_memory,
                "{endpoint:?} {kind} {words}"
            );
        }
    }
    let said = b"data: {\"choices\":[{\"delta\":{\"content\":\"CUDA out of memory\"}}]}\n\ndata: [DONE]\n\n";
    let sight = observe(Endpoint::ChatCompletions, SSE, &[said]);
    assert!(!sight.out_of_memory, "a model may speak of it");
}

#[test]
fn a_failed_answer_that_speaks_of_memory_is_of_another_failure() {
    const FAILED: &str = r#"{"status":"failed","error":{"message":"WHY"},"output":[{"type":"message","content":[{"type":"output_text","text":"CUDA out of memory"}]}]}"#;
    const COHERE: &str = r#"{"finish_reason":"ERROR","message":{"content":[{"type":"text","text":"CUDA out of memory"}]}}"#;
    const CHAT: &str =
        r#"{"error":{"message":"WHY"},"choices":[{"message":{"content":"CUDA out of memory"}}]}"#;
    let event = format!("data: {{\"type\":\"response.failed\",\"response\":{FAILED}}}\n\n");
    for (endpoint, kind, body) in [
        (Endpoint::Responses, SSE, event.as_str()),
        (Endpoint::Responses, "application/json", FAILED),
        (Endpoint::CohereChat, "application/json", COHERE),
        (Endpoint::ChatCompletions, "application/json", CHAT),
    ] {
        for (why, is_memory) in [("overloaded", false), ("out of memory", true)] {
            let sight = observe(endpoint, kind, &[body.replace("WHY", why).as_bytes()]);
            assert!(sight.error && !sight.unparsable, "{endpoint:?} {kind}");
            let is_memory = is_memory && body.contains("WHY");
            assert_eq!(sight.out_of_memory, is_memory, "{endpoint:?} {kind} {why}");
        }
    }
}

#[test]
fn the_second_error_of_a_stream_may_be_the_one_that_says_why() {
    let stream =
        b"data: {\"error\":\"a worker died\"}\n\ndata: {\"error\":\"CUDA out of memory\"}\n\n";
    let sight = observe(Endpoint::ChatCompletions, SSE, &[stream]);
    assert!(sight.error && sight.out_of_memory);
}

#[test]
fn cached_tokens_told_at_the_start_stay_in_the_prompt() {
    let stream = b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":\
        {\"input_tokens\":10,\"cache_read_input_tokens\":80,\"cache_creation_input_tokens\":5,\"output_tokens\":1}}}\n\n\
        event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\
        \"usage\":{\"input_tokens\":10,\"output_tokens\":7}}\n\n";
    let sight = observe(Endpoint::Messages, SSE, &[stream]);
    assert_eq!(
        (sight.prompt_tokens, sight.cached_tokens),
        (Some(95), Some(80))
    );
}

#[test]
fn what_is_no_token_is_not_counted_as_one() {
    let chat = |delta: &str| {
        let event = format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n");
        observe(Endpoint::ChatCompletions, SSE, &[event.as_bytes()]).token_events
    };
    for silent in [
        r#"{"role":"assistant"}"#,
        r#"{"role":"assistant","content":""}"#,
        r#"{"content":null}"#,
        "{}",
        "null",
        r#"{"tool_calls":[]}"#,
        r#"{"tool_calls":[{"index":0,"id":"c","function":{"arguments":""}}]}"#,
    ] {
        assert_eq!(chat(silent), 0, "{silent}");
    }
    for token in [
        r#"{"content":" "}"#,
        r#"{"reasoning":"x"}"#,
        r#"{"reasoning_content":"x"}"#,
        r#"{"refusal":"no"}"#,
        r#"{"tool_calls":[{"function":{"name":"f"}}]}"#,
        r#"{"tool_calls":[{"function":{"arguments":"{"}}]}"#,
    ] {
        assert_eq!(chat(token), 1, "{token}");
    }
    let claude = |delta: &str| {
        let event = format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"delta\":{delta}}}\n\n"
        );
        let sight = observe(Endpoint::Messages, SSE, &[event.as_bytes()]);
        (sight.token_events, sight.first_answer_us.is_some())
    };
    assert_eq!(
        claude(r#"{"type":"signature_delta","signature":"abc"}"#),
        (0, false)
    );
    assert_eq!(claude(r#"{"type":"text_delta","text":""}"#), (0, false));
    assert_eq!(claude(r#"{"type":"text_delta","text":"a"}"#), (1, true));
    assert_eq!(
        claude(r#"{"type":"thinking_delta","thinking":"a"}"#),
        (1, false)
    );
    assert_eq!(
        claude(r#"{"type":"input_json_delta","partial_json":"{"}"#),
        (1, true)
    );
}

#[test]
fn an_unknown_coding_hides_the_body_and_is_said() {
    let head = ResponseHead {
        status: 200,
        content_type: Some(SSE),
        content_encoding: Some("aes128gcm"),
    };
    let mut observer = ResponseObserver::new(Endpoint::ChatCompletions, head, true);
    observer.data(
        1,
        b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
    );
    let expected = ResponseSight {
        encoded: true,
        ..ResponseSight::default()
    };
    assert_eq!(observer.finish(), expected);
}

/// What an observer sees that reads every event, and one that knows repeats.
fn both(endpoint: Endpoint, events: &[String]) -> [ResponseSight; 2] {
    [false, true].map(|forgets| {
        let head = ResponseHead {
            status: 200,
            content_type: Some(SSE),
            content_encoding: None,
        };
        let mut observer = ResponseObserver::new(endpoint, head, true);
        for (at_us, event) in (0..).zip(events) {
            observer.data(at_us, event.as_bytes());
            if forgets {
                observer.reading.repeat = Repeat::default();
            }
        }
        observer.finish()
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just(r#"\n"#.to_owned()),
        Just(r#"\u00e9"#.to_owned()),
        Just(r#"\ud800"#.to_owned()),
        Just(r#"","content":"x"#.to_owned()),
        Just(r#""},"finish_reason":"stop","x":{"y":""#.to_owned()),
        Just(r#""}}],"usage":{"completion_tokens":9},"x":[{"y":{"z":""#.to_owned()),
        "[a-z \u{e9}\u{4e00}]{1,8}",
    ]
}

fn openai_event() -> impl Strategy<Value = String> {
    let frames = prop::sample::select(vec![
        (
            r#"{"id":"a","choices":[{"index":0,"delta":{"content":""#,
            r#""},"finish_reason":null}]}"#,
        ),
        (
            r#"{"id":"b","choices":[{"index":0,"delta":{"content":""#,
            r#""},"finish_reason":null}]}"#,
        ),
        (r#"{"choices":[{"delta":{"reasoning_content":""#, r#""}}]}"#),
        (
            r#"{"choices":[{"delta":{"content":"x","reasoning":""#,
            r#""}}]}"#,
        ),
        (
            r#"{"choices":[{"delta":{"content":""#,
            r#""},"finish_reason":"stop"}]}"#,
        ),
        (
            r#"{"choices":[{"text":""#,
            r#""}],"usage":{"completion_tokens":7}}"#,
        ),
        (r#"{"choices":[{"text":""#, r#""}],"usage":null}"#),
        (
            r#"{"choices":[{"delta":{"content":"a"}},{"delta":{"content":""#,
            r#""}}]}"#,
        ),
        (
            r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":""#,
            r#""}}]}}]}"#,
        ),
        (r#"{"error":""#, r#""}"#),
        ("[DONE]", ""),
    ]);
    (frames, text()).prop_map(|((before, after), text)| format!("data: {before}{text}{after}\n\n"))
}

fn anthropic_event() -> impl Strategy<Value = String> {
    let frames = prop::sample::select(vec![
        ("text_delta", "text"),
        ("thinking_delta", "thinking"),
        ("input_json_delta", "partial_json"),
    ]);
    let name = prop::sample::select(vec!["content_block_delta", "message_delta", "error"]);
    (name, frames, text()).prop_map(|(name, (kind, field), text)| {
        format!("event: {name}\ndata: {{\"type\":\"{name}\",\"index\":0,\"delta\":{{\"type\":\"{kind}\",\"{field}\":\"{text}\"}}}}\n\n")
    })
}

proptest! {
    #[test]
    fn knowing_repeats_changes_nothing(
        openai in prop::collection::vec(openai_event(), 0..12),
        anthropic in prop::collection::vec(anthropic_event(), 0..12),
    ) {
        let [with, without] = both(Endpoint::ChatCompletions, &openai);
        prop_assert_eq!(with, without);
        let [with, without] = both(Endpoint::Messages, &anthropic);
        prop_assert_eq!(with, without);
    }
}

#[test]
fn plain_answers_without_usage_are_counted_by_the_tokenizer() {
    let json = include_bytes!("../../../../fixtures/tokenizer/small.json");
    let tokenizer = PromptTokenizer::from_json(json).unwrap();
    let text = "it runs over the stones";
    let tokens = u32::try_from(tokenizer.tokens(text).unwrap().len()).unwrap();
    let counted = |endpoint, kind, body: String| {
        let head = ResponseHead {
            status: 200,
            content_type: Some(kind),
            content_encoding: None,
        };
        let observer = ResponseObserver::new(endpoint, head, false);
        let mut observer = observer.counting_with(Some(tokenizer.clone()));
        observer.data(1, body.as_bytes());
        observer.finish().answer_tokens
    };
    const JSON: &str = "application/json";
    for (endpoint, body) in [
        (
            Endpoint::ChatCompletions,
            format!(r#"{{"choices":[{{"message":{{"content":"{text}"}}}}]}}"#),
        ),
        (
            Endpoint::Completions,
            format!(r#"{{"choices":[{{"text":"{text}"}}]}}"#),
        ),
        (
            Endpoint::Messages,
            format!(r#"{{"type":"message","content":[{{"type":"text","text":"{text}"}}]}}"#),
        ),
        (
            Endpoint::GeminiGenerate,
            format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}}}}]}}"#),
        ),
    ] {
        assert_eq!(counted(endpoint, JSON, body), Some(tokens), "{endpoint:?}");
    }
    let told = format!(
        r#"{{"choices":[{{"message":{{"content":"{text}"}}}}],"usage":{{"completion_tokens":9}}}}"#
    );
    assert_eq!(counted(Endpoint::ChatCompletions, JSON, told), None);
    let stream = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    assert_eq!(counted(Endpoint::ChatCompletions, SSE, stream), None);
}
