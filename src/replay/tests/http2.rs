//! The engine over HTTP/2, against a server that counts streams and ends them as it is told.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};

use super::server::{end, token};
use super::*;
use crate::net::MaybeTls;
use crate::replay::target::HttpVersion;
use crate::shape::Outcome;

/// What became of one request at the server.
#[derive(Debug)]
struct Seen {
    request: Request<()>,
    body: String,
    /// The reason of a reset that came before the answer was over.
    reset: Option<Reason>,
}

/// How a server answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// Three tokens and an end, a while after the request.
    Stream(Duration),
    /// One token, and then nothing more.
    Hang,
    /// So many tokens as fast as they are taken.
    Many(u32),
    /// No stream at all.
    Refuse,
    /// A token, and then an end without what ends it.
    Break,
}

/// A server of HTTP/2 that takes so many streams at once on a connection.
pub(super) struct Peer {
    address: SocketAddr,
    seen: mpsc::Receiver<Seen>,
    connections: Arc<AtomicUsize>,
    authority: tempfile::NamedTempFile,
    _runtime: tokio::runtime::Runtime,
}

impl Peer {
    pub(super) fn start(streams: u32, answer: Answer) -> Self {
        let (config, authority) = tls::config(&[b"h2", b"http/1.1"]);
        let acceptor = tokio_rustls::TlsAcceptor::from(config);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (sender, seen) = mpsc::channel();
        let counter = Arc::clone(&connections);
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                let (sender, acceptor) = (sender.clone(), acceptor.clone());
                tokio::spawn(async move {
                    // A handshake of TLS begins with this byte, HTTP/2 with a `P`.
                    let mut first = [0];
                    socket.peek(&mut first).await.unwrap();
                    let io = if first == [22] {
                        let tls = acceptor.accept(socket).await.unwrap();
                        MaybeTls::Tls(Box::new(tls.into()))
                    } else {
                        MaybeTls::Plain(socket)
                    };
                    let mut builder = h2::server::Builder::new();
                    builder.max_concurrent_streams(streams);
                    let mut connection = builder.handshake::<_, Bytes>(io).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(serve(request, respond, answer, sender.clone()));
                    }
                });
            }
        });
        Self {
            address,
            seen,
            connections,
            authority,
            _runtime: runtime,
        }
    }

    pub(super) fn target(&self) -> Target {
        Target {
            http: HttpVersion::Http2,
            ..target(&format!("http://{}", self.address))
        }
    }
}

async fn serve(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    answer: Answer,
    seen: mpsc::Sender<Seen>,
) {
    let (parts, mut body) = request.into_parts();
    let mut text = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        text.extend_from_slice(&data);
    }
    let mut reset = None;
    let head = || {
        Response::builder()
            .header("content-type", "text/event-stream")
            .body(())
            .unwrap()
    };
    match answer {
        Answer::Refuse => respond.send_reset(Reason::REFUSED_STREAM),
        Answer::Stream(after) => {
            tokio::time::sleep(after).await;
            let mut stream = respond.send_response(head(), false).unwrap();
            for _ in 0..3 {
                stream.send_data(token().into(), false).unwrap();
            }
            stream.send_data(end(100, 3, 16).into(), true).unwrap();
        }
        Answer::Many(tokens) => {
            let mut stream = respond.send_response(head(), false).unwrap();
            for _ in 0..tokens {
                let data = Bytes::from(token());
                stream.reserve_capacity(data.len());
                while stream.capacity() < data.len() {
                    std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                }
                stream.send_data(data, false).unwrap();
            }
            stream.send_data(end(100, tokens, 0).into(), true).unwrap();
        }
        Answer::Hang => {
            let mut stream = respond.send_response(head(), false).unwrap();
            stream.send_data(token().into(), false).unwrap();
            reset = std::future::poll_fn(|cx| stream.poll_reset(cx)).await.ok();
        }
        Answer::Break => {
            let mut stream = respond.send_response(head(), false).unwrap();
            stream.send_data(token().into(), true).unwrap();
        }
    }
    let _ = seen.send(Seen {
        request: Request::from_parts(parts, ()),
        body: String::from_utf8(text).unwrap(),
        reset,
    });
}

#[test]
fn a_recorded_clients_patience_begins_when_its_request_has_gone_out() {
    let peer = Peer::start(1, Answer::Stream(Duration::from_millis(200)));
    let mut impatient = exchange(1000);
    impatient.response.output_tokens = None;
    impatient.outcome = Outcome::ClientCancelled { at_us: 50_000 };
    let one_connection = RunOptions {
        connections: Connections::AtMost(std::num::NonZeroUsize::MIN),
        ..options()
    };
    let (outcomes, _) = replay_at(
        &peer.target(),
        vec![exchange(0), impatient],
        &one_connection,
    );
    assert_eq!(outcomes[0].result, SendResult::Ok);
    assert_eq!(outcomes[1].result, SendResult::Cancelled);
    let sent_us = outcomes[1].sent_us.expect("it waited, and then went out");
    assert!(sent_us >= 200_000, "{sent_us}");
    let waited_us = outcomes[1].end_us - sent_us;
    assert!((50_000..200_000).contains(&waited_us), "{waited_us}");
}

fn many(requests: u64) -> Vec<Exchange> {
    (0..requests).map(|i| exchange(i * 1000)).collect()
}

#[test]
fn requests_share_a_connection_and_are_followed_to_their_ends() {
    let peer = Peer::start(100, Answer::Stream(Duration::from_millis(30)));
    let (outcomes, summary) = replay_at(&peer.target(), many(20), &options());
    for outcome in &outcomes {
        assert_eq!(outcome.result, SendResult::Ok);
        assert_eq!(
            (outcome.prompt_tokens, outcome.output_tokens),
            (Some(100), Some(3))
        );
        assert_eq!((outcome.cached_tokens, outcome.token_events), (Some(16), 3));
        assert!(outcome.intended_us <= outcome.sent_us.unwrap());
        assert!(outcome.sent_us <= outcome.headers_us);
        assert!(outcome.headers_us <= outcome.first_token_us);
        assert!(outcome.last_token_us <= Some(outcome.end_us));
    }
    assert_eq!(outcomes.len(), 20);
    assert_eq!(peer.connections.load(Ordering::Relaxed), 1);
    assert_eq!(summary.evidence.http, HttpVersion::Http2);
    assert_eq!(summary.evidence.connections_opened, 1);
    for seen in peer.seen.iter().take(20) {
        assert_eq!(seen.request.version(), http::Version::HTTP_2);
        assert_eq!(seen.request.uri().path(), "/v1/chat/completions");
        assert_eq!(
            seen.request.uri().authority().unwrap().as_str(),
            peer.address.to_string()
        );
        let headers = seen.request.headers();
        assert_eq!(headers["authorization"], "Bearer sk-test");
        assert_eq!(headers["content-length"], seen.body.len().to_string());
        assert!(!headers.contains_key("host"));
    }
}

#[test]
fn more_streams_than_a_connection_takes_go_over_others_or_wait_where_these_are_limited() {
    let slow = Answer::Stream(Duration::from_millis(100));
    let peer = Peer::start(5, slow);
    let (outcomes, _) = replay_at(&peer.target(), many(20), &options());
    assert!(outcomes.iter().all(|it| it.result == SendResult::Ok));
    let connections = peer.connections.load(Ordering::Relaxed);
    assert!((2..=20).contains(&connections), "{connections}");

    let peer = Peer::start(5, slow);
    let limited = RunOptions {
        connections: at_most(1),
        ..options()
    };
    let (outcomes, _) = replay_at(&peer.target(), many(20), &limited);
    assert!(outcomes.iter().all(|it| it.result == SendResult::Ok));
    assert_eq!(peer.connections.load(Ordering::Relaxed), 1);
    let latest = outcomes
        .iter()
        .map(|it| it.sent_us.unwrap() - it.intended_us)
        .max();
    // The fourth five cannot start before three times 100 ms, and were due after 15 ms.
    assert!(latest > Some(250_000), "{latest:?}");
}

#[test]
fn a_slow_client_takes_its_stream_slowly_and_the_server_has_to_wait() {
    const TOKENS: u32 = 1000;
    let peer = Peer::start(100, Answer::Many(TOKENS));
    let rate = ReadRate {
        bytes_per_s: 128 << 10,
        share: 1.0,
    };
    let slow = RunOptions {
        readers: Readers::Drawn(rate),
        ..options()
    };
    let (outcomes, summary) = replay_at(&peer.target(), many(2), &slow);
    let bytes = token().len() * TOKENS as usize;
    for outcome in outcomes {
        assert_eq!(outcome.result, SendResult::Ok);
        assert_eq!(outcome.token_events, TOKENS);
        let took_us = outcome.end_us - outcome.sent_us.unwrap();
        // All but the last window came at the rate.
        let most = bytes as u64 - 2 * (8 << 10);
        assert!(
            took_us >= most * 1_000_000 / rate.bytes_per_s,
            "{took_us} µs"
        );
    }
    assert_eq!(summary.evidence.connections_opened, 1);
    assert_eq!(
        (summary.evidence.read_slowly, summary.evidence.held_up),
        (2, 2)
    );
}

#[test]
fn a_request_that_is_left_resets_its_stream_and_not_the_connection() {
    let peer = Peer::start(100, Answer::Hang);
    let mut left = exchange(0);
    left.outcome = Outcome::ClientCancelled { at_us: 50_000 };
    let short = RunOptions {
        request_timeout: Duration::from_millis(200),
        ..options()
    };
    let (outcomes, summary) = replay_at(&peer.target(), vec![left, exchange(10_000)], &short);
    assert_eq!(outcomes[0].result, SendResult::Cancelled);
    assert_eq!(outcomes[1].result, SendResult::Failed(FailureKind::Timeout));
    assert_eq!(summary.evidence.connections_opened, 1);
    let seen = peer.seen.recv().unwrap();
    assert_eq!(seen.reset, Some(Reason::CANCEL));
}

#[test]
fn a_refused_stream_and_a_broken_answer_are_failures_and_are_not_sent_again() {
    for (answer, kind) in [
        (Answer::Refuse, FailureKind::Reset),
        (Answer::Break, FailureKind::Truncated),
    ] {
        let peer = Peer::start(100, answer);
        let (outcomes, _) = replay_at(&peer.target(), many(3), &options());
        for outcome in outcomes {
            assert_eq!(outcome.result, SendResult::Failed(kind), "{answer:?}");
        }
        drop(peer._runtime);
        assert_eq!(peer.seen.iter().count(), 3, "{answer:?}");
    }
}

#[test]
fn over_tls_the_protocol_is_agreed_on() {
    let peer = Peer::start(100, Answer::Stream(Duration::ZERO));
    let secure = |url: &str, authority: &tempfile::NamedTempFile| Target {
        http: HttpVersion::Http2,
        ca: Some(authority.path().to_owned()),
        ..target(url)
    };
    let url = format!("https://localhost:{}", peer.address.port());
    let (outcomes, _) = replay_at(&secure(&url, &peer.authority), many(3), &options());
    assert!(outcomes.iter().all(|it| it.result == SendResult::Ok));
    let seen = peer.seen.recv().unwrap();
    assert_eq!(seen.request.uri().scheme_str(), Some("https"));

    let (url, authority) = tls::server(Vec::new());
    let (outcomes, _) = replay_at(&secure(&url, &authority), many(1), &options());
    assert!(matches!(
        outcomes[0].result,
        SendResult::Failed(FailureKind::NotHttp | FailureKind::Tls)
    ));
}

#[test]
fn a_target_that_speaks_no_http2_is_told_from_one_that_is_not_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
            // It reads to the end, so that no reset overtakes what it said.
            let _ = std::io::copy(&mut socket, &mut std::io::sink());
        }
    });
    let old = Target {
        http: HttpVersion::Http2,
        ..target(&format!("http://{address}"))
    };
    let (outcomes, _) = replay_at(&old, many(2), &options());
    for outcome in outcomes {
        assert_eq!(outcome.result, SendResult::Failed(FailureKind::NotHttp));
    }
}
