use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::server::{Seen, Server, Step, answer, refusing};
use super::*;
use crate::anonymise::PromptTokenizer;
use crate::replay::calibrate::{self, VocabularySource};
use crate::shape::{Endpoint, ToolsShape};

fn options() -> CalibrateOptions {
    CalibrateOptions {
        connect_timeout: Duration::from_secs(2),
        probe_timeout: Duration::from_millis(200),
        ready_timeout: Duration::ZERO,
        seed: 1,
        prompts: PromptOptions::default(),
    }
}

/// Asks, and waits for nobody to be ready.
fn calibrate(
    target: &Target,
    needs: &BTreeMap<Endpoint, EndpointNeeds>,
    options: &CalibrateOptions,
) -> Result<Calibration, TargetError> {
    calibrate::calibrate(target, needs, options, &Stop::default(), &|_, _| ())
}

fn needs() -> BTreeMap<Endpoint, EndpointNeeds> {
    [(Endpoint::ChatCompletions, EndpointNeeds::default())].into()
}

/// Counts as a chat model does: a token for each word, 4 for each message, 3 for the turn, 20 for each tool.
fn chat(seen: &Seen, takes_extras: bool) -> Vec<Step> {
    if seen.head.starts_with("GET /v1/models") {
        let models = r#"{"object":"list","data":[{"id":"first"},{"id":"second"}]}"#;
        return vec![answer(200, "", models)];
    }
    if !seen.head.starts_with("POST /v1/chat/completions") {
        return vec![answer(404, "", "{}")];
    }
    let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    let forced = body.get("min_tokens").or(body.get("ignore_eos"));
    if !takes_extras && forced.is_some() {
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
    // Ends by itself after ten tokens.
    let most = body["max_tokens"].as_u64().unwrap();
    let output = if forced.is_some() { most } else { most.min(10) };
    vec![answer(
        200,
        "",
        &format!(
            r#"{{"choices":[{{"message":{{"content":"x"}},"finish_reason":"length"}}],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{output}}}}}"#
        ),
    )]
}

#[test]
fn every_probe_carries_the_headers_that_the_user_gave() {
    let server = Server::start(|seen| chat(seen, true));
    let mut target = target(&server.url());
    target.model = None;
    target.headers.add("x-tenant", "blue").unwrap();
    calibrate(&target, &needs(), &options()).unwrap();
    let probes = server.seen();
    for path in ["GET /v1/models", "POST /tokenize", "POST /v1/chat"] {
        assert!(probes.iter().any(|it| it.head.starts_with(path)), "{path}");
    }
    for probe in probes {
        assert!(probe.head.contains("x-tenant: blue"), "{}", probe.head);
    }
}

fn problem(script: Vec<Step>) -> TargetError {
    let server = Server::start(move |_| script.clone());
    calibrate(&target(&server.url()), &needs(), &options()).unwrap_err()
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
            ..EndpointNeeds::default()
        },
    )];
    let found = calibrate(&target, &needs.into(), &options()).unwrap();
    assert_eq!(found.model, "first");
    let endpoint = found.of(Endpoint::ChatCompletions);
    assert_eq!(
        (&endpoint.forced, endpoint.forced_shown),
        (&Forced::Both, true)
    );
    assert_eq!(endpoint.send_as, None);
    assert_eq!(found.vocabulary.source, VocabularySource::Counts);
    assert_eq!(found.vocabulary.dropped, 0);
    assert_eq!(
        endpoint.costs,
        TokenCosts {
            fixed: 3,
            per_message: 4,
            system: 0,
            per_word: 1.0,
            tools: vec![(tools, 40)],
            media: Vec::new(),
            measured: true,
        }
    );
    let probes = server.seen();
    assert!(
        probes
            .iter()
            .all(|seen| seen.head.contains("x-reenact-probe: 1"))
    );
    // Beside the list of models and `/tokenize`.
    assert_eq!(found.probes as usize, probes.len() - 2);
}

#[test]
fn an_engine_that_refuses_forced_lengths_is_only_capped() {
    let server = Server::start(|seen| chat(seen, false));
    let found = calibrate(&target(&server.url()), &needs(), &options()).unwrap();
    assert!(!found.of(Endpoint::ChatCompletions).is_exact());
}

#[test]
fn a_target_that_says_nothing_does_not_hold_up_whoever_wants_to_stop() {
    let server = Server::start(|_| vec![Step::Hang]);
    let stop = Stop::default();
    stop.request();
    let patient = CalibrateOptions {
        probe_timeout: Duration::from_secs(3600),
        ..options()
    };
    let target = target(&server.url());
    let stopped = calibrate::calibrate(&target, &needs(), &patient, &stop, &|_, _| ());
    assert!(matches!(stopped.unwrap_err().problem, Problem::Stopped));
}

#[test]
fn every_way_of_not_being_a_target_has_its_own_message() {
    let (_held, url) = refusing();
    let unreachable = calibrate(&target(&url), &needs(), &options()).unwrap_err();
    assert!(matches!(unreachable.problem, Problem::Absent(_)));
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
    let error = calibrate(&target, &needs(), &options()).unwrap_err();
    assert!(matches!(error.problem, Problem::NoModel));
    assert!(error.hint().contains("--model"));
}

/// Counts as [`chat`] does, but splits the words that `splits` says.
fn splitting(seen: &Seen, splits: fn(&str) -> bool) -> Vec<Step> {
    let mut plain = chat(seen, true);
    let Ok(body) = serde_json::from_str::<serde_json::Value>(&seen.body) else {
        return plain;
    };
    let words = body["messages"].as_array().into_iter().flatten();
    let more = words
        .flat_map(|message| message["content"].as_str().unwrap().split_whitespace())
        .filter(|word| splits(word))
        .count();
    if let Some(Step::Say(text)) = plain.first_mut() {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        if let Ok(mut body) = serde_json::from_str::<serde_json::Value>(body) {
            let told = &mut body["usage"]["prompt_tokens"];
            if let Some(count) = told.as_u64() {
                *told = (count + more as u64).into();
                let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
                plain = vec![answer(status, "", &body.to_string())];
            }
        }
    }
    plain
}

#[test]
fn words_that_the_target_splits_are_found_and_left_out() {
    let server = Server::start(|seen| splitting(seen, |word| word.starts_with("qu")));
    let found = calibrate(&target(&server.url()), &needs(), &options()).unwrap();
    let split = Words::house().count() - found.words.count();
    assert!(split > 0 && found.vocabulary.dropped == split);
    assert!(!found.words.all().any(|word| word.starts_with("qu")));
    // Their neighbours may go with them.
    assert!(found.words.count() > Words::house().count() / 2);
    assert_eq!(found.of(Endpoint::ChatCompletions).costs.per_word, 1.0);
}

#[test]
fn a_vocabulary_that_splits_most_words_is_met_by_a_slope() {
    let server = Server::start(|seen| splitting(seen, |word| word.len() > 3));
    let found = calibrate(&target(&server.url()), &needs(), &options()).unwrap();
    assert_eq!(found.vocabulary.dropped, 0);
    let slope = found.of(Endpoint::ChatCompletions).costs.per_word;
    assert!(slope > 1.4 && slope < 2.0, "{slope}");
}

#[test]
fn where_the_recorded_endpoint_is_lacking_another_of_its_kind_is_asked() {
    let server = Server::start(|seen| chat(seen, true));
    let needs = [(Endpoint::Messages, EndpointNeeds::default())].into();
    let found = calibrate(&target(&server.url()), &needs, &options()).unwrap();
    let endpoint = found.of(Endpoint::Messages);
    assert_eq!(endpoint.send_as, Some(Endpoint::ChatCompletions));
    assert_eq!(endpoint.costs.per_message, 4);
}

#[test]
fn an_endpoint_that_the_user_named_is_not_swapped() {
    let server = Server::start(|seen| chat(seen, true));
    let mut options = options();
    options.prompts.send_as = Some(Endpoint::OllamaChat);
    let error = calibrate(&target(&server.url()), &needs(), &options).unwrap_err();
    assert!(error.to_string().contains("/api/chat"), "{error}");
}

/// Waits for a target that is not ready for so long at most.
fn patient(most: Duration) -> CalibrateOptions {
    CalibrateOptions {
        ready_timeout: most,
        ..options()
    }
}

#[test]
fn a_target_that_starts_while_it_is_waited_for_is_calibrated() {
    let (held, url) = refusing();
    let (held, server) = (RefCell::new(Some(held)), RefCell::new(None));
    let told = Cell::new(0);
    // It begins to listen when it is told that it is waited for, is busy at first, and then is there.
    let busy = AtomicU32::new(3);
    let busy = Arc::new(busy);
    let begin = |error: &TargetError, most: Duration| {
        told.set(told.get() + 1);
        assert!(matches!(error.problem, Problem::Absent(_)), "{error}");
        assert!(most <= Duration::from_secs(60));
        let socket = held.take().unwrap();
        socket.listen(16).unwrap();
        let busy = Arc::clone(&busy);
        let script = move |seen: &Seen| {
            let left = busy.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
            match left {
                Ok(left) => vec![answer([503, 429, 529][left as usize % 3], "", "{}")],
                Err(_) => chat(seen, true),
            }
        };
        server.replace(Some(Server::on(socket.into(), script)));
    };
    let options = patient(Duration::from_secs(60));
    let found =
        calibrate::calibrate(&target(&url), &needs(), &options, &Stop::default(), &begin).unwrap();
    assert_eq!(found.of(Endpoint::ChatCompletions).costs.per_message, 4);
    assert_eq!((told.get(), busy.load(Relaxed)), (1, 0));
}

#[test]
fn what_stays_wrong_is_not_waited_for_and_what_may_pass_only_for_so_long() {
    let never = |error: &TargetError, _: Duration| panic!("waits for what stays wrong: {error}");
    let refusing_keys = Server::start(|_| vec![answer(401, "", "{}")]);
    let url = target(&refusing_keys.url());
    let long = patient(Duration::from_secs(3600));
    let error = calibrate::calibrate(&url, &needs(), &long, &Stop::default(), &never).unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");

    let busy = Server::start(|_| vec![answer(503, "", "{}")]);
    let short = patient(Duration::from_millis(120));
    let error = calibrate(&target(&busy.url()), &needs(), &short).unwrap_err();
    assert!(error.hint().contains("--ready-timeout"), "{}", error.hint());
    assert!(busy.seen().len() > 1);

    // An interrupt does not wait.
    let stop = Stop::default();
    let interrupt = |_: &TargetError, _: Duration| stop.request();
    let url = target(&busy.url());
    calibrate::calibrate(&url, &needs(), &long, &stop, &interrupt).unwrap_err();
}

/// The tokenizer of fixtures, which has few words whole, with a mark that ends an answer.
fn small_tokenizer() -> PromptTokenizer {
    let json = include_bytes!("../../../fixtures/tokenizer/small.json");
    let mut json: serde_json::Value = serde_json::from_slice(json).unwrap();
    json["added_tokens"] = serde_json::json!([{"id": END, "content": "</s>", "special": true, "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false}]);
    PromptTokenizer::from_json(json.to_string().as_bytes()).unwrap()
}

/// Behind its 1,200 tokens.
const END: u32 = 1200;

#[test]
fn a_tokenizer_tells_which_words_are_one_token_wherever_they_stand() {
    let server = Server::start(|seen| chat(seen, true));
    let mut options = options();
    options.prompts.tokenizer = Some(small_tokenizer());
    let found = calibrate(&target(&server.url()), &needs(), &options).unwrap();
    let told = found.vocabulary;
    assert_eq!(told.source, VocabularySource::Tokenizer);
    assert_eq!(told.words, Words::house().count());
    assert_eq!(told.dropped, told.words - found.words.count());
    let tokenizer = small_tokenizer();
    let tokens = |text: &str| tokenizer.tokens(text).unwrap();
    assert!(
        found
            .words
            .all()
            .all(|word| tokens(&format!(" {word}")).len() == 1)
    );
    // It has 400 of them, and none that it splits was kept.
    let house = Words::house();
    let whole = { house.all() }.filter(|word| tokens(&format!(" {word}")).len() == 1);
    assert_eq!(found.words.count(), whole.count());
    assert!(found.words.count() > 300 && told.dropped > 5000, "{told:?}");
    // Nobody else was asked.
    let asked = server.seen();
    assert!(!asked.iter().any(|seen| seen.head.contains("/tokenize")));
    assert_eq!(found.ids.ids("the for"), tokens(" the for"));
}

/// Counts as [`chat`] does; has an end of ten tokens that only `logit_bias` against [`END`] forbids, and refuses what it does not know.
fn biased(seen: &Seen) -> Vec<Step> {
    let mut body: serde_json::Value = match serde_json::from_str(&seen.body) {
        Ok(body) => body,
        Err(_) => return chat(seen, false),
    };
    let ban = body.as_object_mut().unwrap().remove("logit_bias");
    if body.get("min_tokens").or(body.get("ignore_eos")).is_none()
        && ban.is_some_and(|ban| ban[END.to_string()] == -100)
    {
        // What a server that knows `ignore_eos` would say to it.
        body["ignore_eos"] = true.into();
        let seen = Seen {
            body: body.to_string(),
            ..seen.clone()
        };
        return chat(&seen, true);
    }
    chat(seen, false)
}

#[test]
fn an_engine_that_takes_a_bias_is_forced_by_one_against_the_end_of_an_answer() {
    let server = Server::start(biased);
    let mut options = options();
    options.prompts.tokenizer = Some(small_tokenizer());
    let found = calibrate(&target(&server.url()), &needs(), &options).unwrap();
    let endpoint = found.of(Endpoint::ChatCompletions);
    assert_eq!(endpoint.forced, Forced::LogitBias(vec![END]));
    assert!(endpoint.is_exact() && endpoint.forced_shown);
    // Without a tokenizer nobody knows what ends an answer.
    options.prompts.tokenizer = None;
    let found = calibrate(&target(&server.url()), &needs(), &options).unwrap();
    assert!(!found.of(Endpoint::ChatCompletions).is_exact());
}
