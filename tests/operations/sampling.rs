//! `--sample` keeps conversations whole.

use std::collections::BTreeMap;

use reenact::shape::Role;

use super::support::Server;
use super::support::http::{post, send, status};
use super::{exchanges, upstream};

const CONVERSATIONS: usize = 60;
const TURNS: usize = 3;

/// Each conversation's turns in the trace, by the length of its first user message, which tells them apart.
fn recorded(arguments: &[&str], first_words: impl Fn(usize) -> String) -> BTreeMap<u32, usize> {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(
        &upstream(),
        dir.path(),
        &[&["--sample", "50%"], arguments].concat(),
    );
    for turn in 1..=TURNS {
        for number in 0..CONVERSATIONS {
            let mut messages = vec![
                serde_json::json!({"role": "system", "content": "Be brief."}),
                serde_json::json!({"role": "user", "content": first_words(number)}),
            ];
            for later in 1..turn {
                let said = format!("answer and question {later}");
                messages.push(serde_json::json!({"role": "assistant", "content": said}));
                messages.push(serde_json::json!({"role": "user", "content": said}));
            }
            let body = serde_json::json!({"model": "m", "messages": messages}).to_string();
            let session = format!("session {number}");
            let request = post("/v1/chat/completions", &[("x-session", &session)], &body);
            assert_eq!(status(&send(&recorder.url, &request)), 200);
        }
    }
    let (ended, log) = recorder.terminate();
    assert!(ended.success(), "{log}");
    let mut turns = BTreeMap::new();
    for exchange in exchanges(dir.path()) {
        let messages = &exchange.request.messages;
        let first = messages.iter().find(|message| message.role == Role::User);
        *turns.entry(first.unwrap().bytes).or_default() += 1;
    }
    turns
}

#[test]
fn sampled_conversations_are_whole_and_their_share_is_right() {
    let turns = recorded(&[], |number| "x".repeat(100 + number));
    assert!(turns.values().all(|&count| count == TURNS), "{turns:?}");
    // Five standard deviations around half of them.
    assert!((11..=49).contains(&turns.len()), "{turns:?}");
}

#[test]
fn a_header_tells_conversations_apart_that_begin_alike() {
    let turns = recorded(&["--session-header", "X-Session"], |_| "Hello".to_owned());
    let count = turns[&5];
    assert_eq!(count % TURNS, 0, "whole ones");
    assert!((11..=49).contains(&(count / TURNS)), "{count}");
}
