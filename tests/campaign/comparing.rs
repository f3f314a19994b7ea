use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Server, run};
use crate::{hold_to_schema, paced, replay, trace};

/// Replays against a simulated server and keeps the result; `None` where this machine is too busy to pace it.
fn kept(trace: &Path, out: &Path, sim: &[&str], args: &[&str]) -> Option<Value> {
    let server = Server::sim(&[&["--profile", "small", "--jitter", "0"], sim].concat());
    let to = ["--target", &server.url, "--out", out.to_str().unwrap()];
    Some(paced(trace, &[&to[..], args].concat())?.1)
}

/// Compares, and gives what it said and its document.
fn compared(args: &[&str]) -> (Output, Value) {
    let output = run([&["compare", "--json"], args].concat());
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    hold_to_schema(&output.stdout, "docs/comparison.schema.json");
    (output, document)
}

/// The files of a result, at another place.
fn copied(result: &str, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for name in ["result.json", "requests.jsonl.zst", "gaps.json.zst"] {
        std::fs::copy(Path::new(result).join(name), to.join(name)).unwrap();
    }
}

/// What a result is refused with, and the exit code.
fn refused(args: &[&str]) -> (Option<i32>, String) {
    let output = run([&["compare"], args].concat());
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("hint:"), "{said}");
    (output.status.code(), said)
}

#[test]
fn two_results_are_compared_request_by_request() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 100, 20, 8);
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    if kept(&trace, &a, &[], &[]).is_none() || kept(&trace, &b, &["--slowdown", "3"], &[]).is_none()
    {
        return;
    }
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());

    let (output, document) = compared(&[a, b]);
    assert_eq!(document["status"], "fail", "{document:#}");
    assert_eq!(output.status.code(), Some(3), "{document:#}");
    let comparison = &document["comparison"];
    assert_eq!(comparison["pairs"], 100);
    assert_eq!(comparison["scope"], "this trace, this run");
    let median = &comparison["metrics"]["e2e.p50"];
    assert_eq!(median["verdict"], "worse", "{median:#}");
    let shift = comparison["shift"]["e2e"].as_array().unwrap();
    assert_eq!(shift.len(), 11);
    assert!(shift[4]["difference_ms"].as_f64().unwrap() > 0.0);

    let (output, same) = compared(&[a, a, "--slo", "e2e.p99<+10%"]);
    assert_eq!(output.status.code(), Some(0), "{same:#}");
    assert_eq!(same["objectives"][0]["status"], "pass", "{same:#}");
    assert_eq!(same["comparison"]["metrics"]["e2e.p99"]["ratio"], 1.0);
    let (_, judged) = compared(&[a, b, "--slo", "e2e.p50<+10%", "--slo", "itl.p99<+10%"]);
    for objective in 0..2 {
        assert_eq!(judged["objectives"][objective]["status"], "fail");
    }
    assert_eq!(
        judged["comparison"]["metrics"]["itl.p99"]["verdict"],
        "worse"
    );

    // Several results are the runs of one target.
    let (_, runs) = compared(&["--baseline", a, a, "--target", b, b]);
    assert_eq!(runs["comparison"]["runs"], 2);
    assert_eq!(runs["comparison"]["scope"], "this trace, 2 runs of each");

    // Gaps between tokens lie beside the requests, and are those of their run or none.
    let old = dir.path().join("old");
    copied(b, &old);
    let gaps = old.join("gaps.json.zst");
    std::fs::copy(Path::new(a).join("gaps.json.zst"), &gaps).unwrap();
    let (code, said) = refused(&[a, old.to_str().unwrap()]);
    assert!(
        code == Some(1) && said.contains("gaps.json.zst cannot be read: they are of another run"),
        "{code:?} {said}"
    );
    std::fs::remove_file(gaps).unwrap();
    let old = old.to_str().unwrap();
    for sides in [&[a, old][..], &["--baseline", a, a, "--target", old, b]] {
        let slo = ["--slo", "itl.p99<+10%", "--slo", "e2e.p50<+10%"];
        let (_, judged) = compared(&[sides, &slo].concat());
        let status = |objective: usize| &judged["objectives"][objective]["status"];
        assert_eq!(
            (status(0), status(1)),
            (&json!("not_measured"), &json!("fail"))
        );
        let why = judged["objectives"][0]["reason"].as_str().unwrap();
        assert!(why.contains("no gaps.json.zst"), "{why}");
        let metrics = judged["comparison"]["metrics"].as_object().unwrap();
        assert!(!metrics.keys().any(|metric| metric.starts_with("itl")));
    }
    let text = String::from_utf8(run(["compare", a, b]).stdout).unwrap();
    assert!(text.contains("E2E p50") && text.contains("worse"), "{text}");

    let (code, said) = refused(&[a, b, "--slo", "e2e.p99<1s"]);
    assert!(code == Some(2) && said.contains("absolute"), "{said}");
    let (code, said) = refused(&["--baseline", a, a, "--target", b]);
    assert!(code == Some(2) && said.contains("2 runs"), "{said}");
    let (code, said) = refused(&["recorded", b]);
    assert!(code == Some(1) && said.contains("no request"), "{said}");
    let (code, said) = refused(&[a, dir.path().join("no").to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("result.json"), "{said}");
}

#[test]
fn results_of_another_plan_under_another_load_or_in_pieces_do_not_pass() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 20, 5, 2);
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let (usual, twice) = (
        kept(&trace, &a, &[], &[]),
        kept(&trace, &b, &[], &["--speed", "2"]),
    );
    if usual.is_none() || twice.is_none() {
        return;
    }
    let places = [a.to_str().unwrap(), b.to_str().unwrap()];
    let (code, said) = refused(&places);
    assert!(code == Some(1) && said.contains("plan.speed"), "{said}");

    // The same plan at another pace, as where turns wait for slow answers: it must not pass.
    let log = b.join("requests.jsonl.zst");
    let document = std::fs::read_to_string(a.join("result.json")).unwrap();
    std::fs::write(b.join("result.json"), document).unwrap();
    let (output, unlike) = compared(&[places[0], places[1], "--slo", "e2e.p99<+900%"]);
    assert_eq!(output.status.code(), Some(3), "{unlike:#}");
    assert_eq!(unlike["objectives"][0]["status"], "not_measured");
    let (output, unlike) = compared(&places);
    assert_eq!(output.status.code(), Some(3), "{unlike:#}");
    assert_eq!(
        unlike["comparison"]["metrics"]["e2e.p50"]["verdict"],
        "unlike_load"
    );

    std::fs::write(&log, zstd::encode_all(&b"{\"target\":1}\n"[..], 1).unwrap()).unwrap();
    let (code, said) = refused(&[places[1], places[1]]);
    assert!(code == Some(1) && said.contains("line 1"), "{said}");
    let (code, said) = refused(&[&format!("other@{}", places[0]), places[0]]);
    assert!(
        code == Some(1) && said.contains("no target `other`"),
        "{said}"
    );
    std::fs::write(b.join("result.json"), "{}").unwrap();
    let (code, said) = refused(&[places[1], places[0]]);
    assert!(code == Some(1) && said.contains("not a result"), "{said}");
}

#[test]
fn production_is_the_baseline_of_a_replay_and_of_its_result() {
    let dir = tempfile::tempdir().unwrap();
    let rows = trace(dir.path(), 60, 10, 8);
    let recorded = dir.path().join("recorded");
    {
        let sim = Server::sim(&["--profile", "small", "--jitter", "0"]);
        let recorder = Server::recorder(&sim.url, &recorded, &[]);
        let earlier = replay(&rows, &["--target", &recorder.url]);
        assert_eq!(earlier.1["targets"][0]["requests"]["ok"], 60);
        let (status, log) = recorder.terminate();
        assert!(status.success(), "{log}");
    }
    let (a, slower) = (dir.path().join("a"), ["--slowdown", "3"]);
    let slo = ["--baseline", "recorded", "--slo", "e2e.p50<+50%"];
    let Some(document) = kept(&recorded, &a, &slower, &slo) else {
        return;
    };
    let comparison = &document["comparison"][0];
    assert_eq!(
        (&comparison["baseline"], &comparison["target"]),
        (&json!("recorded"), &json!("target"))
    );
    let median = &comparison["metrics"]["e2e.p50"];
    assert_eq!(median["verdict"], "worse", "{median:#}");
    // The probes of the earlier replay were recorded too.
    assert!(comparison["pairs"].as_u64().unwrap() >= 60);
    assert_eq!(
        comparison["strata"][0]["prompt_tokens_from"], 0,
        "{comparison:#}"
    );
    let objective = &document["verdict"]["objectives"][0];
    assert_eq!(objective["status"], "fail", "{objective:#}");
    let (_, alone) = compared(&["recorded", a.to_str().unwrap()]);
    assert_eq!(alone["comparison"]["pairs"], comparison["pairs"]);
    // Gaps between tokens included.
    assert!(comparison["metrics"]["itl.p99"].is_object());
    assert_eq!(alone["comparison"]["metrics"], comparison["metrics"]);
    // At another pace than production's there is no comparison with it.
    let b = dir.path().join("b");
    let Some(document) = kept(&recorded, &b, &[], &[&slo[..], &["--speed", "2"]].concat()) else {
        return;
    };
    let comparison = &document["comparison"][0];
    let load = comparison["load"]["requests"].as_f64().unwrap();
    assert!((1.99..2.01).contains(&load), "{comparison:#}");
    let objective = &document["verdict"]["objectives"][0];
    assert_eq!(objective["status"], "not_measured", "{objective:#}");
    let why = objective["reason"].as_str().unwrap();
    assert!(why.contains("without --speed"), "{why}");
    let (output, alone) = compared(&["recorded", b.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{alone:#}");
    assert_eq!(alone["comparison"]["load"], comparison["load"]);
    let page = std::fs::read_to_string(a.join("report.html")).unwrap();
    assert!(page.contains("class=\"shift\"") && page.contains("class=\"band\""));
}

#[test]
fn an_earlier_replay_is_the_baseline_of_a_later_one() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 100, 20, 8);
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let place = a.to_str().unwrap().to_owned();
    let baseline = ["--baseline", &place];
    let slower = ["--slowdown", "3"];
    let Some(_) = kept(&trace, &a, &[], &[]) else {
        return;
    };
    let Some(document) = kept(&trace, &b, &slower, &baseline) else {
        return;
    };
    // The same as `compare` says of the two.
    assert_eq!(document["verdict"]["status"], "fail", "{document:#}");
    let held = &document["verdict"]["objectives"][0];
    assert_eq!(held["expr"], format!("no worse than target@{place}"));
    assert!(
        held["reason"].as_str().unwrap().contains("e2e.p50"),
        "{held:#}"
    );
    let (_, compared) = compared(&[&place, b.to_str().unwrap()]);
    let (here, there) = (&document["comparison"][0], &compared["comparison"]);
    assert_eq!(here["baseline"], there["baseline"]);
    assert!(here["metrics"]["itl.p99"].is_object(), "{here:#}");
    assert_eq!(here["metrics"], there["metrics"]);

    let slo = [
        &baseline[..],
        &["--slo", "e2e.p50<+10%", "--slo", "e2e.p50<+99900%"],
    ]
    .concat();
    let Some(document) = kept(&trace, &b, &slower, &slo) else {
        return;
    };
    let objectives = document["verdict"]["objectives"].as_array().unwrap();
    let statuses: Vec<&str> = { objectives.iter() }
        .map(|one| one["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["fail", "pass"], "{objectives:#?}");
}

#[test]
fn an_earlier_replay_of_something_else_is_refused_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 20, 5, 2);
    let a = dir.path().join("a");
    let Some(_) = kept(&trace, &a, &[], &[]) else {
        return;
    };
    let refused = |args: &[&str], code: i32| {
        let place = a.to_str().unwrap();
        let to = ["--target", "http://127.0.0.1:9", "--baseline", place];
        let mut command = crate::support::reenact(["replay"]);
        let output = command.arg(&trace).args(to).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("hint: "), "{said}");
        said
    };
    let said = refused(&["--speed", "2"], 1);
    assert!(said.contains("plan.speed"), "{said}");
    assert!(refused(&["--repeat", "2"], 2).contains("it has 1 runs"));
    assert!(refused(&["--sweep", "1,2"], 2).contains("whole runs"));
    assert!(refused(&["--shard", "0/2"], 2).contains("shard"));
    let said = refused(&["--out", a.to_str().unwrap()], 2);
    assert!(said.contains("would be written over"), "{said}");
    let odd = [
        "replay",
        "x.rt",
        "--target",
        "http://127.0.0.1:9",
        "--baseline",
        "recordd",
    ];
    let said = String::from_utf8(run(odd).stderr).unwrap();
    assert!(said.contains("neither `first` nor `recorded`"), "{said}");
}

#[test]
fn the_schema_of_comparisons_is_that_of_results() {
    let schema = |name: &str| -> Value {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        serde_json::from_slice(&std::fs::read(docs.join(name)).unwrap()).unwrap()
    };
    let (result, comparison) = (
        schema("result.schema.json"),
        schema("comparison.schema.json"),
    );
    let (of_result, of_comparison) = (&result["properties"], &comparison["properties"]);
    assert_eq!(
        of_comparison["comparison"],
        of_result["comparison"]["items"]
    );
    assert_eq!(
        of_comparison["objectives"],
        of_result["verdict"]["properties"]["objectives"]
    );
}
