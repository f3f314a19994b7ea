//! What asks for more memory than there is: enormous and endless bodies, many open exchanges, and bodies of a few bytes that
//! would grow when they are read.

use std::io::{Read, Write};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::load::{Load, pour, read_answer, upstream};
use super::support::wire::{Upstream, Wire, metric};
use super::support::{RECORD, Server, http, skipped};
use super::{peak_mib, recording_resumes, settle};
use reenact::shape::{Exchange, Outcome, ShapeStatus};
use reenact::trace::Trace;

const MIB: u64 = 1 << 20;
const BOUND: [&str; 2] = ["--capture-memory", "16MiB"];
/// What a recorder of that bound takes at most in these tests, traffic included.
const MOST_MIB: u64 = 48;

fn exchanges(dir: &std::path::Path) -> Vec<Exchange> {
    let mut trace = Trace::open(&[dir.to_owned()]).unwrap();
    trace.exchanges().collect::<Result<_, _>>().unwrap()
}

fn peaks_below(recorder: &Server, most_mib: u64) {
    let peak = peak_mib(recorder.pid());
    eprintln!("peak {peak} of {most_mib} MiB");
    assert!(peak < most_mib, "{peak} MiB");
}

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const CHAT: &str =
    "POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 15\r\n\r\n{\"messages\":[]}";

#[test]
fn an_enormous_request_is_forwarded_whole_and_recorded_by_size() {
    let size = 600 * MIB;
    let upstream = Upstream::start();
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&upstream.url(), dir.path(), &BOUND);
    let mut client = Wire::connect(&recorder.url);
    client.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n"
    ));
    let writer = client.writer();
    let sender = std::thread::spawn(move || pour(writer, &[b'x'; 1 << 20], size));
    let mut server = upstream.accept();
    server.read_head();
    server.skip(size);
    assert_eq!(sender.join().unwrap(), size);
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    client.read_until("hi");
    peaks_below(&recorder, MOST_MIB);
    settle(recorder, dir.path(), 1);
    let recorded = &exchanges(dir.path())[0];
    assert_eq!(recorded.request.bytes, size);
    assert!(matches!(
        recorded.shape,
        ShapeStatus::TooLarge | ShapeStatus::Shed
    ));
}

#[test]
fn a_prompt_is_let_go_while_its_answer_is_awaited() {
    let upstream = Upstream::start();
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&upstream.url(), dir.path(), &BOUND);
    let admin = recorder.wait_for_url("admin on ");
    let content = "word ".repeat(200_000);
    let body = format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{content}\"}}]}}");
    let mut client = Wire::connect(&recorder.url);
    client.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let mut server = upstream.accept();
    server.read_head();
    server.skip(body.len() as u64);
    // Of a million bytes, the hashes of their blocks are left.
    let deadline = std::time::Instant::now() + super::support::PATIENCE;
    loop {
        let held = metric(&admin, "reenact_queue_bytes");
        if (100_000..300_000).contains(&held) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{held} bytes");
    }
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"choices\":[]}");
    client.read_until("[]}");
    settle(recorder, dir.path(), 1);
    let recorded = &exchanges(dir.path())[0];
    assert_eq!(recorded.shape, ShapeStatus::Known);
    assert_eq!(recorded.request.blocks.len(), (content.len() + 1) / 64);
}

#[test]
fn an_event_of_a_gibibyte_is_forwarded_and_counted_as_one() {
    let size = 1024 * MIB;
    let upstream = Upstream::start();
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&upstream.url(), dir.path(), &BOUND);
    let mut client = Wire::connect(&recorder.url);
    client.send(CHAT);
    let mut server = upstream.accept();
    server.read_head();
    server.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n");
    let end = "\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n";
    let length = 6 + size + end.len() as u64;
    server.send(format!("Content-Length: {length}\r\n\r\ndata: "));
    let writer = server.writer();
    let sender = std::thread::spawn(move || {
        pour(writer.try_clone().unwrap(), &[b'x'; 1 << 20], size);
        (&writer).write_all(end.as_bytes()).unwrap();
    });
    client.read_head();
    client.skip(length);
    sender.join().unwrap();
    peaks_below(&recorder, MOST_MIB);
    settle(recorder, dir.path(), 1);
    let recorded = &exchanges(dir.path())[0];
    let response = &recorded.response;
    assert_eq!(response.bytes, length);
    // An observer that falls behind lets the rest go.
    if recorded.shape != ShapeStatus::Shed {
        assert_eq!((response.events, response.token_events), (3, 1));
    }
}

#[test]
fn an_answer_without_end_takes_no_more_than_others() {
    let upstream = Upstream::start();
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&upstream.url(), dir.path(), &BOUND);
    for head in [
        STREAM,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let mut client = Wire::connect(&recorder.url);
        client.send(CHAT);
        let mut server = upstream.accept();
        server.read_head();
        server.send(head);
        let event = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n".repeat(1000);
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        let writer = server.writer();
        let sender = std::thread::spawn(move || pour(writer, chunk.as_bytes(), u64::MAX));
        client.read_head();
        // A chunk's own bytes are none of the body.
        client.skip(301 * MIB);
        drop(client);
        // The upstream learns that its client is gone.
        assert!(sender.join().unwrap() > 300 * MIB);
    }
    peaks_below(&recorder, MOST_MIB);
    settle(recorder, dir.path(), 2);
    let recorded = exchanges(dir.path());
    for exchange in &recorded {
        assert!(exchange.response.bytes > 300 * MIB);
        assert!(matches!(exchange.outcome, Outcome::ClientCancelled { .. }));
    }
    assert_ne!(recorded[1].shape, ShapeStatus::Known);
}

#[test]
fn a_thousand_open_events_stay_within_the_bound() {
    open_events_stay_within_the_bound(1000);
}

#[test]
#[ignore = "takes a minute; the small one beside it runs always"]
fn ten_thousand_open_events_stay_within_the_bound() {
    let room = open_files(24_000).saturating_sub(200) / 2;
    if room < 9_000 {
        return skipped(
            "each stream takes two open files of this process; raise `ulimit -Hn` to 24000",
        );
    }
    open_events_stay_within_the_bound(room.min(10_000));
}

/// Raises the limit on open files to `wanted`, or as near to it as it goes, and says where it is.
fn open_files(wanted: u64) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(wanted).min(wanted);
    for (current, maximum) in [(wanted, wanted), (most, limit.maximum.unwrap_or(wanted))] {
        let raised = Rlimit {
            current: Some(current),
            maximum: Some(maximum.max(most)),
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            return usize::try_from(current).unwrap();
        }
    }
    0
}

fn open_events_stay_within_the_bound(open: usize) {
    let dir = tempfile::tempdir().unwrap();
    let forwarding = hold_open(open, &["--no-record"], |_, peak| peak);
    let (recording, queued) = hold_open(
        open,
        &[&BOUND[..], &["--trace-dir", dir.path().to_str().unwrap()]].concat(),
        |admin, peak| (peak, metric(admin, "reenact_queue_bytes")),
    );
    eprintln!(
        "{open} open: {recording} MiB, {forwarding} MiB without recording; {queued} bytes queued"
    );
    assert!(queued <= 16 * MIB, "{queued} bytes");
    // Beside the bound: the encoder, and read buffers of the traffic path, by which two runs differ. Without a bound it would be
    // 250 for each thousand.
    assert!(
        recording < forwarding + 72,
        "{recording} MiB, and {forwarding} MiB without recording"
    );
    let shed = exchanges(dir.path())
        .iter()
        .filter(|exchange| exchange.shape == ShapeStatus::Shed)
        .count() as u64;
    let totals = Trace::open(&[dir.path().to_owned()]).unwrap().totals();
    eprintln!("{shed} shed; {totals:?}");
    assert_eq!(totals.seen, open as u64);
    assert_eq!(totals.seen, totals.recorded + totals.lost());
    // Bodies go first, and exchanges where there are more than the bound has room for without their bodies.
    assert!(shed + totals.lost() > open as u64 / 2 && shed > 0);
    assert!(totals.dropped.keys().all(|reason| reason == "memory"));
}

/// Opens streams, each a quarter of a mebibyte into an event that does not end: 250 MiB for a thousand, were nobody to count.
/// Looks at the recorder then, and lets the streams end.
fn hold_open<T>(streams: usize, args: &[&str], look: impl FnOnce(&str, u64) -> T) -> T {
    let upstream = Upstream::start();
    let url = upstream.url();
    let mut recorder = Server::start([&RECORD[..], &["--upstream", &url], args].concat());
    let part = vec![b'x'; 64 << 10];
    let mut open = Vec::new();
    for _ in 0..streams {
        let mut client = Wire::connect(&recorder.url);
        client.send(CHAT);
        let mut server = upstream.accept();
        server.read_head();
        server.send(format!("{STREAM}40006\r\ndata: "));
        for _ in 0..4 {
            server.send(&part);
            client.skip(part.len() as u64);
        }
        open.push((client, server));
    }
    let admin = recorder.wait_for_url("admin on ");
    let seen = look(&admin, peak_mib(recorder.pid()));
    for (mut client, mut server) in open {
        server.send("\r\n0\r\n\r\n");
        client.read_until("\r\n0\r\n\r\n");
    }
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    assert!(!log.contains("unaccounted"), "{log}");
    seen
}

/// What a gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Hardly smaller than the text is.
fn gzipped(text: &str) -> Vec<u8> {
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    coder.write_all(text.as_bytes()).unwrap();
    coder.finish().unwrap()
}

#[test]
fn bodies_that_would_grow_when_read_stay_within_the_bound() {
    let size = 3 << 20;
    let flood = |item: &str| item.repeat(size / item.len());
    let listed = |item: &str| flood(item).trim_end_matches(',').to_owned();
    let chat =
        |content: &str| format!("{{\"messages\":[{{\"role\":\"user\",\"content\":{content}}}]}}");
    let (chats, completions, messages) =
        ("/v1/chat/completions", "/v1/completions", "/v1/messages");
    let roles = format!("{{\"messages\":[{}]}}", listed("{\"role\":\"\"},"));
    let prompt = |items: &str| format!("{{\"prompt\":[{}]}}", listed(items));
    let many_ids = format!("[{}],", ["1"; 129].join(","));
    use ShapeStatus::{TooLarge, Unparsable};
    // The body is read; the answer's lists are too many.
    let read = Unparsable;
    let bodies = [
        (chats, chat(&flood("[")), Unparsable),
        (chats, chat(&flood("{\"text\":")), Unparsable),
        (chats, chat(&format!("[{}]", listed("{},"))), TooLarge),
        (
            chats,
            chat(&format!("[{}]", listed("{\"file\":{}},"))),
            TooLarge,
        ),
        (chats, chat(&format!("\"{}\"", flood("\\n"))), read),
        (chats, roles.clone(), TooLarge),
        (
            chats,
            format!("{{\"messages\":[],\"tools\":[{}]}}", listed("1,")),
            TooLarge,
        ),
        (
            chats,
            format!("{{\"messages\":[],\"a\":{}", flood("[")),
            Unparsable,
        ),
        (
            chats,
            format!(
                "{{\"messages\":[{{\"role\":\"user\",\"tool_calls\":[{}]}}]}}",
                listed("{},")
            ),
            TooLarge,
        ),
        (
            chats,
            format!("{{\"messages\":[],\"model\":\"{}\"}}", flood("m")),
            read,
        ),
        (completions, prompt("\"\","), TooLarge),
        (completions, prompt("[1],"), TooLarge),
        (completions, prompt(&many_ids), TooLarge),
        (completions, prompt("1,"), read),
        (messages, chat(&format!("[{}]", listed("{},"))), TooLarge),
        (messages, chat(&flood("[{\"content\":")), Unparsable),
        (messages, roles, TooLarge),
    ];
    let coded = [
        (
            chats,
            gzipped(&chat(&format!("\"{}\"", flood("\\n")))),
            read,
        ),
        (completions, gzipped(&prompt("1,")), read),
    ];
    let plain = |(path, body, shape): (_, String, _)| (path, body.into_bytes(), shape);
    let bodies: Vec<_> = bodies.into_iter().map(plain).chain(coded).collect();
    // The answers of this server are floods, too.
    let floods = [
        format!("{{\"choices\":[{}]}}", listed("{},")),
        format!("{{\"content\":[{}]}}", listed("{},")),
    ];
    let (url, _server) = http::upstream(move |mut stream| {
        while let Some(request) = http::read_request(&mut stream) {
            let answer = &floods[usize::from(request.starts_with(b"POST /v1/messages"))];
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            if stream.write_all((head + answer).as_bytes()).is_err() {
                return;
            }
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&url, dir.path(), &["--capture-memory", "32MiB"]);
    let admin = recorder.wait_for_url("admin on ");
    let mut client = Wire::connect(&recorder.url);
    let mut ask = |number: usize| {
        let (path, body, _) = &bodies[number];
        let coding = match body.starts_with(&GZIP) {
            true => "Content-Encoding: gzip\r\n",
            false => "",
        };
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: t\r\n{coding}Content-Length: {}\r\n\r\n",
            body.len()
        ));
        client.send(body);
        let (head, answer) = read_answer(&mut client);
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{number}: {head}");
        assert!(answer.ends_with("{}]}"), "{number}");
    };
    // One by one, so that each is read; then as fast as they go, so that some are let go.
    for number in 0..bodies.len() {
        ask(number);
        let deadline = std::time::Instant::now() + super::support::PATIENCE;
        while metric(&admin, "reenact_queue_bytes") > MIB {
            assert!(std::time::Instant::now() < deadline, "{number} is not read");
        }
    }
    (0..bodies.len()).for_each(ask);
    // Without a bound on what lists hold it would be gigabytes.
    peaks_below(&recorder, 96);
    let made = 2 * bodies.len();
    let totals = settle(recorder, dir.path(), made as u64);
    assert_eq!(totals.recorded, made as u64);
    let shapes: Vec<ShapeStatus> = exchanges(dir.path()).iter().map(|it| it.shape).collect();
    let wanted: Vec<ShapeStatus> = bodies.iter().map(|(_, _, shape)| *shape).collect();
    assert_eq!(shapes[..bodies.len()], wanted);
}

#[test]
fn recording_goes_on_after_a_body_that_broke_off() {
    let upstream = upstream();
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&upstream, dir.path(), &BOUND);
    let admin = recorder.wait_for_url("admin on ");
    let load = Load::start(&recorder.url, 2, 2000);
    for _ in 0..20 {
        let mut stream = http::connect(&recorder.url);
        stream
            .write_all(b"POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999\r\n\r\n{\"messages\":")
            .unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    recording_resumes(&admin);
    let (made, took) = load.finish();
    super::in_time(&took);
    settle(recorder, dir.path(), made + 20);
}
