//! Verdicts as experiments.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::support::Server;
use crate::{SECRET, replay, stderr};

#[test]
fn a_verdict_becomes_an_experiment_for_each_target_whose_rows_keep_their_ids() {
    let dir = tempfile::tempdir().unwrap();
    let langsmith = Endpoint::taking();
    let sim = Server::sim(&["--profile", "fast", "--model", "m-7b"]);
    let (stable, candidate) = (
        format!("stable={}", sim.url),
        format!("candidate={}", sim.url),
    );
    let arguments = [
        "--target",
        &stable,
        "--target",
        &candidate,
        "--slo",
        "errors.rate<1%",
        "--slo",
        "ttft.p50<1us",
        "--langsmith",
        "canary gates",
    ];
    let variables = [
        ("LANGSMITH_API_KEY", SECRET),
        ("LANGSMITH_ENDPOINT", langsmith.url.as_str()),
    ];
    for _ in 0..2 {
        let output = replay(dir.path(), 40, &arguments, &variables);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(
            said.contains("langsmith: 2 experiments of the data set `canary gates`"),
            "{said}"
        );
    }
    let received = langsmith.received();
    for one in &received {
        assert!(
            one.head.contains(&format!("x-api-key: {SECRET}")),
            "{}",
            one.head
        );
        assert!(
            one.head.contains("content-type: application/json"),
            "{}",
            one.head
        );
    }
    let path = "/api/v1/datasets/upload-experiment";
    let experiments = langsmith.read(dir.path(), "experiment", path);
    assert_eq!(experiments.len(), 4);
    let rows = |experiment: &Value| -> BTreeMap<String, (String, Value)> {
        let rows = experiment["results"].as_array().unwrap().iter();
        rows.map(|row| {
            let name = row["inputs"]["objective"].as_str().unwrap().to_owned();
            let id = row["row_id"].as_str().unwrap().to_owned();
            (name, (id, row["evaluation_scores"][0]["score"].clone()))
        })
        .collect()
    };
    let first = rows(&experiments[0]);
    assert_eq!(first["errors.rate<1%"].1, 1.0);
    assert_eq!(first["ttft.p50<1us"].1, 0.0);
    assert_eq!(first["verdict"].1, 0.0);
    assert_eq!(first.len(), 3);
    for experiment in &experiments {
        assert_eq!(experiment["dataset_name"], "canary gates");
        assert_eq!(experiment["experiment_metadata"]["model"], "m-7b");
        assert_eq!(rows(experiment), first);
        let scores = experiment["summary_experiment_scores"].as_array().unwrap();
        let score = |key: &str| {
            let one = scores.iter().find(|score| score["key"] == key);
            one.unwrap_or_else(|| panic!("no {key}"))["score"]
                .as_f64()
                .unwrap()
        };
        assert_eq!(score("errors.rate"), 0.0);
        assert!(score("ttft_ms.p99") >= score("ttft_ms.p50"));
    }
    let names: Vec<_> = experiments
        .iter()
        .map(|one| one["experiment_name"].as_str().unwrap())
        .collect();
    assert!(
        names[0].starts_with("stable 20") && names[1].starts_with("candidate 20"),
        "{names:?}"
    );
}
