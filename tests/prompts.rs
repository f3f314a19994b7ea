//! What is in the requests of a replay: recorded, replayed through a second recorder, and compared.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use serde_json::{Value, json};
use support::traffic::{Call, drive, words};
use support::{Server, exchanges, reenact};

/// The head of a PNG of 320 by 200 pixels, and as many bytes as such a picture may have.
fn picture(seed: usize) -> String {
    let head = "iVBORw0KGgoAAAANSUhEUgAAAUAAAADI";
    format!("data:image/png;base64,{head}{}", "AAAA".repeat(5000 + seed))
}

/// The same of a JPEG of 640 by 360 pixels.
fn photograph(bytes: usize) -> String {
    let head = "/9j/4AAQSkZJRgABAQAAAQABAAD/wAARCAFoAoADASIAAhEAAxEAEQAA";
    format!(
        "data:image/jpeg;base64,{head}{}",
        "AAAA".repeat(bytes / 3 - 14)
    )
}

/// One request of everything that a prompt may hold beside words.
fn traffic() -> Vec<Call> {
    let say = |seed: u64, more: Value| {
        let mut body = json!({"model": "m", "max_tokens": 12, "min_tokens": 12, "ignore_eos": true, "stream": true,
            "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": words(seed, 60)}]});
        let fields = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        ("/v1/chat/completions", body)
    };
    let look = |seed: u64, picture: &str| {
        say(
            seed,
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": words(seed, 30)},
            {"type": "image_url", "image_url": {"url": picture}}]}]}),
        )
    };
    let schema = json!({"type": "object", "description": words(9, 40), "properties": {"a": {"type": "string"}}});
    let ids: Vec<u32> = (2000..2150).collect();
    let requests = [
        look(1, &picture(0)),
        look(2, &picture(0)),
        look(3, &picture(700)),
        look(10, &photograph(45_000)),
        say(
            4,
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}),
        ),
        say(
            5,
            json!({"response_format": {"type": "json_object"}, "stop": ["x", "y"], "temperature": 0.0}),
        ),
        say(
            6,
            json!({"logprobs": true, "top_logprobs": 3, "reasoning_effort": "low", "temperature": 0.7}),
        ),
        say(7, json!({"n": 2})),
        (
            "/v1/completions",
            json!({"model": "m", "prompt": ids, "max_tokens": 9, "min_tokens": 9, "ignore_eos": true}),
        ),
        (
            "/v1/completions",
            json!({"model": "m", "prompt": [words(8, 40), words(9, 50)], "max_tokens": 9, "min_tokens": 9,
            "ignore_eos": true}),
        ),
    ];
    (0..)
        .zip(requests)
        .map(|(at, (path, body))| Call {
            at: Duration::from_millis(30 * at),
            path,
            body,
        })
        .collect()
}

fn record(dir: &Path) -> Vec<Value> {
    let sim = Server::sim(&["--profile", "null"]);
    let recorder = Server::recorder(&sim.url, dir, &[]);
    drive(&recorder.url, traffic());
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    by_prompt(exchanges(dir))
}

/// In an order that does not depend on which of two requests was the first to arrive on a busy machine.
fn by_prompt(mut exchanges: Vec<Value>) -> Vec<Value> {
    exchanges.sort_by_cached_key(|exchange| {
        let prompt = exchange.pointer("/request/prompt_tokens/count").unwrap();
        let params = exchange.pointer("/request/params").unwrap().to_string();
        (
            prompt.as_u64(),
            exchange.pointer("/request/media").map(Value::to_string),
            params,
        )
    });
    exchanges
}

/// The trace of a replay, and its result.
fn replay(trace: &Path, args: &[&str]) -> (Vec<Value>, Value) {
    let (second, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sim = Server::sim(&["--profile", "null"]);
    let recorder = Server::recorder(&sim.url, second.path(), &[]);
    let output = reenact(["replay"])
        .arg(trace)
        .args(["--target", &recorder.url, "--out"])
        .arg(out.path())
        .args(args)
        .output()
        .unwrap();
    // Exit code 4 says that the machine was too busy to pace, which is not the subject here.
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 4)), "{said}");
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let result = std::fs::read(out.path().join("result.json")).unwrap();
    (
        by_prompt(exchanges(second.path())),
        serde_json::from_slice(&result).unwrap(),
    )
}

fn alterations(result: &Value) -> String {
    result["targets"][0]["fidelity"]["alterations"].to_string()
}

#[test]
fn pictures_schemas_token_ids_and_parameters_come_back_as_they_were_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let first = record(dir.path());
    let (second, result) = replay(dir.path(), &[]);
    assert_eq!((first.len(), second.len()), (10, 10));
    for (i, (a, b)) in first.iter().zip(&second).enumerate() {
        for same in [
            "/endpoint",
            "/request/params",
            "/request/media",
            "/request/prompt_tokens",
            "/response/output_tokens",
            "/response/finish",
        ] {
            assert_eq!(a.pointer(same), b.pointer(same), "{same} of exchange {i}");
        }
    }
    let formats = second
        .iter()
        .filter_map(|it| it.pointer("/request/media/0/format"));
    let mut formats: Vec<_> = formats.collect();
    formats.sort_by_key(ToString::to_string);
    assert_eq!(formats, ["jpeg", "png", "png", "png"]);
    assert_eq!(result["targets"][0]["fidelity"]["prompt_tokens_error"], 0.0);
    // All alike in the trace: that only one length was asked for is the one thing to be said.
    let altered = alterations(&result);
    assert!(
        !altered.contains("left out") && !altered.contains("as words"),
        "{altered}"
    );
}

/// Answers every question as briefly as it can be answered, and passes on what bodies it is sent.
fn terse() -> (String, mpsc::Receiver<Value>) {
    let (sender, bodies) = mpsc::channel();
    let sender = Mutex::new(sender);
    let (url, _) = support::http::upstream(move |mut stream| {
        while let Some(request) = support::http::read_request(&mut stream) {
            let text = String::from_utf8(request).unwrap();
            let (_, body) = text.split_once("\r\n\r\n").unwrap();
            if let Ok(body) = serde_json::from_str(body) {
                sender.lock().unwrap().send(body).unwrap();
            }
            let answer = json!({"data": [{"id": "m"}], "choices": [{"index": 0, "message": {"role": "assistant",
                "content": "so"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}});
            let answer = answer.to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
            let whole = format!("{head}: {}\r\n\r\n{answer}", answer.len());
            if stream.write_all(whole.as_bytes()).is_err() {
                return;
            }
        }
    });
    (url, bodies)
}

#[test]
fn a_decoder_reads_the_pictures_that_are_sent() {
    const BYTES: [usize; 3] = [9_000, 45_000, 600_000];
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "null"]);
    let recorder = Server::recorder(&sim.url, dir.path(), &[]);
    let calls = (0..).zip(BYTES).map(|(i, bytes)| Call {
        at: Duration::from_millis(30 * i),
        path: "/v1/chat/completions",
        body: json!({"model": "m", "max_tokens": 2, "messages": [{"role": "user", "content": [
            {"type": "text", "text": words(i, 30)},
            {"type": "image_url", "image_url": {"url": photograph(bytes)}},
            {"type": "image_url", "image_url": {"url": picture(20_000)}}]}]}),
    });
    drive(&recorder.url, calls.collect());
    assert!(recorder.terminate().0.success());
    let (url, bodies) = terse();
    let output = reenact(["replay"])
        .arg(dir.path())
        .args(["--target", &url])
        .output()
        .unwrap();
    // Its counts make no sense, and so the run is not valid.
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");

    let mut urls = Vec::new();
    for body in bodies.try_iter() {
        let parts = body
            .pointer("/messages/0/content")
            .and_then(Value::as_array);
        let parts = parts.into_iter().flatten();
        let url = |part: &Value| Some(part.pointer("/image_url/url")?.as_str()?.to_owned());
        let found: Vec<String> = parts.filter_map(url).collect();
        // Probes show one picture at a time.
        if found.len() == 2 {
            urls.extend(found);
        }
    }
    // Every pixel is decoded, and a file that breaks off or goes on is refused.
    let decode = "import base64, io, json, sys\nfrom PIL import Image\nfound = []\nfor url in json.load(sys.stdin):\n    head, data = url.split(',')\n    data = base64.b64decode(data, validate=True)\n    picture = Image.open(io.BytesIO(data))\n    picture.load()\n    colours = len(picture.getcolors(1 << 24))\n    found.append([head, picture.format, picture.mode, picture.size, len(data), colours > 200])\nprint(json.dumps(found))";
    let mut python = support::python()
        .args(["-W", "error", "-c", decode])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let urls = serde_json::to_vec(&urls).unwrap();
    python.stdin.take().unwrap().write_all(&urls).unwrap();
    let output = python.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    found.sort_by_key(|picture| picture[4].as_u64());
    let png = json!([
        "data:image/png;base64",
        "PNG",
        "RGB",
        [320, 200],
        24 + 75_000,
        true
    ]);
    let [small, middle, large] = BYTES.map(|bytes| {
        json!([
            "data:image/jpeg;base64",
            "JPEG",
            "RGB",
            [640, 360],
            bytes,
            true
        ])
    });
    assert_eq!(found, [small, middle, png.clone(), png.clone(), png, large]);
}

#[test]
fn a_trace_goes_to_an_endpoint_of_another_dialect() {
    let dir = tempfile::tempdir().unwrap();
    let first = record(dir.path());
    let (second, result) = replay(dir.path(), &["--as", "messages"]);
    assert_eq!(second.len(), first.len());
    for (i, (a, b)) in first.iter().zip(&second).enumerate() {
        assert_eq!(b["endpoint"], "messages");
        let recorded = a.pointer("/request/prompt_tokens/count");
        assert_eq!(
            b.pointer("/request/prompt_tokens/count"),
            recorded,
            "exchange {i}"
        );
        assert_eq!(
            a.pointer("/request/media"),
            b.pointer("/request/media"),
            "exchange {i}"
        );
    }
    let altered = alterations(&result);
    for name in [
        "another endpoint",
        "response_format",
        "logprobs",
        "batch",
        "n was",
    ] {
        assert!(altered.contains(name), "{name}: {altered}");
    }
}

#[test]
fn tokens_are_scaled_and_words_come_from_the_users_own_text() {
    let dir = tempfile::tempdir().unwrap();
    let first = record(dir.path());
    let corpus = dir.path().join("corpus.txt");
    let text: String = (0..90)
        .map(|i| {
            format!(
                "zq{}{} ",
                char::from(b'a' + i / 26),
                char::from(b'a' + i % 26)
            )
        })
        .collect();
    std::fs::write(&corpus, text).unwrap();
    let args = ["--token-ratio", "1.5", "--prompt-as", "text", "--corpus"];
    let args = [&args[..], &[corpus.to_str().unwrap()]].concat();
    let (second, result) = replay(dir.path(), &args);
    let count = |exchange: &Value, of: &str| exchange.pointer(of).unwrap().as_f64().unwrap();
    for (i, (a, b)) in first.iter().zip(&second).enumerate() {
        let wanted = (count(a, "/request/prompt_tokens/count") * 1.5).round();
        assert_eq!(
            count(b, "/request/prompt_tokens/count"),
            wanted,
            "exchange {i}"
        );
        // Each prompt of a request has an answer of its own, and each of these is as long as the others.
        let prompts = match a["endpoint"].as_str() {
            Some("completions") => a
                .pointer("/request/messages")
                .unwrap()
                .as_array()
                .unwrap()
                .len(),
            _ => 1,
        };
        let answers = count(a, "/request/params/n") * prompts as f64;
        let wanted = (count(a, "/response/output_tokens/count") * 1.5).round();
        let got = count(b, "/response/output_tokens/count");
        assert_eq!(got, (wanted / answers).ceil() * answers, "exchange {i}");
    }
    assert!(alterations(&result).contains("as words"));
}

fn refused(args: &[&str]) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "{}").unwrap();
    let output: Output = reenact(["replay", "nowhere.rt", "--target", "127.0.0.1:1"])
        .args(
            args.iter()
                .map(|arg| arg.replace("FILE", file.to_str().unwrap())),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), said)
}

#[test]
fn wrong_options_are_refused_with_what_mends_them() {
    for (args, code, hint) in [
        (&["--tokenizer", "FILE"][..], 1, "tokenizer.json"),
        (&["--tokenizer", "nowhere.json"], 1, "tokenizer.json"),
        (&["--corpus", "FILE"], 2, "0 different words"),
        (&["--corpus", "nowhere.txt"], 2, "cannot read"),
        (&["--token-ratio", "0"], 2, "0.05"),
        (&["--as", "chat"], 2, "chat_completions"),
        (&["--model-map", "a"], 2, "model-0="),
        (&["--prompt-as", "words"], 2, "token-ids"),
    ] {
        let (status, said) = refused(args);
        assert_eq!(status, code, "{args:?}: {said}");
        assert!(said.contains(hint), "{args:?}: {said}");
    }
}

#[test]
fn models_are_mapped_and_unknown_ones_refused() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path());
    let sim = Server::sim(&["--profile", "null", "--model", "one"]);
    let run = |map: &str| {
        reenact(["replay"])
            .arg(dir.path())
            .args(["--target", &sim.url, "--model-map", map, "--json"])
            .output()
            .unwrap()
    };
    let output = run("model-7=x");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("model-0"),
        "{said}"
    );
    let output = run("model-0=one");
    assert!(matches!(output.status.code(), Some(0 | 4)));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["targets"][0]["requests"]["ok"], 10);
}
