//! Exchanges over HTTP/2, known beforehand to be spoken: every dialect, streams that either side cuts, and trailers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::http1::HEADERS;
use super::support::canaries::Canaries;
use super::support::codings::Coding;
use super::support::http2::connect;
use super::upstream::{self, MANNER};
use super::{chats, dialects};

/// Frames, and what comes after them.
struct Script {
    frames: VecDeque<Frame<Bytes>>,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    Ends,
    /// For as long as somebody listens.
    Waits,
}

impl Body for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match (self.frames.pop_front(), self.then) {
            (Some(frame), _) => Poll::Ready(Some(Ok(frame))),
            (None, Then::Ends) => Poll::Ready(None),
            (None, Then::Waits) => Poll::Pending,
        }
    }
}

/// A body in two pieces, with trailers.
fn script(body: &[u8], then: Then, canaries: &Canaries) -> Script {
    let (first, second) = body.split_at(body.len() / 2);
    let mut frames: VecDeque<_> = [first, second]
        .map(|piece| Frame::data(Bytes::copy_from_slice(piece)))
        .into();
    match then {
        Then::Ends => frames.push_back(Frame::trailers(fields("X-Sum: @\r\nX-@: @\r\n", canaries))),
        Then::Waits => frames.truncate(1),
    }
    Script { frames, then }
}

/// These fields, but for those that HTTP/2 does not have.
fn fields(template: &str, canaries: &Canaries) -> HeaderMap {
    let text = canaries.fill(template);
    text.lines()
        .filter(|line| !line.starts_with("Host") && !line.starts_with("Connection"))
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

/// Starts an upstream that speaks HTTP/2 only: its URL.
pub(crate) fn start(runtime: &Runtime, canaries: &Arc<Canaries>) -> String {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let canaries = Arc::clone(canaries);
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let canaries = Arc::clone(&canaries);
            let service = service_fn(move |request| answer(request, Arc::clone(&canaries)));
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    url
}

async fn answer(
    request: Request<Incoming>,
    canaries: Arc<Canaries>,
) -> Result<Response<Script>, hyper::Error> {
    let (head, body) = request.into_parts();
    let manner = head.headers[MANNER].to_str().unwrap().to_owned();
    let asked = body.collect().await?.to_bytes();
    let streamed = memchr::memmem::find(&asked, b"\"stream\":true").is_some();
    let (kind, body) = upstream::body(head.uri.path(), streamed, &canaries);
    let (status, then) = match manner.as_str() {
        "refused" => (418, Then::Ends),
        "failed" => (500, Then::Ends),
        "redirected" => (307, Then::Ends),
        "held" => (200, Then::Waits),
        _ => (200, Then::Ends),
    };
    let coding = Coding::named(&manner);
    let body = coding.map_or_else(|| body.clone(), |coding| coding.encode(&body));
    let coding = coding.map(Coding::header).unwrap_or_default();
    let mut response = Response::new(script(&body, then, &canaries));
    *response.status_mut() = status.try_into().unwrap();
    let template =
        format!("Content-Type: {kind}\r\n{coding}Server: @\r\nX-@: @\r\nSet-Cookie: @=@\r\n");
    *response.headers_mut() = fields(&template, &canaries);
    Ok(response)
}

/// How many exchanges it was.
pub(crate) fn exchange(runtime: &Runtime, url: &str, canaries: &Canaries) -> usize {
    runtime.block_on(async {
        let (client, connection) = http2::handshake(TokioExecutor::new(), connect(url).await)
            .await
            .unwrap();
        let driven = tokio::spawn(connection);
        let mut sent = 0;
        for (path, body) in chats::REQUESTS.iter().chain(dialects::REQUESTS) {
            for stream in ["true", "false"] {
                for manner in ["chunked", "refused"] {
                    let body = canaries.fill(&body.replace("STREAM", stream));
                    let response = ask(&client, manner, path, &body, canaries).await.unwrap();
                    assert!(matches!(response.status().as_u16(), 200 | 418), "{path}");
                    let trailers = response.into_body().collect().await.unwrap();
                    let trailers = trailers.trailers().is_some();
                    assert!(trailers || manner == "refused", "{path}");
                    sent += 1;
                }
            }
        }
        let chat = || canaries.fill(&chats::CHAT.replace("STREAM", "true"));
        let path = "/v1/chat/completions";
        // Let go after its first piece.
        let held = ask(&client, "held", path, &chat(), canaries).await.unwrap();
        held.into_body().frame().await.unwrap().unwrap();
        drop(client);
        driven.await.unwrap().unwrap();
        sent + 1
    })
}

async fn ask(
    client: &SendRequest<Script>,
    manner: &str,
    path: &str,
    body: &str,
    canaries: &Canaries,
) -> hyper::Result<Response<Incoming>> {
    let target = canaries.fill(&format!("http://@.example{path}?api_key=@&@"));
    let mut request = Request::post(target)
        .body(script(body.as_bytes(), Then::Ends, canaries))
        .unwrap();
    *request.headers_mut() = fields(HEADERS, canaries);
    let manner = HeaderValue::from_str(manner).unwrap();
    request.headers_mut().insert(MANNER, manner);
    client.clone().send_request(request).await
}

/// One exchange with an upstream that leaves before its answer is whole.
pub(crate) fn be_left(runtime: &Runtime, url: &str, canaries: &Canaries) -> usize {
    runtime.block_on(async {
        let (client, connection) = http2::handshake(TokioExecutor::new(), connect(url).await)
            .await
            .unwrap();
        let driven = tokio::spawn(connection);
        let body = canaries.fill("{\"@\":\"@\"");
        let answer = ask(&client, "plain", "/v1/messages", &body, canaries).await;
        let answer = answer.unwrap().into_body().collect().await;
        assert!(answer.is_err(), "{answer:?}");
        drop(client);
        let _ = driven.await.unwrap();
        1
    })
}
