//! A recorder that is killed leaves in its trace what was in flight.

use reenact::shape::{Endpoint, Exchange, Outcome};

use super::support::answered;
use super::{Between, OK, exchanges};

fn post(body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn what_is_in_flight_at_a_kill_is_in_the_trace_with_its_shape() {
    let between = Between::start(&[]);
    let prompt = "a prompt of some length ".repeat(20);
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{prompt}"}}],"max_tokens":9}}"#);
    // One that ends, one that waits for its answer, one whose body is still on its way.
    let (mut done, mut server, _) = between.exchange(&post("{\"messages\":[]}"));
    server.read_exact("{\"messages\":[]}".len());
    server.send(OK);
    done.read_until("hi");
    let mut waiting = between.client();
    waiting.send(post(&body));
    let mut silent = between.upstream.accept();
    silent.read_head();
    silent.read_exact(body.len());
    let mut sending = between.client();
    let half = post(&body);
    sending.send(&half[..half.len() - 100]);
    // The file is read while it is written: nothing tells when it holds them but looking.
    answered(|| {
        let seen = exchanges(between.dir.path());
        match seen.len() {
            3 => Ok(()),
            _ => Err(format!("{seen:?}")),
        }
    });
    let Between { recorder, dir, .. } = between;
    drop(recorder); // Killed.
    let seen = exchanges(dir.path());
    assert_eq!(seen[0].outcome, Outcome::Completed);
    assert_eq!(seen[1].endpoint, Endpoint::ChatCompletions);
    assert_eq!(seen[1].request.params.max_tokens, Some(9));
    assert_eq!(seen[1].request.blocks.len(), prompt.len() / 64);
    let age_us = |open: &Exchange| match open.outcome {
        Outcome::InFlight { at_us } => at_us,
        other => panic!("{other:?}"),
    };
    assert!(age_us(&seen[1]) >= 150_000, "{seen:?}");
    // A prompt that is on its way is waited for, a second at most.
    assert!(age_us(&seen[2]) >= 1_000_000, "{seen:?}");
    assert!(seen[2].request.blocks.is_empty());
    assert!(seen[2].request.bytes > 0);
}

#[test]
fn what_ended_after_it_was_told_of_stands_there_once() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) = between.exchange(&post("{\"messages\":[]}"));
    server.read_exact("{\"messages\":[]}".len());
    answered(|| match exchanges(between.dir.path()).is_empty() {
        true => Err("nothing is told of".to_owned()),
        false => Ok(()),
    });
    server.send(OK);
    client.read_until("hi");
    let seen = between.finish();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].outcome, Outcome::Completed);
}

#[test]
fn what_is_not_to_be_recorded_is_not_told_of_while_it_is_in_flight() {
    let between = Between::start(&["--drop-sessions", "50%"]);
    // Half of these conversations are to be left out; which ones, a random key decides.
    const MANY: u32 = 24;
    let chat = |number: u32| {
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":"{number}"}}],"max_tokens":{number}}}"#
        );
        let (client, mut server, _) = between.exchange(&post(&body));
        server.read_exact(body.len());
        (client, server)
    };
    let numbers = || {
        let seen = exchanges(between.dir.path());
        let numbers = seen.iter().filter_map(|e| e.request.params.max_tokens);
        numbers.collect::<Vec<_>>()
    };
    let mut open: Vec<_> = (1..=MANY).map(chat).collect();
    // The oldest are told of first: when one that came after them is, they have had their time.
    let mut last = MANY;
    let told = answered(|| {
        let told = numbers();
        if told.iter().any(|&number| number > MANY) {
            return Ok(told);
        }
        if last < MANY + 24 {
            last += 1;
            open.push(chat(last));
        }
        Err(format!("{told:?}"))
    });
    for (client, server) in &mut open {
        server.send(OK);
        client.read_until("hi");
    }
    drop(open);
    let recorded: Vec<_> = between
        .finish()
        .iter()
        .filter_map(|exchange| exchange.request.params.max_tokens)
        .collect();
    assert!(recorded.len() < last as usize, "some were to be left out");
    assert!(
        told.iter().all(|number| recorded.contains(number)),
        "{told:?}"
    );
    assert!(told.len() > 1, "others were told of: {told:?}");
}
