//! HTTP/1 clients, and an upstream that speaks HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::mpsc;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use reenact::shape::Outcome;

use super::peers::{connect, post, runtime, upstream};
use crate::exchanges;
use crate::support::Server;
use crate::support::wire::{Ending, Wire};

/// A recorder whose clients speak HTTP/1 and whose upstream speaks HTTP/2.
fn across(address: SocketAddr, dir: &tempfile::TempDir, args: &[&str]) -> Server {
    let mut all = vec!["--upstream-protocol", "http2"];
    all.extend_from_slice(args);
    Server::recorder(&format!("http://{address}"), dir.path(), &all)
}

#[test]
fn an_http1_client_reaches_an_http2_upstream() {
    let runtime = runtime();
    let (address, seen) = upstream(&runtime);
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(
        &format!("http://{address}/base"),
        dir.path(),
        &["--upstream-protocol", "http2"],
    );
    let body = runtime.block_on(async {
        let (mut client, connection) = http1::handshake(connect(&recorder.url).await)
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = post("/v1/x?q")
            .header("host", "model.test")
            .header("connection", "keep-alive, te")
            .body(Full::<Bytes>::from("hello"))
            .unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_11);
        response.into_body().collect().await.unwrap()
    });
    assert_eq!(body.to_bytes(), "onetwo");
    let (line, headers, body, _) = seen.recv().unwrap();
    assert_eq!(line, "HTTP/2.0 POST http://model.test/base/v1/x?q");
    assert_eq!(body, "hello");
    assert!(!headers.contains_key("connection") && !headers.contains_key("host"));
    recorder.terminate();
}

#[test]
fn bodies_and_trailers_cross_whole_and_connections_are_kept() {
    let runtime = runtime();
    let (address, seen) = upstream(&runtime);
    let dir = tempfile::tempdir().unwrap();
    let recorder = across(address, &dir, &["--forwarded", "append"]);
    let mut client = Wire::connect(&recorder.url);
    // Two requests at once, the first with chunks, an extension and a trailer, cut in the middle of a chunk.
    client.send("POST /a HTTP/1.1\r\nHost: m\r\nX-B: 1\r\nx-b: 2\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhe");
    client.send("l\r\n2\r\nlo\r\n0\r\nX-Sum: 7\r\nConnection: x\r\n\r\nGET http://n/b HTTP/1.1\r\nHost: m\r\n\r\n");
    for _ in 0..2 {
        let head = client.read_head();
        assert!(
            head.starts_with(
                "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\nx-a: 1\r\nx-a: 2\r\n"
            ),
            "{head}"
        );
        assert!(
            head.contains("\r\ntransfer-encoding: chunked\r\n"),
            "{head}"
        );
        let body = "3\r\none\r\n3\r\ntwo\r\n0\r\ngrpc-status: 0\r\n\r\n";
        assert_eq!(client.read_exact(body.len()), body);
    }
    let (line, headers, body, trailers) = seen.recv().unwrap();
    assert_eq!(
        (line.as_str(), &body[..]),
        ("HTTP/2.0 POST http://m/a", &b"hello"[..])
    );
    assert_eq!(headers.get_all("x-b").iter().count(), 2);
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    let trailers = trailers.unwrap();
    assert_eq!(trailers["x-sum"], "7");
    assert!(!trailers.contains_key("connection"));
    let (line, _, body, _) = seen.recv().unwrap();
    assert_eq!(
        (line.as_str(), &body[..]),
        ("HTTP/2.0 GET http://n/b", &b""[..])
    );
    // An old client knows neither chunks nor kept connections.
    let mut old = Wire::connect(&recorder.url);
    old.send("GET /c HTTP/1.0\r\n\r\n");
    let (answer, ending) = old.read_to_end();
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(
        answer.ends_with("\r\nConnection: close\r\n\r\nonetwo"),
        "{answer}"
    );
    assert_eq!(ending, Ending::Closed);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let recorded = exchanges(dir.path());
    assert_eq!(recorded.len(), 3);
    assert_eq!(
        (recorded[0].request.bytes, recorded[0].response.bytes),
        (5, 6)
    );
    assert!(
        recorded
            .iter()
            .all(|each| each.outcome == Outcome::Completed)
    );
}

#[test]
fn a_client_that_expects_a_100_gets_one_across() {
    let runtime = runtime();
    let (address, seen) = upstream(&runtime);
    let dir = tempfile::tempdir().unwrap();
    let recorder = across(address, &dir, &[]);
    let mut client = Wire::connect(&recorder.url);
    client.send("POST /a HTTP/1.1\r\nHost: m\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n");
    assert_eq!(client.read_head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hi");
    let (answer, _) = client.read_to_end();
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    let (_, headers, body, _) = seen.recv().unwrap();
    assert!(
        !headers.contains_key("expect") && body == "hi",
        "{headers:?}"
    );
    recorder.terminate();
}

#[test]
fn a_body_that_breaks_off_or_stalls_is_no_body_across() {
    let runtime = runtime();
    let (address, seen) = upstream(&runtime);
    let dir = tempfile::tempdir().unwrap();
    let recorder = across(address, &dir, &["--body-timeout", "300ms"]);
    let asks = |rest: &str| {
        let mut client = Wire::connect(&recorder.url);
        client.send("POST /a HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
        client.send(rest);
        client
    };
    let wrong = asks("zz\r\n").read_to_end().0;
    assert!(
        wrong.starts_with("HTTP/1.1 400 ") && wrong.contains("x-reenact-error: chunk\r\n"),
        "{wrong}"
    );
    let slow = asks("2\r\nh").read_to_end().0;
    assert!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
    let upgrade = {
        let mut client = Wire::connect(&recorder.url);
        client.send(
            "GET /a HTTP/1.1\r\nHost: m\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        client.read_to_end().0
    };
    assert!(upgrade.starts_with("HTTP/1.1 501 "), "{upgrade}");
    recorder.terminate();
    drop(runtime);
    assert!(seen.recv().is_err(), "no body was taken for whole");
}

#[test]
fn an_http1_client_that_leaves_resets_its_stream_upstream() {
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (begun, begins) = mpsc::channel();
    let (gone, leaves) = mpsc::channel();
    runtime.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |request: Request<Incoming>| {
            let guard = Gone(gone.clone());
            let begun = begun.clone();
            async move {
                let _ = request.into_body().collect().await;
                begun.send(()).unwrap();
                std::future::pending::<()>().await;
                drop(guard);
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
            }
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    });
    let dir = tempfile::tempdir().unwrap();
    let recorder = across(address, &dir, &[]);
    let mut client = Wire::connect(&recorder.url);
    client.send("POST /a HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\n\r\nhi");
    begins.recv().unwrap();
    drop(client);
    leaves.recv().unwrap();
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let recorded = exchanges(dir.path());
    assert!(matches!(
        recorded[0].outcome,
        Outcome::ClientCancelled { .. }
    ));
}

/// Tells when it is dropped.
struct Gone(mpsc::Sender<()>);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}
