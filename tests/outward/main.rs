//! What a replay sends to other services when it is over, through the built binary, read by the services' own code.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod endpoint;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Output;

use endpoint::Endpoint;
use serde_json::{Value, json};
use support::traffic::short_requests;
use support::{Server, reenact};

/// Fidelity is no matter of these tests: the machine may be busy.
const LOOSE: [&str; 4] = ["--fidelity", "lateness=10s", "--fidelity", "ks=1"];
const SECRET: &str = "lsv2_very_secret";

fn replay(dir: &Path, requests: u64, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let trace = dir.join("trace.rt");
    if !trace.exists() {
        short_requests(dir, requests);
    }
    let mut command = reenact(["replay"]);
    command
        .arg(trace)
        .arg("--out")
        .arg(dir.join("out"))
        .args(LOOSE)
        .args(args);
    for variable in [
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_SERVICE_NAME",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "LANGSMITH_API_KEY",
        "LANGSMITH_ENDPOINT",
    ] {
        command.env_remove(variable);
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

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
fn a_service_for_spans_alone_is_sent_its_key_and_may_be_slow_or_take_a_part() {
    // One span of each batch rejected, told as OTLP tells it.
    const REJECTED: &[u8] = &[0x0a, 0x02, 0x08, 0x01];
    let dir = tempfile::tempdir().unwrap();
    let service = Endpoint::new(|path, before| match (path, before) {
        ("/otel/v1/metrics", _) => ("404 Not Found", b"nothing here"),
        (_, 0) => ("503 Service Unavailable\r\nRetry-After: 0", b""),
        _ => ("200 OK", REJECTED),
    });
    let sim = Server::sim(&["--profile", "fast"]);
    let output = replay(
        dir.path(),
        600,
        &[
            "--target",
            &sim.url,
            "--speed",
            "20",
            "--otlp",
            &format!("{}/otel", service.url),
        ],
        &[(
            "OTEL_EXPORTER_OTLP_HEADERS",
            &format!("x-api-key={SECRET},Langsmith-Project=gate"),
        )],
    );
    let said = stderr(&output);
    assert!(
        said.contains("took 599 spans and rejected 2; it takes no metrics"),
        "{said}"
    );
    assert!(!said.contains("warning: --otlp"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
    let received = service.received();
    let paths: Vec<&str> = received.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/otel/v1/traces",
            "/otel/v1/traces",
            "/otel/v1/traces",
            "/otel/v1/metrics"
        ],
        "the first batch twice, the second once"
    );
    for one in &received {
        assert!(
            one.head.contains(&format!("x-api-key: {SECRET}")),
            "{}",
            one.head
        );
        assert!(one.head.contains("langsmith-project: gate"), "{}", one.head);
    }
    let exports = service.read(dir.path(), "traces", "/otel/v1/traces");
    assert_eq!(exports[0], exports[1], "sent again, it has the same ids");
}

#[test]
fn a_service_that_knows_no_gzip_is_sent_spans_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let service = Endpoint::new(|_, before| match before {
        0 => ("415 Unsupported Media Type", b"what is this"),
        _ => ("200 OK", b""),
    });
    let sim = Server::sim(&["--profile", "fast"]);
    let output = replay(
        dir.path(),
        600,
        &[
            "--target",
            &sim.url,
            "--speed",
            "20",
            "--otlp",
            &service.url,
        ],
        &[],
    );
    let said = stderr(&output);
    assert!(said.contains("took 601 spans, and metrics"), "{said}");
    let received = service.received();
    let is_packed = |one: &endpoint::Received| one.head.contains("content-encoding");
    let packed: Vec<bool> = received.iter().map(is_packed).collect();
    assert_eq!(
        packed,
        [true, false, false, false],
        "once, and then no more"
    );
    let exports = service.read(dir.path(), "traces", "/v1/traces");
    assert_eq!(exports[0], exports[1], "it is the same batch");
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

#[test]
fn a_service_that_refuses_changes_nothing_of_the_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let service = Endpoint::new(|_, _| ("401 Unauthorized", b"who are you"));
    let sim = Server::sim(&["--profile", "fast"]);
    let output = replay(
        dir.path(),
        40,
        &[
            "--target",
            &sim.url,
            "--slo",
            "errors.rate<1%",
            "--otlp",
            &service.url,
            "--langsmith",
            "gates",
        ],
        &[
            ("OTEL_EXPORTER_OTLP_HEADERS", &format!("x-api-key={SECRET}")),
            ("LANGSMITH_API_KEY", SECRET),
            ("LANGSMITH_ENDPOINT", &service.url),
        ],
    );
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for told in [
        "warning: --otlp: ",
        "warning: --langsmith: ",
        "answered with status 401",
        "hint: the key is missing or wrong",
        "took 0 spans, then no more",
    ] {
        assert!(said.contains(told), "no {told:?} in {said}");
    }
    assert!(
        !said.contains(SECRET) && !said.contains("who are you"),
        "{said}"
    );
    assert_eq!(service.received().len(), 2, "refused is not tried again");
}

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

#[test]
fn what_cannot_be_sent_is_said_before_the_replay() {
    let dir = tempfile::tempdir().unwrap();
    let trace = short_requests(dir.path(), 4);
    let out = dir.path().join("out");
    let out = out.to_str().unwrap();
    let otlp = ["--otlp", "http://127.0.0.1:9"];
    let langsmith = ["--langsmith", "gates"];
    let cases: [(&[&str], &str, &str, &str); 5] = [
        (&otlp, "", "", "--otlp needs --out"),
        (
            &langsmith,
            "LANGSMITH_API_KEY",
            SECRET,
            "--langsmith needs --out",
        ),
        (
            &[&otlp[..], &["--out", out]].concat(),
            "OTEL_EXPORTER_OTLP_HEADERS",
            SECRET,
            "item 1 has no `=`",
        ),
        (
            &[&langsmith[..], &["--out", out]].concat(),
            "LANGSMITH_API_KEY",
            " ",
            "LANGSMITH_API_KEY is not set",
        ),
        (
            &["--otlp", "ftp://collector", "--out", out],
            "",
            "",
            "write http:// or https://",
        ),
    ];
    for (args, variable, value, why) in cases {
        let mut command = reenact(["replay"]);
        // Nobody listens there, and nobody is asked.
        command
            .arg(&trace)
            .args(["--target", "http://127.0.0.1:9"])
            .args(args);
        if !variable.is_empty() {
            command.env(variable, value);
        }
        let output = command.output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
        assert!(!said.contains(SECRET), "{said}");
        assert!(!dir.path().join("out").exists(), "{said}");
    }
}
