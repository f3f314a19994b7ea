//! A restart through a socket that outlives the process, as systemd holds it: no request fails.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::exchanges;
use super::support::http::{post, send};
use super::support::{PATIENCE, Server};

/// A recorder that is handed the socket as systemd does: descriptor 3, and who it is for.
fn recorder(socket: &TcpListener, upstream: &str, dir: &Path) -> Server {
    let socket: OwnedFd = socket.try_clone().unwrap().into();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_reenact"),
        ])
        .args(["record", "--listen", "systemd", "--admin", "127.0.0.1:0"])
        .args(["--upstream", upstream, "--trace-dir"])
        .arg(dir)
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1");
    Server::launch_with(&mut command, Stdio::from(socket))
}

#[test]
fn no_request_fails_while_one_recorder_follows_another() {
    let sim = Server::sim(&["--profile", "fast"]);
    let dir = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let body = r#"{"model":"m","stream":true,"max_tokens":60,"messages":[{"role":"user","content":"hello"}]}"#;
    let request = post("/v1/chat/completions", &[], body);
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failures = std::thread::scope(|scope| {
        let first = recorder(&socket, &sim.url, dir.path());
        let client = || {
            let mut failures = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let answer = send(&url, &request);
                let text = String::from_utf8_lossy(&answer);
                let whole = text.starts_with("HTTP/1.1 200")
                    && text.contains("data: [DONE]")
                    && text.ends_with("0\r\n\r\n");
                if !whole {
                    failures.push(text.into_owned());
                }
                served.fetch_add(1, Ordering::Relaxed);
            }
            failures
        };
        let clients: Vec<_> = (0..12).map(|_| scope.spawn(client)).collect();
        let more = |count: usize| {
            let goal = served.load(Ordering::Relaxed) + count;
            let deadline = std::time::Instant::now() + PATIENCE;
            while served.load(Ordering::Relaxed) < goal {
                assert!(
                    std::time::Instant::now() < deadline,
                    "the load stands still"
                );
                std::thread::yield_now();
            }
        };
        // Three restarts, one after another, each under load.
        let mut running = first;
        for _ in 0..3 {
            more(40);
            let next = recorder(&socket, &sim.url, dir.path());
            let (status, log) = std::mem::replace(&mut running, next).terminate();
            assert!(status.success(), "{log}");
            assert!(log.contains("drained"), "{log}");
        }
        more(40);
        stop.store(true, Ordering::Relaxed);
        let failures: Vec<String> = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        let (status, log) = running.terminate();
        assert!(status.success(), "{log}");
        failures
    });
    let served = served.into_inner();
    assert!(
        failures.is_empty(),
        "{} of {served} failed, such as {:?}",
        failures.len(),
        failures[0]
    );
    assert_eq!(
        exchanges(dir.path()).len(),
        served,
        "and all are in the trace"
    );
}
