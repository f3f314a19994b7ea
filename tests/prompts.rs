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
use std::time::Duration;

use serde_json::{Value, json};
use support::candidate::replayed;
use support::traffic::{Call, drive, requests_at, words};
use support::{Server, exchanges, reenact, terse};

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
    let sim = Server::sim(&["--profile", "null"]);
    let (got, result) = replayed(trace, &sim.url, args);
    (by_prompt(got), result)
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
    let (url, heard) = terse::noting(terse::counted());
    let output = reenact(["replay"])
        .arg(dir.path())
        .args(["--target", &url])
        .output()
        .unwrap();
    // Its counts make no sense, and so the run is not valid.
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");

    let mut urls = Vec::new();
    for request in heard.try_iter().filter(terse::Heard::is_replayed) {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let parts = body
            .pointer("/messages/0/content")
            .and_then(Value::as_array);
        let parts = parts.into_iter().flatten();
        let url = |part: &Value| Some(part.pointer("/image_url/url")?.as_str()?.to_owned());
        let found: Vec<String> = parts.filter_map(url).collect();
        urls.extend(found);
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

    // What was sent was made of that text and nothing else, even where it has no word that fits.
    let (url, heard) = terse::noting(terse::brief());
    let output = reenact(["replay", "--target", &url])
        .arg(dir.path())
        .args(args)
        .output()
        .unwrap();
    assert!(matches!(output.status.code(), Some(0 | 4)));
    let text = std::fs::read_to_string(&corpus).unwrap();
    let own: Vec<&str> = text.split_whitespace().collect();
    let sent: Vec<String> = { heard.try_iter() }
        .filter(terse::Heard::is_replayed)
        .flat_map(|request| texts(&request.body))
        .collect();
    assert_eq!(sent.len(), 11, "one of ten requests has two texts");
    let words = sent.iter().flat_map(|text| text.split([' ', ',']));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    assert!(words.len() > 500);
    let foreign: Vec<_> = words.iter().filter(|word| !own.contains(word)).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

/// What a request says: the texts of its messages, or its prompts.
fn texts(body: &str) -> Vec<String> {
    fn gather(value: &Value, texts: &mut Vec<String>) {
        match value {
            Value::String(text) => texts.push(text.clone()),
            Value::Array(parts) => parts.iter().for_each(|part| gather(part, texts)),
            Value::Object(part) => {
                for name in ["content", "text"] {
                    part.get(name).into_iter().for_each(|it| gather(it, texts));
                }
            }
            _ => {}
        }
    }
    let body: Value = serde_json::from_str(body).unwrap();
    let mut texts = Vec::new();
    gather(&body["messages"], &mut texts);
    gather(&body["prompt"], &mut texts);
    texts
}

/// The tokenizer of a target, as its engine has it too.
const SMALL: &str = "fixtures/tokenizer/small.json";

/// What a target that tells no counts was sent with [`SMALL`], and the remarks on that.
fn sent_blindly(trace: &Path, args: &[&str]) -> (Vec<terse::Heard>, String) {
    let (url, heard) = terse::noting(terse::brief());
    let output = reenact(["replay", "--json", "--tokenizer", SMALL, "--target", &url])
        .arg(trace)
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    let heard = heard.try_iter().filter(terse::Heard::is_replayed);
    let remarks = result["targets"][0]["fidelity"]["remarks"].to_string();
    (heard.collect(), remarks)
}

#[test]
fn prompts_are_exact_by_a_tokenizer_where_the_target_does_not_tell() {
    let tokenizer = tokenizers::Tokenizer::from_file(SMALL).unwrap();
    let tokens = |body: &str| -> usize {
        let texts = texts(body).into_iter();
        let counts = texts.map(|text| tokenizer.encode_fast(text, false).unwrap().len());
        counts.sum()
    };
    // Of a trace that is cut into tokens.
    let dir = tempfile::tempdir().unwrap();
    let trace = requests_at(dir.path(), (0..20).map(|i| i * 10), (300, 2));
    let (sent, remarks) = sent_blindly(&trace, &[]);
    assert_eq!(sent.len(), 20);
    for request in &sent {
        assert_eq!(tokens(&request.body), 300, "{}", request.body);
    }
    assert!(
        remarks.contains("does not tell its token counts"),
        "{remarks}"
    );
    assert!(
        remarks.contains("words are more than one token"),
        "{remarks}"
    );

    // Of one that is cut into bytes, with several messages to a prompt.
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "null"]);
    let recorder = Server::recorder(&sim.url, dir.path(), &[]);
    let say = |role: &str, seed, count| json!({"role": role, "content": words(seed, count)});
    let calls = (0..12).map(|i| Call {
        at: Duration::from_millis(20 * i),
        path: "/v1/chat/completions",
        body: json!({"model": "m", "max_tokens": 4, "messages": [say("system", 1, 70), say("user", 2 + i, 21 + i as usize),
            say("assistant", 50 + i, 33), say("user", 100 + i, 3)]}),
    });
    drive(&recorder.url, calls.collect());
    assert!(recorder.terminate().0.success());
    let recorded = exchanges(dir.path());
    let recorded = { recorded.iter() }.map(|it| it.pointer("/request/prompt_tokens/count"));
    let mut recorded: Vec<_> = recorded.map(|it| it.unwrap().as_u64().unwrap()).collect();
    let (sent, _) = sent_blindly(dir.path(), &[]);
    let mut sent: Vec<_> = sent.iter().map(|it| tokens(&it.body) as u64).collect();
    recorded.sort_unstable();
    sent.sort_unstable();
    assert_eq!(sent, recorded);
}

#[test]
fn prompts_of_token_ids_are_of_the_targets_own_tokenizer() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path());
    let tokenizer = tokenizers::Tokenizer::from_file(SMALL).unwrap();
    let (sent, _) = sent_blindly(dir.path(), &["--prompt-as", "token-ids"]);
    let bodies = { sent.iter() }.map(|it| serde_json::from_str::<Value>(&it.body).unwrap());
    let mut lengths = Vec::new();
    for prompt in bodies.filter_map(|mut body| body.get_mut("prompt").map(Value::take)) {
        let prompts = match prompt.pointer("/0/0") {
            Some(_) => prompt.as_array().unwrap().clone(),
            None => vec![prompt],
        };
        for ids in prompts {
            let ids: Vec<u32> = serde_json::from_value(ids).unwrap();
            for &id in &ids {
                let token = tokenizer.id_to_token(id).unwrap();
                let word = token.strip_prefix('Ġ').unwrap_or(&token);
                assert!(token == "," || token.len() > word.len(), "{token}");
            }
            lengths.push(ids.len());
        }
    }
    lengths.sort_unstable();
    // One prompt of ids, and two of text.
    assert_eq!(lengths.len(), 3);
    assert!(lengths.contains(&150), "{lengths:?}");
}

/// Answers of lengths that nobody asked for, under a cap that is none.
fn chatty(dir: &Path) -> Vec<Value> {
    let sim = Server::sim(&["--profile", "null", "--answer-tokens-median", "20"]);
    let recorder = Server::recorder(&sim.url, dir, &[]);
    let calls = (0..8).map(|i| Call {
        at: Duration::from_millis(30 * i),
        path: "/v1/chat/completions",
        body: json!({"model": "m", "max_tokens": 400, "messages": [{"role": "user", "content": words(i, 10 + 3 * i as usize)}]}),
    });
    drive(&recorder.url, calls.collect());
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    by_prompt(exchanges(dir))
}

#[test]
fn answers_are_as_long_as_the_policy_says() {
    let dir = tempfile::tempdir().unwrap();
    let first = chatty(dir.path());
    for policy in ["exact", "cap", "free"] {
        let (second, result) = replay(dir.path(), &["--output-length", policy]);
        assert_eq!(second.len(), 8);
        for (a, b) in first.iter().zip(&second) {
            let length = a.pointer("/response/output_tokens/count").unwrap();
            let params = b.pointer("/request/params").unwrap();
            let asked = ["max_tokens", "min_tokens", "ignore_eos"].map(|name| &params[name]);
            let got = b.pointer("/response/output_tokens/count").unwrap();
            let none = |it: &Value| it.is_null() || it == false;
            match policy {
                "exact" => {
                    assert_eq!(asked[..2], [length, length]);
                    assert_eq!((asked[2], got), (&true.into(), length));
                }
                "cap" => {
                    assert_eq!(asked[0], length);
                    assert!(none(asked[1]) && none(asked[2]), "{params}");
                    assert!(got.as_u64() <= length.as_u64());
                }
                _ => {
                    assert_eq!(asked[0], 400);
                    assert!(none(asked[1]) && none(asked[2]), "{params}");
                }
            }
        }
        assert!(!alterations(&result).contains("capped"));
    }
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
