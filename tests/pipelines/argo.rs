//! The question that Argo Rollouts puts to a gate, with the template's arguments filled in as Argo does.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value;

use super::shipped;
use super::support::traffic::short_requests;
use super::support::{Server, answered, http, reenact, yaml};

/// A template of Argo's by its name.
fn template(name: &str) -> Value {
    let templates = yaml(&shipped("argo-rollouts/analysis.yaml"));
    let named = |one: &Value| one["metadata"]["name"] == name;
    templates.into_iter().find(named).unwrap()
}

/// A part of a template with its arguments filled in, all of which it has to declare.
fn filled(template: &Value, part: &str, arguments: &BTreeMap<&str, &str>) -> Value {
    let declared = template["spec"]["args"].as_array().unwrap();
    let part = template.pointer(part).unwrap().to_string();
    let text = declared.iter().fold(part, |text, argument| {
        let name = argument["name"].as_str().unwrap();
        text.replace(&format!("{{{{args.{name}}}}}"), arguments[name])
    });
    assert!(!text.contains("{{"), "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn argos_question_is_one_that_a_gate_answers() {
    let sims = [(); 2].map(|()| Server::sim(&["--profile", "fast"]));
    let dir = tempfile::tempdir().unwrap();
    let trace = short_requests(dir.path(), 50);
    let token = dir.path().join("token");
    std::fs::write(&token, "s3cret").unwrap();
    let mut command = reenact(["gate", "--listen", "127.0.0.1:0", "--results"]);
    command
        .arg(dir.path().join("results"))
        .args(["--allow-target", "127.0.0.1", "--token-file"])
        .arg(&token)
        .arg("--")
        .arg(&trace)
        .args(["--slo", "errors.rate<1%", "--fidelity", "lateness=10s"])
        .args(["--fidelity", "ks=1"]);
    let gate = Server::launch_with(&mut command, Stdio::null());

    let template = template("reenact-gate");
    let arguments = BTreeMap::from([
        ("stable", sims[0].url.as_str()),
        ("canary", &sims[1].url),
        ("key", "85d557f47b"),
        ("gate", &gate.url),
        ("token", "s3cret"),
    ]);
    let web = filled(&template, "/spec/metrics/0/provider/web", &arguments);
    assert_eq!(web["method"], "POST");
    let headers = web["headers"].as_array().unwrap().iter();
    let headers: Vec<(&str, &str)> = headers
        .map(|header| {
            (
                header["key"].as_str().unwrap(),
                header["value"].as_str().unwrap(),
            )
        })
        .collect();
    let path = web["url"]
        .as_str()
        .unwrap()
        .strip_prefix(&gate.url)
        .unwrap();
    let body = web["jsonBody"].to_string();
    let ask = |headers: &[(&str, &str)]| {
        let answer = http::send(&gate.url, &http::post(path, headers, &body));
        let text = String::from_utf8(answer.clone()).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        (http::status(&answer), body.to_owned())
    };
    assert_eq!(ask(&[]).0, 401, "the token is the template's to bring");
    // An error to Argo, which measures nothing until there is a verdict.
    assert_eq!(ask(&headers).0, 503);
    let told = answered(|| match ask(&headers) {
        (200, body) => Ok(body),
        (503, body) => Err(body),
        (other, body) => panic!("{other}: {body}"),
    });
    let told: Value = serde_json::from_str(&told).unwrap();
    let targets = format!("stable={},canary={}", sims[0].url, sims[1].url);
    let asked: Vec<&str> = targets.split(',').collect();
    assert_eq!(told["targets"], serde_json::json!(asked));
    // `{$.state}`, and `result == "passed"`.
    let state = web["jsonPath"].as_str().unwrap();
    let state = state
        .strip_prefix("{$.")
        .unwrap()
        .strip_suffix('}')
        .unwrap();
    let condition = &template["spec"]["metrics"][0]["successCondition"];
    assert_eq!(*condition, format!("result == {}", told[state]));
    assert_eq!(told[state], "passed", "{told}");
}
