//! Prometheus pages that answer as a test has them, alone or in front of a server.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::http;

/// What a page answers when it is asked for.
pub enum Answer {
    /// This text.
    Page(&'static str),
    /// A status and no page.
    Status(&'static str),
    /// A status that sends the asker elsewhere.
    Elsewhere(String),
    /// Nothing, for as long as the asker waits.
    Silence,
    /// What the server behind it does.
    Pass,
}

/// A page on a server of its own; `answer` is told how often it was asked for, from 1 on, and with what.
pub fn page(answer: impl Fn(usize, &str) -> Answer + Send + Sync + 'static) -> String {
    let (url, _) = http::upstream(serving(answer));
    url
}

/// What serves each connection of such a page.
pub fn serving(
    answer: impl Fn(usize, &str) -> Answer + Send + Sync + 'static,
) -> impl Fn(TcpStream) + Send + Sync + 'static {
    serve(None, answer)
}

/// A server in front of another that answers for its `/metrics` and passes everything else through.
pub fn before(
    server: &str,
    answer: impl Fn(usize, &str) -> Answer + Send + Sync + 'static,
) -> String {
    let (url, _) = http::upstream(serve(Some(server.to_owned()), answer));
    url
}

fn serve(
    behind: Option<String>,
    answer: impl Fn(usize, &str) -> Answer + Send + Sync + 'static,
) -> impl Fn(TcpStream) + Send + Sync + 'static {
    let asked = AtomicUsize::new(0);
    move |mut client| {
        if let Some(server) = &behind
            && !asks_for_the_page(&client)
        {
            return pass(&client, server, &[]);
        }
        let Some(head) = http::read_request(&mut client) else {
            return;
        };
        let count = asked.fetch_add(1, Ordering::SeqCst) + 1;
        match (answer(count, &String::from_utf8_lossy(&head)), &behind) {
            (Answer::Pass, Some(server)) => pass(&client, server, &head),
            (told, _) => tell(client, told),
        }
    }
}

/// Whether the request that comes is for the page; it is left to be read.
fn asks_for_the_page(client: &TcpStream) -> bool {
    const PAGE: &[u8] = b"GET /metrics ";
    let mut begins = [0; PAGE.len()];
    loop {
        match client.peek(&mut begins) {
            Ok(read) if read == PAGE.len() => return begins == PAGE,
            Ok(read) if read > 0 && PAGE.starts_with(&begins[..read]) => std::thread::yield_now(),
            _ => return false,
        }
    }
}

fn tell(mut client: TcpStream, answer: Answer) {
    let (status, header, text) = match answer {
        Answer::Page(text) => ("200 OK", String::new(), text),
        Answer::Status(status) => (status, String::new(), ""),
        Answer::Elsewhere(url) => ("302 Found", format!("Location: {url}\r\n"), ""),
        Answer::Silence => {
            let _ = client.read_to_end(&mut Vec::new());
            return;
        }
        Answer::Pass => panic!("there is nothing behind this page"),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\n\r\n",
        text.len()
    );
    let _ = client.write_all(format!("{head}{text}").as_bytes());
}

/// Carries bytes both ways until both sides have ended; `read` was read already.
fn pass(client: &TcpStream, server: &str, read: &[u8]) {
    let server = http::connect(server);
    (&server).write_all(read).unwrap();
    let carry = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| carry(client, &server));
        carry(&server, client);
    });
}
