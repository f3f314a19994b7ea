//! The service manager's side: `sd_notify(3)` messages on a socket of the test's own.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::{self, PATIENCE, Server};
use super::{serve, upstream};

/// A service manager that only listens.
struct Manager {
    socket: UnixDatagram,
    dir: tempfile::TempDir,
}

impl Manager {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("notify")
    }

    fn next(&self) -> String {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("no more messages");
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// Waits for a message with this line, and gives every message up to it.
    fn until(&self, line: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut messages = Vec::new();
        loop {
            messages.push(self.next());
            let last = messages.last().unwrap();
            if last.lines().any(|each| each == line) {
                return messages;
            }
            assert!(Instant::now() < deadline, "no {line}: {messages:?}");
        }
    }
}

fn arguments(upstream: &str, dir: &tempfile::TempDir) -> Vec<String> {
    [
        "record",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--threads",
        "1",
        "--upstream",
        upstream,
        "--trace-dir",
        dir.path().to_str().unwrap(),
    ]
    .map(str::to_owned)
    .to_vec()
}

#[test]
fn the_manager_hears_of_readiness_counts_and_the_end() {
    let manager = Manager::start();
    let dir = tempfile::tempdir().unwrap();
    let upstream = upstream();
    let recorder = Server::launch(
        support::reenact(arguments(&upstream, &dir)).env("NOTIFY_SOCKET", manager.path()),
    );
    // Ready is the first word, and true.
    assert_eq!(manager.next().trim(), "READY=1");
    serve(&recorder.url);
    manager.until("STATUS=seen 1, recorded 1, sampled out 0, dropped 0; 0 in flight");
    recorder.signal(Signal::TERM);
    let before = manager.until("STOPPING=1");
    assert!(
        !before.iter().any(|message| message.contains("WATCHDOG")),
        "nobody asked for signs of life: {before:?}"
    );
    let (status, log) = { recorder }.wait();
    assert!(status.success(), "{log}");
}

#[test]
fn a_stuck_lane_misses_the_watchdog_and_a_running_one_does_not() {
    let manager = Manager::start();
    let dir = tempfile::tempdir().unwrap();
    let mut python = super::python();
    python
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/operations/stuck_lane.py"
        ))
        .args(["reenact-lane-0", env!("CARGO_BIN_EXE_reenact")])
        .args(arguments("http://127.0.0.1:1", &dir))
        .env("NOTIFY_SOCKET", manager.path())
        .env("WATCHDOG_USEC", "2000000")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut python = python.spawn().unwrap();
    let mut orders = python.stdin.take().unwrap();
    let mut done = BufReader::new(python.stdout.take().unwrap()).lines();
    let mut order = |order: &str| {
        writeln!(orders, "{order}").unwrap();
        assert_eq!(done.next().unwrap().unwrap(), "done");
    };
    let (lines, log) = mpsc::channel();
    let stderr = python.stderr.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    manager.until("READY=1");
    manager.until("WATCHDOG=1");
    manager.until("WATCHDOG=1");

    order("stop");
    let complaint = || {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = log
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
                .expect("a stuck lane is said");
            if line.contains("a lane makes no progress") {
                return;
            }
        }
    };
    complaint();
    // What was sent before the lane stood out as stuck.
    manager
        .socket
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let mut message = [0; 4096];
    while manager.socket.recv(&mut message).is_ok() {}
    // Three more occasions for a sign of life, and none given: longer than the manager's patience of two.
    (0..3).for_each(|_| complaint());
    assert!(
        manager.socket.recv(&mut message).is_err(),
        "{}",
        String::from_utf8_lossy(&message)
    );

    manager.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    order("go");
    manager.until("WATCHDOG=1");
    drop(orders);
    python.wait().unwrap();
}

#[test]
fn a_reload_is_told_from_its_beginning_to_its_end() {
    let manager = Manager::start();
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::launch(
        support::reenact(arguments(&upstream(), &dir)).env("NOTIFY_SOCKET", manager.path()),
    );
    manager.until("READY=1");
    recorder.signal(Signal::HUP);
    let told = manager.until("RELOADING=1");
    assert!(told.last().unwrap().contains("MONOTONIC_USEC="), "{told:?}");
    manager.until("READY=1");
    serve(&recorder.url);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
}
