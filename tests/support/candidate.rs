use std::path::Path;

use serde_json::Value;

use super::{Server, exchanges, reenact};

/// What a replay of a trace has the server at `url` get, as a recorder before it sees it, and the replay's result.
pub fn replayed(trace: &Path, url: &str, args: &[&str]) -> (Vec<Value>, Value) {
    let (second, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let recorder = Server::recorder(url, second.path(), &[]);
    let output = reenact(["replay"])
        .arg(trace)
        .args(["--target", &recorder.url, "--out"])
        .arg(out.path())
        .args(args)
        .output()
        .unwrap();
    // Exit code 4 says that the machine was too busy to pace, which is not the subject here.
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 4)), "{said}");
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let result = std::fs::read(out.path().join("result.json")).unwrap();
    (
        exchanges(second.path()),
        serde_json::from_slice(&result).unwrap(),
    )
}
