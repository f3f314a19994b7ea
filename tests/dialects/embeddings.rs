//! Requests whose answers are no tokens, recorded, replayed against a simulated server and recorded again.

use serde_json::{Value, json};

use super::support::{Server, exchanges, http, reenact};

const TEXTS: [&str; 3] = [
    r#""a text to be placed among others""#,
    r#"["one of two texts", "and the other, which is longer"]"#,
    r#"["the last of them"]"#,
];

#[test]
fn embeddings_are_replayed_though_nothing_is_generated() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let sim = Server::sim(&["--profile", "fast"]);
    let recorder = Server::recorder(&sim.url, &at("first"), &[]);
    for text in TEXTS {
        let body = format!(
            "{{\"model\":\"sim\",\"input\":{text},\"dimensions\":8,\"encoding_format\":\"float\"}}"
        );
        let answer = http::send(&recorder.url, &http::post("/v1/embeddings", &[], &body));
        assert_eq!(http::status(&answer), 200);
    }
    assert!(recorder.terminate().0.success());
    let recorder = Server::recorder(&sim.url, &at("second"), &[]);
    let output = reenact([
        "replay",
        "--target",
        &recorder.url,
        "--slo",
        "e2e.p99<60s",
        // So that they arrive in their order, which is all that tells which is which.
        "--connections",
        "1",
        "--out",
    ])
    .args([at("out"), at("first")])
    .output()
    .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Exit code 4 says that the machine was too busy to pace.
    assert!(matches!(output.status.code(), Some(0 | 4)), "{said}");
    assert!(recorder.terminate().0.success());

    let (first, second) = (exchanges(&at("first")), exchanges(&at("second")));
    assert_eq!((first.len(), second.len()), (3, 3));
    for (before, after) in first.iter().zip(&second) {
        for pointer in [
            "/endpoint",
            "/request/messages",
            "/request/prompt_tokens",
            "/request/params",
            "/response/status",
        ] {
            assert_eq!(before.pointer(pointer), after.pointer(pointer), "{pointer}");
        }
        assert_eq!(before["endpoint"], "embeddings");
        assert_eq!(before["request"]["prompt_tokens"]["source"], "usage");
        assert_eq!(before["response"]["output_tokens"], Value::Null);
    }
    let result = std::fs::read(at("out").join("result.json")).unwrap();
    let result: Value = serde_json::from_slice(&result).unwrap();
    let target = &result["targets"][0];
    assert_eq!(target["requests"]["ok"], json!(3), "{target:#}");
    assert_eq!(target["latency"]["e2e_ms"]["count"], json!(3));
    for unknown in ["ttft_ms", "itl_ms", "tpot_ms"] {
        assert_eq!(target["latency"][unknown], Value::Null, "{unknown}");
    }
    assert_eq!(target["throughput"]["output_tokens_per_s"], Value::Null);
}
