//! Bad input of every kind gets a clear message with a hint and the documented exit code; it never panics or hangs.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Output;

use support::{RECORD, Server, http, reenact, run};

/// The command failed with `code`, said `word` on standard error with a hint, printed no result, and did not panic.
#[track_caller]
fn refused(output: &Output, code: i32, word: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(
        stderr.contains("error:") && stderr.contains("hint:"),
        "{stderr}"
    );
    assert!(stderr.contains(word), "expected {word:?} in: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(
        output.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// A small sound trace.
fn trace(dir: &Path) -> PathBuf {
    let path = dir.join("good.rt");
    let output = run([
        "import".as_ref(),
        "azure".as_ref(),
        fixture("demo/azure_8s.csv").as_os_str(),
        "-o".as_ref(),
        path.as_os_str(),
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    path
}

fn inspect(path: &Path) -> Output {
    run(["inspect".as_ref(), path.as_os_str()])
}

fn replay(trace: &Path, args: &[&str]) -> Output {
    reenact(["replay"]).arg(trace).args(args).output().unwrap()
}

#[test]
fn a_trace_that_is_none_is_named_with_its_fault() {
    let dir = tempfile::tempdir().unwrap();
    let good = std::fs::read(trace(dir.path())).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    refused(&inspect(&dir.path().join("missing.rt")), 1, "missing.rt");
    refused(&inspect(&write("empty.rt", b"")), 1, "empty.rt");
    refused(
        &inspect(&write("foreign.rt", b"{\"timestamp\": 27482}\n")),
        1,
        "foreign.rt",
    );
    refused(&inspect(&write("head.rt", &good[..10])), 1, "head.rt");
    let mut flipped = good.clone();
    flipped[0] ^= 1;
    refused(&inspect(&write("flipped.rt", &flipped)), 1, "flipped.rt");
    let nothing = dir.path().join("nothing");
    std::fs::create_dir(&nothing).unwrap();
    refused(&inspect(&nothing), 1, "nothing");
    let missing = dir.path().join("missing.rt");
    let out = dir.path().join("out");
    let to = ["--target", "http://127.0.0.1:9", "--out"];
    let to = [&to[..], &[out.to_str().unwrap()]].concat();
    refused(&replay(&missing, &to), 1, "missing.rt");
    assert!(!out.exists(), "a directory of results without results");
    // What was there stays.
    std::fs::create_dir(&out).unwrap();
    refused(&replay(&missing, &to), 1, "missing.rt");
    assert!(out.exists());
}

#[test]
fn a_damaged_trace_reads_as_far_as_it_is_sound_and_says_what_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let good = std::fs::read(trace(dir.path())).unwrap();
    let cut = dir.path().join("cut.rt");
    std::fs::write(&cut, &good[..good.len() - 3]).unwrap();
    let output = run(["inspect".as_ref(), "--json".as_ref(), cut.as_os_str()]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["damage"]["unfinished_files"], 1, "{seen:#}");
    assert_eq!(
        seen["exchanges"], 42,
        "the block before the cut is whole: {seen:#}"
    );

    // In the middle of the only block: nothing is left, and that is said, too.
    let mut flipped = good.clone();
    let middle = good.len() / 2;
    flipped[middle] ^= 0x40;
    let bad = dir.path().join("bad.rt");
    std::fs::write(&bad, &flipped).unwrap();
    let output = run(["inspect".as_ref(), "--json".as_ref(), bad.as_os_str()]);
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["damage"]["lost_exchanges"], 42, "{seen:#}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("1 block and") && stderr.contains("hint:"),
        "{stderr}"
    );
    refused(
        &replay(&bad, &["--target", "http://127.0.0.1:9"]),
        1,
        "42 exchanges are known to be lost",
    );
}

#[test]
fn a_target_that_does_not_serve_is_named_with_its_fault() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path());
    let at_once = ["--ready-timeout", "0s", "--target"];
    let (_held, closed) = http::refusing();
    let closed = format!("cand={closed}");
    let output = replay(&trace, &[&at_once[..], &[&closed]].concat());
    refused(&output, 1, "cand");

    let (resetting, _guard) = http::upstream(|stream| {
        // Closing with unread bytes sends a reset.
        drop(stream);
    });
    let resetting = format!("cand={resetting}");
    let output = replay(&trace, &[&at_once[..], &[&resetting]].concat());
    refused(&output, 1, "cand");

    let (foreign, _guard) = http::upstream(|mut stream| {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        let _ = stream.read(&mut [0; 1024]);
    });
    refused(
        &replay(&trace, &["--target", &format!("cand={foreign}")]),
        1,
        "cand",
    );

    let (hanging, _guard) = http::upstream(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let output = replay(
        &trace,
        &[
            "--target",
            &format!("cand={hanging}"),
            "--request-timeout",
            "300ms",
        ],
    );
    refused(&output, 1, "cand");
}

#[test]
fn wrong_words_on_the_command_line_end_in_2_with_the_right_ones() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path());
    let target = ["--target", "http://127.0.0.1:9"];
    for (args, word) in [
        (vec!["--slo", "tftt.p99<800ms"], "ttft"),
        (vec!["--slo", "ttft.p99<800parsecs"], "ms"),
        (vec!["--slo", "ttft.p99"], "ttft.p99<"),
        (vec!["--slo", "ttft.p99<+10%"], "first target"),
        (vec!["--speed", "0"], "speed"),
        (vec!["--speed", "fast"], "speed"),
        (vec!["--target", "ftp://127.0.0.1:9"], "http"),
        (vec!["--sped", "2"], "--speed"),
        (vec!["--from", "10s", "--to", "5s"], "--to"),
        (vec!["--read-rate", "64KiB"], "64KiB/s"),
        (vec!["--read-rate", "64KiB/s:7"], "5%"),
        (vec!["--read-rate", "10/s"], "1KiB/s"),
        (
            vec!["--read-rate", "64KiB/s:5%", "--connections", "4"],
            "without a share",
        ),
        (vec!["--readers", "slow"], "`fast`"),
        (
            vec!["--readers", "fast", "--read-rate", "64KiB/s"],
            "--read-rate",
        ),
        (
            vec!["--readers", "recorded", "--connections", "4"],
            "--connections",
        ),
    ] {
        let output = replay(&trace, &[&target[..], &args].concat());
        refused(&output, 2, word);
    }
    refused(&run(["replay"]), 2, "--target");
    refused(
        &run(["record", "--upstream", "127.0.0.1:8000", "--trace-dir", "x"]),
        2,
        "http://",
    );
    refused(&run(["import", "mooncale", "x", "-o", "y"]), 2, "mooncake");
    refused(&run(["sim", "--profile", "smal"]), 2, "small");
}

#[test]
fn a_place_that_cannot_be_written_is_found_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path());
    let sim = Server::sim(&["--profile", "fast"]);
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let below_a_file = file.join("out");
    let below = below_a_file.to_str().unwrap();
    refused(
        &replay(&trace, &["--target", &sim.url, "--out", below]),
        1,
        "file/out",
    );
    let to = ["--upstream", &sim.url, "--trace-dir", below];
    refused(&run([&RECORD[..], &to].concat()), 1, "file/out");
    refused(
        &run([
            "import".as_ref(),
            "azure".as_ref(),
            fixture("demo/azure_8s.csv").as_os_str(),
            "-o".as_ref(),
            below_a_file.as_os_str(),
        ]),
        1,
        "file/out",
    );
}

#[test]
fn a_port_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    refused(&run(["sim", "--listen", &taken]), 1, &taken);
    let rest = [
        "--upstream",
        "http://127.0.0.1:9",
        "--trace-dir",
        dir.path().to_str().unwrap(),
    ];
    refused(
        &run([
            &["record", "--listen", &taken, "--admin", "127.0.0.1:0"],
            &rest[..],
        ]
        .concat()),
        1,
        &taken,
    );
    refused(
        &run([
            &["record", "--listen", "127.0.0.1:0", "--admin", &taken],
            &rest[..],
        ]
        .concat()),
        1,
        &taken,
    );

    // Two recorders on one port would each get half of the traffic.
    let sim = Server::sim(&["--profile", "fast"]);
    let first = Server::recorder(&sim.url, dir.path(), &[]);
    let taken = first.url.strip_prefix("http://").unwrap().to_owned();
    refused(
        &run([
            &["record", "--listen", &taken, "--admin", "127.0.0.1:0"],
            &rest[..],
        ]
        .concat()),
        1,
        &taken,
    );
}

#[test]
fn malformed_rows_are_named_by_line_and_nothing_half_written_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let rows = dir.path().join("rows.jsonl");
    let good = r#"{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}"#;
    std::fs::write(
        &rows,
        format!("{good}\n{{\"timestamp\": \"soon\"}}\n{good}\n"),
    )
    .unwrap();
    let target = dir.path().join("out.rt");
    let import = |extra: &[&str]| {
        reenact(["import", "mooncake"])
            .arg(&rows)
            .arg("-o")
            .arg(&target)
            .args(extra)
            .output()
            .unwrap()
    };
    refused(&import(&[]), 1, "line 2");
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "only the input is there"
    );
    let output = import(&["--skip-bad"]);
    assert!(output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("1 "),
        "it says how many it skipped"
    );
    assert_eq!(support::exchanges(&target).len(), 2);
}

#[test]
fn a_body_that_is_no_json_and_an_unknown_path_pass_through_untouched() {
    let body = "{\"model\": \"m\", this is not JSON \u{1f980}";
    let (upstream, _guard) = http::upstream(|mut stream| {
        let request = http::read_request(&mut stream).unwrap();
        let start = request
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap()
            + 4;
        let echo = &request[start..];
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            echo.len()
        );
        let _ = stream.write_all(echo);
    });
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&upstream, dir.path(), &[]);
    for path in ["/v1/chat/completions", "/some/other?path=1", "/v1/messages"] {
        let answer = http::send(&recorder.url, &http::post(path, &[], body));
        assert_eq!(http::status(&answer), 200);
        assert!(
            answer.ends_with(body.as_bytes()),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let shapes: Vec<_> = support::exchanges(dir.path())
        .iter()
        .map(|e| e["shape"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(shapes, ["unparsable", "generic", "unparsable"]);
}

#[test]
fn a_span_that_ends_before_it_begins_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path());
    let span = ["--from", "10s", "--to", "5s"];
    let target = [&["--target", "http://127.0.0.1:1"], &span[..]].concat();
    refused(&replay(&trace, &target), 2, "is not before --to");
    let slice = dir.path().join("slice.rt");
    let mut command = reenact(["trace", "slice"]);
    command.arg(&trace).arg("-o").arg(&slice).args(span);
    refused(&command.output().unwrap(), 2, "is not before --to");
    assert!(!slice.exists());
}

#[test]
fn headers_that_cannot_be_sent_are_refused_without_their_values() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path());
    for (header, code, word) in [
        ("no colon s3cret", 2, "without a colon"),
        ("a b: s3cret", 2, "not the name of a header"),
        ("x-a: s3\x07cret", 2, "x-a"),
        ("content-length: 3", 2, "content-length"),
        ("Authorization: Bearer s3cret", 2, "env:VARIABLE"),
        (
            "x-a: env:REENACT_TEST_IS_NOT_SET",
            2,
            "REENACT_TEST_IS_NOT_SET",
        ),
        ("x-a: file:/nowhere/s", 1, "/nowhere/s"),
    ] {
        let output = replay(
            &trace,
            &["--target", "http://127.0.0.1:9", "--header", header],
        );
        refused(&output, code, word);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("s3"), "{stderr}");
    }
}
