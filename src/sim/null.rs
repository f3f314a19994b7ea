//! A server that costs next to nothing: it looks for three things in a request and answers at once, whole. What a client reaches against it, it
//! is not the server's limit.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::net::deepen;

/// A null server on a port of this machine's loopback, on one thread; gone when this is dropped.
#[derive(Debug)]
pub struct NullServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl NullServer {
    /// Starts it.
    ///
    /// # Errors
    /// When this machine lacks a port or a thread.
    pub fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        deepen(&listener)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("null-server".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        _ = accept(listener) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for NullServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that breaks off ends its connection and no other.
            let _ = serve(client).await;
        });
    }
}

/// One request after another, as HTTP/1.1 clients send them: none before the answer to the one before.
async fn serve(mut client: TcpStream) -> io::Result<()> {
    let (mut request, mut answer) = (Vec::with_capacity(1 << 16), Vec::new());
    loop {
        request.clear();
        let body = loop {
            if client.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
            if let Some(body) = body_of(&request) {
                break body;
            }
            // No prompt is as long.
            if request.len() > LONGEST {
                return Ok(());
            }
        };
        answer.clear();
        write_answer(&request, body, &mut answer);
        client.write_all(&answer).await?;
    }
}

const LONGEST: usize = 256 << 20;

/// Where the body of a request begins, once all of it is there.
fn body_of(request: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(request, b"\r\n\r\n")? + 4;
    let length = number_after(request.get(..head)?, b"content-length: ").unwrap_or(0);
    (request.len() as u64 >= head as u64 + length).then_some(head)
}

/// The number behind a mark; the client writes names in lower case.
fn number_after(text: &[u8], mark: &[u8]) -> Option<u64> {
    let rest = text.get(memchr::memmem::find(text, mark)? + mark.len()..)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    digits
        .map(|digit| u64::from(digit - b'0'))
        .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(digit))
}

/// As many token events as were asked for, in one piece.
fn write_answer(request: &[u8], body: usize, answer: &mut Vec<u8>) {
    let (head, body) = request.split_at(body.min(request.len()));
    let has = |mark: &[u8]| memchr::memmem::find(body, mark).is_some();
    let tokens = number_after(body, b"\"max_tokens\":")
        .unwrap_or(1)
        .min(MOST_TOKENS);
    let (kind, text) = if head.starts_with(b"GET ") {
        (
            JSON,
            br#"{"object":"list","data":[{"id":"null","object":"model"}]}"#.to_vec(),
        )
    } else if head.starts_with(b"POST /v1/embeddings") {
        (
            JSON,
            br#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.0]}]}"#
                .to_vec(),
        )
    } else if has(b"\"stream\":true") {
        let mut text = Vec::new();
        for _ in 0..tokens {
            text.extend_from_slice(EVENT);
        }
        text.extend_from_slice(END);
        ("text/event-stream", text)
    } else {
        let text = format!(
            r#"{{"object":"chat.completion","choices":[{{"index":0,"message":{{"role":"assistant","content":"a"}},"finish_reason":"length"}}],"usage":{{"completion_tokens":{tokens}}}}}"#
        );
        (JSON, text.into_bytes())
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        text.len()
    );
    answer.extend_from_slice(head.as_bytes());
    answer.extend_from_slice(&text);
}

/// An answer of some megabytes.
const MOST_TOKENS: u64 = 100_000;
const JSON: &str = "application/json";
const EVENT: &[u8] = b"data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" a\"}}]}\n\n";
const END: &[u8] = b"data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_when_its_body_is() {
        let whole = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 4\r\n\r\nabcd";
        assert_eq!(body_of(&whole[..whole.len() - 1]), None);
        assert_eq!(body_of(whole), Some(whole.len() - 4));
        assert_eq!(body_of(b"GET /v1/models HTTP/1.1\r\n\r\n"), Some(27));
        assert_eq!(number_after(b"\"n\":99999999999999999999", b"\"n\":"), None);
    }

    #[test]
    fn an_answer_has_the_events_that_were_asked_for() {
        let mut answer = Vec::new();
        let request = br#"POST /v1/chat/completions {"stream":true,"max_tokens":7}"#;
        write_answer(request, 26, &mut answer);
        let text = String::from_utf8(answer).unwrap();
        assert_eq!(text.matches("\"content\":\" a\"").count(), 7);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())));
    }
}
