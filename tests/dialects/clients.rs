//! The clients of OpenAI, Ollama, Cohere, Google, Hugging Face and Triton, directly and through the recorder: they see the same,
//! and the trace holds what they sent.

use std::process::Command;

use serde_json::{Value, json};

use super::support::{Server, exchanges, reenact};

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/python");
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dialects");

/// What each client saw, by call.
fn calls(rest: &str, grpc: &str) -> Vec<(String, Value)> {
    let output = Command::new(PYTHON)
        .arg(format!("{FOLDER}/clients.py"))
        .args([rest, grpc])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn clients_see_no_difference_and_the_trace_holds_what_they_sent() {
    assert!(
        std::path::Path::new(PYTHON).exists(),
        "{PYTHON} is missing: run tests/run once"
    );
    let mut server = Server::launch(Command::new(PYTHON).arg(format!("{FOLDER}/server.py")));
    let grpc = server.wait_for_url("grpc on ");
    let direct = calls(&server.url, &grpc);
    let dir = tempfile::tempdir().unwrap();
    let (rest_dir, grpc_dir) = (dir.path().join("rest"), dir.path().join("grpc"));
    let rest_recorder = Server::recorder(&server.url, &rest_dir, &[]);
    let grpc_recorder = Server::recorder(&grpc, &grpc_dir, &[]);
    let proxied = calls(&rest_recorder.url, &grpc_recorder.url);
    for recorder in [rest_recorder, grpc_recorder] {
        let (status, log) = recorder.terminate();
        assert!(status.success(), "{log}");
    }
    assert_eq!(direct, proxied, "somebody sees a difference");

    replay(&server.url, &rest_dir);

    let mut recorded = exchanges(&rest_dir);
    recorded.extend(exchanges(&grpc_dir));
    let names: Vec<&str> = proxied.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(recorded.len(), names.len(), "one exchange a call");
    for (name, exchange) in names.into_iter().zip(&recorded) {
        for (pointer, value) in expected(name) {
            let found = exchange.pointer(pointer).unwrap_or(&Value::Null);
            assert_eq!(found, &value, "{name}: {pointer} in {exchange:#}");
        }
    }
}

/// Sends all that a replay can write again: every dialect's server takes it, and none fails for want of tokens.
fn replay(url: &str, trace: &std::path::Path) {
    let out = tempfile::tempdir().unwrap();
    let output = reenact(["replay", "--target", url, "--model", "m-1", "--out"])
        .arg(out.path())
        .arg(trace)
        .output()
        .unwrap();
    // Exit code 4: this server counts the same tokens whatever it is sent, which no faithful replay could be.
    assert!(
        matches!(output.status.code(), Some(0 | 4)),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let result = std::fs::read(out.path().join("result.json")).unwrap();
    let result: Value = serde_json::from_slice(&result).unwrap();
    let requests = &result["targets"][0]["requests"];
    // All but the tensors.
    assert_eq!(
        (&requests["planned"], &requests["ok"]),
        (&json!(12), &json!(12)),
        "{requests:#}"
    );
}

/// What the exchange of a call must hold.
fn expected(name: &str) -> Vec<(&'static str, Value)> {
    let told = |count: u32| json!({"count": count, "source": "usage"});
    let brief = || json!([{"role": "system", "bytes": 9}, {"role": "user", "bytes": 12}]);
    let alone = || json!([{"role": "user", "bytes": 12}]);
    let tensor = || json!([{"role": "other", "bytes": 16}]);
    let answered = |endpoint: &str, prompt: u32, messages: Value| {
        vec![
            ("/endpoint", json!(endpoint)),
            ("/shape", json!("known")),
            ("/request/messages", messages),
            ("/request/prompt_tokens", told(prompt)),
            ("/response/output_tokens", told(4)),
            ("/outcome/kind", json!("completed")),
        ]
    };
    let streamed = |mut expected: Vec<(&'static str, Value)>| {
        expected.push(("/response/token_events", json!(4)));
        expected.push(("/request/params/stream", json!(true)));
        expected
    };
    let capped = |mut expected: Vec<(&'static str, Value)>, most: u32| {
        expected.push(("/request/params/max_tokens", json!(most)));
        expected
    };
    let tensors = |endpoint: &str, messages: Value| {
        let shapes = (0..messages.as_array().map_or(0, Vec::len))
            .map(|message| json!({"message": message, "datatype": "int32", "dimensions": [1, 4]}))
            .collect();
        vec![
            ("/endpoint", json!(endpoint)),
            ("/shape", json!("known")),
            ("/model", json!(0)),
            ("/request/messages", messages),
            ("/request/tensors", shapes),
            ("/request/prompt_tokens", Value::Null),
            ("/response/output_tokens", Value::Null),
        ]
    };
    match name {
        "responses" => capped(answered("responses", 21, brief()), 40),
        "responses_stream" => {
            let items = json!([
                {"role": "user", "bytes": 12},
                {"role": "assistant", "bytes": 3},
                {"role": "tool", "bytes": 4},
            ]);
            let mut expected = streamed(answered("responses", 21, items));
            expected.push(("/request/params/continues", json!(true)));
            expected.push(("/response/cached_tokens", json!(16)));
            expected
        }
        "embeddings" => vec![
            ("/endpoint", json!("embeddings")),
            (
                "/request/messages",
                json!([{"role": "user", "bytes": 3}, {"role": "user", "bytes": 5}]),
            ),
            ("/request/prompt_tokens", told(7)),
            ("/request/params/dimensions", json!(256)),
            ("/request/params/encoding_format", json!("float")),
            ("/response/output_tokens", Value::Null),
            ("/outcome/kind", json!("completed")),
        ],
        "ollama_chat" => {
            let mut expected = capped(streamed(answered("ollama_chat", 17, brief())), 40);
            expected.push(("/request/params/context_tokens", json!(8192)));
            expected
        }
        "ollama_generate" => answered("ollama_generate", 17, brief()),
        "ollama_embed" => vec![
            ("/endpoint", json!("ollama_embed")),
            ("/request/messages", alone()),
            ("/request/prompt_tokens", told(6)),
            ("/response/output_tokens", Value::Null),
        ],
        "cohere_chat" => capped(answered("cohere_chat", 71, brief()), 40),
        "cohere_stream" => streamed(answered("cohere_chat", 71, brief())),
        "gemini_generate" => capped(answered("gemini_generate", 13, brief()), 40),
        "gemini_stream" => capped(streamed(answered("gemini_stream", 13, brief())), 40),
        "tgi" => {
            let mut expected = capped(answered("tgi_generate", 9, alone()), 4);
            // What it is fine-tuned with stands for the model.
            expected.push(("/model", json!(2)));
            expected
        }
        "tgi_stream" => capped(streamed(answered("tgi_generate", 9, alone())), 4),
        "infer" => {
            let mut expected = tensors("infer", tensor());
            expected[2].1 = json!(3);
            expected.push(("/outcome/kind", json!("completed")));
            expected
        }
        "grpc_infer" => {
            let mut expected = tensors("grpc_infer", tensor());
            expected.push(("/response/events", json!(1)));
            expected.push(("/response/status", json!(200)));
            expected.push(("/outcome/kind", json!("completed")));
            expected
        }
        "grpc_refused" => vec![
            ("/endpoint", json!("grpc_infer")),
            ("/model", json!(1)),
            ("/response/status", json!(404)),
            ("/response/finish", json!("error")),
            ("/outcome/kind", json!("rejected")),
        ],
        "grpc_stream" => {
            let twice = json!([{"role": "other", "bytes": 16}, {"role": "other", "bytes": 16}]);
            let mut expected = tensors("grpc_stream_infer", twice);
            expected.push(("/response/events", json!(4)));
            expected.push(("/outcome/kind", json!("completed")));
            expected
        }
        other => panic!("a call without expectations: {other}"),
    }
}
