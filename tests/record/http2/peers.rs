//! What the peers of a recorder ask and answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::mpsc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

pub(super) use crate::support::http2::{connect, h2_client, runtime, tokio_stream};

/// What the upstream saw of a request: its version and target, its headers, its body and trailers.
pub(super) type Seen = (String, HeaderMap, Bytes, Option<HeaderMap>);

/// An upstream that speaks HTTP/2 only, and answers every request with two pieces and trailers.
pub(super) fn upstream(runtime: &tokio::runtime::Runtime) -> (SocketAddr, mpsc::Receiver<Seen>) {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, seen) = mpsc::channel();
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap();
                    let trailers = body.trailers().cloned();
                    let line = format!("{:?} {} {}", parts.version, parts.method, parts.uri);
                    let _ = sender.send((line, parts.headers, body.to_bytes(), trailers));
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    let frames = [
                        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"one"))),
                        Ok(Frame::data(Bytes::from_static(b"two"))),
                        Ok(Frame::trailers(trailers)),
                    ];
                    let body = StreamBody::new(tokio_stream(frames));
                    Ok::<_, Infallible>(
                        Response::builder()
                            .header("content-type", "application/grpc")
                            .header("x-a", "1")
                            .header("x-a", "2")
                            .body(body)
                            .unwrap(),
                    )
                }
            });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (address, seen)
}

pub(super) fn post(uri: &str) -> http::request::Builder {
    Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-b", "1")
        .header("x-b", "2")
}
