use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::server::{Server, Step, answer, chunk, end, refusing, stream_head, token};
use super::*;
use crate::shape::Outcome;

fn good_stream() -> Vec<Step> {
    vec![
        stream_head(),
        Step::Say(token() + &token() + &token()),
        Step::Say(end(100, 3, 16)),
    ]
}

fn short_timeout() -> RunOptions {
    RunOptions {
        request_timeout: Duration::from_millis(100),
        ..options()
    }
}

fn failure(script: Vec<Step>) -> RequestOutcome {
    let server = Server::start(move |_| script.clone());
    one(&server, exchange(0), &options())
}

#[test]
fn a_stream_is_followed_to_its_end() {
    let server = Server::start(|_| good_stream());
    let outcome = one(&server, exchange(0), &options());
    assert_eq!(outcome.result, SendResult::Ok);
    assert_eq!(outcome.status, Some(200));
    assert_eq!(
        (outcome.prompt_tokens, outcome.output_tokens),
        (Some(100), Some(3))
    );
    assert_eq!((outcome.cached_tokens, outcome.token_events), (Some(16), 3));
    assert_eq!(outcome.gaps_us.len(), 2);
    let sent = outcome.sent_us.unwrap();
    assert!(outcome.intended_us <= sent);
    assert!(Some(sent) <= outcome.headers_us);
    assert!(outcome.headers_us <= outcome.first_token_us);
    assert!(outcome.first_token_us <= outcome.last_token_us);
    assert!(outcome.last_token_us <= Some(outcome.end_us));
    assert!(!outcome.simulated);
    let seen = server.seen().remove(0);
    assert!(seen.head.starts_with("POST /v1/chat/completions HTTP/1.1"));
    assert!(seen.head.contains("authorization: Bearer sk-test"));
    assert!(
        seen.body.contains("\"include_usage\":true"),
        "{}",
        seen.body
    );
}

#[test]
fn a_plain_answer_counts_as_its_own_first_token() {
    let body = r#"{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":1}}"#;
    let server =
        Server::start(move |_| vec![answer(200, "server: reenact-sim (simulated)\r\n", body)]);
    let mut plain = exchange(0);
    plain.request.params.stream = false;
    let outcome = one(&server, plain, &options());
    assert_eq!(outcome.result, SendResult::Ok);
    assert_eq!(outcome.first_token_us, Some(outcome.end_us));
    assert_eq!(outcome.last_token_us, None);
    assert!(outcome.simulated);
}

#[test]
fn refusals_are_counted_by_kind() {
    for (status, kind) in [
        (429, FailureKind::RateLimited),
        (503, FailureKind::Overloaded),
        (529, FailureKind::Overloaded),
        (500, FailureKind::ServerError),
        (404, FailureKind::ClientError),
        (302, FailureKind::ClientError),
    ] {
        let outcome = failure(vec![answer(status, "", "{\"error\":{}}")]);
        assert_eq!(outcome.result, SendResult::Failed(kind), "{status}");
        assert_eq!(outcome.status, Some(status));
    }
}

#[test]
fn a_wait_that_the_target_asks_for_is_noted_and_not_obeyed() {
    let server = Server::start(|_| vec![answer(429, "retry-after: 7\r\n", "{}")]);
    let (outcomes, _) = replay(&server.url(), vec![exchange(0), exchange(10)], &options());
    for outcome in outcomes {
        assert_eq!(outcome.result, SendResult::Failed(FailureKind::RateLimited));
        assert_eq!(outcome.retry_after_s, Some(7));
        assert!(outcome.end_us < 5_000_000);
    }
    assert_eq!(server.seen().len(), 2, "nothing is sent again");
}

#[test]
fn headers_of_ones_own_go_out_with_every_request() {
    let server = Server::start(|_| good_stream());
    let mut target = target(&server.url());
    target.headers.add("x-tenant", "a").unwrap();
    let (outcomes, _) = replay_at(&target, vec![exchange(0), exchange(1000)], &options());
    assert_eq!(outcomes.len(), 2);
    for seen in server.seen() {
        assert!(seen.head.contains("x-tenant: a\r\n"), "{}", seen.head);
    }
}

#[test]
fn without_keep_alive_each_request_has_a_connection_of_its_own() {
    let server = Server::start(|_| good_stream());
    let mut target = target(&server.url());
    target.keep_alive = false;
    let at = (0..20_u64).map(|i| i * 5000);
    let (outcomes, summary) = replay_at(&target, at.map(exchange).collect(), &options());
    for outcome in outcomes {
        assert_eq!(outcome.result, SendResult::Ok);
    }
    for seen in server.seen() {
        assert!(seen.head.contains("connection: close\r\n"), "{}", seen.head);
    }
    assert_eq!(summary.evidence.connections_reused, 0);
    assert!(summary.evidence.connections_opened >= 20);
}

#[test]
fn no_more_connections_are_open_than_allowed_and_the_wait_for_one_is_late() {
    let server = Server::start(|_| {
        let mut steps = vec![Step::Wait(Duration::from_millis(20))];
        steps.extend(good_stream());
        steps
    });
    let few = RunOptions {
        connections: at_most(2),
        workers: std::num::NonZeroUsize::new(4),
        ..RunOptions::default()
    };
    let (outcomes, summary) = replay(&server.url(), vec![exchange(0); 20], &few);
    assert_eq!(outcomes.len(), 20);
    for outcome in &outcomes {
        assert_eq!(outcome.result, SendResult::Ok);
    }
    let evidence = &summary.evidence;
    assert_eq!(evidence.workers, 2, "{evidence:?}");
    assert_eq!(evidence.connections_opened, 2, "{evidence:?}");
    assert_eq!(evidence.connections_reused, 18, "{evidence:?}");
    // Ten rounds of 20 ms on each connection: the last waits for nine.
    let late_us = |outcome: &RequestOutcome| outcome.sent_us.unwrap() - outcome.intended_us;
    assert!(outcomes.iter().map(late_us).max() >= Some(180_000));
}

#[test]
fn a_cancelled_request_frees_its_place_among_few_connections() {
    let server = Server::start(|_| vec![Step::Hang]);
    let mut cancelled = exchange(0);
    cancelled.outcome = Outcome::ClientCancelled { at_us: 30_000 };
    let one = RunOptions {
        connections: at_most(1),
        ..options()
    };
    let (outcomes, _) = replay(&server.url(), vec![cancelled; 3], &one);
    assert_eq!(outcomes.len(), 3);
    for outcome in outcomes {
        assert_eq!(outcome.result, SendResult::Cancelled);
        let patience_us = outcome.end_us - outcome.sent_us.unwrap();
        assert!(patience_us >= 29_000, "{patience_us}");
    }
}

#[test]
fn broken_connections_are_told_apart() {
    let before = failure(vec![Step::Reset]);
    assert_eq!(before.result, SendResult::Failed(FailureKind::Reset));
    assert!(before.sent_us.is_some());
    let closed = failure(vec![Step::Close]);
    assert_eq!(closed.result, SendResult::Failed(FailureKind::Reset));
    let midway = failure(vec![stream_head(), Step::Say(token()), Step::Close]);
    assert_eq!(midway.result, SendResult::Failed(FailureKind::Truncated));
    assert_eq!(midway.token_events, 1);
    let reset = failure(vec![
        stream_head(),
        Step::Say(token()),
        Step::Wait(Duration::from_millis(20)),
        Step::Reset,
    ]);
    assert_eq!(reset.result, SendResult::Failed(FailureKind::Reset));
    let garbage = failure(vec![
        Step::Say("220 mail.example ESMTP\r\n\r\n".into()),
        Step::Close,
    ]);
    assert_eq!(garbage.result, SendResult::Failed(FailureKind::NotHttp));
}

#[test]
fn a_stream_without_its_end_mark_is_truncated() {
    let outcome = failure(vec![
        stream_head(),
        Step::Say(token() + &chunk("data: {\"error\":{\"message\":\"x\"}}\n\n") + "0\r\n\r\n"),
    ]);
    assert_eq!(outcome.result, SendResult::Failed(FailureKind::Truncated));
}

#[test]
fn silence_times_out_wherever_it_falls() {
    for script in [
        vec![Step::Hang],
        vec![stream_head(), Step::Hang],
        vec![stream_head(), Step::Say(token()), Step::Hang],
        vec![
            Step::Say("HTTP/1.1 503 No\r\ncontent-length: 9\r\n\r\n".into()),
            Step::Hang,
        ],
    ] {
        let refused = matches!(&script[0], Step::Say(head) if head.contains("503"));
        let server = Server::start(move |_| script.clone());
        let outcome = one(&server, exchange(0), &short_timeout());
        let expected = if refused {
            FailureKind::Overloaded
        } else {
            FailureKind::Timeout
        };
        assert_eq!(outcome.result, SendResult::Failed(expected));
        assert!(outcome.end_us >= 100_000);
        assert!(server.client_gone(), "its connection is not kept");
    }
}

#[test]
fn a_slow_stream_that_keeps_talking_does_not_time_out() {
    let mut script = vec![Step::Wait(Duration::from_millis(60)), stream_head()];
    for _ in 0..4 {
        script.push(Step::Wait(Duration::from_millis(60)));
        script.push(Step::Say(token()));
    }
    script.push(Step::Say(end(100, 4, 0)));
    let server = Server::start(move |_| script.clone());
    let outcome = one(&server, exchange(0), &short_timeout());
    assert_eq!(outcome.result, SendResult::Ok);
    assert!(outcome.headers_us >= Some(60_000));
    assert!(outcome.first_token_us >= Some(120_000));
    assert!(outcome.gaps_us.iter().all(|&gap| gap >= 50_000));
}

#[test]
fn nobody_there_is_a_failed_connection() {
    let (_held, url) = refusing();
    let (outcomes, summary) = replay(&url, vec![exchange(0), exchange(10)], &options());
    for outcome in outcomes {
        assert_eq!(outcome.result, SendResult::Failed(FailureKind::Connect));
        assert_eq!(outcome.sent_us, None);
    }
    assert!(matches!(summary.ended, Ended::Whole));
    assert_eq!(summary.evidence.local_errors, 0);
}

#[test]
fn a_recorded_cancel_is_made_after_as_many_tokens() {
    let server = Server::start(|_| vec![stream_head(), Step::Babble(token())]);
    let mut cancelled = exchange(0);
    cancelled.outcome = Outcome::ClientCancelled { at_us: 5_000_000 };
    cancelled.response.token_events = 4;
    let outcome = one(&server, cancelled, &options());
    assert_eq!(outcome.result, SendResult::Cancelled);
    assert!(outcome.token_events >= 4 && outcome.token_events < 100);
    assert!(outcome.end_us < 4_000_000);
    assert!(server.client_gone());
}

#[test]
fn a_recorded_cancel_before_any_token_is_made_after_as_long() {
    let server = Server::start(|_| vec![Step::Hang]);
    let mut cancelled = exchange(0);
    cancelled.outcome = Outcome::ClientCancelled { at_us: 80_000 };
    let outcome = one(&server, cancelled, &options());
    assert_eq!(outcome.result, SendResult::Cancelled);
    assert!(outcome.end_us - outcome.sent_us.unwrap() >= 79_000);
    assert!(server.client_gone());
}

#[test]
fn an_answer_that_ends_before_the_cancel_is_whole() {
    let server = Server::start(|_| good_stream());
    let mut cancelled = exchange(0);
    cancelled.outcome = Outcome::ClientCancelled { at_us: 1 };
    cancelled.response.token_events = 50;
    assert_eq!(one(&server, cancelled, &options()).result, SendResult::Ok);
}

#[test]
fn requests_leave_in_order_never_early_and_reuse_connections() {
    let server = Server::start(|_| good_stream());
    let at = (0..300_u64).map(|i| i / 3 * 5000); // three every five milliseconds
    let (outcomes, summary) = replay(&server.url(), at.map(exchange).collect(), &options());
    assert_eq!(outcomes.len(), 300);
    for (i, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.index, i as u64);
        assert_eq!(outcome.result, SendResult::Ok);
        assert!(outcome.sent_us.unwrap() >= outcome.intended_us);
    }
    let evidence = &summary.evidence;
    assert!(evidence.heartbeats > 50, "{evidence:?}");
    assert!(evidence.connections_opened < 300, "{evidence:?}");
    assert_eq!(summary.plan.planned, 300);
    assert_eq!(summary.alterations[&Alteration::UsageAsked], 300);
}

#[test]
fn a_slow_server_does_not_slow_the_arrivals_down() {
    let server = Server::start(|_| {
        let mut steps = vec![Step::Wait(Duration::from_millis(300))];
        steps.extend(good_stream());
        steps
    });
    let at = (0..40_u64).map(|i| i * 5000);
    let (outcomes, _) = replay(&server.url(), at.map(exchange).collect(), &options());
    for outcome in outcomes {
        let late_us = outcome.sent_us.unwrap() - outcome.intended_us;
        assert!(late_us < 250_000, "{late_us}");
    }
}

#[test]
fn a_connection_that_the_server_closed_while_idle_costs_nothing() {
    let server = Server::start(|_| {
        let mut steps = good_stream();
        steps.push(Step::Close);
        steps
    });
    let at = (0..20_u64).map(|i| i * 10_000);
    let (outcomes, _) = replay(&server.url(), at.map(exchange).collect(), &options());
    for outcome in outcomes {
        assert_eq!(outcome.result, SendResult::Ok);
    }
}

#[test]
fn the_guard_on_requests_in_flight_drops_and_says_so() {
    let server = Server::start(|_| vec![Step::Hang]);
    let guarded = RunOptions {
        max_in_flight: 2,
        ..short_timeout()
    };
    let (outcomes, summary) = replay(&server.url(), vec![exchange(0); 5], &guarded);
    let dropped = outcomes
        .iter()
        .filter(|o| o.result == SendResult::Failed(FailureKind::Dropped))
        .count();
    assert_eq!((outcomes.len(), dropped), (5, 3));
    assert_eq!(summary.evidence.dropped, 3);
    assert_eq!(summary.abandoned, 0);
}

#[test]
fn a_stopped_run_reports_what_it_has() {
    let count = Arc::new(AtomicUsize::new(0));
    let stop = Stop::default();
    let server = Server::start({
        let (count, stop) = (count.clone(), stop.clone());
        move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => good_stream(),
            _ => {
                stop.request();
                vec![Step::Hang]
            }
        }
    });
    let at = [0, 50_000, 100_000, 3_600_000_000];
    let (outcomes, summary) =
        replay_until(&server.url(), at.map(exchange).to_vec(), &options(), &stop);
    assert_eq!(outcomes.len(), 2);
    assert!(matches!(summary.ended, Ended::Stopped));
    assert_eq!(summary.abandoned, 1);
    assert!(server.client_gone());
}

#[test]
fn the_same_replay_sends_the_same_bytes() {
    let bodies = |seed, run| {
        let server = Server::start(|_| good_stream());
        let options = RunOptions {
            words_seed: seed,
            run,
            ..options()
        };
        replay(
            &server.url(),
            (0..10).map(|i| exchange(i * 1000)).collect(),
            &options,
        );
        let mut bodies: Vec<String> = server.seen().into_iter().map(|seen| seen.body).collect();
        bodies.sort();
        bodies
    };
    let first = bodies(1, 0);
    assert_eq!(first, bodies(1, 0));
    for other in [bodies(2, 0), bodies(1, 1)] {
        assert!(first.iter().zip(&other).all(|(a, b)| a != b));
        let bytes = |bodies: &[String]| bodies.iter().map(String::len).sum::<usize>();
        assert!(bytes(&first).abs_diff(bytes(&other)) < bytes(&first) / 20);
    }
}
