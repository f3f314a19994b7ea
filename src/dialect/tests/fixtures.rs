//! Recorded exchanges of real servers (fixtures/http), cut at every byte boundary.

use std::path::PathBuf;

use serde_json::Value;

use crate::anonymise::ChainKey;
use crate::dialect::{ResponseHead, ResponseObserver, ResponseSight, observe_request};
use crate::shape::{Endpoint, FinishReason, TokenCount, TokenSource};

struct Case {
    name: &'static str,
    meta: Value,
    endpoint: Endpoint,
    body: Vec<u8>,
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/http"))
}

fn case(name: &'static str) -> Case {
    let read = |file: &str| std::fs::read(folder().join(file)).unwrap();
    let meta: Value = serde_json::from_slice(&read(&format!("{name}.meta.json"))).unwrap();
    let body = read(meta["response"]["body_file"].as_str().unwrap());
    let endpoint = match meta["dialect"].as_str().unwrap() {
        "openai-completions" => Endpoint::Completions,
        anthropic if anthropic.starts_with("anthropic") => Endpoint::Messages,
        "openai-chat" | "json" => Endpoint::ChatCompletions,
        "openai-responses" => Endpoint::Responses,
        "ollama" => Endpoint::OllamaChat,
        other => panic!("a fixture of dialect {other}"),
    };
    let length = meta["expected"]["body_bytes"].as_u64();
    assert_eq!(length, Some(body.len() as u64), "{name}: the body is whole");
    Case {
        name,
        meta,
        endpoint,
        body,
    }
}

const CASES: [&str; 13] = [
    "anthropic_text_ping",
    "anthropic_thinking",
    "groq_chat",
    "nim_llama31_chat",
    "ollama_chat",
    "openai_chat_nonstream",
    "openai_chat_text_usage",
    "openai_chat_three_choices",
    "openai_chat_tool_call",
    "openai_err_400",
    "openai_responses_text",
    "openrouter_comments",
    "vllm_completions_local",
];

impl Case {
    fn observer(&self) -> ResponseObserver {
        let content_type = self.meta["response"]["headers"]["content-type"][0].as_str();
        let by_file = self.meta["response"]["body_file"].as_str().unwrap();
        let kind = if by_file.ends_with(".sse") {
            Some("text/event-stream")
        } else {
            content_type
        };
        let status = u16::try_from(self.meta["response"]["status"].as_u64().unwrap()).unwrap();
        let head = ResponseHead {
            status,
            content_type: kind,
            content_encoding: None,
        };
        ResponseObserver::new(self.endpoint, head, true)
    }

    fn observe<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> ResponseSight {
        let mut observer = self.observer();
        for piece in pieces {
            observer.data(5, piece);
        }
        observer.finish()
    }

    fn expected(&self) -> &Value {
        &self.meta["expected"]
    }
}

#[test]
fn recorded_answers_read_the_same_wherever_they_are_cut() {
    for case in CASES.map(case) {
        let whole = case.observe([case.body.as_slice()]);
        for cut in 0..=case.body.len() {
            let (head, tail) = case.body.split_at(cut);
            assert_eq!(
                case.observe([head, tail]),
                whole,
                "{} cut at {cut}",
                case.name
            );
        }
        assert_eq!(
            case.observe(case.body.chunks(1)),
            whole,
            "{} byte by byte",
            case.name
        );
    }
}

#[test]
fn recorded_answers_hold_what_an_independent_parser_found() {
    for case in CASES.map(case) {
        let (name, expected) = (case.name, case.expected());
        let sight = case.observe([case.body.as_slice()]);
        let events = expected["n_events"].as_u64();
        if let Some(events) = events.or(expected["n_records"].as_u64()) {
            assert_eq!(u64::from(sight.events), events, "{name}: events");
        }
        // Ollama's stand beside the rest.
        let usage = match &expected["usage"] {
            Value::Null => expected,
            usage => usage,
        };
        let number = |keys: &[&str]| {
            keys.iter()
                .find_map(|key| usage[*key].as_u64())
                .map(|n| u32::try_from(n).unwrap())
        };
        if let Some(output) = number(&["completion_tokens", "output_tokens"]) {
            let counted = Some(TokenCount {
                count: output,
                source: TokenSource::Usage,
            });
            assert_eq!(sight.output_tokens, counted, "{name}: output tokens");
        }
        if let Some(prompt) = number(&["prompt_tokens", "input_tokens"]) {
            assert_eq!(sight.prompt_tokens, Some(prompt), "{name}: prompt tokens");
        }
        for (path, found) in [
            ("/prompt_tokens_details/cached_tokens", sight.cached_tokens),
            (
                "/completion_tokens_details/reasoning_tokens",
                sight.reasoning_tokens,
            ),
            ("/cache_read_input_tokens", sight.cached_tokens),
            ("/input_tokens_details/cached_tokens", sight.cached_tokens),
            (
                "/output_tokens_details/reasoning_tokens",
                sight.reasoning_tokens,
            ),
        ] {
            if let Some(count) = usage.pointer(path).and_then(Value::as_u64) {
                assert_eq!(found.map(u64::from), Some(count), "{name}: {path}");
            }
        }
        if expected["reasoning_chars"].as_u64() > Some(0) {
            let mut byte_by_byte = case.observer();
            for (moment, byte) in (0..).zip(case.body.chunks(1)) {
                byte_by_byte.data(moment, byte);
            }
            let sight = byte_by_byte.finish();
            assert!(
                sight.first_token_us.is_some() && sight.first_token_us < sight.first_answer_us,
                "{name}: it thinks before it answers"
            );
        }
        let has_text = expected["text"]
            .as_object()
            .is_some_and(|texts| texts.values().any(|text| text != ""));
        let streamed = case.meta["response"]["body_file"]
            .as_str()
            .unwrap()
            .ends_with(".sse");
        if has_text && streamed {
            assert!(
                sight.token_events > 0 && sight.first_answer_us == Some(5),
                "{name}: tokens"
            );
            assert_eq!(
                sight.gaps.count(),
                u64::from(sight.token_events) - 1,
                "{name}: gaps"
            );
        }
        if let Some(reasons) = expected["finish_reasons"].as_object() {
            let first = reasons.values().find_map(Value::as_str);
            let known = first.map(|reason| match reason {
                "stop" => FinishReason::Stop,
                "length" => FinishReason::Length,
                "tool_calls" => FinishReason::ToolCalls,
                other => panic!("{name}: {other}"),
            });
            assert_eq!(sight.finish, known, "{name}: finish");
        }
        let stop = expected["stop"].as_str();
        if let Some(reason) = stop.or(expected["done_reason"].as_str()) {
            assert!(
                matches!(reason, "end_turn" | "completed" | "stop")
                    && sight.finish == Some(FinishReason::Stop),
                "{name}: {reason}"
            );
        }
        if let Some(calls) = expected["tool_calls"].as_array() {
            assert_eq!(
                usize::from(sight.tool_calls),
                calls.len(),
                "{name}: tool calls"
            );
        }
        let rejected = case.meta["response"]["status"].as_u64() >= Some(400);
        assert_eq!(sight.ended, !rejected, "{name}: ended");
        assert!(!sight.unparsable && !sight.error, "{name}");
    }
}

#[test]
fn recorded_requests_parse() {
    let key = ChainKey::from_bytes([1; 16]);
    let mut parsed = 0;
    for case in CASES.map(case) {
        let Ok(body) = std::fs::read(folder().join(format!("{}.req.json", case.name))) else {
            continue;
        };
        let sight = observe_request(case.endpoint, &body, &key)
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert!(
            !sight.prompt.messages.is_empty() && sight.model.is_some(),
            "{}",
            case.name
        );
        parsed += 1;
    }
    assert!(parsed >= 6);
}
