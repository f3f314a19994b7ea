//! The closed loop: traffic is recorded, and its trace replayed through a second recorder; the second trace must match the first.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::traffic::{Call, drive, words};
use support::{Server, exchanges, reenact};

/// Conversations that share a system prompt and grow turn by turn, beside lone prompts in the other dialects.
fn traffic() -> Vec<Call> {
    let mut calls = Vec::new();
    let system = words(1, 240);
    let tools = json!([{"type": "function", "function": {"name": "search", "description": words(2, 30),
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}}}}]);
    for session in 0..6_u64 {
        let mut messages = vec![json!({"role": "system", "content": system})];
        for turn in 0..4_u64 {
            let seed = 100 + session * 10 + turn;
            messages.push(
                json!({"role": "user", "content": words(seed, 20 + (seed as usize * 7) % 90)}),
            );
            let mut body = json!({"model": "m", "messages": messages, "max_tokens": 8 + seed % 40, "temperature": 0.7,
                "stream": session != 5, "stream_options": {"include_usage": true}, "min_tokens": 8 + seed % 40, "ignore_eos": true});
            if session == 2 {
                body["tools"] = tools.clone();
            }
            let at =
                Duration::from_micros(61_000 * session + 700_000 * turn + (seed * 7919) % 90_000);
            calls.push(Call {
                at,
                path: "/v1/chat/completions",
                body,
            });
            messages.push(json!({"role": "assistant", "content": words(seed + 5000, 40)}));
        }
    }
    for i in 0..6_u64 {
        let at = Duration::from_micros(350_000 * i + 41_000);
        let body = json!({"model": "m", "prompt": words(700 + i / 2, 150), "max_tokens": 20 + i, "stream": i % 2 == 0,
            "stream_options": {"include_usage": true}, "min_tokens": 20 + i, "ignore_eos": true});
        calls.push(Call {
            at,
            path: "/v1/completions",
            body,
        });
        let body = json!({"model": "m", "system": system, "max_tokens": 16, "stream": i % 2 == 1, "min_tokens": 16,
            "ignore_eos": true, "messages": [{"role": "user", "content": words(800 + i, 60)}]});
        calls.push(Call {
            at: at + Duration::from_millis(90),
            path: "/v1/messages",
            body,
        });
    }
    calls.sort_by_key(|call| call.at);
    calls
}

/// Of each exchange, in order of arrival: how many leading blocks it shares with any before it.
fn sharing(exchanges: &[Value]) -> Vec<(usize, usize)> {
    let mut seen: HashMap<u64, ()> = HashMap::new();
    exchanges
        .iter()
        .map(|exchange| {
            let empty = Vec::new();
            let blocks = exchange
                .pointer("/request/blocks")
                .and_then(Value::as_array)
                .unwrap_or(&empty);
            let shared = blocks
                .iter()
                .take_while(|id| seen.contains_key(&id.as_u64().unwrap()))
                .count();
            seen.extend(blocks.iter().map(|id| (id.as_u64().unwrap(), ())));
            (shared, blocks.len())
        })
        .collect()
}

fn number(exchange: &Value, pointer: &str) -> f64 {
    exchange
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{pointer} in {exchange:#}"))
}

#[test]
fn a_replay_of_a_recording_records_the_same() {
    let planned = traffic().len();
    let first = tempfile::tempdir().unwrap();
    {
        let sim = Server::sim(&["--profile", "fast"]);
        let recorder = Server::recorder(&sim.url, first.path(), &[]);
        drive(&recorder.url, traffic());
        let (status, log) = recorder.terminate();
        assert!(status.success(), "{log}");
    }
    let second = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    {
        let sim = Server::sim(&["--profile", "fast"]);
        let recorder = Server::recorder(&sim.url, second.path(), &[]);
        let output = reenact(["replay"])
            .arg(first.path())
            // Linked turns would come when this server's answers allow it.
            .args(["--sessions", "independent", "--target", &recorder.url])
            .arg("--out")
            .arg(out.path())
            .output()
            .unwrap();
        // Exit code 4 says that the machine was too busy to pace: the comparison below says by how much.
        assert!(
            matches!(output.status.code(), Some(0 | 4)),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let (status, log) = recorder.terminate();
        assert!(status.success(), "{log}");
    }
    compare(&exchanges(first.path()), &exchanges(second.path()), planned);
    let result: Value =
        serde_json::from_slice(&std::fs::read(out.path().join("result.json")).unwrap()).unwrap();
    assert_fidelity(&result, planned);
    assert_one_line_each(&out.path().join("requests.jsonl.zst"), planned);
}

fn compare(first: &[Value], second: &[Value], planned: usize) {
    assert_eq!(first.len(), planned);
    assert_eq!(second.len(), planned, "same number of exchanges");

    let offsets = |trace: &[Value]| -> Vec<f64> {
        let start = number(&trace[0], "/at_us");
        trace
            .iter()
            .map(|exchange| number(exchange, "/at_us") - start)
            .collect()
    };
    let mut errors: Vec<f64> = offsets(first)
        .iter()
        .zip(offsets(second))
        .map(|(a, b)| (a - b).abs() / 1000.0)
        .collect();
    errors.sort_by(f64::total_cmp);
    let p99 = errors[(errors.len() * 99).div_ceil(100) - 1];
    assert!(
        p99 <= 5.0,
        "arrivals are off by {p99} ms at p99: {errors:?}"
    );

    for (i, (a, b)) in first.iter().zip(second).enumerate() {
        for same in [
            "/endpoint",
            "/request/params/stream",
            "/request/params/max_tokens",
            "/request/tools/count",
            "/outcome/kind",
            "/response/finish",
        ] {
            assert_eq!(a.pointer(same), b.pointer(same), "{same} of exchange {i}");
        }
        let (a_tokens, b_tokens) = (
            number(a, "/request/prompt_tokens/count"),
            number(b, "/request/prompt_tokens/count"),
        );
        assert!(
            (a_tokens - b_tokens).abs() <= a_tokens * 0.01,
            "prompt {i}: {a_tokens} became {b_tokens} tokens"
        );
        assert_eq!(
            number(a, "/response/output_tokens/count"),
            number(b, "/response/output_tokens/count"),
            "output tokens of {i}"
        );
        let roles = |exchange: &Value| -> Vec<Value> {
            exchange["request"]["messages"]
                .as_array()
                .unwrap()
                .iter()
                .map(|m| m["role"].clone())
                .collect()
        };
        assert_eq!(roles(a), roles(b), "roles of exchange {i}");
    }

    let (a, b) = (sharing(first), sharing(second));
    assert!(
        a.iter().map(|(shared, _)| shared).sum::<usize>() > 200,
        "the traffic shares prefixes: {a:?}"
    );
    for (i, (&(a_shared, a_blocks), &(b_shared, b_blocks))) in a.iter().zip(&b).enumerate() {
        assert!(
            a_shared.abs_diff(b_shared) <= 1,
            "exchange {i} shared {a_shared} blocks, then {b_shared}"
        );
        assert!(
            a_blocks.abs_diff(b_blocks) <= 1,
            "exchange {i} had {a_blocks} blocks, then {b_blocks}"
        );
    }
}

fn assert_fidelity(result: &Value, planned: usize) {
    let target = &result["targets"][0];
    assert_eq!(result["schema"], "reenact.result/1");
    assert_eq!(target["requests"]["planned"], planned);
    assert_eq!(target["requests"]["ok"], planned);
    assert!(number(target, "/fidelity/prompt_tokens_error") <= 0.01);
    assert_eq!(number(target, "/fidelity/output_tokens_error"), 0.0);
    let (recorded, sent) = (
        number(target, "/fidelity/prefix_share_recorded"),
        number(target, "/fidelity/prefix_share_sent"),
    );
    assert!(
        (recorded - sent).abs() < 0.01,
        "prefix share {recorded} recorded, {sent} sent"
    );
}

fn assert_one_line_each(path: &Path, planned: usize) {
    let lines = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    assert_eq!(
        lines
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .count(),
        planned
    );
}
