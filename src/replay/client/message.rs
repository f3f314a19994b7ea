use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST};
use http::uri::Scheme;
use http::{HeaderValue, Request, Uri};
use tokio::io::AsyncWrite;

/// A request as it goes out: a head made once for all that are alike, and a body of its own.
#[derive(Debug, Clone)]
pub(in crate::replay) struct Message {
    head: Arc<Head>,
    body: Bytes,
}

/// What all requests of a kind begin with; shown nowhere, since it holds a key.
pub(super) struct Head {
    /// From the request line to the last field that does not depend on the body, in HTTP/1.
    lines: Vec<u8>,
    has_body: bool,
    /// What HTTP/2 has of it.
    request: Request<()>,
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Head(…)")
    }
}

impl Head {
    /// Writes it once for all. `has_body`: the message tells a length, which may be 0.
    pub(super) fn new(request: &Request<()>, has_body: bool) -> Arc<Self> {
        let target = request.uri().path_and_query();
        let mut lines = Vec::with_capacity(512);
        lines.extend_from_slice(request.method().as_str().as_bytes());
        lines.push(b' ');
        lines.extend_from_slice(target.map_or("/", |target| target.as_str()).as_bytes());
        lines.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in request.headers() {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        Arc::new(Self {
            lines,
            has_body,
            request: request.clone(),
        })
    }
}

impl Message {
    pub(super) fn new(head: Arc<Head>, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self { head, body }
    }

    pub(in crate::replay) fn body(&self) -> &Bytes {
        &self.body
    }

    pub(in crate::replay) fn body_mut(&mut self) -> &mut Bytes {
        &mut self.body
    }
}

/// A message on its way to a connection.
pub(super) struct Outgoing {
    message: Message,
    /// The field that tells the body's length, and the head's end.
    length: [u8; LENGTH],
    length_len: usize,
    written: usize,
    flushed: bool,
}

/// `content-length: `, the digits of 64 bits, two line ends.
const LENGTH: usize = 16 + 20 + 4;

impl Outgoing {
    pub(super) fn new(message: Message) -> Self {
        let mut length = [0; LENGTH];
        let mut rest = &mut length[..];
        // All of it has room.
        let _ = if message.head.has_body {
            write!(rest, "content-length: {}\r\n\r\n", message.body.len())
        } else {
            rest.write_all(b"\r\n")
        };
        let length_len = LENGTH - rest.len();
        Self {
            message,
            length,
            length_len,
            written: 0,
            flushed: false,
        }
    }

    /// Whether the system has taken all of it.
    pub(super) fn is_over(&self) -> bool {
        self.flushed
    }

    /// The request as HTTP/2 wants it, and its body; `None` where it has no such form.
    pub(super) fn framed(&self, scheme: &Scheme) -> Option<(Request<()>, Bytes)> {
        let head = &self.message.head;
        let mut request = head.request.clone();
        let headers = request.headers_mut();
        let host = headers.remove(HOST)?;
        headers.remove(CONNECTION);
        if head.has_body {
            let length = HeaderValue::from(self.message.body.len());
            headers.insert(CONTENT_LENGTH, length);
        }
        let target = request.uri().path_and_query()?.clone();
        *request.uri_mut() = Uri::builder()
            .scheme(scheme.clone())
            .authority(host.as_bytes())
            .path_and_query(target)
            .build()
            .ok()?;
        Some((request, self.message.body.clone()))
    }

    /// A long answer need not hold a long prompt.
    pub(super) fn let_go(&mut self) {
        self.message.body = Bytes::new();
    }

    /// Hands on what the connection takes; how many bytes that were, 0 where they were only flushed.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<usize>> {
        let mut io = Pin::new(io);
        let parts = [
            &self.message.head.lines[..],
            self.length.get(..self.length_len).unwrap_or_default(),
            &self.message.body,
        ];
        let mut before = self.written;
        let rest = parts.map(|part| {
            let skipped = before.min(part.len());
            before -= skipped;
            IoSlice::new(part.get(skipped..).unwrap_or_default())
        });
        if rest.iter().all(|part| part.is_empty()) {
            ready!(io.as_mut().poll_flush(cx))?;
            self.flushed = true;
            self.let_go();
            return Poll::Ready(Ok(0));
        }
        let first = rest.iter().position(|part| !part.is_empty()).unwrap_or(0);
        let rest = rest.get(first..).unwrap_or_default();
        match ready!(io.as_mut().poll_write_vectored(cx, rest))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => {
                self.written += written;
                Poll::Ready(Ok(written))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    /// Takes so many bytes at a time.
    struct Narrow(usize, Vec<u8>);

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.0);
            self.1.extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn written(method: Method, has_body: bool, body: &'static str, width: usize) -> String {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = "/v1/x?y=1".parse().unwrap();
        request.headers_mut().insert("host", "h:1".parse().unwrap());
        let message = Message::new(Head::new(&request, has_body), body);
        let mut outgoing = Outgoing::new(message);
        let mut io = Narrow(width, Vec::new());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while !outgoing.is_over() {
            assert!(outgoing.poll_write(&mut cx, &mut io).is_ready());
        }
        String::from_utf8(io.1).unwrap()
    }

    #[test]
    fn a_message_is_written_whole_however_little_is_taken_at_a_time() {
        for width in [1, 7, 1000] {
            assert_eq!(
                written(Method::POST, true, "{\"a\":1}", width),
                "POST /v1/x?y=1 HTTP/1.1\r\nhost: h:1\r\ncontent-length: 7\r\n\r\n{\"a\":1}"
            );
            assert_eq!(
                written(Method::GET, false, "", width),
                "GET /v1/x?y=1 HTTP/1.1\r\nhost: h:1\r\n\r\n"
            );
        }
    }
}
