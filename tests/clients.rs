//! What a replay's clients are like, told by the result: how fast they read, what they speak, and which connections they have.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use support::traffic::requests_at;
use support::wire::Upstream;
use support::{Server, exchanges, http, python, reenact, stdout_of};

/// Answers of a thousand tokens, some 200 KB each.
const TOKENS: u32 = 1000;
const REQUESTS: u64 = 8;

/// Replays a few long streams; the result, held to its schema.
fn replayed(dir: &Path, url: &str, args: &[&str]) -> Value {
    let trace = requests_at(dir, (0..REQUESTS).map(|i| i * 20), (32, TOKENS));
    let result = replayed_trace(dir, &trace, url, args);
    assert_eq!(result["targets"][0]["requests"]["ok"], REQUESTS);
    result
}

/// The result of a replay, held to its schema.
fn replayed_trace(dir: &Path, trace: &Path, url: &str, args: &[&str]) -> Value {
    let out = dir.join("out");
    let output = reenact(["replay"])
        .arg(trace)
        .args(["--target", url, "--out"])
        .arg(&out)
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // 4 where the machine was too busy to pace; the files are the same.
    assert!(matches!(output.status.code(), Some(0 | 4)), "{said}");
    let result = out.join("result.json");
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/result.schema.json");
    let validate = "import json, jsonschema, sys; jsonschema.validate(json.load(open(sys.argv[2])), json.load(open(sys.argv[1])))";
    let validated = python()
        .args(["-c", validate, schema])
        .arg(&result)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&validated.stderr);
    assert!(validated.status.success(), "{said}");
    serde_json::from_slice(&std::fs::read(result).unwrap()).unwrap()
}

fn e2e_ms(result: &Value, figure: &str) -> f64 {
    result["targets"][0]["latency"]["e2e_ms"][figure]
        .as_f64()
        .unwrap()
}

fn remarks(result: &Value) -> String {
    result["targets"][0]["fidelity"]["remarks"].to_string()
}

#[test]
fn slow_readers_wait_for_their_links_and_the_result_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "null"]);
    let result = replayed(dir.path(), &sim.url, &["--read-rate", "128KiB/s"]);
    // At least 150 bytes an event, less what the link's own window holds.
    let least_ms = f64::from(TOKENS) * 150.0 / 131.072 - 100.0;
    assert!(e2e_ms(&result, "min") > least_ms, "{result}");
    let rate = &result["plan"]["read_rate"];
    assert_eq!(
        (&rate["bytes_per_s"], &rate["share"]),
        (&131_072.into(), &1.0.into())
    );
    let said = remarks(&result);
    assert!(
        said.contains(
            "8 requests had clients that take at most 128.0 KiB/s (--read-rate), and 8 of"
        ),
        "{said}"
    );
    assert_eq!(result["targets"][0]["protocol"], "http/1.1");
}

#[test]
fn a_share_of_the_clients_is_slow_over_http2_too() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "null"]);
    // It speaks HTTP/2 to clients that do, whatever the simulator speaks.
    let recorder = Server::recorder(&sim.url, dir.path(), &["--upstream-protocol", "http1"]);
    let args = ["--http2", "--read-rate", "128KiB/s:50%"];
    let result = replayed(dir.path(), &recorder.url, &args);
    assert_eq!(result["targets"][0]["protocol"], "h2c");
    assert_eq!(result["plan"]["read_rate"]["share"], 0.5);
    let least_ms = f64::from(TOKENS) * 150.0 / 131.072 - 100.0;
    assert!(e2e_ms(&result, "max") > least_ms, "{result}");
    let said = remarks(&result);
    assert!(said.contains("over HTTP/2: 2 connections"), "{said}");
    // As the hash has it.
    assert!(said.contains("3 requests had clients that take"), "{said}");
}

/// Of the only exchange of a trace: microseconds from first byte to last, and those in which it waited for its client.
fn reading(trace: &Path) -> [u64; 2] {
    let exchanges = exchanges(trace);
    let inference: Vec<_> = exchanges
        .iter()
        .filter(|it| it["method"] == "POST")
        .collect();
    assert_eq!(inference.len(), 1, "{exchanges:?}");
    let response = &inference[0]["response"];
    let told = |key: &str| response[key].as_u64().unwrap();
    let took_us = told("end_us") - told("first_byte_us");
    [took_us, told("reader_wait_us")]
}

/// A stream of so many tokens, in events of about the bytes that the simulator's have.
fn stream_of(tokens: u32) -> String {
    let event = |rest: &str| {
        let id = "0".repeat(50);
        format!(
            "data: {{\"id\":\"chatcmpl-{id}\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",{rest}}}\n\n"
        )
    };
    let said = r#""choices":[{"index":0,"delta":{"content":" and"},"finish_reason":null}]"#;
    let usage =
        format!(r#""choices":[],"usage":{{"prompt_tokens":20,"completion_tokens":{tokens}}}"#);
    let body = event(said).repeat(tokens as usize) + &event(&usage) + "data: [DONE]\n\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length:";
    format!("{head} {}\r\n\r\n{body}", body.len())
}

/// Asks, and takes so many bytes of the answer at a rate, over a connection on which little is under way.
fn ask_and_read_slowly(url: &str, bytes: usize, bytes_per_s: f64) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    // What the other end buffers is reckoned in segments, and those of loopback are large.
    socket.set_tcp_mss(1000).unwrap();
    socket.connect(&http::addr(url).into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "tell me everything"}]});
    let request = http::post("/v1/chat/completions", &[], &body.to_string());
    stream.write_all(&request).unwrap();
    let (began, mut taken) = (Instant::now(), 0);
    let mut piece = [0; 4096];
    while taken < bytes {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "ended early");
        taken += read;
        let due = Duration::from_secs_f64(taken as f64 / bytes_per_s);
        // This is what makes it slow.
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
}

#[test]
fn a_slow_reader_is_recorded_and_replayed_as_slow() {
    const LONG: u32 = 8_000;
    let dir = tempfile::tempdir().unwrap();
    let slow = dir.path().join("slow");
    let upstream = Upstream::start();
    let recorder = Server::recorder(&upstream.url(), &slow, &[]);
    let answer = stream_of(LONG);
    let bytes = answer.len();
    let answering = std::thread::spawn(move || {
        let mut server = upstream.accept();
        server.read_head();
        server.send(answer);
        server
    });
    ask_and_read_slowly(&recorder.url, bytes, 4e5);
    let _server = answering.join().unwrap();
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let [took_us, waited_us] = reading(&slow);
    assert!(
        (took_us / 2..=took_us).contains(&waited_us),
        "{waited_us} of {took_us} µs"
    );
    let inspected = stdout_of(["inspect".as_ref(), "--json".as_ref(), slow.as_os_str()]);
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["slow_readers"]["count"], 1);

    let sim = Server::sim(&["--profile", "null"]);
    let again = |name: &str, args: &[&str]| {
        let place = dir.path().join(name);
        std::fs::create_dir(&place).unwrap();
        replayed_trace(&place, &slow, &sim.url, args)
    };
    // What arrives faster is not read faster.
    let result = again("slowly", &["--speed", "10"]);
    assert_eq!(result["plan"]["readers"], "recorded");
    assert_eq!(result["plan"]["slow_readers"], 1);
    let said = remarks(&result);
    let paced =
        "1 requests had slow readers in the trace, and had them here at the recorded pace; 1 of";
    assert!(said.contains(paced), "{said}");
    let e2e_us = e2e_ms(&result, "min") * 1000.0;
    assert!(e2e_us > took_us as f64 * 0.8, "{e2e_us} after {took_us} µs");

    let result = again("fast", &["--readers", "fast"]);
    assert_eq!(result["plan"]["readers"], "fast");
    assert!(e2e_ms(&result, "max") * 1000.0 < e2e_us, "{result}");
    let said = remarks(&result);
    assert!(
        said.contains("their answers were taken as they came"),
        "{said}"
    );
}

/// A trace of short streams, one every 40 ms, of which the first has a slow reader.
fn with_a_slow_reader(dir: &Path) -> PathBuf {
    let trace = requests_at(dir, (0..3).map(|i| i * 40), (32, 4));
    let mut waits_us = [400_000, 0, 0].into_iter();
    retold(dir, &trace, |exchange| {
        let response = &mut exchange["response"];
        response["first_byte_us"] = 1_000.into();
        response["end_us"] = 501_000.into();
        response["bytes"] = 65_536.into();
        response["reader_wait_us"] = waits_us.next().into();
    })
}

#[test]
fn the_plan_says_how_fast_readers_will_be() {
    let dir = tempfile::tempdir().unwrap();
    let told = with_a_slow_reader(dir.path());
    let silent = dir.path().join("trace.rt");
    let plan = |trace: &Path, args: &[&str]| {
        let json = dry_run(trace, args, &["--json"]);
        let mut lines = json
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let plan = lines.next().unwrap()["plan"].clone();
        let paces: Vec<_> = lines
            .map(|line| line["reader_bytes_per_s"].as_u64())
            .collect();
        let text = dry_run(trace, args, &[]);
        let line = text.lines().find(|line| line.starts_with("readers "));
        assert_eq!(text.contains(", taken at 128.0 KiB/s"), paces[0].is_some());
        (
            [plan["readers"].clone(), plan["slow_readers"].clone()],
            line.unwrap_or_default().to_owned(),
            paces,
        )
    };
    let slow = [Some(131_072), None, None].to_vec();
    let fast = [None; 3].to_vec();
    let requests = "1 requests had a slow one in the trace";
    for (args, mode, words, paces) in [
        (&[][..], "recorded".into(), "as recorded", &slow),
        (
            &["--readers", "recorded", "--speed", "9"],
            "recorded".into(),
            "as recorded",
            &slow,
        ),
        (
            &["--readers", "fast"],
            "fast".into(),
            "take all that comes",
            &fast,
        ),
        (
            &["--connections", "7"],
            "fast".into(),
            "take all that comes",
            &fast,
        ),
        (
            &["--read-rate", "64KiB/s"],
            Value::Null,
            "take at most 64.0 KiB/s",
            &fast,
        ),
    ] {
        let words = format!("readers {words}; {requests}");
        assert_eq!(
            plan(&told, args),
            ([mode, 1.into()], words, paces.clone()),
            "{args:?}"
        );
    }
    let nothing = [Value::Null, Value::Null];
    assert_eq!(plan(&silent, &[]), (nothing, String::new(), fast));
}

/// What a dry run prints.
fn dry_run(trace: &Path, args: &[&str], form: &[&str]) -> String {
    let output = reenact(["replay", "--dry-run", "--target", "http://127.0.0.1:9"])
        .arg(trace)
        .args(args)
        .args(form)
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The same trace once `tell` has changed each of its exchanges.
fn retold(dir: &Path, trace: &Path, mut tell: impl FnMut(&mut Value)) -> PathBuf {
    let mut all = exchanges(trace);
    all.iter_mut().for_each(&mut tell);
    let lines: String = all.iter().map(|exchange| format!("{exchange}\n")).collect();
    let (rows, trace) = (dir.join("told.jsonl"), dir.join("told.rt"));
    std::fs::write(&rows, lines).unwrap();
    let import = ["import".as_ref(), "jsonl".as_ref(), rows.as_os_str()];
    stdout_of(import.into_iter().chain(["-o".as_ref(), trace.as_os_str()]));
    trace
}

/// Which of a trace's requests for tokens were the first on their connections.
fn first_on_theirs(trace: &Path) -> Vec<bool> {
    let exchanges = exchanges(trace);
    let inference = exchanges.iter().filter(|it| it["method"] == "POST");
    inference
        .map(|it| it["new_connection"].as_bool().unwrap())
        .collect()
}

/// A trace of short streams, one every 40 ms, that tells which were the first on their connections.
fn with_connections(dir: &Path, begins: &[bool]) -> PathBuf {
    let at_ms = (0..begins.len() as u64).map(|i| i * 40);
    let trace = requests_at(dir, at_ms, (32, 4));
    let mut begins = begins.iter();
    retold(dir, &trace, |exchange| {
        exchange["new_connection"] = (*begins.next().unwrap()).into();
        // As long as an answer takes, as a recorder knows it.
        exchange["response"]["end_us"] = 5_000.into();
    })
}

#[test]
fn connections_are_as_recorded_and_record_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let begins = [true, false, true, false, false, true, true, false];
    let trace = with_connections(dir.path(), &begins);
    let sim = Server::sim(&["--profile", "null"]);
    let again = dir.path().join("again");
    let recorder = Server::recorder(&sim.url, &again, &[]);
    let args = ["--threads", "1"];
    let result = replayed_trace(dir.path(), &trace, &recorder.url, &args);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(first_on_theirs(&again), begins);
    let mode = &result["plan"]["connections"];
    assert_eq!(mode, &serde_json::json!({"mode": "recorded"}));
    let said = remarks(&result);
    assert!(
        said.contains(
            "4 requests began a connection in the trace, and 4 of them did here; 4 used one again, and 4 of them did"
        ),
        "{said}"
    );
}

#[test]
fn the_plan_says_which_connections_there_will_be() {
    let dir = tempfile::tempdir().unwrap();
    let told = with_connections(dir.path(), &[true, true, false]);
    let silent = dir.path().join("trace.rt");
    let plan = |trace: &Path, args: &[&str]| {
        let json = dry_run(trace, args, &["--json"]);
        let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        let lines = dry_run(trace, args, &[]);
        let line = lines.lines().find(|line| line.starts_with("connections "));
        (
            first["plan"]["connections"].to_string(),
            line.unwrap_or_default().to_owned(),
        )
    };
    let requests = "2 requests began one in the trace, 1 used one again";
    let mode = |mode: &str| format!(r#"{{"mode":"{mode}"}}"#);
    for (args, json, words) in [
        (&[][..], mode("recorded"), "as recorded; "),
        (
            &["--connections", "recorded"],
            mode("recorded"),
            "as recorded; ",
        ),
        (
            &["--connections", "shared"],
            mode("shared"),
            "shared by all requests; ",
        ),
        (
            &["--connections", "7"],
            r#"{"limit":7,"mode":"at_most"}"#.to_owned(),
            "shared by all requests; at most 7 at once; ",
        ),
        (
            &["--no-keep-alive"],
            mode("one_each"),
            "one for each request; ",
        ),
        (&["--http2"], mode("shared"), "shared by all requests; "),
    ] {
        let words = format!("connections {words}{requests}");
        assert_eq!(plan(&told, args), (json, words), "{args:?}");
    }
    assert_eq!(plan(&silent, &[]), (mode("shared"), String::new()));
    let both = reenact(["replay", "--dry-run", "--target", "http://127.0.0.1:9"])
        .arg(&told)
        .args(["--http2", "--connections", "recorded"])
        .output()
        .unwrap();
    assert_eq!(both.status.code(), Some(2));
    let untold = reenact(["replay", "--dry-run", "--target", "http://127.0.0.1:9"])
        .arg(&silent)
        .args(["--connections", "recorded"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&untold.stderr);
    assert_eq!(untold.status.code(), Some(1), "{said}");
    assert!(
        said.contains("does not tell") && said.contains("hint: leave --connections out"),
        "{said}"
    );
}
