//! What a core dump would hold: the recorder's whole memory is searched, as the kernel shows it.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Instant;

use super::private;
use super::support::canaries::Canaries;
use super::support::memory::Stacks;
use super::support::{PATIENCE, RECORD, Server, http, memory, reenact, skipped};

/// Where in a process's memory any of `needles` is; `None` where it may not be looked at.
fn found(pid: u32, needles: &[String]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    memory::for_each_stretch(pid, Stacks::Whole, |line, bytes| {
        for (number, needle) in needles.iter().enumerate() {
            if memchr::memmem::find(bytes, needle.as_bytes()).is_some() {
                found.push(format!("{number} in {line}"));
            }
        }
    })
    .then_some(found)
}

/// An upstream that answers as the request's path says, with `said` in it.
fn upstream(said: String) -> String {
    let (url, _) = http::upstream(move |mut stream| {
        let Some(request) = http::read_request(&mut stream) else {
            return;
        };
        let head = String::from_utf8_lossy(&request).into_owned();
        let plain = format!("{{\"choices\":[{{\"message\":{{\"content\":\"{said}\"}}}}]}}");
        let answer = |status: &str, kind: &str, body: &str| {
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nX-Answer: {said}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
        };
        let answer = if head.contains("/broken/") {
            // It promises more than it gives.
            answer("200 OK", "application/json", &plain)
                .replace("Content-Length: ", "Content-Length: 9")
        } else if head.contains("/nonsense/") {
            format!("{said} is no HTTP\r\n\r\n")
        } else if head.contains("/refused/") {
            answer(
                "500 No",
                "application/json",
                &format!("{{\"error\":\"{said}\"}}"),
            )
        } else if head.contains("\"stream\":true") {
            let event = format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"\\u00e9 {said}\"}}}}]}}\n\n"
            );
            answer(
                "200 OK",
                "text/event-stream",
                &(event.repeat(40) + "data: [DONE]\n\n"),
            )
        } else {
            answer("200 OK", "application/json", &plain)
        };
        let _ = stream.write_all(answer.as_bytes());
    });
    url
}

#[test]
fn nothing_of_an_exchange_outlives_it_in_memory() {
    searched(&[]);
}

#[test]
fn nor_does_it_in_a_tokenizer() {
    searched(&["--tokenizer", "fixtures/tokenizer/small.json"]);
}

fn searched(more: &[&str]) {
    let canaries = Canaries::new();
    let canaries: Vec<_> = (0..6).map(|_| canaries.next()).collect();
    let [asked, answered, token, query, held, key] = canaries.as_slice() else {
        unreachable!()
    };
    let key_digits: String = key
        .bytes()
        .chain(key.bytes())
        .chain(key.bytes())
        .take(32)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let key_file = dir.path().join("key");
    private(&key_file, &key_digits);
    let mut recorder = Server::launch(
        reenact(RECORD)
            .args(["--upstream", &upstream(answered.clone()), "--key-file"])
            .arg(&key_file)
            .args(["--session-header", "X-Session", "--log-level", "trace"])
            .args(more)
            .arg("--trace-dir")
            .arg(dir.path().join("traces"))
            .env("RUST_LOG", "trace"),
    );
    let admin = recorder.wait_for_url("admin on ");
    let path = |before: &str, dialect: &str| format!("{before}/v1/{dialect}?key={query}");
    let headers = [
        ("Authorization", token.as_str()),
        ("X-Session", token.as_str()),
    ];
    let mut sent = 0;
    for before in [
        "",
        "/refused",
        "/broken/",
        "/nonsense/",
        &format!("/{query}"),
    ] {
        for dialect in ["chat/completions", "messages", "completions", "unknown"] {
            for stream in [true, false] {
                for padding in [0, 5000, 200_000] {
                    // Escapes are written out by the parser, in buffers of its own.
                    let text = format!("{asked} \\u00e9 \\n {}{asked}", "x".repeat(padding));
                    let body = format!(
                        "{{\"model\":\"{asked}\",\"stream\":{stream},\"prompt\":\"{text}\",\"tools\":[{{\"name\":\"{asked}\"}}],\
                         \"messages\":[{{\"role\":\"user\",\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}]}}]}}"
                    );
                    http::send(
                        &recorder.url,
                        &http::post(&path(before, dialect), &headers, &body),
                    );
                    sent += 1;
                }
            }
        }
    }
    // A body that does not parse, one that is not finished, and what is no HTTP at all.
    http::send(
        &recorder.url,
        &http::post(
            &path("", "messages"),
            &headers,
            &format!("{{\"{asked}\": {asked}"),
        ),
    );
    let mut cut = http::connect(&recorder.url);
    let request = http::post(
        &path("", "messages"),
        &headers,
        &format!("{{\"{asked}\":{}}}", "1".repeat(3000)),
    );
    cut.write_all(&request[..request.len() - 100]).unwrap();
    cut.shutdown(Shutdown::Write).unwrap();
    let _ = cut.read_to_end(&mut Vec::new());
    http::send(
        &recorder.url,
        format!("{asked} /{query} HTTP/1.1\r\n{token}: {token}\r\n\r\n").as_bytes(),
    );
    sent += 2;

    // One that is still open, so that the search is seen to find.
    let mut open = http::connect(&recorder.url);
    let request = http::post(
        "/v1/messages",
        &[],
        &format!("{{\"{held}\":{}}}", "1".repeat(3000)),
    );
    open.write_all(&request[..request.len() - 100]).unwrap();

    let started = Instant::now();
    let recorded = || {
        let metrics = http::send(
            &admin,
            b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        );
        let metrics = String::from_utf8(metrics).unwrap();
        let count = metrics
            .lines()
            .find_map(|line| line.strip_prefix("reenact_recorded_total "));
        count.map_or(0, |count| count.parse::<u32>().unwrap())
    };
    while recorded() < sent {
        assert!(
            started.elapsed() < PATIENCE,
            "{} of {sent} recorded",
            recorded()
        );
    }
    let Some(held_in) = found(recorder.pid(), std::slice::from_ref(held)) else {
        return skipped("the memory of another process may not be read here");
    };
    assert!(!held_in.is_empty(), "the search finds nothing at all");

    // What the observer still tidies up is gone within its half second.
    let mut needles = canaries[..4].to_vec();
    needles.extend([key.clone(), key_digits[..32].to_owned()]);
    loop {
        let found = found(recorder.pid(), &needles).unwrap();
        if found.is_empty() {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{}", found.join("\n"));
    }
    drop(open);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    for canary in &needles {
        assert!(!log.contains(canary), "{log}");
    }
}
