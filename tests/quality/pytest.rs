//! The example that is shipped for pytest, run by the real one.

use std::path::Path;

use super::front::{front, question, saying};
use super::support::{Server, reenact, venv};
use super::{replay, status, trace};

#[test]
fn the_shipped_tests_of_pytest_are_told_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 300);
    let sim = Server::sim(&["--profile", "fast"]);
    // It knows one fact of two, is too busy for the third question, and answers whoever brings the key.
    let target = front(&sim, |head, body| {
        let question = question(body)?;
        let (_, says) = [
            ("capital of France", Some("Paris.")),
            ("17 + 25", Some("Too many to count.")),
            ("Say hello", None),
        ]
        .into_iter()
        .find(|(words, _)| question.contains(words))?;
        if !head.contains("authorization: bearer s3cret") {
            return Some(("401 Unauthorized", "{}".to_owned()));
        }
        Some(says.map_or_else(
            || ("429 Too Many Requests\r\nretry-after: 0", "{}".to_owned()),
            saying,
        ))
    });
    // As its user would: a copy, beside which no cache is left.
    let tests = dir.path().join("quality");
    std::fs::create_dir(&tests).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/pytest");
    for file in ["conftest.py", "test_quality.py"] {
        std::fs::copy(shipped.join(file), tests.join(file)).unwrap();
    }
    let key = dir.path().join("key");
    std::fs::write(&key, "s3cret").unwrap();
    let probe = format!("cmd:{} -q {}", venv("pytest").display(), tests.display());
    let objective = "quality.pass_rate>=30%";
    let args = [
        "--target",
        &target,
        "--no-keep-alive",
        "--api-key-file",
        key.to_str().unwrap(),
        "--probe",
        &probe,
        "--slo",
        objective,
    ];
    let (_, document) = replay(&mut reenact(["replay"]), &trace, &args);
    let quality = &document["targets"][0]["quality"];
    for phase in ["idle", "loaded"] {
        let told = &quality[phase];
        for (field, value) in [("n", 3), ("passed", 1), ("failed", 1), ("errors", 1)] {
            assert_eq!(told[field], value, "{field}: {quality:#}");
        }
    }
    assert_eq!(quality["latencies"].as_array().unwrap().len(), 2);
    let id = quality["latencies"][0]["id"].as_str().unwrap();
    assert!(id.contains("test_quality.py::test_knows["), "{id}");
    assert_eq!(status(&document, objective).0, "pass", "{quality:#}");
}
