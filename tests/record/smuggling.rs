//! What two parsers could read differently is refused, with its reason, and not a byte of it reaches the upstream.
//! The table is docs/http.md's.

use reenact::shape::Outcome;

use super::Between;
use super::support::wire::{Ending, metric};

const POST: &str = "POST /v1/completions HTTP/1.1\r\nHost: a\r\n";

#[test]
fn a_request_that_can_be_read_in_two_ways_is_refused() {
    // Whatever the upstream speaks, the client is read by the same rules.
    for upstream in ["auto", "http2"] {
        refuses_all(Between::start(&["--upstream-protocol", upstream]));
    }
}

fn refuses_all(mut between: Between) {
    let heads = [
        (
            "both_lengths",
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        ),
        (
            "both_lengths",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        ),
        (
            "content_length",
            "Content-Length: 4\r\nContent-Length: 5\r\n",
        ),
        (
            "content_length",
            "Content-Length: 4\r\nContent-Length: 4\r\n",
        ),
        ("content_length", "Content-Length: 4, 4\r\n"),
        ("content_length", "Content-Length: +4\r\n"),
        ("content_length", "Content-Length: -4\r\n"),
        ("content_length", "Content-Length: 0x4\r\n"),
        ("content_length", "Content-Length: 4 4\r\n"),
        ("content_length", "Content-Length:\r\n"),
        ("content_length", "Content-Length: 18446744073709551616\r\n"),
        ("transfer_encoding", "Transfer-Encoding: xchunked\r\n"),
        ("transfer_encoding", "Transfer-Encoding: gzip, chunked\r\n"),
        (
            "transfer_encoding",
            "Transfer-Encoding: chunked, identity\r\n",
        ),
        (
            "transfer_encoding",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ),
        (
            "transfer_encoding",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        ),
        ("transfer_encoding", "Transfer-Encoding: \"chunked\"\r\n"),
        ("transfer_encoding", "Transfer-Encoding: chunked;q=0\r\n"),
        ("transfer_encoding", "Transfer-Encoding:\r\n"),
        ("field_value", "Transfer-Encoding: \x0bchunked\r\n"),
        ("field_name", "Transfer-Encoding : chunked\r\n"),
        ("field_name", "Transfer Encoding: chunked\r\n"),
        ("field_name", "X\x00: chunked\r\n"),
        ("field_name", ": chunked\r\n"),
        ("field_name", "no colon\r\n"),
        ("folded_line", "X: a\r\n Transfer-Encoding: chunked\r\n"),
        ("folded_line", "X: a\r\n\tb\r\n"),
        ("field_value", "X: a\x00b\r\n"),
        ("field_value", "X: a\rb\r\n"),
        ("bare_line_feed", "X: a\nTransfer-Encoding: chunked\r\n"),
        ("bare_line_feed", "\n"),
        ("host", "Host: b\r\n"),
    ];
    let mut refused = 0;
    for (reason, fields) in heads {
        refuses(
            &between,
            &format!("{POST}{fields}\r\n0\r\n\r\n"),
            400,
            reason,
        );
        refused += 1;
    }
    let whole = [
        (400, "first_line", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "first_line", " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "first_line", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        (400, "first_line", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "first_line", "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "first_line", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "first_line", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "first_line", "GET x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            400,
            "first_line",
            "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (400, "first_line", "GET /\r\n\r\n"),
        (400, "first_line", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "first_line", "GET / HTTP/1.1x\r\nHost: a\r\n\r\n"),
        (400, "bare_line_feed", "GET / HTTP/1.1\nHost: a\n\n"),
        (400, "host", "GET / HTTP/1.1\r\nX: y\r\n\r\n"),
        (400, "host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (400, "host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
        (400, "host", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            400,
            "transfer_encoding",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (505, "version", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        (505, "version", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ];
    for (status, reason, bytes) in whole {
        refuses(&between, bytes, status, reason);
        refused += 1;
    }
    // A body that is wrong in the bytes that came with its head never left.
    let chunks = [
        ("chunk", "0x4\r\nbody\r\n0\r\n\r\n"),
        ("chunk", " 4\r\nbody\r\n0\r\n\r\n"),
        ("chunk", "4 \r\nbody\r\n0\r\n\r\n"),
        ("chunk", "+4\r\nbody\r\n0\r\n\r\n"),
        ("chunk", "4\nbody\r\n0\r\n\r\n"),
        ("chunk", "4\r\nbody0\r\n\r\n"),
        ("chunk", "4;x\ny\r\nbody\r\n0\r\n\r\n"),
        ("chunk", "4;x\0\r\nbody\r\n0\r\n\r\n"),
        ("chunk", "FFFFFFFFFFFFFFFFF\r\n"),
        ("chunk", "\r\nbody\r\n0\r\n\r\n"),
        ("trailer", "0\r\nContent-Length: 5\r\n\r\n"),
        ("trailer", "0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("trailer", "0\r\nHost: b\r\n\r\n"),
        ("field_name", "0\r\nX : y\r\n\r\n"),
        ("bare_line_feed", "0\r\nX: y\n\r\n"),
    ];
    for (reason, body) in chunks {
        let request = format!("{POST}Transfer-Encoding: chunked\r\n\r\n{body}");
        refuses(&between, &request, 400, reason);
        refused += 1;
    }
    assert!(between.upstream.is_alone(), "not a byte was forwarded");
    let admin = between.recorder.wait_for_url("admin on ");
    let counted = metric(&admin, "reenact_malformed_requests_total");
    assert_eq!(counted, refused);
}

fn refuses(between: &Between, bytes: &str, status: u16, reason: &str) {
    let mut client = between.client();
    // A second request behind it must not be read either.
    client.send(format!("{bytes}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"));
    let (answer, ending) = client.read_to_end();
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{bytes:?}: {answer}"
    );
    assert!(
        answer.contains(&format!("x-reenact-error: {reason}\r\n")),
        "{bytes:?}: {answer}"
    );
    assert_eq!(
        answer.matches("HTTP/1.1 ").count(),
        1,
        "{bytes:?}: {answer}"
    );
    assert_eq!(ending, Ending::Closed, "{bytes:?}");
}

#[test]
fn a_body_that_turns_out_wrong_is_never_taken_for_whole() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) = between.exchange(&format!(
        "{POST}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n"
    ));
    assert_eq!(server.read_exact(9), "4\r\nbody\r\n");
    client.send("zz\r\n0\r\n\r\n");
    assert!(client.read_to_end().0.starts_with("HTTP/1.1 400 "));
    assert_eq!(server.read_to_end().0, "", "no last chunk");
    let recorded = between.finish();
    assert_eq!(recorded[0].response.status, 400);
    assert_eq!(recorded[0].outcome, Outcome::Rejected);
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_a_502() {
    let between = Between::start(&[]);
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n",
        "HTTP/1.1 200 OK\r\nX : a\r\n",
        "HTTP/1.1 200 OK\nX: a\r\n",
        "HTTP/1.1 200 O\x00K\r\n",
        "HTTP/1.1 20 OK\r\n",
        "HTTP/2 200\r\n",
    ] {
        let (mut client, mut server, _) = between.exchange(super::GET);
        server.send(format!("{head}\r\nhi"));
        let answer = client.read_head();
        assert!(answer.starts_with("HTTP/1.1 502 "), "{head:?}: {answer}");
    }
}
