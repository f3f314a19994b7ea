//! The real promptfoo.

use super::support::{Server, reenact, skipped};
use super::{replay, status, trace};

/// The example that users come with: two prompts, two providers, an assertion on latency and one in JavaScript.
const CONFIG: &str = "
prompts:
  - 'Write a tweet about {{topic}}'
  - 'Write a concise, funny tweet about {{topic}}'
providers:
  - openai:chat:gpt-4o-mini
  - anthropic:messages:claude-3-5-haiku-20241022
defaultTest:
  assert:
    - type: latency
      threshold: 5000
    - type: javascript
      value: output.length < 500
tests:
  - vars: { topic: bananas }
  - vars: { topic: avocado toast }
";

#[test]
#[ignore = "needs promptfoo (1.4 GB of npm): npm install promptfoo, and its program in REENACT_PROMPTFOO"]
fn a_real_promptfoo_runs_as_its_user_wrote_it() {
    if std::env::var_os("REENACT_PROMPTFOO").is_none() {
        skipped("REENACT_PROMPTFOO names no promptfoo");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 2000);
    let config = dir.path().join("promptfooconfig.yaml");
    std::fs::write(&config, CONFIG).unwrap();
    let sims = [(); 2].map(|()| Server::sim(&["--profile", "fast"]));
    let key = dir.path().join("key");
    std::fs::write(&key, "s3cret").unwrap();
    let (output, document) = replay(
        &mut reenact(["replay"]),
        &trace,
        &[
            "--target",
            &format!("stable={}", sims[0].url),
            "--target",
            &format!("candidate={}", sims[1].url),
            "--api-key-file",
            key.to_str().unwrap(),
            "--probe",
            &format!("promptfoo:{}", config.display()),
            "--slo",
            "quality.pass_rate>=90%",
            "--slo",
            "quality.pass_rate>-5%",
        ],
    );
    for target in 0..2 {
        let quality = &document["targets"][target]["quality"];
        for phase in ["idle", "loaded"] {
            assert_eq!(quality[phase]["n"], 8, "{quality:#}");
            assert_eq!(quality[phase]["passed"], 8, "{quality:#}");
            assert_eq!(quality[phase]["requests"], 8, "{quality:#}");
            assert_eq!(
                quality[phase]["checks"]["latency"],
                serde_json::json!([8, 8])
            );
            assert_eq!(
                quality[phase]["checks"]["javascript"],
                serde_json::json!([8, 8])
            );
        }
        assert!(quality.get("problems").is_none(), "{quality:#}");
    }
    assert_eq!(status(&document, "quality.pass_rate>=90%").0, "pass");
    assert_eq!(status(&document, "quality.pass_rate>-5%").0, "pass");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("s3cret"));
}
