//! What the process gave up at its start, shown by what it cannot do later.

use std::path::Path;

use super::support::wire::{metric, metric_reaches};
use super::support::{Server, skipped};
use super::{serve, upstream};

/// Lets the trace directory be replaced by a link to `elsewhere` while the recorder runs, until a recording is lost or kept.
fn redirect(traces: &Path, elsewhere: &Path, arguments: &[&str]) -> (u64, String) {
    let mut recorder = Server::recorder(&upstream(), traces, arguments);
    let admin = recorder.wait_for_url("admin on ");
    serve(&recorder.url);
    metric_reaches(&admin, "reenact_recorded_total", 1);
    std::fs::remove_dir_all(traces).unwrap();
    std::os::unix::fs::symlink(elsewhere, traces).unwrap();
    serve(&recorder.url);
    metric_reaches(&admin, "reenact_dropped_total{reason=\"write_error\"}", 1);
    // The next file is tried three seconds later, and each exchange after that says what came of it.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(8);
    while std::time::Instant::now() < deadline && metric(&admin, "reenact_recorded_total") < 2 {
        serve(&recorder.url);
    }
    let recorded = metric(&admin, "reenact_recorded_total");
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    (recorded, log)
}

#[test]
fn nothing_is_written_beside_the_trace_directory() {
    let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let traces = here.path().join("traces");
    let (recorded, log) = redirect(&traces, elsewhere.path(), &[]);
    if log.contains("this kernel has no Landlock") {
        return skipped("this kernel has no Landlock");
    }
    assert!(log.contains("sandboxed with Landlock"), "{log}");
    assert_eq!(recorded, 1, "{log}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn without_the_sandbox_it_would_be() {
    let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let traces = here.path().join("traces");
    let (recorded, log) = redirect(&traces, elsewhere.path(), &["--no-sandbox"]);
    assert!(!log.contains("sandboxed"), "{log}");
    assert!(recorded > 1, "{log}");
    assert!(std::fs::read_dir(elsewhere.path()).unwrap().count() > 0);
}

#[test]
fn a_mirrors_result_opens_nothing_beside_its_directory() {
    let (traces, results) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let out = results.path().join("out");
    let out = out.to_str().unwrap();
    let mirror = ["--mirror", "next=http://127.0.0.1:9", "--mirror-out", out];
    let recorder = Server::recorder(&upstream(), &traces.path().join("here"), &mirror);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    if log.contains("this kernel has no Landlock") {
        return skipped("this kernel has no Landlock");
    }
    let line = log
        .lines()
        .find(|line| line.contains("sandboxed with Landlock"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    let writable = line.split_once("writable=").unwrap().1;
    let paths: Vec<_> = writable.split([',', ' ', '"']).collect();
    assert!(paths.contains(&out), "{line}");
    assert!(!paths.contains(&results.path().to_str().unwrap()), "{line}");
}
