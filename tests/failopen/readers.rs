//! Whoever reads a trace learns what is missing from it.

use super::hindrance::Hindrance;
use super::load::{Load, upstream};
use super::support::{Server, reenact, stdout_of};
use super::{dropped_reaches, recording_resumes, settle};

#[test]
fn inspect_and_replay_tell_the_share_that_is_missing() {
    let hindrance = Hindrance::build();
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = hindrance.recorder(&upstream(), dir.path(), &[]);
    let admin = recorder.wait_for_url("admin on ");
    let load = Load::calm(&recorder.url, 1, 500);
    recording_resumes(&admin);
    hindrance.begin("full");
    dropped_reaches(&admin, "disk_full", 10);
    hindrance.end("full");
    recording_resumes(&admin);
    let totals = settle(recorder, dir.path(), load.finish().0);
    let lost = totals.dropped["disk_full"];
    let all = totals.recorded + lost;
    let said = format!("{lost} of {all} exchanges (");
    let trace = dir.path().to_str().unwrap();

    let text = stdout_of(["inspect", trace]);
    let line = text.lines().find(|line| line.starts_with("missing "));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains(&said), "{line}");
    assert!(line.ends_with(&format!(": disk_full {lost}")), "{line}");
    let json: serde_json::Value =
        serde_json::from_str(&stdout_of(["inspect", "--json", trace])).unwrap();
    assert_eq!(json["missing"]["exchanges"], lost);
    assert_eq!(json["missing"]["reasons"]["disk_full"], lost);
    let share = json["missing"]["share"].as_f64().unwrap();
    assert!((share - lost as f64 / all as f64).abs() < 1e-12);

    let sim = Server::sim(&["--profile", "fast"]);
    let out = tempfile::tempdir().unwrap();
    let output = reenact([
        "replay", trace, "--limit", "20", "--target", &sim.url, "--out",
    ])
    .arg(out.path())
    .output()
    .unwrap();
    let warning = format!("warning: the trace lacks {said}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains(&warning), "{errors}");
    let result = std::fs::read(out.path().join("result.json")).unwrap();
    let result: serde_json::Value = serde_json::from_slice(&result).unwrap();
    let remarks = &result["targets"][0]["fidelity"]["remarks"];
    let told = remarks
        .as_array()
        .unwrap()
        .iter()
        .any(|remark| remark.as_str().unwrap().contains(&said));
    assert!(told, "{remarks}");
}
