use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use super::server::{Seen, Server, Step, answer};
use super::*;
use crate::shape::{Endpoint, ToolsShape};

const OPTIONS: CalibrateOptions = CalibrateOptions {
    connect_timeout: Duration::from_secs(2),
    probe_timeout: Duration::from_millis(200),
    seed: 1,
};

fn needs() -> BTreeMap<Endpoint, EndpointNeeds> {
    [(Endpoint::ChatCompletions, EndpointNeeds::default())].into()
}

/// Counts as a chat model does: a token for each word, 4 for each message, 3 for the turn, 20 for each tool.
fn chat(seen: &Seen, takes_extras: bool) -> Vec<Step> {
    if seen.head.starts_with("GET /v1/models") {
        let models = r#"{"object":"list","data":[{"id":"first"},{"id":"second"}]}"#;
        return vec![answer(200, "", models)];
    }
    let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    if !takes_extras && body.get("min_tokens").is_some() {
        return vec![answer(400, "", r#"{"error":{"message":"min_tokens"}}"#)];
    }
    let messages = body["messages"].as_array().unwrap();
    let words: usize = messages
        .iter()
        .map(|m| m["content"].as_str().unwrap().split_whitespace().count())
        .sum();
    let tools = body
        .get("tools")
        .map_or(0, |tools| tools.as_array().unwrap().len());
    let prompt = words + 4 * messages.len() + 3 + 20 * tools;
    let output = body["max_tokens"]
        .as_u64()
        .or_else(|| body["max_completion_tokens"].as_u64())
        .unwrap();
    vec![answer(
        200,
        "",
        &format!(
            r#"{{"choices":[{{"message":{{"content":"x"}},"finish_reason":"length"}}],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{output}}}}}"#
        ),
    )]
}

fn problem(script: Vec<Step>) -> TargetError {
    let server = Server::start(move |_| script.clone());
    calibrate(&target(&server.url()), &needs(), &OPTIONS).unwrap_err()
}

#[test]
fn a_targets_way_of_counting_is_learned() {
    let server = Server::start(|seen| chat(seen, true));
    let mut target = target(&server.url());
    target.model = None;
    let tools = ToolsShape {
        count: 2,
        bytes: 300,
    };
    let needs = [(
        Endpoint::ChatCompletions,
        EndpointNeeds {
            requests: 1,
            tools: vec![tools],
        },
    )];
    let found = calibrate(&target, &needs.into(), &OPTIONS).unwrap();
    assert_eq!(found.model, "first");
    let endpoint = found.of(Endpoint::ChatCompletions);
    assert!(endpoint.exact_length);
    assert_eq!(
        endpoint.costs,
        TokenCosts {
            fixed: 3,
            per_message: 4,
            system: 0,
            per_word: 1.0,
            tools: vec![(tools, 40)],
            measured: true,
        }
    );
    let probes = server.seen();
    assert!(
        probes
            .iter()
            .all(|seen| seen.head.contains("x-reenact-probe: 1"))
    );
    assert_eq!(found.probes as usize, probes.len() - 1);
}

#[test]
fn an_engine_that_refuses_forced_lengths_is_only_capped() {
    let server = Server::start(|seen| chat(seen, false));
    let found = calibrate(&target(&server.url()), &needs(), &OPTIONS).unwrap();
    assert!(!found.of(Endpoint::ChatCompletions).exact_length);
}

#[test]
fn every_way_of_not_being_a_target_has_its_own_message() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}");
    let unreachable = calibrate(&target(&url), &needs(), &OPTIONS).unwrap_err();
    assert!(matches!(unreachable.problem, Problem::Unreachable(_)));
    let text = unreachable.to_string();
    assert!(
        text.contains("`candidate`") && text.contains(&url),
        "{text}"
    );

    assert!(matches!(
        problem(vec![Step::Reset]).problem,
        Problem::Reset(_)
    ));
    assert!(matches!(
        problem(vec![Step::Hang]).problem,
        Problem::Silent { .. }
    ));
    let mail = problem(vec![Step::Say("220 mail\r\n\r\n".into()), Step::Close]);
    assert!(matches!(mail.problem, Problem::NotHttp));
    let refused = problem(vec![answer(401, "", "{}")]);
    assert!(matches!(
        refused.problem,
        Problem::Refused { status: 401, .. }
    ));
    assert!(refused.hint().contains("key"));
    let page = problem(vec![Step::Say(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\n<p>hi".into(),
    )]);
    assert!(matches!(page.problem, Problem::Foreign { .. }));
}

#[test]
fn a_target_without_a_list_of_models_wants_one_named() {
    let server = Server::start(|_| vec![answer(404, "", "{}")]);
    let mut target = target(&server.url());
    target.model = None;
    let error = calibrate(&target, &needs(), &OPTIONS).unwrap_err();
    assert!(matches!(error.problem, Problem::NoModel));
    assert!(error.hint().contains("--model"));
}
