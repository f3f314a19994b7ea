//! Traces of one dialect replayed to candidates of another, and what could not be carried over.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::candidate::replayed;
use super::support::traffic::{Call, drive, words};
use super::support::{Server, exchanges, http};

/// A server as Hugging Face's: it counts words, and says as many as it is asked for.
fn tgi() -> String {
    let (url, _) = http::upstream(|mut stream| {
        while let Some(request) = http::read_request(&mut stream) {
            let text = String::from_utf8(request).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let path = head.split(' ').nth(1).unwrap();
            let (status, kind, answer) = match path {
                "/generate" => ("200 OK", "application/json", tgi_answer(body, false)),
                "/generate_stream" => ("200 OK", "text/event-stream", tgi_answer(body, true)),
                _ => ("404 Not Found", "text/plain", String::new()),
            };
            let length = answer.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{answer}"
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    url
}

fn tgi_answer(body: &str, stream: bool) -> String {
    let body: Value = serde_json::from_str(body).unwrap();
    let words = body["inputs"].as_str().unwrap().split_whitespace().count();
    let tokens = body["parameters"]["max_new_tokens"].as_u64().unwrap();
    assert_eq!(body["parameters"]["details"], true);
    let text = "tide ".repeat(tokens as usize);
    let details = json!({
        "finish_reason": "length", "generated_tokens": tokens, "input_length": words, "prefill": [], "tokens": [],
    });
    if !stream {
        return json!({"generated_text": text, "details": details}).to_string();
    }
    let event = |index: u64| {
        let last = index == tokens;
        json!({
            "index": index,
            "token": {"id": index, "text": "tide ", "logprob": -0.5, "special": false},
            "generated_text": last.then_some(&text),
            "details": last.then_some(&details),
        })
    };
    (1..=tokens)
        .map(|index| format!("data:{}\n\n", event(index)))
        .collect()
}

fn call(at: u64, path: &'static str, body: Value) -> Call {
    Call {
        at: Duration::from_millis(30 * at),
        path,
        body,
    }
}

/// What a server is sent, as a trace.
fn recorded(url: &str, dir: &Path, calls: Vec<Call>) -> Vec<Value> {
    let count = calls.len();
    let recorder = Server::recorder(url, dir, &[]);
    drive(&recorder.url, calls);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let recorded = exchanges(dir);
    assert_eq!(recorded.len(), count);
    recorded
}

/// Prompts and answers by their lengths in tokens, whichever came first on a busy machine.
fn lengths(exchanges: &[Value]) -> Vec<(u64, u64, bool)> {
    let mut lengths: Vec<_> = exchanges
        .iter()
        .map(|exchange| {
            let count = |of: &str| exchange.pointer(of).and_then(Value::as_u64).unwrap();
            (
                count("/request/prompt_tokens/count"),
                count("/response/output_tokens/count"),
                exchange["request"]["params"]["stream"] == true,
            )
        })
        .collect();
    lengths.sort_unstable();
    lengths
}

/// That every request of the trace was answered whole, at its lengths, at these endpoints.
fn is_carried(first: &[Value], second: &[Value], result: &Value, endpoints: &[&str]) {
    let target = &result["targets"][0];
    assert_eq!(target["requests"]["ok"], first.len(), "{target:#}");
    assert_eq!(target["fidelity"]["prompt_tokens_error"], 0.0);
    assert_eq!(target["fidelity"]["output_tokens_error"], 0.0);
    assert_eq!(lengths(second), lengths(first));
    let mut found: Vec<&str> = second
        .iter()
        .map(|exchange| exchange["endpoint"].as_str().unwrap())
        .collect();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, endpoints);
}

/// The fields and facts that a result says were not carried, without their counts.
fn altered(result: &Value) -> Vec<String> {
    let told = result["targets"][0]["fidelity"]["alterations"].as_array();
    told.into_iter()
        .flatten()
        .map(|told| {
            let told = told.as_str().unwrap();
            let (what, _) = told.rsplit_once(" (").unwrap_or((told, ""));
            what.replace(" was not sent as recorded", "")
        })
        .collect()
}

const ELSEWHERE: &str = "the request went to another endpoint than the recorded one";

fn chats() -> Vec<Call> {
    let say = |at: u64, more: Value| {
        let mut body = json!({"model": "m", "max_tokens": 7 + at, "min_tokens": 7 + at, "ignore_eos": true,
            "messages": [{"role": "user", "content": words(at, 50 + at as usize)}]});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        call(at, "/v1/chat/completions", body)
    };
    let tool = json!({"type": "function", "function": {"name": "look", "description": words(9, 20),
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}});
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    vec![
        say(
            0,
            json!({"stream": true, "stream_options": {"include_usage": true}}),
        ),
        say(1, json!({"stop": ["x", "y"], "temperature": 0.0})),
        say(
            2,
            json!({"messages": [{"role": "system", "content": words(7, 12)}, {"role": "user", "content": words(8, 40)}]}),
        ),
        say(3, json!({"tools": [tool]})),
        say(4, json!({"reasoning_effort": "low"})),
        say(
            5,
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}),
        ),
    ]
}

#[test]
fn a_trace_of_openais_goes_to_hugging_faces_server() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "null"]);
    let first = recorded(&sim.url, dir.path(), chats());
    let (second, result) = replayed(
        dir.path(),
        &tgi(),
        &["--model", "m", "--as", "tgi_generate"],
    );
    is_carried(
        &first,
        &second,
        &result,
        &["tgi_generate", "tgi_generate_stream"],
    );
    let said = altered(&result);
    assert_eq!(
        said,
        [
            ELSEWHERE,
            "reasoning_effort",
            "roles",
            "schema_bytes",
            "tools"
        ]
    );
    let carried = |of: &str| {
        let of_it = second.iter().filter_map(|it| it.pointer(of));
        of_it.map(Value::to_string).collect::<Vec<_>>()
    };
    assert!(carried("/request/params/stop_count").contains(&"2".to_owned()));
    assert!(carried("/request/params/structured").contains(&"\"json_schema\"".to_owned()));
    // So it does where nobody says so, and the candidate has nothing else.
    let (again, result) = replayed(dir.path(), &tgi(), &["--model", "m"]);
    assert_eq!(lengths(&again), lengths(&second));
    assert_eq!(altered(&result), said);
}

#[test]
fn a_trace_of_anthropics_goes_to_an_openai_server() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "null"]);
    let ask = |at: u64, more: Value| {
        let mut body = json!({"model": "m", "max_tokens": 5 + at,
            "messages": [{"role": "user", "content": words(at, 40 + at as usize)}]});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        call(at, "/v1/messages", body)
    };
    let tool =
        json!({"name": "look", "description": words(9, 20), "input_schema": {"type": "object"}});
    let calls = vec![
        ask(0, json!({"stream": true})),
        ask(1, json!({"system": words(5, 12)})),
        ask(2, json!({"tools": [tool]})),
        ask(3, json!({"stop_sequences": ["x"]})),
    ];
    let first = recorded(&sim.url, dir.path(), calls);
    let (second, result) = replayed(dir.path(), &sim.url, &["--as", "chat_completions"]);
    is_carried(&first, &second, &result, &["chat_completions"]);
    assert_eq!(altered(&result), [ELSEWHERE]);
    for of in ["/request/params/stop_count", "/request/tools/count"] {
        let found = second.iter().filter(|it| it.pointer(of).is_some()).count();
        let there = first.iter().filter(|it| it.pointer(of).is_some()).count();
        assert!(found == there && there > 0, "{of}: {found} of {there}");
    }
}

#[test]
fn a_trace_of_hugging_faces_server_goes_to_an_openai_server() {
    let dir = tempfile::tempdir().unwrap();
    let ask = |at: u64, path, more: Value| {
        let mut parameters = json!({"max_new_tokens": 5 + at, "details": true});
        let more = more.as_object().unwrap().clone();
        parameters.as_object_mut().unwrap().extend(more);
        let inputs = words(at, 40 + at as usize);
        call(
            at,
            path,
            json!({"inputs": inputs, "parameters": parameters}),
        )
    };
    let calls = vec![
        ask(0, "/generate", json!({})),
        ask(1, "/generate_stream", json!({"do_sample": true})),
        ask(2, "/generate", json!({"best_of": 2, "stop": ["x"]})),
    ];
    let first = recorded(&tgi(), dir.path(), calls);
    let sim = Server::sim(&["--profile", "null"]);
    for (endpoint, lost) in [
        ("chat_completions", &[ELSEWHERE, "best_of"][..]),
        ("completions", &[ELSEWHERE]),
    ] {
        let (second, result) = replayed(dir.path(), &sim.url, &["--as", endpoint]);
        is_carried(&first, &second, &result, &[endpoint]);
        assert_eq!(altered(&result), lost, "{endpoint}");
    }
}
