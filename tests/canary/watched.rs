//! A recorder, and every place in which it could leave something behind.

use std::path::Path;

use super::dialects;
use super::support::canaries::{Canaries, Search};
use super::support::memory::Stacks;
use super::support::wire::metric_reaches;
use super::support::{Server, answered, exchanges, http, memory, reenact, skipped};

/// A recorder that is asked with canaries.
pub(crate) struct Watched<'a> {
    recorder: Server,
    admin: String,
    dir: tempfile::TempDir,
    canaries: &'a Canaries,
}

impl<'a> Watched<'a> {
    /// One that says all that it ever says, with a listener for each upstream.
    pub(crate) fn launch(canaries: &'a Canaries, upstreams: &[&str], more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = reenact(["record", "--admin", "127.0.0.1:0", "--log-level", "trace"]);
        for (number, upstream) in upstreams.iter().enumerate() {
            command.args(["--listen", &format!("u{number}=127.0.0.1:0")]);
            command.args(["--upstream", &format!("u{number}={upstream}")]);
        }
        command
            .args(["--session-header", "X-Session"])
            // No model here is asked for twice.
            .args(["--name-threshold", "2", "--gaps", "full"])
            .arg("--trace-dir")
            .arg(dir.path())
            .args(more)
            .env("RUST_LOG", "trace");
        let mut recorder = Server::launch(&mut command);
        Self {
            admin: recorder.wait_for_url("admin on "),
            recorder,
            dir,
            canaries,
        }
    }

    /// Where the listener for an upstream is.
    pub(crate) fn url(&mut self, upstream: &str) -> String {
        let line = self.recorder.wait_for(&format!("upstream=\"{upstream}\""));
        let (_, rest) = line.split_once("listening on ").unwrap();
        rest.split(' ').next().unwrap().to_owned()
    }

    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    /// Looks everywhere, after at least so many exchanges, of which some with each of these endpoints must have been read: what
    /// is not looked at does not leak.
    pub(crate) fn finish(self, sent: usize, endpoints: &[&str]) {
        metric_reaches(&self.admin, "reenact_recorded_total", sent as u64);
        let admin = self.admin_answers();
        let search = self.canaries.search();
        search.assert_absent(&admin, "the admin endpoint");
        assert_forgotten(&search, self.recorder.pid());

        let (status, log) = self.recorder.terminate();
        assert!(status.success(), "{log}");
        search.assert_absent(log.as_bytes(), "the log");
        let recorded = exchanges(self.dir.path());
        assert!(recorded.len() >= sent, "{} of {sent}", recorded.len());
        for endpoint in endpoints {
            let read = |exchange: &serde_json::Value| {
                exchange["endpoint"] == *endpoint && exchange["shape"] == "known"
            };
            assert!(recorded.iter().any(read), "no {endpoint} was read");
        }
        for endpoint in dialects::UNREAD {
            let asked = |exchange: &serde_json::Value| exchange["endpoint"] == *endpoint;
            assert!(recorded.iter().any(asked), "no {endpoint} was asked");
        }
        search.assert_absent(format!("{recorded:?}").as_bytes(), "what inspect shows");
        for entry in std::fs::read_dir(self.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            search.assert_absent(path.to_string_lossy().as_bytes(), "a file name");
            search.assert_absent(&bytes, "the trace");
            search.assert_absent(&decompressed(&bytes, &path), "the decompressed trace");
        }
    }

    /// What the admin endpoint says. It repeats nothing that it was sent.
    fn admin_answers(&self) -> Vec<u8> {
        let get = "HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        let page = http::send(&self.admin, format!("GET /metrics {get}").as_bytes());
        assert!(String::from_utf8_lossy(&page).contains("inference_duration_seconds_bucket"));
        let level = self.canaries.next();
        let put = format!(
            "PUT /log-level?{level} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {}\r\n\r\na={level}=b",
            level.len() + 4
        );
        let status = http::send(&self.admin, format!("GET /status {get}").as_bytes());
        [page, status, http::send(&self.admin, put.as_bytes())].concat()
    }
}

/// What the observer still tidies up is gone within its half second. What functions that have returned left on their stacks stays
/// until others take its place (docs/privacy.md).
fn assert_forgotten(search: &Search<'_>, pid: u32) {
    let mut seen = true;
    answered(|| {
        let mut found = Vec::new();
        seen = memory::for_each_stretch(pid, Stacks::InUse, |line, bytes| {
            let here = search.find(bytes);
            found.extend(here.iter().map(|found| format!("{found} of {line}")));
        });
        match found.is_empty() {
            true => Ok(()),
            false => Err(found.join("\n")),
        }
    });
    if !seen {
        skipped("the memory of another process may not be read here");
    }
}

/// Every zstd frame of a file, one after another.
fn decompressed(bytes: &[u8], path: &Path) -> Vec<u8> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let mut plain = Vec::new();
    let mut frames = 0;
    for start in 0..bytes.len().saturating_sub(4) {
        if bytes[start..start + 4] == MAGIC {
            let mut decoder = zstd::stream::read::Decoder::new(&bytes[start..])
                .unwrap()
                .single_frame();
            if std::io::copy(&mut decoder, &mut plain).is_ok() {
                frames += 1;
            }
        }
    }
    assert!(frames > 0, "no compressed block in {}", path.display());
    plain
}
