//! Gemini.

use super::{JSON, KEY, SSE, messages, read, told};
use crate::dialect::{ResponseHead, ResponseObserver, observe_request};
use crate::shape::{Endpoint, FinishReason, ReasoningEffort, Role, Structured};

const GEMINI: [&str; 3] = [
    r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":11,"thoughtsTokenCount":3}}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"a]}\"\\"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":11,"candidatesTokenCount":1,"thoughtsTokenCount":3}}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"MAX_TOKENS","index":0}],"usageMetadata":{"promptTokenCount":11,"candidatesTokenCount":2,"thoughtsTokenCount":3,"cachedContentTokenCount":4}}"#,
];

#[test]
fn gemini_streams_events_or_an_array_in_pieces() {
    let events: String = GEMINI.map(|it| format!("data: {it}\r\n\r\n")).concat();
    let array = format!("[{}\n]", GEMINI.join("\n,\r\n"));
    for (kind, stream) in [(SSE, &events), ("application/json; charset=UTF-8", &array)] {
        let sight = read(Endpoint::GeminiStream, kind, stream);
        assert_eq!((sight.events, sight.token_events), (3, 2), "{kind}");
        assert_eq!(sight.answer_bytes, 5, "thoughts are not repeated");
        assert_eq!(sight.output_tokens, told(5));
        assert_eq!(
            (
                sight.prompt_tokens,
                sight.cached_tokens,
                sight.reasoning_tokens
            ),
            (Some(11), Some(4), Some(3))
        );
        assert_eq!(
            (sight.finish, sight.ended),
            (Some(FinishReason::Length), true)
        );
    }
    let head = ResponseHead {
        status: 200,
        content_type: Some(JSON),
        content_encoding: None,
    };
    let mut observer = ResponseObserver::new(Endpoint::GeminiStream, head, true);
    for (at_us, piece) in (100..).zip(["[", GEMINI[0], ",", GEMINI[1], ",", GEMINI[2], "]"]) {
        observer.data(at_us, piece.as_bytes());
    }
    let sight = observer.finish();
    assert_eq!(
        (sight.first_token_us, sight.first_answer_us),
        (Some(101), Some(103)),
        "each element is read when it is whole"
    );
    let sight = read(Endpoint::GeminiGenerate, JSON, GEMINI[2]);
    assert_eq!((sight.output_tokens, sight.ended), (told(5), true));
    let blocked =
        r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":5}}"#;
    let sight = read(Endpoint::GeminiGenerate, JSON, blocked);
    assert_eq!(sight.finish, Some(FinishReason::ContentFilter));
    let error = "[{\"error\":{\"code\":503,\"message\":\"later\"}}\n]";
    assert!(read(Endpoint::GeminiStream, JSON, error).error);
}

#[test]
fn gemini_requests_are_spelled_two_ways() {
    let camel = r#"{"contents":[{"role":"user","parts":[{"text":"look"},{"inlineData":{"mimeType":"image/gif","data":"R0lGODlhAgADAIAAAP"}}]},
        {"role":"model","parts":[{"functionCall":{"name":"f"}}]},{"role":"user","parts":[{"functionResponse":{"name":"f"}}]}],
        "systemInstruction":{"parts":[{"text":"be"}]},"tools":[{"functionDeclarations":[{"name":"f"},{"name":"g"}]},{"googleSearch":{}}],
        "generationConfig":{"maxOutputTokens":7,"topK":1,"candidateCount":2,"responseMimeType":"application/json","thinkingConfig":{"thinkingBudget":0}},"cachedContent":"cachedContents/x"}"#;
    let snake = camel
        .replace("inlineData", "inline_data")
        .replace("mimeType", "mime_type")
        .replace("functionCall", "function_call")
        .replace("functionResponse", "function_response")
        .replace("systemInstruction", "system_instruction")
        .replace("functionDeclarations", "function_declarations")
        .replace("generationConfig", "generation_config")
        .replace("maxOutputTokens", "max_output_tokens")
        .replace("topK", "top_k")
        .replace("candidateCount", "candidate_count")
        .replace("responseMimeType", "response_mime_type")
        .replace("thinkingConfig", "thinking_config")
        .replace("thinkingBudget", "thinking_budget")
        .replace("cachedContent\"", "cached_content\"");
    for body in [camel, &snake] {
        let sight = observe_request(Endpoint::GeminiStream, body.as_bytes(), &KEY).unwrap();
        assert_eq!(
            messages(Endpoint::GeminiStream, body),
            [
                (Role::System, 2),
                (Role::User, 4),
                (Role::Assistant, 12),
                (Role::Tool, 12)
            ],
        );
        assert_eq!(sight.prompt.tools.count, 3);
        assert_eq!(sight.prompt.media[0].pixels, Some((2, 3)));
        let params = sight.params;
        assert!(params.stream && params.continues);
        assert_eq!(
            (params.max_tokens, params.n, params.greedy),
            (Some(7), 2, Some(true))
        );
        assert_eq!(params.structured, Structured::JsonObject);
        assert_eq!(params.reasoning_effort, Some(ReasoningEffort::None));
    }
}
