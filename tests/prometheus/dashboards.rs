//! Each query of `deploy/grafana`, and of the analysis for Argo Rollouts, is put to the real Prometheus, which scrapes a recorder or a replay at
//! work: a panel whose query names a label that is no more would stay empty for ever, and so would a metric of the analysis.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::server::Prometheus;
use crate::support::http::{post, send};
use crate::support::traffic::short_requests;
use crate::support::{Server, answered, yaml};
use crate::{chat, endless_replay, take};

/// The queries of a dashboard: panels' and rows' panels', and what its variables are listed from. Variables stand for all there is.
fn queries(name: &str) -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("deploy/grafana/{name}.json"));
    let dashboard: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut found = BTreeSet::new();
    expressions(&dashboard["panels"], &mut found);
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(listed) = variable["query"]["query"].as_str() {
            let (series, label) = listed
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')')?.rsplit_once(','))
                .unwrap_or_else(|| panic!("{listed}"));
            found.insert(format!("count by ({label}) ({series})"));
        }
    }
    found
        .iter()
        .map(|query| {
            let query = query.replace("$__rate_interval", "10s");
            ["$instance", "$model", "$target"]
                .iter()
                .fold(query, |query, variable| query.replace(variable, ".*"))
        })
        .inspect(|query| assert!(!query.contains('$'), "{query}"))
        .collect()
}

/// The queries by which Argo watches what the recorder before a canary sees.
fn analysis(instance: &str) -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/argo-rollouts/analysis.yaml");
    let templates = yaml(&file);
    let live = templates
        .iter()
        .find(|one| one["metadata"]["name"] == "reenact-live")
        .unwrap();
    let metrics = live["spec"]["metrics"].as_array().unwrap();
    let queries = metrics
        .iter()
        .map(|metric| metric.pointer("/provider/prometheus/query").unwrap());
    queries
        .map(|query| {
            query
                .as_str()
                .unwrap()
                .replace("{{args.instance}}", instance)
        })
        .inspect(|query| assert!(!query.contains("{{"), "{query}"))
        .collect()
}

fn expressions(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(expression) = fields.get("expr").and_then(Value::as_str) {
                found.insert(expression.to_owned());
            }
            fields.values().for_each(|each| expressions(each, found));
        }
        Value::Array(all) => all.iter().for_each(|each| expressions(each, found)),
        _ => {}
    }
}

/// Waits until Prometheus has an answer to each that is a number, be it infinite: a quantile of requests most of which failed.
fn all_have_data(prometheus: &Prometheus, mut queries: BTreeSet<String>) {
    assert!(queries.len() > 5, "{queries:?}");
    answered(|| {
        queries.retain(|query| !prometheus.ask(query).iter().any(|value| !value.is_nan()));
        match queries.is_empty() {
            true => Ok(()),
            false => Err(format!("no data: {queries:#?}")),
        }
    });
}

#[test]
fn every_panel_of_the_recorders_dashboard_and_every_metric_of_argos_analysis_has_data() {
    let sim = Server::sim(&["--profile", "fast"]);
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&sim.url, &dir.path().join("traces"), &[]);
    let admin = recorder.wait_for_url("admin on ");
    let prometheus = Prometheus::start(dir.path(), admin.strip_prefix("http://").unwrap());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let unasked = post(
                "/v1/chat/completions",
                &[("x-reenact-record", "off")],
                r#"{"model":"m","messages":[{"role":"user","content":"hello"}],"max_tokens":2}"#,
            );
            while !done.load(Ordering::Relaxed) {
                take(&recorder.url, &chat(5, true));
                // Left out at its client's wish: one of the reasons for which there is a panel.
                send(&recorder.url, &unasked);
            }
        });
        let _end = End(&done);
        let of_argo = analysis(r"127\\.0.*");
        assert_eq!(of_argo.len(), 2, "{of_argo:?}");
        all_have_data(&prometheus, &queries("recorder") | &of_argo);
        // Its conditions look at the first of what comes, so it has to be the only one.
        for query in &of_argo {
            assert_eq!(prometheus.ask(query).len(), 1, "{query}");
        }
        for query in analysis("elsewhere.*") {
            assert_eq!(prometheus.ask(&query), [0.0; 0], "{query}");
        }
    });
}

#[test]
fn every_panel_of_a_replays_dashboard_has_data() {
    // One at a time and one in the queue: it turns away most of the load, and no probe, which comes alone.
    let full = Server::sim(&[
        "--profile",
        "small",
        "--max-num-seqs",
        "1",
        "--max-waiting",
        "1",
    ]);
    let dir = tempfile::tempdir().unwrap();
    let trace = short_requests(dir.path(), 100);
    let (_replay, metrics) = endless_replay(&trace, &format!("a={}", full.url));
    let address = metrics.strip_prefix("http://").unwrap();
    let prometheus = Prometheus::start(dir.path(), address.strip_suffix("/metrics").unwrap());
    all_have_data(&prometheus, queries("replay"));
}

/// Ends the load however the test ends: a scope waits for its threads.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
