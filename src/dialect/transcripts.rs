//! Answers and requests of every dialect as their servers' documentation and clients have them, cut at every byte boundary.
//! (Those of real recordings are in `fixtures`.)

use super::{ResponseHead, ResponseObserver, ResponseSight, observe_request};
use crate::anonymise::{ChainKey, Private};
use crate::shape::{
    Endpoint, FinishReason, MediaKind, ReasoningEffort, Role, Structured, TokenCount, TokenSource,
};

const KEY: ChainKey = ChainKey::from_bytes([3; 16]);
const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";

fn observe(endpoint: Endpoint, kind: &str, pieces: &[&[u8]]) -> ResponseSight {
    let head = ResponseHead {
        status: 200,
        content_type: Some(kind),
        content_encoding: None,
    };
    let mut observer = ResponseObserver::new(endpoint, head, true);
    for piece in pieces {
        observer.data(5, piece);
    }
    observer.finish()
}

/// Reads an answer in one piece, in two cut anywhere, and byte by byte: always the same.
fn read(endpoint: Endpoint, kind: &str, body: &str) -> ResponseSight {
    let body = body.as_bytes();
    let whole = observe(endpoint, kind, &[body]);
    for cut in 0..=body.len() {
        let (head, tail) = body.split_at(cut);
        let cut_there = observe(endpoint, kind, &[head, tail]);
        assert_eq!(cut_there, whole, "{endpoint:?} cut at {cut}");
    }
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(observe(endpoint, kind, &bytes), whole, "{endpoint:?}");
    assert!(!whole.unparsable, "{endpoint:?}");
    whole
}

fn told(count: u32) -> Option<TokenCount> {
    Some(TokenCount {
        count,
        source: TokenSource::Usage,
    })
}

fn messages(endpoint: Endpoint, body: &str) -> Vec<(Role, u32)> {
    let sight = observe_request(endpoint, body.as_bytes(), &KEY).unwrap();
    let messages = sight.prompt.messages.iter();
    messages.map(|it| (it.role, it.bytes)).collect()
}

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
    let named = Some(crate::anonymise::Private::new("resp_7"));
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

#[test]
fn tgi_counts_its_tokens_itself() {
    let stream = "data:{\"index\":1,\"token\":{\"id\":1,\"text\":\"a\",\"logprob\":-0.1,\"special\":false},\"generated_text\":null,\"details\":null}\n\n\
        data:{\"index\":2,\"token\":{\"id\":2,\"text\":\"</s>\",\"logprob\":-0.1,\"special\":true},\"generated_text\":\"a\",\"details\":{\"finish_reason\":\"eos_token\",\"generated_tokens\":2,\"seed\":null,\"input_length\":5}}\n\n";
    for (endpoint, stream) in [
        (Endpoint::TgiGenerateStream, stream),
        (Endpoint::TgiGenerate, stream),
    ] {
        let sight = read(endpoint, SSE, stream);
        assert_eq!((sight.events, sight.token_events), (2, 2));
        assert_eq!(
            (sight.prompt_tokens, sight.output_tokens),
            (Some(5), told(2))
        );
        assert_eq!(
            (sight.finish, sight.ended),
            (Some(FinishReason::Stop), true)
        );
    }
    let body = r#"[{"generated_text":"a","details":{"finish_reason":"length","generated_tokens":3,"prefill":[{"id":1},{"id":2}],"tokens":[]}}]"#;
    let sight = read(Endpoint::TgiGenerate, JSON, body);
    assert_eq!(
        (sight.prompt_tokens, sight.output_tokens),
        (Some(2), told(3))
    );
    assert_eq!(sight.finish, Some(FinishReason::Length));
    let error = "data:{\"error\":\"overloaded\",\"error_type\":\"overloaded\"}\n\n";
    assert!(read(Endpoint::TgiGenerateStream, SSE, error).error);
    let asked = r#"{"inputs":"hello","parameters":{"max_new_tokens":9,"do_sample":true,"best_of":2,"stop":["x"],"top_n_tokens":3,"grammar":{"type":"json","value":{}}},"stream":true}"#;
    let sight = observe_request(Endpoint::TgiGenerate, asked.as_bytes(), &KEY).unwrap();
    let params = sight.params;
    assert_eq!(
        (params.max_tokens, params.greedy, params.best_of),
        (Some(9), Some(false), Some(2))
    );
    assert_eq!(
        (params.logprobs, params.structured),
        (Some(3), Structured::JsonSchema)
    );
    assert!(params.stream);
    for others in [r#"{"text":"of SGLang"}"#, r#"["inputs"]"#] {
        assert!(observe_request(Endpoint::TgiGenerate, others.as_bytes(), &KEY).is_err());
    }
}

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

#[test]
fn triton_streams_text_until_it_ends() {
    let stream = "data: {\"model_name\":\"m\",\"model_version\":\"1\",\"text_output\":\"a\"}\n\n\
        data: {\"model_name\":\"m\",\"model_version\":\"1\",\"text_output\":\"b\"}\n\n\
        data: {\"model_name\":\"m\",\"model_version\":\"1\",\"text_output\":\"\"}\n\n";
    let sight = read(Endpoint::TritonGenerateStream, SSE, stream);
    let counted = Some(TokenCount {
        count: 2,
        source: TokenSource::Counted,
    });
    assert_eq!((sight.output_tokens, sight.ended), (counted, true));
    let error = "data: {\"error\":\"gone\"}\n\n";
    assert!(read(Endpoint::TritonGenerateStream, SSE, error).error);
    let whole = r#"{"model_name":"m","text_output":"ab"}"#;
    assert!(read(Endpoint::TritonGenerate, JSON, whole).ended);
    for body in [
        r#"{"text_input":"hello","max_tokens":9,"temperature":0}"#,
        r#"{"text_input":"hello","parameters":{"max_tokens":9,"temperature":0,"stream":false}}"#,
    ] {
        let sight = observe_request(Endpoint::TritonGenerate, body.as_bytes(), &KEY).unwrap();
        assert_eq!(
            (sight.params.max_tokens, sight.params.greedy),
            (Some(9), Some(true))
        );
        assert_eq!(messages(Endpoint::TritonGenerate, body), [(Role::User, 5)]);
    }
}

#[test]
fn tensors_are_in_json_or_behind_it() {
    let json = r#"{"inputs":[{"name":"x","shape":[2],"datatype":"INT32","data":[1,2]},{"name":"y","shape":[1],"datatype":"BYTES","data":["a"]}]}"#;
    assert_eq!(
        messages(Endpoint::Infer, json),
        [(Role::Other, 5), (Role::Other, 5)]
    );
    let head = r#"{"inputs":[{"name":"x","shape":[2],"datatype":"INT32","parameters":{"binary_data_size":8}},{"name":"y","data":[1]},{"name":"z","parameters":{"binary_data_size":3}}]}"#;
    let mut body = head.as_bytes().to_vec();
    body.extend_from_slice(b"\xff\0\0\0{}\"\x80abc");
    let sight = observe_request(Endpoint::Infer, &body, &KEY).unwrap();
    let sizes: Vec<u32> = sight.prompt.messages.iter().map(|it| it.bytes).collect();
    assert_eq!(sizes, [8, 3, 3]);
    body.pop();
    assert!(observe_request(Endpoint::Infer, &body, &KEY).is_err());
}

/// A field that has a length.
fn field(tag: u8, data: &[u8]) -> Vec<u8> {
    let mut field = vec![tag << 3 | 2, u8::try_from(data.len()).unwrap()];
    field.extend_from_slice(data);
    field
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

#[test]
fn tensors_of_calls_are_found_and_nothing_is_stored_for_the_rest() {
    let tensor = [
        field(1, b"x"),
        field(2, b"INT32"),
        field(3, &[2]),
        field(5, b"\x12\x02\x01\x02"),
    ]
    .concat();
    let bare = [field(1, b"y"), field(2, b"BYTES")].concat();
    let message = [
        field(1, b"llama"),
        field(5, &tensor),
        field(5, &bare),
        field(7, b"raw bytes"),
        vec![9 << 3, 1],
    ]
    .concat();
    let body = [framed(&message), framed(&message)].concat();
    let sight = observe_request(Endpoint::GrpcStreamInfer, &body, &KEY).unwrap();
    let sizes: Vec<u32> = sight.prompt.messages.iter().map(|it| it.bytes).collect();
    assert_eq!(sizes, [4, 9, 4, 9]);
    assert_eq!(sight.model, Some(Private::new("llama")));
    for cut in 1..body.len() {
        let whole = cut == body.len() / 2;
        let read = observe_request(Endpoint::GrpcInfer, &body[..cut], &KEY).is_ok();
        assert_eq!(read, whole, "cut at {cut}");
    }
    let wrong = framed(&[field(1, b"llama"), vec![5 << 3 | 2, 100]].concat());
    assert!(observe_request(Endpoint::GrpcInfer, &wrong, &KEY).is_err());
    // Two bytes a tensor: as many as there can be, and no more memory than they take.
    let flood = framed(&[5 << 3 | 2, 0].repeat(1 << 20));
    let sight = observe_request(Endpoint::GrpcInfer, &flood, &KEY).unwrap();
    assert!(sight.prompt.messages.is_empty());
}

#[test]
fn calls_answers_are_counted_by_their_messages() {
    let answers = [framed(b"abc"), framed(b""), framed(b"d")].concat();
    for cut in 0..=answers.len() {
        let (head, tail) = answers.split_at(cut);
        let sight = observe(
            Endpoint::GrpcStreamInfer,
            "application/grpc+proto",
            &[head, tail],
        );
        assert_eq!((sight.events, sight.token_events), (3, 0), "cut at {cut}");
        assert_eq!(sight.gaps.count(), 2);
    }
}

#[test]
fn an_answer_is_as_long_as_a_next_turn_would_repeat_it() {
    let length = |endpoint, kind, body: &str| read(endpoint, kind, body).answer_bytes;
    let chat =
        |delta: &str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n");
    let other =
        "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"another choice\"}}]}\n\n";
    let stream = [
        chat(r#"{"role":"assistant","reasoning_content":"hm"}"#),
        chat(r#"{"content":"one"}"#),
        // The one before with another text, and one that cannot be.
        chat(r#"{"content":" two"}"#),
        chat(r#"{"content":"\n\u00e9"}"#),
        other.to_owned(),
        other.to_owned(),
        chat(r#"{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}"#),
    ]
    .concat();
    assert_eq!(
        length(Endpoint::ChatCompletions, SSE, &stream),
        3 + 4 + 3 + 3
    );
    let whole = r#"{"choices":[{"index":0,"message":{"content":"one","reasoning":"hm"}},{"index":1,"message":{"content":"another"}}]}"#;
    assert_eq!(length(Endpoint::ChatCompletions, JSON, whole), 3);
    let text = r#"{"choices":[{"text":"four"}]}"#;
    assert_eq!(length(Endpoint::Completions, JSON, text), 4);
    let claude = |delta: &str| {
        format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"delta\":{delta}}}\n\n"
        )
    };
    let stream = [
        claude(r#"{"type":"thinking_delta","thinking":"hm"}"#),
        claude(r#"{"type":"text_delta","text":"one"}"#),
        claude(r#"{"type":"text_delta","text":" two"}"#),
        "data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"tool_use\",\"name\":\"f\",\"input\":{}}}\n\n".to_owned(),
        claude(r#"{"type":"input_json_delta","partial_json":"{}"}"#),
    ]
    .concat();
    assert_eq!(length(Endpoint::Messages, SSE, &stream), 7 + 1 + 2);
    let whole = r#"{"type":"message","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"one"},{"type":"tool_use","name":"f","input":{"a":1}}]}"#;
    assert_eq!(length(Endpoint::Messages, JSON, whole), 3 + 1 + 7);
    for (endpoint, body) in [
        (
            Endpoint::Responses,
            r#"{"status":"completed","output":[{"type":"reasoning","content":[{"text":"hm"}]},{"type":"message","content":[{"type":"output_text","text":"four"}]}]}"#,
        ),
        (
            Endpoint::CohereChat,
            r#"{"message":{"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"four"}]}}"#,
        ),
        (Endpoint::TgiGenerate, r#"{"generated_text":"four"}"#),
        (Endpoint::TritonGenerate, r#"{"text_output":"four"}"#),
    ] {
        assert_eq!(length(endpoint, JSON, body), 4, "{endpoint:?}");
    }
}

#[test]
fn coded_streams_are_read_event_by_event() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let head = ResponseHead {
        status: 200,
        content_type: Some(SSE),
        content_encoding: Some("gzip"),
    };
    let mut observer = ResponseObserver::new(Endpoint::ChatCompletions, head, true);
    let mut sent = 0;
    for (at_us, text) in (100..).zip(["a", "b", "c"]) {
        let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
        encoder.write_all(event.as_bytes()).unwrap();
        encoder.flush().unwrap();
        observer.data(at_us, &encoder.get_ref()[sent..]);
        sent = encoder.get_ref().len();
    }
    encoder.write_all(b"data: [DONE]\n\n").unwrap();
    let rest = encoder.finish().unwrap();
    observer.data(200, &rest[sent..]);
    let sight = observer.finish();
    assert_eq!((sight.events, sight.token_events), (4, 3));
    assert_eq!(
        (sight.first_token_us, sight.last_token_us),
        (Some(100), Some(102))
    );
    assert!(sight.ended && !sight.encoded);
}

#[test]
fn coded_answers_beyond_the_bound_are_said_to_be_too_large() {
    let body = format!("{{\"choices\":[],\"x\":\"{}\"}}", "x".repeat(1000));
    let coded = zstd::encode_all(body.as_bytes(), 3).unwrap();
    let head = ResponseHead {
        status: 200,
        content_type: Some(JSON),
        content_encoding: Some("zstd"),
    };
    let seen = |most: u64| {
        let observer = ResponseObserver::new(Endpoint::ChatCompletions, head, true);
        let mut observer = observer.within(most);
        observer.data(1, &coded);
        observer.finish()
    };
    let enough = seen(body.len() as u64);
    assert!(enough.ended && !enough.too_large);
    let short = seen(body.len() as u64 - 1);
    assert!(!short.ended && short.too_large);
    let head = ResponseHead {
        content_encoding: Some("gzip"),
        ..head
    };
    let mut observer = ResponseObserver::new(Endpoint::ChatCompletions, head, true);
    observer.data(1, b"this is not gzip");
    assert!(observer.finish().unparsable);
}
