//! The official OpenAI and Anthropic Python packages, directly and through the recorder: they see the same, and the trace holds
//! what they sent.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::{Server, exchanges};

/// Runs the calls of `tests/sdk/exchanges.py` against `url`.
fn calls(url: &str) -> Value {
    // tests/run makes it, with the packages of tests/requirements.txt.
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/python");
    assert!(
        std::path::Path::new(python).exists(),
        "{python} is missing: run tests/run once"
    );
    let output = Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/sdk/exchanges.py"
        ))
        .arg(url)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn sdk_clients_see_no_difference_and_the_trace_holds_what_they_sent() {
    let sim = Server::sim(&["--profile", "fast"]);
    let direct = calls(&sim.url);
    // A server with a warm cache would say so in `usage`, so the proxied run gets one of its own.
    let sim = Server::sim(&["--profile", "fast"]);
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&sim.url, dir.path(), &[]);
    let proxied = calls(&recorder.url);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");

    let direct_calls = direct["calls"].as_array().unwrap();
    let proxied_calls = proxied["calls"].as_array().unwrap();
    assert_eq!(direct_calls.len(), proxied_calls.len());
    for (direct, proxied) in direct_calls.iter().zip(proxied_calls) {
        assert_eq!(direct["call"], proxied["call"]);
        assert_eq!(
            direct["seen"], proxied["seen"],
            "{} sees a difference",
            direct["call"]
        );
    }

    let recorded = exchanges(dir.path());
    assert_eq!(recorded.len(), proxied_calls.len(), "one exchange a call");
    let mut last_at = 0;
    for (call, exchange) in proxied_calls.iter().zip(&recorded) {
        let name = call["call"].as_str().unwrap();
        let expected = expected(name, call, &proxied);
        for (pointer, value) in expected {
            let found = exchange.pointer(pointer).unwrap_or(&Value::Null);
            assert_eq!(found, &value, "{name}: {pointer} in {exchange:#}");
        }
        let at = exchange["at_us"].as_u64().unwrap();
        assert!(at >= last_at, "{name}: arrivals are in order");
        last_at = at;
        if !name.ends_with("cancelled") {
            // The client's clock starts before the request is written and ends after the answer is read.
            let end_s = exchange["response"]["end_us"].as_f64().unwrap() / 1e6;
            let took_s = call["took_s"].as_f64().unwrap();
            assert!(
                end_s <= took_s,
                "{name}: {end_s} s in the trace, {took_s} s at the client"
            );
        }
    }
    let spans = |value: &Value, key: &str| value[key].as_f64().unwrap();
    let client_span =
        spans(&proxied_calls[proxied_calls.len() - 1], "at_s") - spans(&proxied_calls[0], "at_s");
    let trace_span = (last_at - recorded[0]["at_us"].as_u64().unwrap()) as f64 / 1e6;
    assert!(
        (client_span - trace_span).abs() < 0.25,
        "{client_span} s at the client, {trace_span} s in the trace"
    );
}

/// What the exchange of a call must hold.
fn expected(name: &str, call: &Value, run: &Value) -> Vec<(&'static str, Value)> {
    let seen = &call["seen"];
    let picture = run["picture_bytes"].clone();
    let history = json!([
        {"role": "system", "bytes": 56},
        {"role": "user", "bytes": 34},
        {"role": "assistant", "bytes": 28},
        {"role": "user", "bytes": 12},
    ]);
    let usage_of_chunks = || {
        seen.as_array()
            .unwrap()
            .iter()
            .rev()
            .find_map(|chunk| chunk.get("usage"))
            .cloned()
            .unwrap()
    };
    let tokens = |count: &Value| json!({"count": count, "source": "usage"});
    let openai = |usage: &Value| {
        vec![
            ("/request/prompt_tokens", tokens(&usage["prompt_tokens"])),
            (
                "/response/output_tokens",
                tokens(&usage["completion_tokens"]),
            ),
        ]
    };
    let mut expected = match name {
        "chat_plain" => {
            let mut fields = openai(&seen["usage"]);
            fields.push(("/request/messages", history));
            fields.push(("/request/params/stream", json!(false)));
            fields.push(("/request/params/greedy", json!(true)));
            fields.push(("/request/params/max_tokens", json!(12)));
            fields.push(("/endpoint", json!("chat_completions")));
            fields
        }
        "chat_stream" => {
            let mut fields = openai(&usage_of_chunks());
            fields.push(("/request/params/stream", json!(true)));
            fields.push(("/request/params/include_usage", json!(true)));
            fields.push((
                "/response/token_events",
                usage_of_chunks()["completion_tokens"].clone(),
            ));
            fields
        }
        "chat_stream_without_usage" => {
            let has_text = |chunk: &&Value| {
                chunk
                    .pointer("/choices/0/delta/content")
                    .is_some_and(|text| text != "")
            };
            let count = seen.as_array().unwrap().iter().filter(has_text).count();
            vec![(
                "/response/output_tokens",
                json!({"count": count, "source": "counted"}),
            )]
        }
        "chat_tools" => {
            let mut fields = openai(&seen["usage"]);
            fields.push(("/request/tools/count", json!(1)));
            fields.push(("/response/tool_calls", json!(1)));
            fields.push(("/response/finish", json!("tool_calls")));
            fields
        }
        "chat_tools_stream" => {
            vec![
                ("/request/tools/count", json!(1)),
                ("/response/tool_calls", json!(1)),
            ]
        }
        "chat_image" => vec![(
            "/request/media",
            json!([{"message": 0, "format": "png", "kind": "image", "bytes": picture, "pixels": [24, 16]}]),
        )],
        "completions_plain" => {
            let mut fields = openai(&seen["usage"]);
            fields.push(("/endpoint", json!("completions")));
            fields.push(("/request/messages", json!([{"role": "user", "bytes": 16}])));
            fields
        }
        "completions_stream" => openai(&usage_of_chunks()),
        "messages_plain" => vec![
            ("/endpoint", json!("messages")),
            (
                "/request/messages",
                json!([{"role": "system", "bytes": 9}, {"role": "user", "bytes": 12}]),
            ),
            (
                "/request/prompt_tokens",
                tokens(&seen["usage"]["input_tokens"]),
            ),
            (
                "/response/output_tokens",
                tokens(&seen["usage"]["output_tokens"]),
            ),
        ],
        "messages_stream" => vec![
            (
                "/request/messages",
                json!([{"role": "system", "bytes": 9}, {"role": "user", "bytes": 19}]),
            ),
            (
                "/response/output_tokens",
                tokens(&usage_of_chunks()["output_tokens"]),
            ),
            (
                "/response/token_events",
                usage_of_chunks()["output_tokens"].clone(),
            ),
        ],
        "messages_image" => vec![(
            "/request/media",
            json!([{"message": 0, "format": "png", "kind": "image", "bytes": picture, "pixels": [24, 16]}]),
        )],
        "messages_tools" => vec![
            ("/request/tools/count", json!(1)),
            ("/response/tool_calls", json!(1)),
            ("/response/finish", json!("tool_calls")),
            (
                "/response/output_tokens",
                tokens(&seen["usage"]["output_tokens"]),
            ),
        ],
        "messages_tools_stream" => vec![
            ("/request/tools/count", json!(1)),
            ("/response/tool_calls", json!(1)),
            (
                "/response/output_tokens",
                tokens(&usage_of_chunks()["output_tokens"]),
            ),
        ],
        "refused" => vec![
            ("/response/status", seen["status"].clone()),
            ("/outcome/kind", json!("rejected")),
        ],
        "models" => vec![
            ("/endpoint", json!("models")),
            ("/method", json!("GET")),
            ("/shape", json!("generic")),
        ],
        "chat_cancelled" | "messages_cancelled" => {
            vec![
                ("/outcome/kind", json!("client_cancelled")),
                ("/request/params/max_tokens", json!(5000)),
            ]
        }
        other => panic!("a call without expectations: {other}"),
    };
    if name != "refused" && !name.ends_with("cancelled") {
        expected.push(("/outcome/kind", json!("completed")));
        expected.push(("/response/status", json!(200)));
    }
    expected
}
