use serde_json::Value;

use crate::support::{Server, reenact};
use crate::{paced, trace};

/// Two sequences at once, each of ten steps of 4 ms: it carries 50 requests a second.
const SLOW: [&str; 8] = [
    "--profile",
    "fast",
    "--max-num-seqs",
    "2",
    "--step-base",
    "4000",
    "--step-per-sequence",
    "0",
];

fn steps(document: &Value) -> Vec<(f64, String)> {
    document["targets"][0]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let verdict = step["verdict"].as_str().unwrap().to_owned();
            (step["speed"].as_f64().unwrap(), verdict)
        })
        .collect()
}

#[test]
fn the_limit_of_a_server_of_known_capacity_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 400, 50, 10);
    let sim = Server::sim(&SLOW);
    let args = [
        "--target",
        &sim.url,
        "--find-max",
        "--slo",
        "e2e.p90<150ms",
        "--step",
        "0s",
        "--precision",
        "20%",
    ];
    let Some((output, document)) = paced(&trace, &args) else {
        return;
    };
    assert_eq!(output.status.code(), Some(0), "{document:#}");
    let limit = &document["targets"][0]["limit"];
    // 20 requests a second at 1x, 50 that it carries: 2.5x, and a little more than that for a step this short.
    let value = limit["value"].as_f64().unwrap();
    assert!((1.4..=3.9).contains(&value), "{limit:#}");
    assert_eq!(limit["confirmed"], true, "{limit:#}");
    let above = limit["above"].as_f64().unwrap();
    assert!(value < above && above <= value * 1.21, "{limit:#}");
    let steps = steps(&document);
    assert_eq!(steps[0], (1.0, "pass".to_owned()));
    assert!(
        steps.iter().any(|(_, verdict)| verdict == "fail"),
        "{steps:?}"
    );
    // What is shown is the answer.
    assert_eq!(
        document["verdict"]["objectives"][0]["expr"],
        "find-max speed"
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("requests/s"), "{said}");
}

#[test]
fn a_start_that_misses_the_objectives_ends_in_3() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 400, 10, 10);
    let sim = Server::sim(&SLOW);
    let args = [
        "--target",
        &sim.url,
        "--find-max",
        "--slo",
        "e2e.p90<30ms",
        "--step",
        "0s",
    ];
    let Some((output, document)) = paced(&trace, &args) else {
        return;
    };
    assert_eq!(output.status.code(), Some(3), "{document:#}");
    assert!(document["targets"][0]["limit"].get("value").is_none());
    assert_eq!(steps(&document), [(1.0, "fail".to_owned())]);
}

#[test]
fn a_sweep_judges_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 100, 50, 10);
    let sim = Server::sim(&SLOW);
    let args = [
        "--target",
        &sim.url,
        "--sweep",
        "1,2,8",
        "--slo",
        "e2e.p90<150ms",
    ];
    let Some((output, document)) = paced(&trace, &args) else {
        return;
    };
    assert_eq!(output.status.code(), Some(3), "{document:#}");
    let steps = steps(&document);
    assert_eq!(steps[0], (1.0, "pass".to_owned()));
    assert_eq!(steps[2].0, 8.0);
    assert_ne!(steps[2].1, "pass");
    let told = document["verdict"]["objectives"].to_string();
    assert!(told.contains("every objective at 8× speed"), "{told}");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_sent() {
    let refused = |args: &[&str]| {
        let output = reenact(["replay", "x.rt", "--target", "http://127.0.0.1:9"])
            .args(args)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("hint: "), "{said}");
        said
    };
    assert!(refused(&["--find-max"]).contains("needs an objective"));
    let relative = [
        "--target",
        "b=http://127.0.0.1:8",
        "--find-max",
        "--slo",
        "ttft.p99<+10%",
    ];
    assert!(refused(&relative).contains("absolute"));
    let slo = ["--find-max", "--slo", "ttft.p99<1s"];
    assert!(refused(&[&slo[..], &["--sweep", "1,2"]].concat()).contains("cannot be used with"));
    assert!(refused(&[&slo[..], &["--precision", "0.1%"]].concat()).contains("0.5%"));
    assert!(
        refused(&[&slo[..], &["--speed", "4", "--find-max-up-to", "2"]].concat()).contains("below")
    );
    assert!(refused(&["--repeat", "0"]).contains("1..=1000"));
    assert!(refused(&["--sweep", "1,fast"]).contains("not a factor"));
    assert!(refused(&["--step", "3s"]).contains("--find-max"));
}

#[test]
fn a_trace_that_is_too_short_for_a_step_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 20, 10, 2);
    let sim = Server::sim(&[]);
    let output = reenact(["replay"])
        .arg(&trace)
        .args(["--target", &sim.url, "--find-max", "--slo", "ttft.p99<1s"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("20 requests") && said.contains("hint: "),
        "{said}"
    );
}
