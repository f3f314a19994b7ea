use std::sync::{Arc, OnceLock};

use super::lane::Lane;
use super::listen::{Fetched, Heard, Hearing};
use super::message::Message;
use super::talk::{Course, Cut, Talk};
use super::watch::Watch;
use crate::dialect::{AnswerReader, AnswerText, ResponseSight};
use crate::replay::pace::RunClock;
use crate::replay::synthesise::{Cancel, Prepared};
use crate::replay::{FailureKind, RequestOutcome, SendResult};
use crate::shape::Endpoint;

/// Sends a request at once and follows its answer to the end.
pub(in crate::replay) async fn exchange(lane: &Lane, prepared: Box<Prepared>) -> RequestOutcome {
    let mut outcome = blank(&prepared);
    let mut hearing = Hearing::new(&prepared, &mut outcome);
    let slow = lane.slow(&prepared);
    let pool = lane.pool(&prepared);
    let Wanted {
        endpoint,
        cancel,
        message,
        answer,
        new_connection,
    } = Wanted::of(prepared);
    let taken = pool.take(new_connection).await;
    // The recorded client's patience did not have to wait for a connection.
    let watch = Watch::new(lane.clock, lane.idle, cancel);
    let mut talk = Talk::new(lane, message, watch, &mut hearing);
    if let Some(slow) = slow {
        talk.slow_down(slow);
    }
    let Course {
        sent_us,
        heard_us,
        ended,
    } = talk.over(taken).await;
    let Heard {
        refusal,
        sight,
        text,
    } = hearing.finish();
    outcome.sent_us = sent_us;
    outcome.end_us = match ended {
        Ok(()) if refusal.is_none() => heard_us,
        _ => lane.clock.now_us(),
    };
    outcome.end_us = outcome.end_us.max(sent_us.unwrap_or(0));
    if let (Some(answer), Some(text)) = (answer, text.and_then(AnswerReader::finish)) {
        let _ = answer.set(text);
    }
    let whole = sight
        .as_ref()
        .is_some_and(|sight| sight.ended && !sight.error);
    if let Some(sight) = sight {
        note(&mut outcome, sight, ended.is_ok() && endpoint.generates());
    }
    outcome.result = match (refusal, ended) {
        (Some(kind), _) | (None, Err(Cut::Failed(kind))) => SendResult::Failed(kind),
        (None, Err(Cut::Cancelled)) => SendResult::Cancelled,
        (None, Ok(())) if whole => SendResult::Ok,
        (None, Ok(())) => SendResult::Failed(FailureKind::Truncated),
    };
    outcome
}

/// What an exchange still needs once its outcome is begun.
struct Wanted {
    endpoint: Endpoint,
    cancel: Option<Cancel>,
    message: Message,
    answer: Option<Arc<OnceLock<AnswerText>>>,
    new_connection: Option<bool>,
}

impl Wanted {
    /// The rest is let go.
    fn of(prepared: Box<Prepared>) -> Self {
        let Prepared {
            endpoint,
            cancel,
            request: message,
            answer,
            new_connection,
            ..
        } = *prepared;
        Self {
            endpoint,
            cancel,
            message,
            answer,
            new_connection,
        }
    }
}

/// The outcome of a request that the generator gave up before it was sent.
pub(in crate::replay) fn dropped(prepared: &Prepared, clock: RunClock) -> RequestOutcome {
    RequestOutcome {
        end_us: clock.now_us(),
        result: SendResult::Failed(FailureKind::Dropped),
        ..blank(prepared)
    }
}

/// Sends a request that no model answers, and reads up to a megabyte of the answer.
pub(in crate::replay) async fn fetch(
    lane: &Lane,
    message: Message,
) -> Result<Fetched, FailureKind> {
    let asked = async {
        let mut fetched = Fetched::default();
        let taken = lane.pool.take(None).await;
        let watch = Watch::new(lane.clock, lane.idle, None);
        let mut talk = Talk::new(lane, message, watch, &mut fetched);
        match talk.over(taken).await.ended {
            Ok(()) => Ok(fetched),
            Err(Cut::Failed(kind)) => Err(kind),
            Err(Cut::Cancelled) => Err(FailureKind::Reset),
        }
    };
    tokio::time::timeout(lane.idle, asked)
        .await
        .unwrap_or(Err(FailureKind::Timeout))
}

/// `answered`: tokens came, the last of them at the end.
fn note(outcome: &mut RequestOutcome, sight: ResponseSight, answered: bool) {
    if outcome.stream {
        outcome.first_token_us = sight.first_token_us;
        outcome.first_answer_us = sight.first_answer_us;
        outcome.last_token_us = sight.last_token_us;
    } else if answered {
        outcome.first_token_us = Some(outcome.end_us);
    }
    outcome.prompt_tokens = sight.prompt_tokens;
    outcome.output_tokens = sight.output_tokens.map(|tokens| tokens.count);
    outcome.cached_tokens = sight.cached_tokens;
    outcome.finish = sight.finish;
    outcome.out_of_memory = sight.out_of_memory;
    outcome.token_events = sight.token_events;
    outcome.gaps_us = sight.all_gaps_us;
}

fn blank(prepared: &Prepared) -> RequestOutcome {
    RequestOutcome {
        index: prepared.index,
        session: prepared.turn.session,
        turn: prepared.turn.number,
        planned_us: prepared.planned_us,
        intended_us: prepared.intended_us,
        stream: prepared.stream,
        recorded_prompt_tokens: prepared.recorded_prompt_tokens,
        recorded_output_tokens: prepared.recorded_output_tokens,
        wanted_prompt_tokens: prepared.wanted_prompt_tokens,
        wanted_output_tokens: prepared.wanted_output_tokens,
        planned_shared_tokens: prepared.planned_shared_tokens,
        recorded: prepared.recorded,
        recorded_gaps: prepared.recorded_gaps.clone(),
        ..RequestOutcome::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::connect::Connector;
    use super::super::pool::{Pool, Sharing};
    use super::*;
    use crate::replay::testing::{prepared, target};

    /// Tens of thousands may be in flight; and whoever has fallen behind has to find memory for hundreds at once.
    #[test]
    fn an_exchange_in_flight_takes_little() {
        let connector = Connector::new(&target("http://127.0.0.1:9"), Duration::ZERO).unwrap();
        let lane = Lane {
            pool: Arc::new(Pool::new(connector, Sharing::Free)),
            slow: None,
            clock: RunClock::starting_at(Instant::now()),
            idle: Duration::ZERO,
        };
        let takes = size_of_val(&exchange(&lane, Box::new(prepared())));
        // 2,096 as this is written; where the compiler lays things out anew it may be some more, but nothing that belongs apart.
        assert!(takes <= 2560, "{takes} bytes");
    }
}
