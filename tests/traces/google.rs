//! Traces in `gs://`, over a small server that speaks Google's XML API (`gcs_server.py`).

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::support::wire::metric_reaches;
use super::support::{RECORD, Server, reenact};
use super::{Random, exchange, header, python, serve, upstream, write};

/// The server, ended with its test.
struct Google {
    server: Child,
    key: String,
}

impl Google {
    fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces/gcs_server.py");
        let mut server = python()
            .arg(program)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut port)
            .unwrap();
        let url = format!("http://127.0.0.1:{}", port.trim());
        // A service account's key as emulators have it.
        let key = serde_json::json!({
            "private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": true, "gcs_base_url": url,
        });
        Self {
            server,
            key: key.to_string(),
        }
    }

    fn with<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("GOOGLE_SERVICE_ACCOUNT_KEY", &self.key)
    }

    fn run(&self, args: &[&str]) -> Output {
        self.with(&mut reenact(args)).output().unwrap()
    }

    fn stdout_of(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn exchanges(&self, url: &str) -> usize {
        let told = self.stdout_of(&["inspect", "--exchanges", url]);
        told.lines().count()
    }
}

impl Drop for Google {
    fn drop(&mut self) {
        let _ = self.server.kill();
    }
}

#[test]
fn a_recorder_carries_its_files_to_googles_store_and_they_are_read_there() {
    let google = Google::start();
    let dir = tempfile::tempdir().unwrap();
    let mut command = reenact(RECORD);
    let upstream = upstream();
    command.args([
        "--upstream",
        &upstream,
        "--trace-store",
        "gs://bucket/pre/fix",
        "--trace-dir",
    ]);
    command.arg(dir.path());
    let mut recorder = Server::launch(google.with(&mut command));
    let admin = recorder.wait_for_url("admin on ");
    for _ in 0..3 {
        serve(&recorder.url);
    }
    metric_reaches(&admin, "reenact_recorded_total", 3);
    let (status, said) = recorder.terminate();
    assert!(status.success(), "{said}");
    assert_eq!(google.exchanges("gs://bucket/pre/fix"), 3, "{said}");
    // Nothing is left to be carried.
    assert!(
        !super::names(dir.path())
            .iter()
            .any(|name| name.ends_with(".rt"))
    );
}

#[test]
fn tools_write_to_googles_store_whole_and_never_over_another() {
    let google = Google::start();
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(9);
    let all = (0..12_000).map(|at| {
        let blocks: Vec<_> = (0..300).map(|_| random.below(1 << 28) as u32).collect();
        exchange(at, blocks)
    });
    let here = write(&dir.path().join("a.rt"), &header(1), all);
    let bytes = here.metadata().unwrap().len();
    assert!(bytes > 9 << 20, "{bytes} bytes make two parts");
    let here = here.to_str().unwrap();
    let merge = ["trace", "merge", here, "-o", "gs://bucket/day/1.rt"];
    google.stdout_of(&merge);
    assert_eq!(google.exchanges("gs://bucket/day/1.rt"), 12_000);
    let said = String::from_utf8(google.run(&merge).stderr).unwrap();
    assert!(
        said.contains("there is a file of that name already"),
        "{said}"
    );
    // A directory of more files than the store lists at once, each a part of the whole, read by range.
    for (number, from) in ["2", "3", "4"].iter().zip(["0", "4ms", "8ms"]) {
        let output = format!("gs://bucket/parts/{number}.rt");
        let slice = ["trace", "slice", "gs://bucket/day/1.rt", "--from", from];
        google.stdout_of(&[&slice[..], &["--limit", "1000", "-o", &output]].concat());
    }
    assert_eq!(google.exchanges("gs://bucket/parts"), 3_000);
    let missing = google.run(&["inspect", "gs://bucket/nothing/here.rt"]);
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(
        !missing.status.success() && said.contains("gs://bucket/nothing/here.rt"),
        "{said}"
    );
}
