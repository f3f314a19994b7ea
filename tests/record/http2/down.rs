//! HTTP/2 clients, and an upstream that speaks HTTP/1.

use std::convert::Infallible;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;

use reenact::shape::Outcome;

use super::peers::{connect, h2_client, post, runtime, tokio_stream};
use crate::exchanges;
use crate::support::Server;
use crate::support::wire::{Ending, Upstream};

/// A recorder whose clients speak HTTP/2 and whose upstream speaks HTTP/1.
fn down(upstream: &Upstream, dir: &tempfile::TempDir) -> Server {
    let args = ["--upstream-protocol", "http1"];
    Server::recorder(&upstream.url(), dir.path(), &args)
}

#[test]
fn an_http2_client_reaches_an_http1_upstream() {
    let runtime = runtime();
    let upstream = Upstream::start();
    let dir = tempfile::tempdir().unwrap();
    let recorder = down(&upstream, &dir);
    let answer = runtime.spawn({
        let url = recorder.url.clone();
        async move {
            let mut client = h2_client(&url).await;
            let request = post("http://model.test/v1/x?q")
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .body(Full::from("hello"))
                .unwrap();
            let response = client.send_request(request).await.unwrap();
            let headers = response.headers().clone();
            (headers, response.into_body().collect().await.unwrap())
        }
    });
    let mut server = upstream.accept();
    let head = server.read_head();
    assert!(head.starts_with("POST /v1/x?q HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: model.test\r\n"), "{head}");
    assert!(head.contains("cookie: a=1; b=2\r\n"), "{head}");
    assert!(head.contains("te: trailers\r\n"), "{head}");
    assert!(head.contains("content-length: 5\r\n"), "{head}");
    assert_eq!(server.read_exact(5), "hello");
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n");
    let (headers, body) = runtime.block_on(answer).unwrap();
    assert!(!headers.contains_key("transfer-encoding") && !headers.contains_key("connection"));
    assert_eq!(body.trailers().unwrap()["x-sum"], "7");
    assert_eq!(body.to_bytes(), "hi");
    recorder.terminate();
}

/// RFC 9110, 8.6: in HTTP/1 a method that usually has a body says when it has none. HTTP/2 needs no word for that.
#[test]
fn a_post_without_a_body_gains_a_length_of_zero_and_a_get_does_not() {
    let runtime = runtime();
    let upstream = Upstream::start();
    let dir = tempfile::tempdir().unwrap();
    let recorder = down(&upstream, &dir);
    for (method, added) in [("POST", true), ("PUT", true), ("GET", false)] {
        let answer = runtime.spawn({
            let url = recorder.url.clone();
            async move {
                let request = Request::builder()
                    .method(method)
                    .uri("http://model.test/v1/x")
                    .body(Full::<Bytes>::default())
                    .unwrap();
                let mut client = h2_client(&url).await;
                client.send_request(request).await.unwrap().status()
            }
        });
        let mut server = upstream.accept();
        let head = server.read_head();
        let has = head.contains("content-length: 0\r\n");
        assert_eq!(has, added, "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
        server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(runtime.block_on(answer).unwrap(), 200);
    }
    recorder.terminate();
}

#[test]
fn a_body_of_unknown_length_reaches_an_http1_upstream_whatever_the_method() {
    let runtime = runtime();
    let upstream = Upstream::start();
    let dir = tempfile::tempdir().unwrap();
    let recorder = down(&upstream, &dir);
    for method in ["GET", "DELETE", "POST"] {
        let answer = runtime.spawn({
            let url = recorder.url.clone();
            async move {
                let (mut client, connection) =
                    http2::handshake(TokioExecutor::new(), connect(&url).await)
                        .await
                        .unwrap();
                tokio::spawn(connection);
                let frames = [b"he", b"lo"]
                    .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece))));
                let request = Request::builder()
                    .method(method)
                    .uri("http://model.test/search")
                    .body(StreamBody::new(tokio_stream(frames)))
                    .unwrap();
                client.send_request(request).await.unwrap().status()
            }
        });
        let mut server = upstream.accept();
        let head = server.read_head();
        assert!(head.starts_with(&format!("{method} /search HTTP/1.1\r\n")));
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        let body = "2\r\nhe\r\n2\r\nlo\r\n0\r\n\r\n";
        assert_eq!(server.read_exact(body.len()), body);
        server.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        assert_eq!(runtime.block_on(answer).unwrap(), 204);
    }
    recorder.terminate();
}

#[test]
fn a_cancelled_http2_stream_is_cancelled_upstream() {
    let runtime = runtime();
    let upstream = Upstream::start();
    let dir = tempfile::tempdir().unwrap();
    let recorder = down(&upstream, &dir);
    let (leave, told) = tokio::sync::oneshot::channel::<()>();
    runtime.spawn({
        let url = recorder.url.clone();
        async move {
            let mut client = h2_client(&url).await;
            let asked = client.send_request(post("http://a/v1/x").body(Full::from("x")).unwrap());
            tokio::select! {
                _ = asked => panic!("nothing was answered"),
                _ = told => {}
            }
            // The connection stays, its stream is reset.
            std::future::pending::<()>().await;
            drop(client);
        }
    });
    let mut server = upstream.accept();
    server.read_head();
    server.read_exact(1);
    leave.send(()).unwrap();
    let (rest, ending) = server.read_to_end();
    assert_eq!((rest.as_str(), ending), ("", Ending::Closed));
    drop(runtime);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let recorded = exchanges(dir.path());
    assert!(matches!(
        recorded[0].outcome,
        Outcome::ClientCancelled { .. }
    ));
}
