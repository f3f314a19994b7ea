//! Bodies under a content coding: forwarded as they came, read off the path, and bombs put out.

use std::io::Write;

use serde_json::{Value, json};

use super::support::codings::Coding;
use super::support::{Server, exchanges, http};

const STREAM: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n";
/// `STREAM`, by another encoder than this crate's.
const BROTLI: &[u8] = include_bytes!("../../fixtures/http/chat_stream.br");

/// The answer that a request's path asks for: how it is coded, and what it says.
fn answer(path: &str) -> (&'static str, Vec<u8>) {
    match path {
        "/gzip" => ("gzip", Coding::Gzip.encode(STREAM)),
        "/br" => ("br", BROTLI.to_vec()),
        "/zstd" => ("zstd", Coding::Zstd.encode(STREAM)),
        "/bomb" => ("gzip", Coding::Gzip.encode(&vec![b'\n'; 64 << 20])),
        "/nonsense" => ("br", vec![0xff; 100]),
        _ => ("identity", STREAM.to_vec()),
    }
}

fn request(path: &str, coding: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path}/v1/chat/completions HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

#[test]
fn coded_bodies_pass_untouched_and_are_read_all_the_same() {
    let (upstream, _server) = http::upstream(|mut stream| {
        let Some(request) = http::read_request(&mut stream) else {
            return;
        };
        let head = String::from_utf8_lossy(&request).into_owned();
        let path = head.split(' ').nth(1).unwrap();
        let (coding, body) = answer(path.strip_suffix("/v1/chat/completions").unwrap());
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {coding}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(&[head.as_bytes(), &body].concat());
    });
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&upstream, dir.path(), &["--max-body", "8MiB"]);
    let asked = br#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
    let bomb = Coding::Gzip.encode(&vec![b' '; 64 << 20]);
    let cases: [(&str, &str, Vec<u8>); 10] = [
        ("/plain", "identity", asked.to_vec()),
        ("/gzip", "identity", asked.to_vec()),
        ("/br", "identity", asked.to_vec()),
        ("/zstd", "identity", asked.to_vec()),
        ("/plain", "gzip", Coding::Gzip.encode(asked)),
        ("/zstd", "zstd", Coding::Zstd.encode(asked)),
        ("/bomb", "identity", asked.to_vec()),
        ("/plain", "gzip", bomb),
        ("/nonsense", "identity", asked.to_vec()),
        ("/plain", "gzip", asked.to_vec()),
    ];
    for (path, coding, body) in &cases {
        let came = http::send(&recorder.url, &request(path, coding, body));
        let (_, sent) = answer(path);
        assert!(came.ends_with(&sent), "{path}: not as it was sent");
        let head = came.len() - sent.len();
        assert!(came[..head].ends_with(b"\r\n\r\n"), "{path}");
    }
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let recorded = exchanges(dir.path());
    let shapes: Vec<&str> = recorded
        .iter()
        .map(|exchange| exchange["shape"].as_str().unwrap())
        .collect();
    assert_eq!(
        shapes,
        [
            "known",
            "known",
            "known",
            "known",
            "known",
            "known",
            "too_large",
            "too_large",
            "unparsable",
            "unparsable"
        ]
    );
    for (exchange, (path, coding, body)) in recorded.iter().zip(&cases).take(6) {
        let (_, sent) = answer(path);
        let facts: [(&str, Value); 7] = [
            ("/request/messages", json!([{"role": "user", "bytes": 5}])),
            ("/request/bytes", json!(body.len())),
            ("/request/params/stream", json!(true)),
            ("/response/events", json!(2)),
            ("/response/token_events", json!(1)),
            ("/response/bytes", json!(sent.len())),
            ("/outcome/kind", json!("completed")),
        ];
        for (pointer, value) in facts {
            let found = exchange.pointer(pointer).unwrap();
            assert_eq!(found, &value, "{path} {coding}: {pointer}");
        }
    }
    // The answer is known where only the request is not, and the other way round.
    assert_eq!(recorded[6]["request"]["messages"][0]["bytes"], 5);
    assert_eq!(recorded[8]["request"]["messages"][0]["bytes"], 5);
}
