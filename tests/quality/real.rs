//! The real promptfoo.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::front::{front, question, saying};
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
#[ignore = "needs promptfoo (2 GB of npm, Node 22.22): npm install promptfoo, and its program in REENACT_PROMPTFOO"]
fn a_real_promptfoo_runs_as_its_user_wrote_it() {
    if is_missing() {
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

/// Tests that pass, fail and cannot be judged, with a grader that the user has set.
const MIXED: &str = "
prompts: ['hello promptfoo: {{topic}}']
providers: [openai:chat:gpt-4o-mini]
defaultTest:
  options:
    provider:
      id: openai:chat:judge
      config: { apiBaseUrl: 'JUDGE/v1', apiKeyEnvar: GRADER_API_KEY }
tests:
  - vars: { topic: bananas }
    assert: [{ type: contains, value: banana }, { type: llm-rubric, value: is polite }]
  - vars: { topic: pears }
    assert: [{ type: contains, value: pear }]
  - vars: { topic: broken }
    assert: [{ type: contains, value: banana }]
";

#[test]
#[ignore = "needs promptfoo, as above"]
fn a_real_promptfoos_failures_errors_repeats_and_grader_are_told_apart() {
    if is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 2000);
    let sim = Server::sim(&["--profile", "fast"]);
    // Each question of an evaluation is refused the first time, as by a server that is busy.
    let asked: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    let count = Arc::clone(&asked);
    let target = front(&sim, move |_, body| {
        let question = question(body).filter(|it| it.starts_with("hello promptfoo"))?;
        let mut asked = count.lock().unwrap();
        let times = asked.entry(question.clone()).or_default();
        *times += 1;
        if !times.is_multiple_of(2) {
            return Some(("429 Too Many Requests\r\nretry-after: 0", String::new()));
        }
        if question.contains("broken") {
            return Some(("400 Bad Request", "{}".to_owned()));
        }
        Some(saying("A banana for you."))
    });
    let judged = Arc::new(Mutex::new(Vec::new()));
    let judgements = Arc::clone(&judged);
    let judge = front(&sim, move |head, body| {
        let has_own_key = head.contains("authorization: bearer grader");
        let question = question(body).unwrap();
        judgements.lock().unwrap().push((has_own_key, question));
        Some(saying(
            r#"{"pass": true, "score": 0.5, "reason": "polite"}"#,
        ))
    });
    let config = dir.path().join("promptfooconfig.yaml");
    std::fs::write(&config, MIXED.replace("JUDGE", &judge)).unwrap();
    let objective = "quality.pass_rate>=30%";
    let probe = format!("promptfoo:{}", config.display());
    let args = ["--target", &target, "--no-keep-alive", "--probe", &probe];
    let mut command = reenact(["replay", "--slo", objective]);
    let (_, document) = replay(command.env("GRADER_API_KEY", "grader"), &trace, &args);
    let quality = &document["targets"][0]["quality"];
    assert!(quality.get("problems").is_none(), "{quality:#}");
    for phase in ["idle", "loaded"] {
        let told = &quality[phase];
        for (field, value) in [
            ("n", 3),
            ("passed", 1),
            ("failed", 1),
            ("errors", 1),
            // Nothing comes from a cache the second time.
            ("requests", 6),
            ("refused", 3),
        ] {
            assert_eq!(told[field], value, "{field}: {quality:#}");
        }
        assert_eq!(told["checks"]["contains"], serde_json::json!([2, 1]));
        assert_eq!(told["checks"]["llm-rubric"], serde_json::json!([1, 1]));
    }
    let remark = quality["remarks"].to_string();
    assert!(remark.contains("refused 3 requests (429)"), "{remark}");
    assert_eq!(status(&document, objective).0, "pass");
    assert!(asked.lock().unwrap().values().all(|times| *times == 4));
    // The grader was asked under its own key, and not the target.
    let judged = judged.lock().unwrap();
    assert_eq!(judged.len(), 2, "{judged:?}");
    for (has_own_key, question) in judged.iter() {
        assert!(*has_own_key && question.contains("is polite"), "{question}");
    }
}

fn is_missing() -> bool {
    let missing = std::env::var_os("REENACT_PROMPTFOO").is_none();
    if missing {
        skipped("REENACT_PROMPTFOO names no promptfoo");
    }
    missing
}
