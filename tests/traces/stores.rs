//! Traces in an object store, over moto's S3. Between it and the recorder stands a gate that can be shut.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use super::support::wire::{metric, metric_reaches};
use super::support::{RECORD, Server, http, reenact};
use super::{Random, exchange, header, names, serve, upstream, venv, write};
use reenact::trace::verify;

/// A moto server with a bucket, behind a gate.
pub(super) struct S3 {
    server: Child,
    moto: String,
    /// Where the recorder finds it.
    url: String,
    gate: Arc<AtomicU8>,
}

const OPEN: u8 = 0;
/// Nobody is there.
const SHUT: u8 = 1;
/// The second part of a file is never taken.
const PARTS_FAIL: u8 = 2;

const AUTHORIZATION: &str = "Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\n";

impl S3 {
    pub(super) fn start() -> Self {
        let mut server = Command::new(venv("moto_server"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let moto = lines
            .find_map(|line| Some(line.unwrap().split_once("Running on ")?.1.trim().to_owned()))
            .unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        let gate = Arc::new(AtomicU8::new(OPEN));
        let (behind, state) = (moto.clone(), Arc::clone(&gate));
        let (url, _) = http::upstream(move |stream| pass(stream, &behind, &state));
        let s3 = Self {
            server,
            moto,
            url,
            gate,
        };
        s3.ask("PUT", "/bucket");
        s3
    }

    /// Asks moto itself.
    pub(super) fn ask(&self, method: &str, path: &str) -> String {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: s3\r\nConnection: close\r\nContent-Length: 0\r\n{AUTHORIZATION}\r\n"
        );
        let answer = http::send(&self.moto, request.as_bytes());
        assert!(
            http::status(&answer) < 300,
            "{}",
            String::from_utf8_lossy(&answer)
        );
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn set(&self, gate: u8) {
        self.gate.store(gate, Ordering::Relaxed);
    }

    /// The keys in the bucket.
    pub(super) fn keys(&self) -> Vec<String> {
        let listed = self.ask("GET", "/bucket?list-type=2");
        let keys = listed.split("<Key>").skip(1);
        keys.map(|rest| rest.split('<').next().unwrap().to_owned())
            .collect()
    }

    pub(super) fn with<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "us-east-1")
    }

    fn recorder(&self, dir: &Path, args: &[&str]) -> (Server, String) {
        static UPSTREAM: OnceLock<String> = OnceLock::new();
        let upstream = UPSTREAM.get_or_init(upstream);
        let mut command = reenact(RECORD);
        command.args([
            "--upstream",
            upstream,
            "--trace-store",
            "s3://bucket/pre/fix",
            "--trace-dir",
        ]);
        command.arg(dir).args(args);
        let mut recorder = Server::launch(self.with(&mut command));
        let admin = recorder.wait_for_url("admin on ");
        (recorder, admin)
    }

    pub(super) fn stdout_of(&self, args: &[&str]) -> String {
        let output = self.with(&mut reenact(args)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Passes one request on, if the gate lets it.
fn pass(mut client: TcpStream, moto: &str, gate: &AtomicU8) {
    let state = gate.load(Ordering::Relaxed);
    if state == SHUT {
        return;
    }
    let Some(request) = http::read_request(&mut client) else {
        return;
    };
    let line = request.split(|byte| *byte == b'\r').next().unwrap();
    let is_second = String::from_utf8_lossy(line).contains("partNumber=2");
    if state == PARTS_FAIL && is_second {
        let _ = client
            .write_all(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    }
    let (line, rest) = request.split_at(line.len());
    let mut server = http::connect(moto);
    let once = [line, b"\r\nConnection: close", rest].concat();
    let mut answer = Vec::new();
    if server.write_all(&once).is_ok() && server.read_to_end(&mut answer).is_ok() {
        let _ = client.write_all(&answer);
    }
}

#[test]
fn closed_files_are_carried_to_the_store_and_read_from_there() {
    let s3 = S3::start();
    let dir = tempfile::tempdir().unwrap();
    let (recorder, admin) = s3.recorder(dir.path(), &["--rotate-size", "1"]);
    for number in 1..=3 {
        serve(&recorder.url);
        metric_reaches(&admin, "reenact_recorded_total", number);
    }
    metric_reaches(&admin, "reenact_stored_files_total", 1);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    assert!(log.contains("stored a trace file"), "{log}");
    assert_eq!(names(dir.path()), [""; 0], "{log}");
    let keys = s3.keys();
    assert!(
        keys.len() >= 2 && keys[0] == "pre/fix/trace-000001.rt",
        "{keys:?}"
    );
    // As one trace, by its prefix, and each by its key.
    let all = s3.stdout_of(&["inspect", "--exchanges", "s3://bucket/pre/fix"]);
    assert_eq!(all.lines().count(), 3);
    let one = s3.stdout_of(&["inspect", "--json", "s3://bucket/pre/fix/trace-000001.rt"]);
    assert!(one.contains("s3://bucket/pre/fix/trace-000001.rt"), "{one}");
    let told = s3.stdout_of(&["trace", "verify", "s3://bucket/pre/fix/"]);
    assert!(
        told.contains("0 damaged") && told.contains(" 3 exchanges"),
        "{told}"
    );
    let merged = dir.path().join("merged.rt");
    let output = merged.to_str().unwrap();
    s3.stdout_of(&["trace", "merge", "s3://bucket/pre/fix", "-o", output]);
    assert_eq!(super::support::exchanges(&merged).len(), 3);
    let failed = s3
        .with(&mut reenact(["inspect", "s3://bucket/nowhere/a.rt"]))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(
        said.contains("error: s3://bucket/nowhere/a.rt: there is no such object"),
        "{said}"
    );
}

#[test]
fn files_wait_while_the_store_is_away_and_nothing_else_does() {
    let s3 = S3::start();
    s3.set(SHUT);
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, admin) =
        s3.recorder(dir.path(), &["--rotate-size", "1", "--keep-size", "1"]);
    for number in 1..=3 {
        serve(&recorder.url);
        metric_reaches(&admin, "reenact_recorded_total", number);
    }
    recorder.wait_for("the store does not take a trace file; it stays here");
    metric_reaches(&admin, "reenact_store_failures_total", 2);
    assert!(metric(&admin, "reenact_store_waiting_files") >= 1);
    assert!(
        names(dir.path()).contains(&"trace-000001.rt".to_owned()),
        "kept until it is stored"
    );
    s3.set(OPEN);
    metric_reaches(&admin, "reenact_stored_files_total", 2);
    recorder.wait_for("the store takes trace files again");
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(names(dir.path()), [""; 0], "{log}");
    let all = s3.stdout_of(&["inspect", "--exchanges", "s3://bucket/pre/fix"]);
    assert_eq!(all.lines().count(), 3);
    let warned = log.matches("the store does not take").count();
    assert_eq!(warned, 1, "once, not for each attempt: {log}");
}

#[test]
fn what_a_killed_recorder_left_is_carried_by_the_next_and_only_once() {
    let s3 = S3::start();
    s3.set(SHUT);
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, admin) = s3.recorder(dir.path(), &[]);
    serve(&recorder.url);
    metric_reaches(&admin, "reenact_recorded_total", 1);
    recorder.signal(rustix::process::Signal::KILL);
    recorder.wait();
    s3.set(OPEN);
    let keep = ["--store-keep-local"];
    let (recorder, admin) = s3.recorder(dir.path(), &keep);
    metric_reaches(&admin, "reenact_stored_files_total", 1);
    assert_eq!(s3.keys(), ["pre/fix/trace-000001.rt"]);
    assert!(recorder.terminate().0.success());
    assert_eq!(names(dir.path()).len(), 2, "local copies stay");
    assert_eq!(s3.keys().len(), 2);
    // A third finds them stored, and knows that of another file under the same key.
    let other = dir.path().join("elsewhere");
    std::fs::create_dir(&other).unwrap();
    write(
        &other.join("trace-000001.rt"),
        &header(77),
        [exchange(0, [])],
    );
    let (status, log) = s3.recorder(dir.path(), &keep).0.terminate();
    assert!(status.success());
    assert_eq!(
        log.matches("stored a trace file").count(),
        1,
        "its own alone: {log}"
    );
    assert!(s3.recorder(&other, &[]).0.terminate().0.success());
    let keys = s3.keys();
    let beside = keys
        .iter()
        .filter(|key| key.starts_with("pre/fix/trace-000001-"))
        .count();
    assert_eq!(beside, 1, "{keys:?}");
    let all = s3.stdout_of(&["inspect", "--exchanges", "s3://bucket/pre/fix"]);
    assert_eq!(all.lines().count(), 2, "neither cost the other its file");
}

#[test]
fn a_file_in_parts_is_stored_whole_or_not_at_all() {
    let s3 = S3::start();
    s3.set(PARTS_FAIL);
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(9);
    let path = dir.path().join("trace-000001.rt");
    let all = (0..12_000).map(|at| {
        let blocks: Vec<_> = (0..300).map(|_| random.below(1 << 32) as u32 / 2).collect();
        exchange(at, blocks)
    });
    write(&path, &header(1), all);
    let bytes = path.metadata().unwrap().len();
    assert!(bytes > 9 << 20, "{bytes} bytes make two parts");
    let here = verify(std::slice::from_ref(&path)).unwrap().remove(0);
    let (recorder, admin) = s3.recorder(dir.path(), &[]);
    metric_reaches(&admin, "reenact_store_failures_total", 1);
    assert_eq!(s3.keys(), [""; 0]);
    assert!(
        !s3.ask("GET", "/bucket?uploads").contains("<UploadId>"),
        "its parts were taken back"
    );
    assert!(path.exists());
    s3.set(OPEN);
    metric_reaches(&admin, "reenact_stored_files_total", 1);
    assert!(metric(&admin, "reenact_stored_bytes_total") >= bytes);
    assert!(recorder.terminate().0.success());
    assert!(!path.exists());
    // Parts cannot be put on a condition, so no other recorder may have the key.
    let own = s3
        .keys()
        .into_iter()
        .find(|key| key.starts_with("pre/fix/trace-000001-"));
    let url = format!("s3://bucket/{}", own.unwrap());
    let told = s3.stdout_of(&["trace", "verify", "--json", &url]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["files"][0]["bytes"], bytes);
    assert_eq!(told["exchanges"], here.exchanges);
    // A part of it is read without the whole.
    let sliced = dir.path().join("slice.rt");
    let output = sliced.to_str().unwrap();
    let slice = ["trace", "slice", &url, "-o", output];
    s3.stdout_of(&[&slice[..], &["--from", "11ms", "--limit", "5"]].concat());
    let first = super::support::exchanges(&sliced)[0]["at_us"].as_u64();
    assert_eq!(first, Some(11_000));
}

#[test]
fn a_store_that_cannot_be_is_told_before_traffic_comes() {
    let dir = tempfile::tempdir().unwrap();
    let check = |url: &str| {
        let mut command = reenact(RECORD);
        command.args([
            "--upstream",
            "http://127.0.0.1:9",
            "--trace-store",
            url,
            "--check",
        ]);
        let output = command.arg("--trace-dir").arg(dir.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = check("ftp://bucket/x");
    assert_eq!(code, Some(2));
    assert!(
        said.contains("not a store; write s3://BUCKET/PREFIX"),
        "{said}"
    );
    let s3 = S3::start();
    let at = |gate: u8| {
        s3.set(gate);
        let mut command = reenact(RECORD);
        command.args(["--upstream", "http://127.0.0.1:9", "--check", "--trace-dir"]);
        command
            .arg(dir.path())
            .args(["--trace-store", "s3://bucket/x"]);
        let output = s3.with(&mut command).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines()
            .find(|line| line.contains("trace-store"))
            .unwrap()
            .to_owned()
    };
    let said = at(OPEN);
    assert!(
        said.starts_with("ok ") && said.contains("s3://bucket/x"),
        "{said}"
    );
    let said = at(SHUT);
    assert!(said.starts_with("warning "), "{said}");
}
