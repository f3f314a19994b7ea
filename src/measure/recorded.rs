use crate::replay::{RequestOutcome, SendResult};

/// What production felt at a replayed request, as if it were an outcome of the same plan: sent on time, and then everything as it was
/// recorded. `None` where the trace does not tell, or where its client went away.
pub fn twin(outcome: &RequestOutcome) -> Option<RequestOutcome> {
    let recorded = &outcome.recorded;
    let result = match (recorded.completed, recorded.failure) {
        (true, _) => SendResult::Ok,
        (false, Some(kind)) => SendResult::Failed(kind),
        (false, None) => return None,
    };
    let at = outcome.planned_us;
    let then = |moment: Option<u64>| moment.map(|us| at + us);
    Some(RequestOutcome {
        index: outcome.index,
        session: outcome.session,
        turn: outcome.turn,
        planned_us: at,
        intended_us: at,
        sent_us: Some(at),
        first_token_us: then(recorded.first_token_us),
        last_token_us: then(recorded.last_token_us),
        end_us: then(recorded.end_us)?,
        stream: outcome.stream,
        result,
        recorded_prompt_tokens: outcome.recorded_prompt_tokens,
        prompt_tokens: outcome.recorded_prompt_tokens,
        recorded_output_tokens: outcome.recorded_output_tokens,
        output_tokens: outcome.recorded_output_tokens,
        recorded: *recorded,
        ..RequestOutcome::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::target::tests::outcome;
    use crate::replay::{FailureKind, RecordedTimes};

    #[test]
    fn a_twin_is_what_production_felt() {
        let mut outcome = outcome(3, 5000, 9000);
        outcome.planned_us = 4000;
        outcome.recorded = RecordedTimes {
            completed: true,
            first_token_us: Some(20_000),
            last_token_us: Some(110_000),
            end_us: Some(111_000),
            ..RecordedTimes::default()
        };
        let felt = twin(&outcome).unwrap();
        assert_eq!(felt.first_token_us, Some(24_000));
        assert_eq!(felt.end_us, 115_000);
        outcome.recorded.completed = false;
        assert_eq!(twin(&outcome), None, "its client went away");
        outcome.recorded.failure = Some(FailureKind::Overloaded);
        let failed = twin(&outcome).unwrap();
        assert_eq!(failed.result, SendResult::Failed(FailureKind::Overloaded));
    }
}
