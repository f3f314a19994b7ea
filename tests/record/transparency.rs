//! What passes, passes as it came.

use super::support::wire::{Ending, Wire};
use super::{Between, GET, OK};

#[test]
fn events_arrive_one_by_one() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) = between
        .exchange("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}");
    server.read_exact(2);
    server.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    client.read_head();
    for event in 0..5 {
        // The next event is sent only when this one has been read: nothing on the way may wait for more.
        server.send(format!("9\r\ndata: {event}\n\n\r\n"));
        assert_eq!(
            client.read_until("\n\n\r\n"),
            format!("9\r\ndata: {event}\n\n\r\n")
        );
    }
    server.send("0\r\n\r\n");
    client.read_until("0\r\n\r\n");
}

#[test]
fn a_burst_of_events_keeps_its_bytes_and_its_order() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) = between.exchange(GET);
    let mut body = String::new();
    for event in 0..1000 {
        let text = format!("data: {event}\n\n");
        body += &format!("{:X}\r\n{text}\r\n", text.len());
    }
    server.send(format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}0\r\n\r\n"
    ));
    client.read_head();
    assert_eq!(client.read_until("0\r\n\r\n"), format!("{body}0\r\n\r\n"));
}

#[test]
fn a_request_body_streams_before_it_is_whole() {
    let between = Between::start(&[]);
    let (mut client, mut server, head) = between
        .exchange("POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    assert!(head.contains("Content-Length: 10\r\n"), "{head}");
    assert_eq!(server.read_exact(5), "hello");
    client.send("world");
    assert_eq!(server.read_exact(5), "world");
    server.send(OK);
    client.read_until("hi");
}

#[test]
fn a_chunked_request_stays_chunked_with_its_trailers() {
    let between = Between::start(&[]);
    let (mut client, mut server, head) = between.exchange(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n",
    );
    assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
    assert_eq!(server.read_exact(8), "3\r\nabc\r\n");
    client.send("0\r\nX-Sum: 7\r\n\r\n");
    let end = server.read_until("\r\n\r\n");
    assert_eq!(end.to_lowercase(), "0\r\nx-sum: 7\r\n\r\n");
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Took\r\n\r\n2\r\nhi\r\n0\r\nX-Took: 1\r\n\r\n");
    client.read_head();
    assert!(client.read_until("0\r\n").starts_with("2\r\nhi\r\n"));
}

#[test]
fn response_trailers_reach_a_client_that_takes_them() {
    let between = Between::start(&[]);
    let (mut client, mut server, head) =
        between.exchange("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    assert!(head.to_lowercase().contains("te: trailers\r\n"), "{head}");
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Took\r\n\r\n2\r\nhi\r\n0\r\nX-Took: 1\r\n\r\n");
    client.read_head();
    let body = client.read_until("\r\n\r\n");
    assert_eq!(body.to_lowercase(), "2\r\nhi\r\n0\r\nx-took: 1\r\n\r\n");
}

#[test]
fn header_case_order_and_repeats_are_kept_both_ways() {
    let between = Between::start(&[]);
    let (mut client, mut server, head) = between.exchange(
        "GET /a?b HTTP/1.1\r\nHOST: a\r\nX-One: 1\r\nConnection: keep-alive\r\nx-two: 2\r\nX-two: 3\r\nAccept: */*\r\n\r\n",
    );
    assert_eq!(
        head,
        "GET /a?b HTTP/1.1\r\nHOST: a\r\nX-One: 1\r\nx-two: 2\r\nX-two: 3\r\nAccept: */*\r\n\r\n"
    );
    let answer = "HTTP/1.1 299 Quite Fine\r\nX-B: 1\r\nSET-Cookie: a=1\r\nSet-cookie: b=2\r\nContent-Length: 2\r\nX-Accel-Buffering: no\r\n\r\n";
    server.send(format!("{answer}hi"));
    assert_eq!(client.read_head(), answer);
    assert_eq!(client.read_exact(2), "hi");
}

#[test]
fn path_and_query_pass_byte_for_byte() {
    let target = "/v1//x/../%7euser;p=1/?q=%20+%2B&&a=b?c=d&%c3%a4'!$()*,:@/";
    let between = Between::start(&[]);
    let (_client, _server, head) =
        between.exchange(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(head, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
}

#[test]
fn hop_by_hop_headers_stay_on_their_hop() {
    let between = Between::start(&[]);
    let (mut client, mut server, head) = between.exchange(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 3\r\nProxy-Connection: x\r\nTE: deflate\r\nB: 2\r\n\r\n",
    );
    assert_eq!(head, "GET / HTTP/1.1\r\nHost: a\r\nB: 2\r\n\r\n");
    server.send("HTTP/1.1 200 OK\r\nConnection: close, X-Back\r\nX-Back: 1\r\nKeep-Alive: 9\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        client.read_head(),
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn both_sides_keep_their_connections() {
    // Each thread keeps upstream connections of its own.
    let between = Between::start(&["--threads", "1"]);
    let mut client = between.client();
    client.send(GET);
    let mut server = between.upstream.accept();
    for _ in 0..3 {
        server.read_head();
        server.send(OK);
        client.read_until("hi");
        client.send(GET);
    }
    server.read_head();
    server.send(OK);
    client.read_until("hi");
    let mut other = between.client();
    other.send(GET);
    server.read_head();
    server.send(OK);
    other.read_until("hi");
    assert!(
        between.upstream.is_alone(),
        "one upstream connection served all"
    );
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let between = Between::start(&[]);
    let mut client = between.client();
    client.send(format!("{GET}{GET}"));
    let mut server = between.upstream.accept();
    server.read_head();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
    server.read_head();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
    assert!(client.read_until("\r\n\r\n1").starts_with("HTTP/1.1 200"));
    assert!(client.read_until("\r\n\r\n2").starts_with("HTTP/1.1 200"));
}

#[test]
fn answers_without_a_body_keep_their_headers() {
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: x\r\n\r\n",
        ),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let between = Between::start(&["--threads", "1"]);
        let mut client = between.client();
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.send(&request);
        let mut server = between.upstream.accept();
        server.read_head();
        server.send(answer);
        assert_eq!(client.read_head(), answer);
        // Neither side was left waiting for a body.
        client.send(&request);
        server.read_head();
        server.send(answer);
        assert_eq!(client.read_head(), answer);
    }
}

#[test]
fn an_old_client_gets_an_answer_that_it_can_read() {
    let between = Between::start(&[]);
    let (mut client, mut server, head) = between.exchange("GET /x HTTP/1.0\r\nA: b\r\n\r\n");
    assert!(head.starts_with("GET /x HTTP/1.1\r\nA: b\r\n"), "{head}");
    assert!(
        head.to_lowercase().contains("\r\nhost: 127.0.0.1:"),
        "{head}"
    );
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    let (answer, ending) = client.read_to_end();
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
    assert_eq!(ending, Ending::Closed);
}

#[test]
fn an_answer_that_ends_with_its_connection_is_passed_on_whole() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) = between.exchange(GET);
    server.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it");
    drop(server);
    assert_eq!(
        client.read_head(),
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(
        client.read_to_end(),
        ("all of it".to_owned(), Ending::Closed)
    );
}

#[test]
fn repeats_of_a_header_stay_where_they_stood() {
    let between = Between::start(&[]);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-b: 2\r\nx-A: 3\r\nX-B:4\r\n\r\n";
    let (mut client, mut server, head) = between.exchange(request);
    assert_eq!(head, request);
    let answer =
        "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nB: 1\r\nset-cookie: b\r\nContent-Length: 0\r\n\r\n";
    server.send(answer);
    assert_eq!(client.read_head(), answer);
}

#[test]
fn chunks_keep_their_digits_and_their_extensions() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) = between.exchange(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0A;x=y\r\n0123456789\r\n0\r\n\r\n",
    );
    let body = "0A;x=y\r\n0123456789\r\n0\r\n\r\n";
    assert_eq!(server.read_until("0\r\n\r\n"), body);
    server.send(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
    ));
    client.read_head();
    assert_eq!(client.read_until("0\r\n\r\n"), body);
}

#[test]
fn interim_answers_pass() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) = between.exchange(GET);
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
    server.send(hints);
    // Passed on before anything else comes.
    assert_eq!(client.read_head(), hints);
    let processing = "HTTP/1.1 102 Processing\r\n\r\n";
    server.send(format!("{processing}{hints}{OK}"));
    assert_eq!(client.read_head(), processing);
    assert_eq!(client.read_head(), hints);
    client.read_until("hi");
}

#[test]
fn an_upgraded_connection_carries_any_bytes_both_ways() {
    let between = Between::start(&[]);
    let (mut client, mut server, head) = between.exchange(
        "GET /v1/realtime HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n",
    );
    assert!(head.contains("Upgrade: websocket\r\n") && head.contains("Connection: Upgrade\r\n"));
    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    server.send(format!("{switching}\x01first"));
    assert_eq!(client.read_head(), switching);
    assert_eq!(client.read_exact(6), "\x01first");
    client.send("\x00GET / HTTP/1.1\n\n");
    assert_eq!(server.read_exact(17), "\x00GET / HTTP/1.1\n\n");
    server.send("\r\n0\r\n");
    assert_eq!(client.read_exact(5), "\r\n0\r\n");
    client.finish();
    assert_eq!(server.read_to_end().1, Ending::Closed);
    server.send("last");
    drop(server);
    assert_eq!(client.read_to_end(), ("last".to_owned(), Ending::Closed));
    let recorded = between.finish();
    assert_eq!(recorded[0].response.status, 101);
    assert_eq!(recorded[0].request.bytes, 17);
    assert_eq!(recorded[0].response.bytes, 15);
}

#[test]
fn nothing_is_tunnelled_before_a_101() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) = between.exchange(
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    server.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    assert!(client.read_head().starts_with("HTTP/1.1 403 "));
    // What followed is a request of its own, read as one.
    assert!(server.read_head().starts_with("GET /smuggled "));
    // And a 101 that nobody asked for is no answer.
    server.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n");
    assert!(client.read_head().starts_with("HTTP/1.1 502 "));
}

#[test]
fn a_half_closed_client_still_gets_its_answer() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) = between.exchange(GET);
    client.finish();
    assert_eq!(server.read_to_end(), (String::new(), Ending::Closed));
    server.send(OK);
    assert!(client.read_to_end().0.ends_with("\r\n\r\nhi"));
}

#[test]
fn an_old_client_that_asks_for_it_keeps_its_connection() {
    let between = Between::start(&["--threads", "1"]);
    let request = "GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n";
    let (mut client, mut server, _) = between.exchange(request);
    for _ in 0..2 {
        server.send(OK);
        assert!(
            client
                .read_head()
                .contains("\r\nConnection: keep-alive\r\n")
        );
        client.read_exact(2);
        client.send(request);
        server.read_head();
    }
}

#[test]
fn an_absolute_target_names_the_host() {
    let between = Between::start(&[]);
    let (_client, _server, head) =
        between.exchange("GET http://model.test:1/v1?q HTTP/1.1\r\nHost: other\r\nA: b\r\n\r\n");
    assert_eq!(
        head,
        "GET /v1?q HTTP/1.1\r\nHost: model.test:1\r\nA: b\r\n\r\n"
    );
}

#[test]
fn an_expectation_is_met_by_the_upstream() {
    let between = Between::start(&[]);
    let (mut client, mut server, head) = between.exchange(
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    );
    assert!(head.contains("Expect: 100-continue\r\n"), "{head}");
    server.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.read_head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    assert_eq!(server.read_exact(4), "body");
    server.send(OK);
    client.read_until("hi");
}

#[test]
fn an_expectation_can_be_refused_without_the_body() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) = between.exchange(
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    );
    server.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
}

#[test]
fn an_early_answer_is_passed_on_before_the_request_is_whole() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) =
        between.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome");
    server.read_exact(4);
    server.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
    assert!(client.read_head().starts_with("HTTP/1.1 401"));
    assert_eq!(client.read_exact(2), "no");
}

#[test]
fn large_bodies_pass_both_ways_in_bounded_memory() {
    const BYTES: u64 = 100 << 20;
    let between = Between::start(&["--capture-memory", "8MiB", "--max-body", "1MiB"]);
    let (mut client, mut server, _) = between.exchange(&format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {BYTES}\r\n\r\n"
    ));
    let pump = |wire: &Wire| {
        let mut writer = wire.writer();
        std::thread::spawn(move || {
            let piece = vec![b'x'; 1 << 20];
            for _ in 0..BYTES >> 20 {
                std::io::Write::write_all(&mut writer, &piece).unwrap();
            }
        })
    };
    let up = pump(&client);
    server.skip(BYTES);
    up.join().unwrap();
    server.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"
    ));
    let down = pump(&server);
    client.read_head();
    client.skip(BYTES);
    down.join().unwrap();
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", between.recorder.pid())).unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let peak_kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak_kib < 64 << 10, "{peak}");
    let recorded = between.finish();
    assert_eq!(recorded[0].request.bytes, BYTES);
    assert_eq!(recorded[0].response.bytes, BYTES);
}
