//! Answers and requests of every dialect as their servers' documentation and clients have them, cut at every byte boundary.
//! (Those of real recordings are in `fixtures`.)

mod cohere;
mod gemini;
mod kserve;
mod ollama;
mod openai;
mod tgi;

use crate::anonymise::ChainKey;
use crate::dialect::{ResponseHead, ResponseObserver, ResponseSight, observe_request};
use crate::shape::{Endpoint, Role, TokenCount, TokenSource};

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
