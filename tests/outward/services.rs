//! Services of every temper: slow, of parts, without gzip, and those that refuse.

use std::path::Path;

use crate::endpoint::{Endpoint, Received};
use crate::support::Server;
use crate::{SECRET, replay, stderr};

/// A replay at a server of its own: its exit code, and what it said.
fn replayed(
    dir: &Path,
    requests: u64,
    args: &[&str],
    variables: &[(&str, &str)],
) -> (Option<i32>, String) {
    let sim = Server::sim(&["--profile", "fast"]);
    let target = ["--target", &sim.url];
    let output = replay(dir, requests, &[&target[..], args].concat(), variables);
    (output.status.code(), stderr(&output))
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
    let (_, said) = replayed(
        dir.path(),
        600,
        &["--speed", "20", "--otlp", &format!("{}/otel", service.url)],
        &[(
            "OTEL_EXPORTER_OTLP_HEADERS",
            &format!("x-api-key={SECRET},Langsmith-Project=gate"),
        )],
    );
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
fn langfuse_is_sent_what_it_tells_its_users_by() {
    // docs/observability.md has the line: BASE64 is of the two keys.
    const KEYS: &str = "cGstbGYtMTI6c2stbGYtVmVyeQ==";
    let dir = tempfile::tempdir().unwrap();
    let langfuse = Endpoint::new(|path, _| match path {
        "/api/public/otel/v1/traces" => ("200 OK", b""),
        _ => ("404 Not Found", b"{}"),
    });
    let (_, said) = replayed(
        dir.path(),
        40,
        &["--otlp", &format!("{}/api/public/otel", langfuse.url)],
        &[(
            "OTEL_EXPORTER_OTLP_HEADERS",
            &format!("Authorization=Basic%20{KEYS},x-langfuse-ingestion-version=4"),
        )],
    );
    assert!(
        said.contains("took 41 spans; it takes no metrics"),
        "{said}"
    );
    assert!(!said.contains(KEYS), "{said}");
    let received = langfuse.received();
    assert_eq!(received.len(), 2, "spans, and metrics once");
    for one in &received {
        let basic = format!("Basic {KEYS}");
        assert_eq!(one.header("authorization"), Some(basic.as_str()));
        assert_eq!(one.header("x-langfuse-ingestion-version"), Some("4"));
        assert_eq!(one.header("content-type"), Some("application/x-protobuf"));
    }
    let exports = langfuse.read(dir.path(), "traces", "/api/public/otel/v1/traces");
    let text = exports[0].to_string();
    assert!(text.contains("langfuse.observation.type"), "{text}");
}

#[test]
fn a_service_that_knows_no_gzip_is_sent_spans_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let service = Endpoint::new(|_, before| match before {
        0 => ("415 Unsupported Media Type", b"what is this"),
        _ => ("200 OK", b""),
    });
    let (_, said) = replayed(
        dir.path(),
        600,
        &["--speed", "20", "--otlp", &service.url],
        &[],
    );
    assert!(said.contains("took 601 spans, and metrics"), "{said}");
    let received = service.received();
    let is_packed = |one: &Received| one.head.contains("content-encoding");
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
fn a_service_that_refuses_changes_nothing_of_the_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let service = Endpoint::new(|_, _| ("401 Unauthorized", b"who are you"));
    let (code, said) = replayed(
        dir.path(),
        40,
        &[
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
    assert_eq!(code, Some(0), "{said}");
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
