//! Spans and metrics, one span for each request or for a sample of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::endpoint::Endpoint;
use crate::support::Server;
use crate::{replay, stderr};

/// Attributes as plain values.
fn attributes(of: &Value) -> BTreeMap<String, Value> {
    let plain = |value: &Value| {
        let (_, plain) = value.as_object().unwrap().iter().next().unwrap();
        plain.clone()
    };
    let pairs = of["attributes"].as_array().into_iter().flatten();
    pairs
        .map(|pair| {
            let key = pair["key"].as_str().unwrap().to_owned();
            (key, plain(&pair["value"]))
        })
        .collect()
}

fn spans(exports: &[Value]) -> Vec<Value> {
    let exports = exports.iter();
    exports
        .flat_map(|export| {
            let spans = &export["resourceSpans"][0]["scopeSpans"][0]["spans"];
            spans.as_array().unwrap().clone()
        })
        .collect()
}

fn nanos(span: &Value, edge: &str) -> u64 {
    span[edge].as_str().unwrap().parse().unwrap()
}

#[test]
fn every_request_is_a_span_that_opentelemetry_reads_and_says_nothing_of_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Endpoint::taking();
    let sim = Server::sim(&[
        "--profile",
        "fast",
        "--model",
        "m-7b",
        "--error-rate",
        "20%",
    ]);
    let output = replay(
        dir.path(),
        60,
        &[
            "--target",
            &format!("candidate={}", sim.url),
            "--otlp",
            &collector.url,
        ],
        &[
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue%20team"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=ci"),
        ],
    );
    let said = stderr(&output);
    assert!(said.contains("took 61 spans, and metrics"), "{said}");
    for one in collector.received() {
        assert!(one.head.contains("x-tenant: blue team"), "{}", one.head);
        assert!(
            one.head.contains("content-type: application/x-protobuf"),
            "{}",
            one.head
        );
    }
    let spans_sent = collector.received().remove(0);
    assert!(
        spans_sent.head.contains("content-encoding: gzip"),
        "{}",
        spans_sent.head
    );
    let exports = collector.read(dir.path(), "traces", "/v1/traces");
    let resource = attributes(&exports[0]["resourceSpans"][0]["resource"]);
    assert_eq!(resource["service.name"], "reenact");
    assert_eq!(resource["deployment.environment.name"], "ci");
    let spans = spans(&exports);
    let (requests, runs): (Vec<_>, Vec<_>) = spans
        .iter()
        .partition(|span| span["kind"] == "SPAN_KIND_CLIENT");
    assert_eq!((requests.len(), runs.len()), (60, 1));
    let ids: BTreeSet<_> = spans.iter().map(|span| span["traceId"].as_str()).collect();
    assert_eq!(ids.len(), 61, "each is a trace of its own");
    let document: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("out/result.json")).unwrap())
            .unwrap();
    let counts = &document["targets"][0]["requests"];
    let port = sim.url.rsplit(':').next().unwrap();
    let mut failed = 0;
    for span in requests {
        let told = attributes(span);
        assert_eq!(span["name"], "chat m-7b");
        assert_eq!(told["gen_ai.operation.name"], "chat");
        assert_eq!(told["gen_ai.provider.name"], told["gen_ai.system"]);
        assert_eq!(told["gen_ai.request.model"], "m-7b");
        assert_eq!(told["server.address"], "127.0.0.1");
        assert_eq!(told["server.port"], port);
        assert_eq!(told["reenact.target"], "candidate");
        assert_eq!(told["openinference.span.kind"], "LLM");
        assert_eq!(span["links"][0]["spanId"], runs[0]["spanId"]);
        let (start, end) = (
            nanos(span, "startTimeUnixNano"),
            nanos(span, "endTimeUnixNano"),
        );
        assert!(
            nanos(runs[0], "startTimeUnixNano") <= start && start < end,
            "{span:#}"
        );
        assert!(end <= nanos(runs[0], "endTimeUnixNano"), "{span:#}");
        if span["status"]["code"] == "STATUS_CODE_ERROR" {
            failed += 1;
            assert_eq!(told["error.type"], "server_error");
            assert_eq!(told["http.response.status_code"], "500");
            continue;
        }
        assert!(!told.contains_key("error.type"));
        assert_eq!(told["gen_ai.usage.output_tokens"], "8");
        let input: u64 = told["gen_ai.usage.input_tokens"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((24..=40).contains(&input), "{input}");
        assert_eq!(
            told["gen_ai.response.finish_reasons"],
            json!({"values": [{"stringValue": "length"}]})
        );
        let ttft = told["gen_ai.server.time_to_first_token"].as_f64().unwrap();
        assert!(ttft > 0.0 && ttft < 60.0, "{ttft}");
        let first = nanos(&span["events"][0], "timeUnixNano");
        assert!((start..=end).contains(&first), "{span:#}");
    }
    assert!(failed > 0, "one in five fails");
    assert_eq!(counts["failed"], failed);
    let run = attributes(runs[0]);
    assert_eq!(run["reenact.requests.failed"], failed.to_string());

    let metrics = collector.read(dir.path(), "metrics", "/v1/metrics");
    let metrics = metrics[0]["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
        .as_array()
        .unwrap();
    let points = |name: &str| {
        let one = metrics.iter().find(|metric| metric["name"] == name);
        let histogram = &one.unwrap_or_else(|| panic!("no {name}"))["histogram"];
        assert_eq!(
            histogram["aggregationTemporality"],
            "AGGREGATION_TEMPORALITY_CUMULATIVE"
        );
        histogram["dataPoints"].as_array().unwrap().clone()
    };
    let count = |point: &Value| -> u64 { point["count"].as_str().unwrap().parse().unwrap() };
    let durations = points("gen_ai.client.operation.duration");
    let by_error: BTreeMap<_, _> = durations
        .iter()
        .map(|point| {
            (
                attributes(point)
                    .get("error.type")
                    .cloned()
                    .map(|kind| kind.to_string()),
                count(point),
            )
        })
        .collect();
    assert_eq!(by_error[&None], 60 - failed);
    assert_eq!(by_error[&Some("\"server_error\"".to_owned())], failed);
    for point in &durations {
        let buckets = point["bucketCounts"].as_array().unwrap();
        let held: u64 = buckets
            .iter()
            .map(|one| one.as_str().unwrap().parse::<u64>().unwrap())
            .sum();
        assert_eq!(held, count(point));
        assert_eq!(
            buckets.len(),
            point["explicitBounds"].as_array().unwrap().len() + 1
        );
    }
    let output_tokens = points("gen_ai.client.token.usage")
        .into_iter()
        .find(|point| attributes(point)["gen_ai.token.type"] == "output")
        .unwrap();
    assert_eq!(output_tokens["sum"], (60 - failed) as f64 * 8.0);
    assert_eq!(
        count(&points("gen_ai.server.time_to_first_token")[0]),
        60 - failed
    );
}

#[test]
fn a_sample_is_of_the_same_requests_for_every_target_and_has_all_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let sound = Server::sim(&["--profile", "fast"]);
    let failing = Server::sim(&["--profile", "fast", "--error-rate", "10%"]);
    let seen = |share: &str| {
        let collector = Endpoint::taking();
        let output = replay(
            dir.path(),
            200,
            &[
                "--target",
                &format!("sound={}", sound.url),
                "--target",
                &format!("failing={}", failing.url),
                "--speed",
                "10",
                "--otlp",
                &collector.url,
                "--otlp-sample",
                share,
            ],
            &[],
        );
        let said = stderr(&output);
        let exports = collector.read(dir.path(), "traces", "/v1/traces");
        let metrics = collector.read(dir.path(), "metrics", "/v1/metrics");
        let mut kept: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        let mut failed = 0;
        for span in spans(&exports) {
            let told = attributes(&span);
            let target = told["reenact.target"].as_str().unwrap().to_owned();
            let Some(index) = told.get("reenact.index") else {
                assert_eq!(told["reenact.requests"], "200", "a run tells of all");
                continue;
            };
            if told.contains_key("error.type") {
                failed += 1;
            } else {
                let index = index.as_str().unwrap().parse().unwrap();
                kept.entry(target).or_default().insert(index);
            }
        }
        let metrics = metrics[0].to_string();
        let document = std::fs::read(dir.path().join("out/result.json")).unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        std::fs::remove_dir_all(dir.path().join("out")).unwrap();
        let all_failed: u64 = document["targets"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|target| target["requests"]["failed"].as_u64())
            .sum();
        assert_eq!(failed, all_failed, "what failed is there in any case");
        assert!(failed > 0 && metrics.contains("\"200\""), "{metrics}");
        (kept, said)
    };
    let (few, said) = seen("20%");
    assert!(said.contains("a sample of 20 %, of 400 requests"), "{said}");
    let (more, _) = seen("60%");
    let (sound, failing) = (&few["sound"], &few["failing"]);
    assert!((15..=70).contains(&sound.len()), "{}", sound.len());
    assert!(failing.is_subset(sound) && sound.is_subset(&more["sound"]));
    assert!(more["sound"].len() > sound.len());
    assert!(sound.len() - failing.len() < sound.len() / 2, "{few:?}");
}
