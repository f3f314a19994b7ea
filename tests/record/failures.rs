//! What breaks, breaks visibly on the other side, and is recorded as what it was.

use reenact::shape::{Outcome, ShapeStatus};

use super::support::Server;
use super::support::http::refusing;
use super::support::wire::{Ending, Wire, metric};
use super::{Between, GET, OK, exchanges};

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_client_that_leaves_before_the_first_byte_takes_the_upstream_connection_with_it() {
    let between = Between::start(&[]);
    for request in [
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 16\r\n\r\n{\"stream\":false}",
        GET,
    ] {
        let (client, mut server, _) = between.exchange(request);
        drop(client);
        // The upstream has sent nothing yet: it learns of it by the end of its connection alone.
        server.read_to_end();
    }
    for exchange in between.finish() {
        assert!(
            matches!(exchange.outcome, Outcome::ClientCancelled { at_us } if at_us > 0),
            "{:?}",
            exchange.outcome
        );
        assert_eq!(exchange.response.status, 0);
    }
}

#[test]
fn a_client_that_leaves_mid_stream_takes_the_upstream_connection_with_it() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) = between.exchange(GET);
    server.send(STREAM);
    server.send("3\r\none\r\n");
    client.read_until("one");
    drop(client);
    server.read_to_end();
    drop(server);
    let recorded = between.finish();
    assert!(matches!(
        recorded[0].outcome,
        Outcome::ClientCancelled { .. }
    ));
    assert_eq!(recorded[0].response.bytes, 3);
}

#[test]
fn a_reset_mid_body_is_no_clean_end() {
    let between = Between::start(&[]);
    for head in [STREAM, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"] {
        let (mut client, mut server, _) = between.exchange(GET);
        server.send(head);
        server.send("3\r\none\r\n");
        client.read_until("one\r\n");
        server.reset();
        let (rest, _) = client.read_to_end();
        assert_eq!(rest, "", "no last chunk may follow");
    }
    for exchange in between.finish() {
        assert!(matches!(exchange.outcome, Outcome::UpstreamReset { .. }));
        assert_eq!(exchange.response.status, 200);
    }
}

#[test]
fn what_came_before_a_reset_is_delivered() {
    let between = Between::start(&[]);
    for _ in 0..20 {
        let (mut client, mut server, _) = between.exchange(GET);
        server.send(format!("{STREAM}3\r\none\r\n3\r\ntwo\r\n"));
        drop(server);
        client.read_until("3\r\none\r\n3\r\ntwo\r\n");
        assert_eq!(client.read_to_end().0, "");
    }
}

#[test]
fn an_old_client_sees_a_reset_where_a_close_would_look_like_the_end() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) = between.exchange("GET / HTTP/1.0\r\n\r\n");
    server.send(format!("{STREAM}3\r\none\r\n"));
    client.read_until("one");
    server.reset();
    assert_eq!(client.read_to_end().1, Ending::Reset);
}

/// One request through a recorder of its own: the answer, and the outcome that was recorded.
fn answer_of(upstream: &str, args: &[&str], at_upstream: impl FnOnce()) -> (String, Outcome) {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(upstream, dir.path(), args);
    let mut client = Wire::connect(&recorder.url);
    client.send("GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    at_upstream();
    let (answer, _) = client.read_to_end();
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    (answer, exchanges(dir.path())[0].outcome)
}

#[test]
fn a_refused_connection_is_a_502() {
    let (_held, url) = refusing();
    let (answer, outcome) = answer_of(&url, &[], || {});
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(
        answer.contains("x-reenact-error: upstream_refused\r\n"),
        "{answer}"
    );
    assert!(matches!(outcome, Outcome::UpstreamRefused { .. }));
}

#[test]
fn what_was_asked_of_an_upstream_that_is_down_is_known() {
    let (_held, url) = refusing();
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&url, dir.path(), &[]);
    let prompt = "word ".repeat(20_000);
    let body = format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]}}");
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let sent = [
        (format!("Content-Length: {}", body.len()), body.clone()),
        ("Transfer-Encoding: chunked".to_owned(), chunk),
    ];
    for (framing, sent) in &sent {
        let mut client = Wire::connect(&recorder.url);
        client.send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"
        ));
        // The answer does not wait for the body, which comes all the same.
        let answer = client.read_head();
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        let (first, second) = sent.split_at(sent.len() / 2);
        client.send(first);
        client.send(second);
        client.finish();
        client.read_to_end();
    }
    // One whose rest never comes.
    let mut client = Wire::connect(&recorder.url);
    client.send(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{\"messages\":",
    );
    client.read_head();
    client.finish();
    client.read_to_end();
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let recorded = exchanges(dir.path());
    assert_eq!(recorded.len(), 3);
    for exchange in &recorded {
        let Outcome::UpstreamRefused { at_us } = exchange.outcome else {
            panic!("{:?}", exchange.outcome);
        };
        assert!(at_us < 2_000_000, "it ended with its answer");
    }
    for exchange in &recorded[..2] {
        assert_eq!(exchange.shape, ShapeStatus::Known);
        assert_eq!(exchange.request.bytes, body.len() as u64);
        assert_eq!(exchange.request.blocks.len(), (prompt.len() + 1) / 64);
    }
    assert_eq!(recorded[2].shape, ShapeStatus::Unparsable);
}

#[test]
fn an_upstream_that_hangs_up_is_a_502() {
    let upstream = super::support::wire::Upstream::start();
    let (answer, outcome) = answer_of(&upstream.url(), &[], || {
        upstream.accept().read_head();
    });
    assert!(
        answer.contains("x-reenact-error: upstream_closed\r\n"),
        "{answer}"
    );
    assert!(matches!(outcome, Outcome::UpstreamReset { .. }));
}

#[test]
fn an_upstream_that_speaks_no_http_is_a_502() {
    let upstream = super::support::wire::Upstream::start();
    let (answer, outcome) = answer_of(&upstream.url(), &[], || {
        let mut server = upstream.accept();
        server.read_head();
        server.send("220 mail.example.com ESMTP\r\n\r\n");
    });
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(
        answer.contains("x-reenact-error: upstream_not_http\r\n"),
        "{answer}"
    );
    assert!(matches!(outcome, Outcome::UpstreamReset { .. }));
}

#[test]
fn an_upstream_that_never_answers_is_a_504() {
    let upstream = super::support::wire::Upstream::start();
    let (answer, outcome) = answer_of(&upstream.url(), &["--first-byte-timeout", "200ms"], || {});
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(
        answer.contains("x-reenact-error: first_byte_timeout\r\n"),
        "{answer}"
    );
    assert!(matches!(outcome, Outcome::UpstreamTimeout { at_us } if at_us >= 200_000));
}

#[test]
fn a_stream_that_falls_silent_is_cut() {
    let between = Between::start(&["--idle-timeout", "200ms"]);
    let (mut client, mut server, _) = between.exchange(GET);
    server.send(format!("{STREAM}3\r\none\r\n"));
    client.read_until("one\r\n");
    assert_eq!(client.read_to_end().0, "");
    server.read_to_end();
    assert!(matches!(
        between.finish()[0].outcome,
        Outcome::UpstreamTimeout { .. }
    ));
}

#[test]
fn a_stale_connection_is_not_used_again() {
    let between = Between::start(&["--threads", "1"]);
    let (mut client, mut server, _) = between.exchange(GET);
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    client.read_until("hi");
    drop(server);
    client.send(GET);
    let mut server = between.upstream.accept();
    server.read_head();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nho");
    client.read_until("ho");
}

#[test]
fn connect_is_refused_clearly() {
    let between = Between::start(&[]);
    let mut client = between.client();
    client.send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 501 "), "{head}");
    assert!(head.contains("x-reenact-error: unsupported\r\n"), "{head}");
    assert!(between.upstream.is_alone());
}

#[test]
fn a_stale_idle_connection_costs_nothing() {
    let mut between = Between::start(&["--threads", "1"]);
    let post = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let (mut client, mut server, _) = between.exchange(post);
    server.read_exact(4);
    server.send(OK);
    client.read_until("hi");
    // The connection is used again, and closed when the request is already on it.
    client.send(post);
    server.read_head();
    drop(server);
    let mut server = between.upstream.accept();
    assert_eq!(server.read_head(), post.strip_suffix("body").unwrap());
    assert_eq!(server.read_exact(4), "body");
    server.send(OK);
    client.read_until("hi");
    let admin = between.recorder.wait_for_url("admin on ");
    assert_eq!(metric(&admin, "reenact_upstream_retries_total"), 1);
}

#[test]
fn a_request_in_pieces_is_sent_again_whole_where_it_is_held() {
    for (bytes, status) in [(40 << 10, 200), (80 << 10, 502)] {
        let between = Between::start(&["--threads", "1"]);
        let (mut client, mut server, _) = between.exchange(GET);
        server.send(OK);
        client.read_until("hi");
        let body = "0123456789abcdef".repeat(bytes / 16);
        let (first, rest) = body.split_at(7);
        client.send(format!(
            "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n{first}"
        ));
        server.read_head();
        server.read_exact(first.len());
        let (second, last) = rest.split_at(rest.len() / 2);
        for piece in [second, last] {
            client.send(piece);
            server.read_exact(piece.len());
        }
        drop(server);
        if status == 200 {
            let mut server = between.upstream.accept();
            server.read_head();
            assert!(server.read_exact(bytes) == body);
            server.send(OK);
        }
        let head = client.read_head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
}

#[test]
fn a_fresh_connection_that_is_closed_is_not_tried_again() {
    let between = Between::start(&[]);
    let (mut client, server, _) = between.exchange(GET);
    drop(server);
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert!(between.upstream.is_alone());
}

#[test]
fn slow_requests_are_ended() {
    let between = Between::start(&["--header-timeout", "100ms", "--body-timeout", "100ms"]);
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\nX-Sl",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo",
    ] {
        let mut client = between.client();
        client.send(request);
        let (answer, ending) = client.read_to_end();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert_eq!(ending, Ending::Closed);
    }
}

#[test]
fn a_head_may_be_large_but_not_endless() {
    let between = Between::start(&[]);
    let large = "x".repeat(60 << 10);
    let (_client, _server, head) =
        between.exchange(&format!("GET / HTTP/1.1\r\nHost: a\r\nA: {large}\r\n\r\n"));
    assert!(head.contains(&large));
    let mut client = between.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nA: {large}{large}"));
    let (answer, _) = client.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(
        answer.contains("x-reenact-error: head_too_large\r\n"),
        "{answer}"
    );
}

#[test]
fn what_is_not_http_is_refused_and_never_forwarded() {
    let between = Between::start(&[]);
    for bytes in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nBad Header: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nab",
    ] {
        let mut client = between.client();
        client.send(bytes);
        let (answer, _) = client.read_to_end();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{answer}"
        );
    }
    assert!(between.upstream.is_alone());
}
