//! What the integration tests share: the built binary as a child process that is found by the line it prints, and ended
//! when its test is.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub
)]

pub mod browser;
pub mod canaries;
pub mod candidate;
pub mod codings;
pub mod frames;
pub mod http;
pub mod http2;
pub mod memory;
pub mod pages;
pub mod terse;
pub mod traffic;
pub mod wire;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything in a test may take before the test is failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer, for what tells of no event: a server that is polled, a file that grows. `Err` says what was found
/// instead; the test fails with the last of them.
pub fn answered<T>(mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(found) => assert!(Instant::now() < deadline, "{found}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Says that a test did not run here, and why. The harness shows only what failing tests print, so this does not print but
/// write.
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: {why}");
}

/// A recorder whose listener and admin endpoint are on ports of the system's choice.
pub const RECORD: [&str; 5] = [
    "record",
    "--listen",
    "127.0.0.1:0",
    "--admin",
    "127.0.0.1:0",
];

/// A command line of the built binary.
pub fn reenact<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reenact"));
    command
        .args(args)
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1");
    command
}

/// Runs it to its end.
pub fn run<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    reenact(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs it to its end and gives its standard output; fails the test if it failed.
pub fn stdout_of<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> String {
    let output = run(args);
    assert!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// `inspect --exchanges`, in order of arrival.
pub fn exchanges(trace: &Path) -> Vec<serde_json::Value> {
    stdout_of([
        "inspect".as_ref(),
        "--exchanges".as_ref(),
        trace.as_os_str(),
    ])
    .lines()
    .map(|line| serde_json::from_str(line).unwrap())
    .collect()
}

/// An upstream that answers every request at once, on connections that stay open.
pub fn upstream() -> String {
    let (url, _) = http::upstream(|mut stream| {
        while http::read_request(&mut stream).is_some() {
            if stream.write_all(OK.as_bytes()).is_err() {
                return;
            }
        }
    });
    url
}

/// What [`upstream`] answers.
pub const OK: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/// One exchange with it on a connection of its own.
pub fn serve(url: &str) {
    let mut client = wire::Wire::connect(url);
    client.send("GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_until("\r\n\r\n{}");
}

/// Python with the packages of tests/requirements.txt.
pub fn python() -> Command {
    Command::new(venv("python"))
}

/// A program of the packages of tests/requirements.txt.
pub fn venv(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(".venv/bin")
        .join(program);
    assert!(path.exists(), "run tests/run, which makes .venv");
    path
}

/// The documents of a file of YAML.
pub fn yaml(path: &Path) -> Vec<serde_json::Value> {
    const READ: &str =
        "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let output = python().args(["-c", READ]).arg(path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}: {said}", path.display()))
}

/// A server of ours that runs until its test ends.
pub struct Server {
    child: Child,
    lines: mpsc::Receiver<String>,
    reader: Option<JoinHandle<()>>,
    seen: Vec<String>,
    /// `http://ADDR` of its main listener.
    pub url: String,
}

impl Server {
    /// Starts `reenact ARGS` and waits until it says `listening on http://…`.
    pub fn start<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::launch(&mut reenact(args))
    }

    /// The same, for a command prepared by the test.
    pub fn launch(command: &mut Command) -> Self {
        Self::launch_with(command, Stdio::null())
    }

    /// The same, with a standard input for it.
    pub fn launch_with(command: &mut Command, input: Stdio) -> Self {
        let mut server = Self::spawn(command, input);
        server.url = server.wait_for_url("listening on ");
        server
    }

    /// The same, for a command that need not listen, or does not say so: it has no URL.
    pub fn spawn(command: &mut Command, input: Stdio) -> Self {
        let mut child = command
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            lines,
            reader: Some(reader),
            seen: Vec::new(),
            url: String::new(),
        }
    }

    /// A simulated inference server.
    pub fn sim(args: &[&str]) -> Self {
        Self::start([&["sim", "--listen", "127.0.0.1:0"], args].concat())
    }

    /// A recorder in front of `upstream` that writes to `dir`; its admin endpoint listens too.
    pub fn recorder(upstream: &str, dir: &Path, args: &[&str]) -> Self {
        let dir = dir.to_str().unwrap();
        let to = ["--upstream", upstream, "--trace-dir", dir];
        Self::start([&RECORD[..], &to, args].concat())
    }

    /// Waits for a line that holds `mark`, and gives the `http://…` after it.
    pub fn wait_for_url(&mut self, mark: &str) -> String {
        let line = self.wait_for(mark);
        let rest = line.split_once(mark).unwrap().1;
        // A log line in JSON ends the URL with a quote.
        rest.split([' ', '"'])
            .next()
            .unwrap()
            .trim_end_matches(['/', ','])
            .to_owned()
    }

    /// Waits for a line on standard error that holds `mark` (also among those already read).
    pub fn wait_for(&mut self, mark: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(mark)) {
            return line.clone();
        }
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(mark) {
                        return line;
                    }
                }
                Err(_) => panic!("no line with {mark:?}; it said:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits: its exit status and everything it wrote to standard error.
    pub fn terminate(mut self) -> (ExitStatus, String) {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        self.seen.extend(self.lines.try_iter());
        (status, self.seen.join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
