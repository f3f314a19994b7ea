//! A server of one's own before a simulator, which answers or refuses what it is told to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::support::Server;

/// What a front answers by itself: status line and headers, and the body.
pub(super) type Answer = (&'static str, String);

/// Refuses every second question of promptfoo's with 429 before a simulator.
pub(super) fn refusing_front(sim: &Server) -> String {
    let questions = AtomicU64::new(0);
    refusing(sim, move |_, _| {
        let odd = !questions.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        (!odd).then_some("429 Too Many Requests")
    })
}

/// Stands before a simulator; `judge` says by what status a question of promptfoo's is refused, given its head in small letters and its body.
pub(super) fn refusing(
    sim: &Server,
    judge: impl Fn(&str, &str) -> Option<&'static str> + Send + Sync + 'static,
) -> String {
    front(sim, move |head, body| {
        // The replay's own requests are of other words.
        let status = body
            .contains("hello promptfoo")
            .then(|| judge(head, body))??;
        Some((status, String::new()))
    })
}

/// Stands before a simulator, one request a connection; what `speak` has no answer to goes to the simulator. It is given the head in small
/// letters and the body.
pub(super) fn front(
    sim: &Server,
    speak: impl Fn(&str, &str) -> Option<Answer> + Send + Sync + 'static,
) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let behind: Arc<str> = sim.url.trim_start_matches("http://").into();
    let speak = Arc::new(speak);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (behind, speak) = (Arc::clone(&behind), Arc::clone(&speak));
            // A client that breaks off ends its own thread.
            std::thread::spawn(move || {
                client.and_then(|client| answer_or_pass(client, &behind, &*speak))
            });
        }
    });
    url
}

fn answer_or_pass(
    mut client: TcpStream,
    behind: &str,
    speak: &dyn Fn(&str, &str) -> Option<Answer>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.trim().parse().unwrap());
    let mut body = vec![0; length];
    client.read_exact(&mut body)?;
    if let Some((status, said)) = speak(&text, &String::from_utf8_lossy(&body)) {
        let length = said.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{said}"
        );
        return client.write_all(answer.as_bytes());
    }
    let mut server = TcpStream::connect(behind)?;
    let head = String::from_utf8(head).unwrap();
    for line in head.lines().filter(|line| !line.is_empty()) {
        if !line.to_lowercase().starts_with("connection:") {
            server.write_all(format!("{line}\r\n").as_bytes())?;
        }
    }
    server.write_all(b"connection: close\r\n\r\n")?;
    server.write_all(&body)?;
    std::io::copy(&mut server, &mut client).map(drop)
}

/// An answer of a chat completion that says this.
pub(super) fn saying(words: &str) -> Answer {
    let answer = serde_json::json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    });
    ("200 OK", answer.to_string())
}

/// What was asked last in a chat, where a body is one.
pub(super) fn question(body: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    let last = body["messages"].as_array()?.last()?;
    Some(last["content"].as_str()?.to_owned())
}
