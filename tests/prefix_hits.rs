//! What a replay is for in the first place: the candidate's prefix cache must hit as often as production's did. The traffic is of
//! the three kinds that live on it; the rate is the server's own, from its answers' `cached_tokens`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation
)]

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::traffic::{Call, drive, words};
use support::{Server, exchanges, reenact};

fn chat(at_ms: u64, messages: &[Value]) -> Call {
    let body = json!({"model": "m", "messages": messages, "max_tokens": 8, "min_tokens": 8, "ignore_eos": true,
        "stream": true, "stream_options": {"include_usage": true}});
    Call {
        at: Duration::from_millis(at_ms),
        path: "/v1/chat/completions",
        body,
    }
}

fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

/// Conversations that grow turn by turn, each with a system prompt of its own.
fn multi_turn() -> Vec<Call> {
    let mut calls = Vec::new();
    for talk in 0..24_u64 {
        let mut messages = vec![message("system", &words(talk, 60))];
        for turn in 0..5_u64 {
            let seed = 1000 + talk * 10 + turn;
            messages.push(message("user", &words(seed, 15 + seed as usize * 7 % 80)));
            calls.push(chat(talk * 37 + turn * 700, &messages));
            messages.push(message(
                "assistant",
                &words(seed + 5000, 30 + seed as usize % 50),
            ));
        }
    }
    calls
}

/// Lone questions under a few long system prompts.
fn shared_system_prompt() -> Vec<Call> {
    let systems: Vec<_> = (0..5).map(|system| words(system, 300)).collect();
    let call = |at: u64| {
        let system = &systems[at as usize * 7 % 5];
        let question = words(2000 + at, 20 + at as usize * 13 % 70);
        chat(
            at * 25,
            &[message("system", system), message("user", &question)],
        )
    };
    (0..120).map(call).collect()
}

/// Questions over documents that are put before them: some share all of them, some the first, some only the system prompt.
fn rag() -> Vec<Call> {
    let call = |at: u64| {
        let documents = [at % 4, at / 4 % 3, at * 5 % 7].map(|number| words(300 + number, 120));
        let text = format!("{}\n\n{}", documents.join("\n\n"), words(3000 + at, 25));
        chat(
            at * 25,
            &[message("system", &words(9, 50)), message("user", &text)],
        )
    };
    (0..120).map(call).collect()
}

/// (prompt tokens, those of them that came from the cache) over a trace.
fn cached(trace: &Path) -> (u64, u64) {
    let number = |exchange: &Value, at: &str| exchange.pointer(at).and_then(Value::as_u64);
    exchanges(trace)
        .iter()
        .fold((0, 0), |(all, hit), exchange| {
            (
                all + number(exchange, "/request/prompt_tokens/count").unwrap(),
                hit + number(exchange, "/response/cached_tokens").unwrap_or(0),
            )
        })
}

/// Records traffic in front of one server, replays it against another, and gives both servers' rates.
fn rates(calls: Vec<Call>, sim_args: &[&str], recorder_args: &[&str]) -> (f64, f64) {
    let planned = calls.len();
    let sim = [&["--profile", "fast"], sim_args].concat();
    let traces = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let record = |dir: &Path, drive: &dyn Fn(&str)| {
        let sim = Server::sim(&sim);
        let recorder = Server::recorder(&sim.url, dir, recorder_args);
        drive(&recorder.url);
        let (status, log) = recorder.terminate();
        assert!(status.success(), "{log}");
    };
    let calls = std::cell::Cell::new(calls);
    record(traces[0].path(), &|url| drive(url, calls.take()));
    record(traces[1].path(), &|url| {
        let output = reenact(["replay"])
            .arg(traces[0].path())
            .args(["--target", url])
            .output()
            .unwrap();
        assert!(
            matches!(output.status.code(), Some(0 | 4)),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
    let rates = traces.map(|trace| {
        assert_eq!(exchanges(trace.path()).len(), planned);
        let (all, hit) = cached(trace.path());
        hit as f64 / all as f64
    });
    (rates[0], rates[1])
}

fn within_a_point(kind: &str, production: f64, replay: f64) {
    println!(
        "{kind}: {:.2} % in production, {:.2} % under replay",
        production * 100.0,
        replay * 100.0
    );
    assert!(
        production > 0.3,
        "{kind} shares too little to measure: {production}"
    );
    assert!(
        (production - replay).abs() < 0.01,
        "{kind}: {production} in production, {replay} under replay"
    );
}

const TOKENIZER: &[&str] = &["--tokenizer", "fixtures/tokenizer/small.json"];

#[test]
fn conversations_hit_as_often() {
    let (production, replay) = rates(multi_turn(), &[], &[]);
    within_a_point("multi-turn, byte blocks", production, replay);
    let (production, replay) = rates(multi_turn(), &[], TOKENIZER);
    within_a_point("multi-turn, token blocks", production, replay);
}

#[test]
fn shared_system_prompts_hit_as_often() {
    let (production, replay) = rates(shared_system_prompt(), &[], &[]);
    within_a_point("system prompts, byte blocks", production, replay);
    let (production, replay) = rates(shared_system_prompt(), &[], TOKENIZER);
    within_a_point("system prompts, token blocks", production, replay);
}

#[test]
fn documents_hit_as_often() {
    let (production, replay) = rates(rag(), &[], &[]);
    within_a_point("documents, byte blocks", production, replay);
    let (production, replay) = rates(rag(), &[], TOKENIZER);
    within_a_point("documents, token blocks", production, replay);
}
