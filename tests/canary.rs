//! Promise 3: random strings in every text field of requests and answers, in headers, path and query, occur nowhere in what
//! the recorder leaves behind: raw, reversed, in hex or in base64.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]

#[path = "canary/dialects.rs"]
mod dialects;
mod support;

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use support::{RECORD, Server, http, reenact};

/// Hands out strings that occur nowhere by chance, and remembers them.
struct Canaries {
    seed: u64,
    hatched: AtomicU32,
}

impl Canaries {
    fn new() -> Self {
        let clock = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        Self {
            seed: clock.as_nanos() as u64 ^ u64::from(std::process::id()),
            hatched: AtomicU32::new(0),
        }
    }

    fn string(&self, number: u32) -> String {
        // SplitMix64: 16 letters, with the next output as the next 16.
        let mut state = self
            .seed
            .wrapping_add(u64::from(number).wrapping_mul(0x1234_5678_9abc_def1));
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        (0..2)
            .flat_map(|_| next().to_le_bytes())
            .map(|byte| char::from(b'a' + byte % 26))
            .collect()
    }

    fn next(&self) -> String {
        self.string(self.hatched.fetch_add(1, Ordering::Relaxed))
    }

    /// Fills every `@` of a template.
    fn fill(&self, template: &str) -> String {
        let mut parts = template.split('@');
        let mut text = parts.next().unwrap().to_owned();
        for part in parts {
            text.push_str(&self.next());
            text.push_str(part);
        }
        text
    }

    /// Fails when any of them is in `haystack`, in any of the disguises.
    fn assert_absent(&self, haystack: &[u8], place: &str) {
        for number in 0..self.hatched.load(Ordering::Relaxed) {
            let canary = self.string(number);
            for (disguise, needle) in disguises(&canary) {
                assert!(
                    memchr::memmem::find(haystack, needle.as_bytes()).is_none(),
                    "canary {number} ({disguise}) in {place}"
                );
            }
        }
    }
}

fn disguises(canary: &str) -> Vec<(&'static str, String)> {
    let mut disguises = vec![
        ("raw", canary.to_owned()),
        ("half", canary[..8].to_owned()),
        ("upper case", canary.to_uppercase()),
        ("reversed", canary.chars().rev().collect()),
        (
            "hex",
            canary.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ),
    ];
    for shift in 0..3 {
        // Base64 depends on where in a triple the text starts; the parts that do not depend on its neighbours are these.
        let inner = base64(&canary.as_bytes()[shift..]);
        disguises.push(("base64", inner[..inner.len() - 4].to_owned()));
    }
    disguises
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for triple in bytes.chunks(3) {
        let word = triple
            .iter()
            .chain(&[0; 2])
            .take(3)
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        for place in (0..4).rev() {
            text.push(char::from(DIGITS[(word >> (6 * place)) as usize & 63]));
        }
    }
    text
}

/// An OpenAI chat request with a canary in every field that can hold text, known to the API or not.
const CHAT: &str = r#"{"model":"@","messages":[
    {"role":"system","content":"@","name":"@"},
    {"role":"user","content":[{"type":"text","text":"@"},{"type":"image_url","image_url":{"url":"https://@.example/@","detail":"@"}},
      {"type":"input_audio","input_audio":{"data":"@","format":"@"}},{"type":"file","file":{"file_id":"@","filename":"@"}}]},
    {"role":"assistant","content":"@","tool_calls":[{"id":"@","type":"function","function":{"name":"@","arguments":"{\"@\":\"@\"}"}}]},
    {"role":"tool","tool_call_id":"@","content":"@"},{"role":"@","content":"@"}],
  "tools":[{"type":"function","function":{"name":"@","description":"@","parameters":{"type":"object","properties":{"@":{"type":"string","enum":["@"]}}}}}],
  "tool_choice":{"type":"function","function":{"name":"@"}},"stop":["@"],"user":"@","metadata":{"@":"@"},"response_format":{"type":"json_schema",
  "json_schema":{"name":"@","schema":{"title":"@"}}},"reasoning_effort":"@","service_tier":"@","@":"@","stream":STREAM,"max_tokens":9}"#;

const MESSAGES: &str = r#"{"model":"@","max_tokens":9,"system":[{"type":"text","text":"@"}],"messages":[{"role":"user","content":[
    {"type":"text","text":"@"},{"type":"image","source":{"type":"base64","media_type":"@","data":"@"}},
    {"type":"document","title":"@","source":{"type":"url","url":"https://@"}}]},
    {"role":"assistant","content":[{"type":"thinking","thinking":"@","signature":"@"},{"type":"tool_use","id":"@","name":"@","input":{"@":"@"}}]},
    {"role":"user","content":[{"type":"tool_result","tool_use_id":"@","content":"@"}]}],
  "tools":[{"name":"@","description":"@","input_schema":{"type":"object","title":"@"}}],"stop_sequences":["@"],"metadata":{"user_id":"@"},"stream":STREAM}"#;

const COMPLETIONS: &str = r#"{"model":"@","prompt":["@ and @"],"suffix":"@","stop":"@","user":"@","max_tokens":9,"stream":STREAM}"#;

/// Answers with a canary in every field.
const ANSWERS: &[(&str, &str)] = &[
    (
        "/v1/chat/completions",
        r#"{"id":"@","object":"@","model":"@","system_fingerprint":"@","choices":[{"index":0,"message":{"role":"assistant","content":"@","refusal":"@",
        "reasoning_content":"@","tool_calls":[{"id":"@","type":"function","function":{"name":"@","arguments":"@"}}]},"finish_reason":"@","logprobs":{"content":[{"token":"@"}]}}],
        "usage":{"prompt_tokens":5,"completion_tokens":6,"@":"@"}}"#,
    ),
    (
        "/v1/messages",
        r#"{"id":"@","type":"message","model":"@","content":[{"type":"text","text":"@"},{"type":"tool_use","id":"@","name":"@","input":{"@":"@"}}],
        "stop_reason":"@","stop_sequence":"@","usage":{"input_tokens":5,"output_tokens":6,"service_tier":"@"}}"#,
    ),
    (
        "/v1/completions",
        r#"{"id":"@","choices":[{"text":"@","finish_reason":"@"}],"usage":{"prompt_tokens":5,"completion_tokens":6}}"#,
    ),
];

/// Streams, by path.
const STREAMS: &[(&str, &str)] = &[
    (
        "/v1/chat/completions",
        ": @\n\nevent: @\nid: @\ndata: {\"id\":\"@\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"@\",\"reasoning_content\":\"@\"}}]}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"@\",\"function\":{\"name\":\"@\",\"arguments\":\"@\"}}]},\"finish_reason\":\"@\"}]}\n\n\
         data: @ this is not JSON\n\ndata: [DONE]\n\n",
    ),
    (
        "/v1/messages",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"@\",\"model\":\"@\",\"usage\":{\"input_tokens\":3}}}\n\n\
         event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"@\"}}\n\n\
         event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"@\",\"message\":\"@\"}}\n\n",
    ),
    (
        "/v1/completions",
        "data: {\"choices\":[{\"text\":\"@\",\"finish_reason\":\"@\"}]}\n\ndata: {\"error\":{\"message\":\"@\"}}\n\n",
    ),
];

#[test]
fn no_canary_is_found_in_trace_log_or_metrics() {
    let canaries = std::sync::Arc::new(Canaries::new());
    let answering = canaries.clone();
    let (upstream, _server) = http::upstream(move |mut stream| {
        let Some(request) = http::read_request(&mut stream) else {
            return;
        };
        let head = String::from_utf8_lossy(&request).into_owned();
        let path = head.split([' ', '?']).nth(1).unwrap().to_owned();
        let streamed = head.contains("\"stream\":true");
        let tables = match streamed {
            true => [STREAMS, dialects::STREAMS],
            false => [ANSWERS, dialects::ANSWERS],
        };
        let fallback = "@ is not for you";
        let template = tables
            .into_iter()
            .flatten()
            .find(|(route, _)| path.ends_with(route))
            .map_or(fallback, |(_, body)| body);
        let body = answering.fill(template);
        let status = if head.contains("X-Refuse") {
            "418 @"
        } else {
            "200 @"
        };
        let kind = if streamed && path.starts_with("/api/") {
            "application/x-ndjson"
        } else if streamed {
            "text/event-stream"
        } else {
            "application/json; charset=@"
        };
        let head = answering.fill(&format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nServer: @\r\nX-@: @\r\nSet-Cookie: @=@\r\nConnection: close\r\n"
        ));
        let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
    });
    let dir = tempfile::tempdir().unwrap();
    let trace_dir = dir.path().to_str().unwrap().to_owned();
    let mut recorder = Server::launch(
        reenact(RECORD)
            .args(["--upstream", &upstream])
            .args(["--trace-dir", &trace_dir, "--log-level", "trace"])
            .args(["--session-header", "X-Request-Id"])
            // What is mirrored is held in memory, and nowhere else.
            .args([
                "--mirror",
                &format!("next={upstream}"),
                "--mirror-share",
                "100%",
            ])
            .env("RUST_LOG", "trace"),
    );
    let admin = recorder.wait_for_url("admin on ");

    let headers = canaries.fill("Bearer @|@|@=@|@");
    let mut headers = headers.split('|');
    let mut header = || headers.next().unwrap().to_owned();
    let (authorization, key, cookie, agent) = (header(), header(), header(), header());
    let bodies = [
        ("/v1/chat/completions", CHAT),
        ("/v1/messages", MESSAGES),
        ("/v1/completions", COMPLETIONS),
        ("/tenants/@/v1/chat/completions", CHAT),
        ("/@/@", "@"),
        (
            "/v1/chat/completions",
            "{\"model\": \"@\", @ this does not parse",
        ),
        ("/v1/messages", "[\"@\"]"),
    ];
    let mut sent = 0;
    let others = dialects::REQUESTS.iter().copied();
    for (path, body) in bodies.into_iter().chain(others) {
        for stream in ["true", "false"] {
            for refuse in [false, true] {
                let path = canaries.fill(&format!("{path}?api_key=@&@"));
                let body = canaries.fill(&body.replace("STREAM", stream));
                let mut headers = vec![
                    ("Authorization", authorization.as_str()),
                    ("x-api-key", &key),
                    ("Cookie", &cookie),
                    ("User-Agent", &agent),
                    ("X-Request-Id", &key),
                ];
                if refuse {
                    headers.push(("X-Refuse", &agent));
                }
                let answer = http::send(&recorder.url, &http::post(&path, &headers, &body));
                assert!(
                    matches!(http::status(&answer), 200 | 418),
                    "{}",
                    String::from_utf8_lossy(&answer)
                );
                sent += 1;
            }
        }
    }
    // Under a coding, which is undone to read them.
    for (path, body) in [("/v1/chat/completions", CHAT), ("/v1/messages", MESSAGES)] {
        let body = canaries.fill(&body.replace("STREAM", "false"));
        let coded = zstd::encode_all(body.as_bytes(), 3).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Encoding: zstd\r\nContent-Length: {}\r\n\r\n",
            coded.len()
        );
        let answer = http::send(&recorder.url, &[head.as_bytes(), &coded].concat());
        assert_eq!(http::status(&answer), 200);
        sent += 1;
    }
    // Error paths: bytes that are no HTTP, and a method and version with canaries.
    http::send(
        &recorder.url,
        canaries
            .fill("@ /@ HTTP/1.1\r\nHost: @\r\nConnection: close\r\n\r\n")
            .as_bytes(),
    );
    http::send(
        &recorder.url,
        canaries.fill("GET / HTTP/9.9 @\r\n@\r\n\r\n").as_bytes(),
    );

    let metrics = http::send(
        &admin,
        b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
    );
    assert!(String::from_utf8_lossy(&metrics).contains("inference_duration_seconds_bucket"));
    support::wire::metric_reaches(
        &admin,
        "reenact_mirror_duration_seconds_count{target=\"production\",code=\"200\"}",
        1,
    );
    // The admin endpoint shows nothing, and repeats nothing that it was sent.
    let mut admin_answers = http::send(
        &admin,
        b"GET /status HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
    );
    let level = canaries.next();
    let put = format!(
        "PUT /log-level?{level} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {}\r\n\r\na={level}=b",
        level.len() + 4
    );
    admin_answers.extend(http::send(&admin, put.as_bytes()));
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    canaries.assert_absent(&admin_answers, "the admin endpoint");

    let recorded = support::exchanges(dir.path());
    assert!(
        recorded.len() >= sent,
        "{} of {sent} recorded: nothing was looked at otherwise",
        recorded.len()
    );
    assert!(
        recorded
            .iter()
            .filter(|exchange| exchange["shape"] == "known")
            .count()
            >= 14 + 2 * 11 + 2
    );
    canaries.assert_absent(log.as_bytes(), "the log");
    canaries.assert_absent(&metrics, "the metrics");
    canaries.assert_absent(format!("{recorded:?}").as_bytes(), "what inspect shows");
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        canaries.assert_absent(path.to_string_lossy().as_bytes(), "a file name");
        canaries.assert_absent(&bytes, "the trace");
        canaries.assert_absent(&decompressed(&bytes, &path), "the decompressed trace");
    }
}

#[test]
fn the_search_finds_a_canary_in_every_disguise() {
    let canaries = Canaries::new();
    let canary = canaries.next();
    for disguised in [
        canary.clone(),
        canary.to_uppercase(),
        canary.chars().rev().collect(),
        canary.bytes().map(|byte| format!("{byte:02x}")).collect(),
        base64(format!("..{canary}..").as_bytes()),
        base64(format!(".{canary}..").as_bytes()),
        base64(format!("{canary}..").as_bytes()),
    ] {
        let found = std::panic::catch_unwind(|| {
            canaries.assert_absent(format!("x{disguised}x").as_bytes(), "here");
        });
        assert!(found.is_err(), "{disguised} went unseen");
    }
}

/// Every zstd frame of a file, one after another.
fn decompressed(bytes: &[u8], path: &Path) -> Vec<u8> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let mut plain = Vec::new();
    let mut frames = 0;
    for start in 0..bytes.len().saturating_sub(4) {
        if bytes[start..start + 4] == MAGIC {
            let mut decoder = zstd::stream::read::Decoder::new(&bytes[start..])
                .unwrap()
                .single_frame();
            if std::io::copy(&mut decoder, &mut plain).is_ok() {
                frames += 1;
            }
        }
    }
    assert!(frames > 0, "no compressed block in {}", path.display());
    plain
}
