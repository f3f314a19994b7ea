//! A server of one's own before a simulator, which refuses what it is told to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::support::Server;

/// Refuses every second question with 429 before a simulator, one request a connection.
pub(super) fn refusing_front(sim: &Server) -> String {
    let questions = AtomicU64::new(0);
    front(sim, move |_, _| {
        let odd = !questions.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        (!odd).then_some("429 Too Many Requests")
    })
}

/// Stands before a simulator, one request a connection; `judge` says by what status a question of promptfoo's is refused, given
/// its head in small letters and its body.
pub(super) fn front(
    sim: &Server,
    judge: impl Fn(&str, &str) -> Option<&'static str> + Send + Sync + 'static,
) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let behind: Arc<str> = sim.url.trim_start_matches("http://").into();
    let judge = Arc::new(judge);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (behind, judge) = (Arc::clone(&behind), Arc::clone(&judge));
            // A client that breaks off ends its own thread.
            std::thread::spawn(move || {
                client.and_then(|client| answer_or_refuse(client, &behind, &*judge))
            });
        }
    });
    url
}

fn answer_or_refuse(
    mut client: TcpStream,
    behind: &str,
    judge: &dyn Fn(&str, &str) -> Option<&'static str>,
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
    // The replay's own requests are of other words.
    let question = String::from_utf8_lossy(&body);
    let is_question = question.contains("hello promptfoo");
    if let Some(status) = is_question.then(|| judge(&text, &question)).flatten() {
        let refusal =
            format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return client.write_all(refusal.as_bytes());
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
