//! What a replay keeps of the keys that it is given: nothing, whoever repeats them to it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use serde_json::{Value, json};

use crate::private;
use crate::support::canaries::Canaries;
use crate::support::terse::{self, Heard};
use crate::support::traffic::short_requests;
use crate::support::{reenact, wire};

/// A gateway that wants keys, and quotes them in every third of its answers, as errors of some do.
struct Gateway {
    url: String,
    /// All that it was sent.
    heard: Arc<Mutex<Vec<Heard>>>,
    /// Hears of each request beyond the probes when it comes.
    arrivals: mpsc::Receiver<()>,
    /// These are answered when this is gone.
    closed: mpsc::Sender<()>,
}

impl Gateway {
    fn start() -> Self {
        let (closed, gate) = mpsc::channel::<()>();
        let (arrived, arrivals) = mpsc::channel();
        let (gate, arrived) = (Mutex::new(gate), Mutex::new(arrived));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heard);
        let url = terse::upstream(move |request| {
            let replayed = request.is_replayed();
            if replayed {
                let _ = arrived.lock().unwrap().send(());
                // An error says that its sender is gone.
                let _ = gate.lock().unwrap().recv();
            }
            let quoted = format!("Incorrect API key provided: {}", request.head);
            let mut log = log.lock().unwrap();
            log.push(request);
            let number = log.iter().filter(|it: &&Heard| it.is_replayed()).count();
            match replayed && number.is_multiple_of(3) {
                true => (401, json!({"error": {"message": quoted}})),
                false => (200, terse::brief()),
            }
        });
        Self {
            url,
            heard,
            arrivals,
            closed,
        }
    }
}

/// Everything under a directory as it is, and as it is unpacked.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        if let Ok(unpacked) = zstd::decode_all(&bytes[..]) {
            found.push((path.with_extension("unpacked"), unpacked));
        }
        found.push((path, bytes));
    }
    found
}

/// Runs a replay that shows metrics against a gateway, and gives what it said and that page, taken when the first request was open.
fn replayed(
    command: &mut Command,
    stdout: &Path,
    closed: mpsc::Sender<()>,
    arrivals: &mpsc::Receiver<()>,
) -> (i32, String, String) {
    let mut child = command
        .args(["--metrics", "127.0.0.1:0"])
        .stdout(File::create(stdout).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    let page = loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "{said}");
        said.push_str(&line);
        if let Some((_, url)) = line.split_once("metrics on ") {
            break url.trim().trim_end_matches("/metrics").to_owned();
        }
    };
    arrivals.recv_timeout(crate::support::PATIENCE).unwrap();
    let page = wire::get(&page, "/metrics");
    drop(closed);
    stderr.read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code().unwrap(), said, page)
}

#[test]
fn keys_reach_the_target_and_nothing_that_a_replay_leaves_or_shows() {
    let dir = tempfile::tempdir().unwrap();
    let trace = short_requests(dir.path(), 12);
    let canaries = Canaries::new();
    let [key, tenant, cookie, scrape] = [(); 4].map(|()| canaries.next());
    let (key_file, cookie_file) = (dir.path().join("key"), dir.path().join("cookie"));
    // As an editor leaves it.
    private(&key_file, &format!("{key}\n"));
    private(&cookie_file, &cookie);
    let by_file = ["--api-key-file", key_file.to_str().unwrap()];
    for (name, by) in [
        ("env", &["--api-key-env", "GATEWAY_KEY"]),
        ("file", &by_file),
    ] {
        let Gateway {
            url,
            heard,
            arrivals,
            closed,
        } = Gateway::start();
        let dir = dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        let out = dir.join("out");
        let mut command = reenact(["replay", "--json", "--log-level", "trace"]);
        let command = command
            .arg(&trace)
            .args(["--target", &format!("gateway={url}")])
            .args(by)
            .args(["--header", "x-tenant-secret: env:TENANT", "--header"])
            .arg(format!("cookie: file:{}", cookie_file.display()))
            .args(["--engine-metrics", &format!("{url}/metrics")])
            .args(["--engine-metrics-header", "x-scrape: env:SCRAPE"])
            .arg("--metrics-textfile")
            .arg(dir.join("textfile.prom"))
            .arg("--out")
            .arg(&out)
            .envs([
                ("GATEWAY_KEY", &key),
                ("TENANT", &tenant),
                ("SCRAPE", &scrape),
            ]);
        let stdout = dir.join("stdout");
        let (status, said, page) = replayed(command, &stdout, closed, &arrivals);
        // 4: this machine was too busy to pace.
        assert!(matches!(status, 0 | 4), "{said}");

        let heard = heard.lock().unwrap();
        let (asked, scraped): (Vec<&Heard>, Vec<&Heard>) = heard
            .iter()
            .partition(|it| !it.head.starts_with("GET /metrics"));
        assert!(asked.iter().filter(|it| it.is_replayed()).count() == 12);
        for request in asked {
            for line in [
                format!("authorization: Bearer {key}"),
                format!("x-tenant-secret: {tenant}"),
                format!("cookie: {cookie}"),
            ] {
                assert!(
                    request.head.lines().any(|it| it == line),
                    "{}",
                    request.head
                );
            }
        }
        let scrape = format!("x-scrape: {scrape}");
        assert!(!scraped.is_empty() && scraped.iter().all(|it| it.head.contains(&scrape)));

        let search = canaries.search();
        assert!(!search.find(heard[0].head.as_bytes()).is_empty());
        search.assert_absent(said.as_bytes(), "what it said");
        assert!(page.contains("reenact_replay_sent_total"), "{page}");
        search.assert_absent(page.as_bytes(), "its page of metrics");
        let left = contents(&dir);
        let files: Vec<_> = { left.iter() }
            .filter_map(|(path, _)| path.file_name())
            .collect();
        for expected in [
            "stdout",
            "textfile.prom",
            "result.json",
            "report.html",
            "requests.jsonl.unpacked",
        ] {
            assert!(
                files.iter().any(|file| *file == expected),
                "{expected} in {files:?}"
            );
        }
        for (path, bytes) in &left {
            search.assert_absent(bytes, &path.display().to_string());
        }
        let result: Value = serde_json::from_slice(&std::fs::read(&stdout).unwrap()).unwrap();
        let errors = &result["targets"][0]["requests"]["errors"];
        assert_eq!(errors["client_error"], 4, "{errors}");
    }
}

#[test]
fn a_target_that_refuses_a_key_by_quoting_it_is_not_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let trace = short_requests(dir.path(), 3);
    let canaries = Canaries::new();
    let key = canaries.next();
    let url = terse::upstream(|request| (401, json!({"error": {"message": request.head}})));
    let output = reenact(["replay", "--log-level", "trace", "--target", &url])
        .arg(&trace)
        .args(["--model", "m", "--api-key-env", "GATEWAY_KEY"])
        .env("GATEWAY_KEY", &key)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("401"), "{said}");
    let search = canaries.search();
    search.assert_absent(&output.stderr, "what it said");
    search.assert_absent(&output.stdout, "what it printed");
}

#[test]
fn a_key_that_is_nowhere_is_missed_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let trace = short_requests(dir.path(), 3);
    let nowhere = dir.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let cookie = format!("cookie: file:{nowhere}");
    for (args, code, told) in [
        (["--api-key-env", "NO_SUCH_KEY"], 2, "NO_SUCH_KEY"),
        (["--api-key-file", nowhere], 1, nowhere),
        (["--header", "x-secret: env:NO_SUCH_KEY"], 2, "NO_SUCH_KEY"),
        (["--header", &cookie], 1, nowhere),
    ] {
        let output = reenact(["replay", "--target", "http://127.0.0.1:9"])
            .arg(&trace)
            .args(args)
            .env_remove("NO_SUCH_KEY")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(told) && said.contains("hint: "), "{said}");
    }
}
