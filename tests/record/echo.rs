//! An upstream that answers each request with the head it got, so that a client can see what arrived.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::support::PATIENCE;

/// Answers on an address of its own.
pub(super) fn on_tcp() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, None);
    address
}

/// The same over TLS.
pub(super) fn on_tls(config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, Some(Arc::new(config)));
    address
}

/// Answers on a listener, wherever it was opened.
pub(super) fn serve(listener: TcpListener, tls: Option<Arc<ServerConfig>>) {
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let tls = tls.clone();
            std::thread::spawn(move || match tls {
                None => answer(stream),
                Some(config) => {
                    let connection = ServerConnection::new(config).unwrap();
                    answer(StreamOwned::new(connection, stream));
                }
            });
        }
    });
}

/// Answers on a unix socket.
pub(super) fn on_unix(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || answer(stream));
        }
    });
}

fn answer(mut stream: impl Read + Write) {
    while let Some(head) = read_head(&mut stream) {
        let length = head.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{head}");
        if stream.write_all(answer.as_bytes()).is_err() || stream.flush().is_err() {
            break;
        }
    }
}

fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Asks once over a connection of any kind, and gives everything that came back until its end.
pub(super) fn ask(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    stream.flush().unwrap();
    read_all(stream)
}

/// Everything until the end, which may be a broken one.
pub(super) fn read_all(mut stream: impl Read) -> String {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_ne!(error.kind(), ErrorKind::WouldBlock, "no end in time");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Asks once on an open connection that stays open, and gives the answer.
pub(super) fn ask_again(stream: &mut (impl Read + Write), request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    stream.flush().unwrap();
    let head = read_head(stream).expect("an answer");
    let (_, length) = head
        .to_lowercase()
        .split_once("content-length: ")
        .map(|(before, after)| (before.len(), after.lines().next().unwrap().to_owned()))
        .expect("a length");
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8_lossy(&body)
}

/// A connection that does not wait for ever.
pub(super) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(super) const CLOSE: &str =
    "GET /v1/models HTTP/1.1\r\nHost: model.test\r\nConnection: close\r\n\r\n";
