//! HTTP/2 on either side and across, with hyper as both peers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::mpsc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use reenact::shape::Outcome;

use super::exchanges;
use super::support::Server;
use super::support::wire::{Ending, Upstream, Wire, metric_reaches};

/// What the upstream saw of a request: its version and target, its headers, its body and trailers.
type Seen = (String, HeaderMap, Bytes, Option<HeaderMap>);

/// An upstream that speaks HTTP/2 only, and answers every request with two pieces and trailers.
fn upstream(runtime: &tokio::runtime::Runtime) -> (SocketAddr, mpsc::Receiver<Seen>) {
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

fn tokio_stream<T: Unpin, const N: usize>(items: [T; N]) -> impl futures_core::Stream<Item = T> {
    let mut items = items.into_iter();
    Iter(std::iter::from_fn(move || items.next()))
}

struct Iter<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Iter<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

async fn connect(url: &str) -> TokioIo<TcpStream> {
    let address = url.strip_prefix("http://").unwrap();
    TokioIo::new(TcpStream::connect(address).await.unwrap())
}

async fn h2_client(url: &str) -> http2::SendRequest<Full<Bytes>> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), connect(url).await)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn post(uri: &str) -> http::request::Builder {
    Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-b", "1")
        .header("x-b", "2")
}

#[test]
fn http2_passes_with_its_trailers_and_its_name() {
    let runtime = runtime();
    let (address, seen) = upstream(&runtime);
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&format!("http://{address}"), dir.path(), &[]);
    let body = runtime.block_on(async {
        let mut client = h2_client(&recorder.url).await;
        let request = post("http://model.test:1/inference.GRPCInferenceService/ModelInfer?q=%41")
            .body(Full::from("hello"))
            .unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        let repeats: Vec<_> = response.headers().get_all("x-a").iter().collect();
        assert_eq!(repeats, ["1", "2"]);
        assert!(!response.headers().contains_key("via"));
        response.into_body().collect().await.unwrap()
    });
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes(), "onetwo");
    let (line, headers, body, _) = seen.recv().unwrap();
    assert_eq!(
        line,
        "HTTP/2.0 POST http://model.test:1/inference.GRPCInferenceService/ModelInfer?q=%41"
    );
    assert_eq!(body, "hello");
    assert_eq!(headers["te"], "trailers");
    assert_eq!(headers.get_all("x-b").iter().count(), 2);
    assert!(!headers.contains_key("host"), "{headers:?}");
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let recorded = exchanges(dir.path());
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].request.bytes, 5);
    assert_eq!(recorded[0].response.bytes, 6);
    assert_eq!(recorded[0].outcome, Outcome::Completed);
}

#[test]
fn an_http2_client_opts_out_as_any_other() {
    let runtime = runtime();
    let (address, seen) = upstream(&runtime);
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&format!("http://{address}"), dir.path(), &[]);
    let admin = recorder.wait_for_url("admin on ");
    runtime.block_on(async {
        let mut client = h2_client(&recorder.url).await;
        for wish in ["off", "no", "on"] {
            let request = post("http://model.test:1/v1/chat/completions")
                .header("x-reenact-record", wish)
                .body(Full::from("{}"))
                .unwrap();
            let response = client.send_request(request).await.unwrap();
            assert_eq!(response.collect().await.unwrap().to_bytes(), "onetwo");
        }
    });
    let wishes: Vec<_> = seen
        .iter()
        .take(3)
        .map(|(_, headers, ..)| headers["x-reenact-record"].clone())
        .collect();
    assert_eq!(wishes, ["off", "no", "on"]);
    metric_reaches(&admin, "reenact_dropped_total{reason=\"opt_out\"}", 2);
    metric_reaches(&admin, "reenact_recorded_total", 1);
    assert!(recorder.terminate().0.success());
    assert_eq!(exchanges(dir.path()).len(), 1);
}

#[test]
fn many_exchanges_share_connections_on_both_sides() {
    let runtime = runtime();
    let (address, seen) = upstream(&runtime);
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&format!("http://{address}"), dir.path(), &[]);
    runtime.block_on(async {
        let client = h2_client(&recorder.url).await;
        let mut all = Vec::new();
        for number in 0..100 {
            let mut client = client.clone();
            all.push(tokio::spawn(async move {
                let request = post(&format!("http://a/{number}"))
                    .body(Full::from(format!("{number}")))
                    .unwrap();
                let response = client.send_request(request).await.unwrap();
                response.into_body().collect().await.unwrap().to_bytes()
            }));
        }
        for each in all {
            assert_eq!(each.await.unwrap(), "onetwo");
        }
    });
    let mut bodies: Vec<_> = (0..100)
        .map(|_| String::from_utf8(seen.recv().unwrap().2.to_vec()).unwrap())
        .collect();
    bodies.sort_by_key(|body| body.parse::<u32>().unwrap());
    let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(bodies, expected);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(exchanges(dir.path()).len(), 100);
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

/// A recorder whose clients speak HTTP/2 and whose upstream speaks HTTP/1.
fn down(upstream: &Upstream, dir: &tempfile::TempDir) -> Server {
    let args = ["--upstream-protocol", "http1"];
    Server::recorder(&upstream.url(), dir.path(), &args)
}

/// A recorder whose clients speak HTTP/1 and whose upstream speaks HTTP/2.
fn across(address: SocketAddr, dir: &tempfile::TempDir, args: &[&str]) -> Server {
    let mut all = vec!["--upstream-protocol", "http2"];
    all.extend_from_slice(args);
    Server::recorder(&format!("http://{address}"), dir.path(), &all)
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
    let recorder = Server::recorder(
        &upstream.url(),
        dir.path(),
        &["--upstream-protocol", "http1"],
    );
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

#[test]
fn no_preface_and_no_http2_is_not_forwarded() {
    let upstream = Upstream::start();
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&upstream.url(), dir.path(), &[]);
    let mut client = Wire::connect(&recorder.url);
    client.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    let (answer, _) = client.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
    assert!(upstream.is_alone());
    recorder.terminate();
}
