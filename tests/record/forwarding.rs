//! What neighbours are told of each other: PROXY headers, forwarded headers; and how many clients there may be.

use std::io::Write;
use std::process::Command;

use super::echo::{self, CLOSE, ask, ask_again, connect};
use super::support::Server;
use super::support::wire::{Ending, Upstream, Wire, metric_reaches};
use super::{Between, FORWARDER, GET, LISTEN};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

fn before_echo(args: &[&str]) -> Server {
    let upstream = format!("http://{}", echo::on_tcp());
    Server::start([FORWARDER, LISTEN, &["--upstream", &upstream], args].concat())
}

#[test]
fn forwarded_headers_are_left_alone_unless_asked_for() {
    let came = "GET / HTTP/1.1\r\nHost: model.test\r\nX-Forwarded-For: 192.0.2.9\r\nforwarded: for=192.0.2.9\r\nConnection: close\r\n\r\n";
    let seen = |args: &[&str], request: &str| {
        let recorder = before_echo(args);
        let answer = ask(connect(&recorder.url[7..]), request);
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let off = seen(&[], came);
    assert!(off.contains("X-Forwarded-For: 192.0.2.9\r\n"), "{off}");
    assert!(!off.to_lowercase().contains("x-forwarded-proto"), "{off}");
    let plain = seen(&[], CLOSE);
    assert!(!plain.to_lowercase().contains("forwarded"), "{plain}");

    let append = seen(&["--forwarded", "append"], came).to_lowercase();
    for line in [
        "x-forwarded-for: 192.0.2.9, 127.0.0.1\r\n",
        "x-forwarded-proto: http\r\n",
        "x-forwarded-host: model.test\r\n",
        "forwarded: for=192.0.2.9, for=127.0.0.1;proto=http;host=\"model.test\"\r\n",
    ] {
        assert!(append.contains(line), "no {line} in {append}");
    }
    let replace = seen(&["--forwarded", "replace"], came).to_lowercase();
    assert!(
        replace.contains("x-forwarded-for: 127.0.0.1\r\n"),
        "{replace}"
    );
    assert!(!replace.contains("192.0.2.9"), "{replace}");
}

#[test]
fn a_proxy_header_says_who_the_client_is() {
    let mut recorder = before_echo(&["--proxy-protocol-in", "--forwarded", "replace"]);
    let admin = recorder.wait_for_url("admin on ");
    let v2 = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
        &[198, 51, 100, 2, 192, 0, 2, 1, 0, 5, 0, 80],
    ]
    .concat();
    for (header, client) in [
        (
            &b"PROXY TCP4 198.51.100.1 192.0.2.1 5 80\r\n"[..],
            "198.51.100.1",
        ),
        (&v2, "198.51.100.2"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ] {
        let mut stream = connect(&recorder.url[7..]);
        stream.write_all(header).unwrap();
        let answer = ask_again(&mut stream, GET);
        assert!(
            answer.contains(&format!("x-forwarded-for: {client}\r\n")),
            "{answer}"
        );
        // It belongs to the connection, not to the request.
        let answer = ask_again(&mut stream, GET);
        assert!(
            answer.contains(&format!("x-forwarded-for: {client}\r\n")),
            "{answer}"
        );
    }
    assert_eq!(ask(connect(&recorder.url[7..]), CLOSE), "");
    metric_reaches(
        &admin,
        "reenact_connections_refused_total{reason=\"proxy_protocol\"}",
        1,
    );
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    assert!(!log.contains("198.51.100"), "no client's address in a log");
}

#[test]
fn upstream_connections_with_a_proxy_header_belong_to_one_client() {
    let between = Between::start(&["--threads", "1", "--proxy-protocol-out", "v1"]);
    let port = between.recorder.url.rsplit_once(':').unwrap().1.to_owned();
    let serve = |server: &mut Wire, client: &mut Wire| {
        server.read_head();
        server.send(OK);
        client.read_until("hi");
    };
    let mut first = between.client();
    first.send(GET);
    let mut server = between.upstream.accept();
    let header = server.read_until("\r\n");
    let header: Vec<_> = header.split_whitespace().collect();
    assert_eq!(header[..4], ["PROXY", "TCP4", "127.0.0.1", "127.0.0.1"]);
    assert_eq!(header[5], port);
    serve(&mut server, &mut first);
    // Its own client uses it again; another does not, idle as it is.
    first.send(GET);
    serve(&mut server, &mut first);
    let mut second = between.client();
    second.send(GET);
    let mut other = between.upstream.accept();
    assert!(other.read_until("\r\n").starts_with("PROXY TCP4 "));
    serve(&mut other, &mut second);
    // It goes when its client goes.
    drop(first);
    assert_eq!(server.read_to_end(), (String::new(), Ending::Closed));
}

#[test]
fn version_2_is_sent_as_it_is_specified() {
    let upstream = Upstream::start();
    let args = ["--proxy-protocol-out", "v2", "--proxy-protocol-in"];
    let to = ["--upstream", &upstream.url()];
    let recorder = Server::start([FORWARDER, LISTEN, &to, &args].concat());
    let mut client = Wire::connect(&recorder.url);
    client.send(format!(
        "PROXY TCP6 2001:db8::1 2001:db8::2 65535 80\r\n{GET}"
    ));
    let header = upstream.accept().read_bytes(16 + 36);
    assert_eq!(header[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24");
    assert_eq!(header[16..20], [0x20, 0x01, 0x0d, 0xb8]);
    assert_eq!(header[31], 1);
    assert_eq!(header[47], 2);
    assert_eq!(header[48..], [0xff, 0xff, 0, 80]);
}

#[test]
fn clients_that_open_files_have_no_room_for_are_told_so() {
    let upstream = format!("http://{}", echo::on_tcp());
    let mut command = Command::new("bash");
    command
        .args(["-c", "ulimit -n 76; exec \"$@\"", "bash"])
        .arg(env!("CARGO_BIN_EXE_reenact"))
        .args([FORWARDER, LISTEN, &["--threads", "1"]].concat())
        .args(["--upstream", &upstream])
        .env("NO_COLOR", "1");
    let mut recorder = Server::launch(&mut command);
    recorder.wait_for("room=2");
    recorder.wait_for("has room for fewer clients");
    let mut clients = [0; 2].map(|_| connect(&recorder.url[7..]));
    for client in &mut clients {
        ask_again(client, GET);
    }
    let answer = ask(connect(&recorder.url[7..]), CLOSE);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    for client in &mut clients {
        ask_again(client, GET);
    }
}

#[test]
fn one_client_too_many_is_told_so() {
    let mut recorder = before_echo(&["--max-connections", "1"]);
    let admin = recorder.wait_for_url("admin on ");
    let mut first = connect(&recorder.url[7..]);
    ask_again(&mut first, GET);
    let answer = ask(connect(&recorder.url[7..]), CLOSE);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("x-reenact-error: too_many_connections\r\n"),
        "{answer}"
    );
    metric_reaches(
        &admin,
        "reenact_connections_refused_total{reason=\"max_connections\"}",
        1,
    );
    // The first is untouched, and its place can be taken once it is gone.
    ask_again(&mut first, GET);
    drop(first);
    while ask(connect(&recorder.url[7..]), CLOSE).starts_with("HTTP/1.1 503 ") {
        std::thread::yield_now();
    }
}
