//! Where it listens and what it connects to: unix sockets, sockets from systemd, several upstreams.

use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output};

use super::FORWARDER;
use super::echo::{self, CLOSE, ask, connect};
use super::support::{self, Server};

/// A recorder that records nothing.
fn forwarder(args: &[&str]) -> Server {
    Server::start([FORWARDER, args].concat())
}

fn failed(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = support::run([FORWARDER, args].concat());
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

fn unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream
}

#[test]
fn unix_sockets_serve_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let (front, back) = (dir.path().join("front"), dir.path().join("back"));
    echo::on_unix(&back);
    let recorder = forwarder(&[
        "--listen",
        &format!("unix:{}", front.display()),
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        &format!("unix:{}", back.display()),
        "--socket-mode",
        "600",
    ]);
    assert_eq!(recorder.url, format!("unix:{}", front.display()));
    let mode = std::fs::metadata(&front).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let answer = ask(unix(&front), CLOSE);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("Host: model.test\r\n"), "{answer}");
    // A request without a `Host` is given one all the same.
    let answer = ask(unix(&front), "GET / HTTP/1.0\r\n\r\n");
    assert!(
        answer.to_lowercase().contains("host: localhost\r\n"),
        "{answer}"
    );
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    assert!(!front.exists(), "the socket goes with its listener");
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("front");
    let listen = format!("unix:{}", path.display());
    let args = ["--listen", &listen, "--upstream", "http://127.0.0.1:1"];
    drop(UnixListener::bind(&path).unwrap());
    let recorder = forwarder(&args);
    drop(unix(&path));
    let (code, error) = failed(&args);
    assert_eq!(code, Some(1), "{error}");
    assert!(
        error.contains(&format!("cannot listen on {listen}: it is already in use"))
            && error.contains("hint: "),
        "{error}"
    );
    drop(recorder);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    let (code, error) = failed(&args);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("a file that is no socket"), "{error}");
}

#[test]
fn a_host_that_has_several_addresses_is_tried_at_each() {
    // `localhost` may be ::1 first, where nobody listens.
    let address = echo::on_tcp();
    let recorder = forwarder(&[
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        &format!("http://localhost:{}", address.port()),
    ]);
    let answer = ask(connect(&recorder.url[7..]), CLOSE);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn each_listener_leads_to_its_own_upstream() {
    let dir = tempfile::tempdir().unwrap();
    let chat = dir.path().join("chat");
    let embed = echo::on_tcp();
    let mut recorder = forwarder(&[
        "--listen",
        &format!("chat=unix:{}", chat.display()),
        "--listen",
        "embed=127.0.0.1:0",
        "--upstream",
        &format!("embed=http://{embed}/base"),
        "--upstream",
        "chat=http://127.0.0.1:1",
    ]);
    let url = recorder.wait_for_url("listening on http://");
    let answer = ask(connect(&url), CLOSE);
    assert!(answer.contains("GET /base/v1/models "), "{answer}");
    let answer = ask(unix(&chat), CLOSE);
    assert!(answer.contains("upstream_refused"), "{answer}");
}

#[test]
fn a_place_can_be_told_by_file_and_environment() {
    let dir = tempfile::tempdir().unwrap();
    let (front, back) = (dir.path().join("front"), dir.path().join("back"));
    echo::on_unix(&back);
    let file = dir.path().join("reenact.toml");
    let text = format!(
        "[record]\nadmin = \"127.0.0.1:0\"\nforwarded = \"replace\"\nproxy-protocol-in = true\n\
         listen = [\"a=unix:{}\", \"b=127.0.0.1:0\"]\n",
        front.display()
    );
    std::fs::write(&file, text).unwrap();
    let mut command =
        support::reenact(["record", "--no-record", "--config", file.to_str().unwrap()]);
    let upstreams = format!("b=http://127.0.0.1:1, a=unix:{}", back.display());
    command.env("REENACT_UPSTREAM", upstreams);
    let _recorder = Server::launch(&mut command);
    let request = format!("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n{CLOSE}");
    let answer = ask(unix(&front), &request);
    assert!(
        answer.contains("x-forwarded-for: 192.0.2.1\r\n"),
        "{answer}"
    );
}

#[test]
fn wrong_places_are_said_with_a_hint() {
    let upstream = &["--upstream", "http://127.0.0.1:1"][..];
    for (args, says) in [
        (&["--listen", "127.0.0.1:0"][..], "no --upstream was given"),
        (
            &["--listen", "a=:0", "--upstream", "b=http://a"],
            "which no --upstream is named",
        ),
        (
            &[
                "--listen",
                ":0",
                "--upstream",
                "a=http://a",
                "--upstream",
                "b=http://b",
            ],
            "does not say which --upstream",
        ),
        (
            &[
                "--listen",
                "a=:0",
                "--upstream",
                "a=http://a",
                "--upstream",
                "a=http://b",
            ],
            "two --upstream are named a",
        ),
        (
            &[upstream, &["--listen", "https://127.0.0.1:0"]].concat(),
            "has no certificate",
        ),
        (
            &[upstream, &["--listen", "systemd"]].concat(),
            "no listening socket was handed over",
        ),
        (
            &[upstream, &["--listen", ":0", "--transparent"]].concat(),
            "takes no --upstream",
        ),
        (
            &["--listen", "unix:/nonexistent/s", "--transparent"],
            "cannot listen on unix:/nonexistent/s",
        ),
        (
            &[upstream, &["--listen", "unix:/nonexistent/s"]].concat(),
            "cannot listen on unix:/nonexistent/s: No such file",
        ),
    ] {
        let (code, error) = failed(args);
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains(says), "{error}");
        assert!(error.contains("hint: "), "{error}");
    }
}

/// The recorder as systemd starts it: with listening sockets from descriptor 3 on.
fn activated(sockets: &[(&str, OwnedFd)], args: &[&str]) -> Server {
    let mut script = String::new();
    for (at, (_, socket)) in sockets.iter().enumerate() {
        rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()).unwrap();
        script += &format!("exec {}<&{}; ", 3 + at, socket.as_raw_fd());
    }
    let names: Vec<_> = sockets.iter().map(|(name, _)| *name).collect();
    script += "export LISTEN_PID=$$; exec \"$@\"";
    let mut command = Command::new("bash");
    command
        .args(["-c", &script, "bash", env!("CARGO_BIN_EXE_reenact")])
        .args([FORWARDER, args].concat())
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1")
        .env("LISTEN_FDS", sockets.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"));
    Server::launch(&mut command)
}

#[test]
fn sockets_from_systemd_are_listened_on_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("front");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let spare = TcpListener::bind("127.0.0.1:0").unwrap();
    let sockets = [
        ("api", tcp.into()),
        ("local", UnixListener::bind(&path).unwrap().into()),
        ("spare", spare.into()),
    ];
    let upstream = format!("http://{}", echo::on_tcp());
    let mut recorder = activated(
        &sockets,
        &[
            "--listen",
            "fd:local",
            "--listen",
            "fd:api",
            "--upstream",
            &upstream,
        ],
    );
    recorder.wait_for("handed over a socket that no --listen takes");
    recorder.wait_for(&format!("listening on http://{address}"));
    for answer in [ask(unix(&path), CLOSE), ask(connect(&address), CLOSE)] {
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    assert!(path.exists(), "a socket that is systemd's stays");

    // Clients that come between two recorders wait in the socket's queue.
    let early = connect(&address);
    let recorder = activated(&sockets, &["--listen", "systemd", "--upstream", &upstream]);
    let answer = ask(early, CLOSE);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(recorder.terminate().0.success());
}
