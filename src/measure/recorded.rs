use crate::replay::{RequestOutcome, SendResult};
use crate::shape::GapSketch;

/// What production felt at a replayed request, as if it were an outcome of the same plan: sent on time, and then everything as it was
/// recorded. Where its client went away, or the recording ended, after the first token, that token's time is as good as any, and the rest is not
/// told: a cancelled request. `None` where nothing is told that could be compared: how long a user who left had still to wait, nobody knows.
pub fn twin(outcome: &RequestOutcome) -> Option<RequestOutcome> {
    let recorded = &outcome.recorded;
    let result = match (recorded.completed, recorded.failure) {
        (true, _) => SendResult::Ok,
        (false, Some(kind)) => SendResult::Failed(kind),
        (false, None) => {
            recorded.first_token_us?;
            SendResult::Cancelled
        }
    };
    let at = outcome.planned_us;
    let then = |moment: Option<u64>| moment.map(|us| at.saturating_add(us));
    Some(RequestOutcome {
        index: outcome.index,
        session: outcome.session,
        turn: outcome.turn,
        planned_us: at,
        intended_us: at,
        sent_us: Some(at),
        first_token_us: then(recorded.first_token_us),
        last_token_us: then(recorded.last_token_us),
        end_us: match result {
            SendResult::Cancelled => {
                let seen = [
                    recorded.end_us,
                    recorded.last_token_us,
                    recorded.first_token_us,
                ];
                then(seen.into_iter().flatten().max())?
            }
            SendResult::Ok | SendResult::Failed(_) => then(recorded.end_us)?,
        },
        stream: outcome.stream,
        result,
        recorded_prompt_tokens: outcome.recorded_prompt_tokens,
        prompt_tokens: outcome.recorded_prompt_tokens,
        recorded_output_tokens: outcome.recorded_output_tokens,
        output_tokens: outcome.recorded_output_tokens,
        gaps_us: gaps_of_sketch(&outcome.recorded_gaps, outcome.recorded.longest_gap_us),
        recorded: *recorded,
        ..RequestOutcome::default()
    })
}

/// The gaps of a sketch, one by one, in microseconds: each is the middle of its bucket, within 1.6 % of the true one, and the longest is exact
/// where it is told. Where the sketch is empty, as of a request that was read back from a log, only the longest is known.
pub fn gaps_of_sketch(sketch: &GapSketch, longest_us: Option<u64>) -> Vec<u32> {
    let us = |us: u64| u32::try_from(us).unwrap_or(u32::MAX);
    // More than any answer has tokens: a trace that claims more is not given the memory for it.
    let sketch = sketch.clone().of_count(sketch.count().min(MOST_GAPS));
    let longest = longest_us.map(us);
    let most = longest.unwrap_or(u32::MAX);
    let mut gaps: Vec<u32> = sketch
        .values()
        // The middle of the last bucket may lie above the longest, which is in it.
        .flat_map(|(gap, count)| std::iter::repeat_n(us(gap).min(most), count as usize))
        .collect();
    if let Some(longest) = longest {
        // They rise, so the longest is the last.
        gaps.pop();
        gaps.push(longest);
    }
    gaps
}

const MOST_GAPS: u64 = 1 << 18;

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
        assert!(felt.gaps_us.is_empty(), "the trace does not tell");
        let told = [10_000, 11_000, 90_123];
        told.iter()
            .for_each(|gap| outcome.recorded_gaps.record(*gap));
        outcome.recorded.longest_gap_us = Some(90_123);
        let felt = twin(&outcome).unwrap();
        let near = |a: u32, b: u64| u64::from(a).abs_diff(b) as f64 <= b as f64 * 0.016;
        assert!(
            felt.gaps_us
                .iter()
                .zip(told)
                .all(|(&gap, told)| near(gap, told))
        );
        assert_eq!(felt.gaps_us.last(), Some(&90_123), "the longest is exact");
        outcome.recorded_gaps = GapSketch::default();
        assert_eq!(twin(&outcome).unwrap().gaps_us, [90_123], "of a log");
        outcome.recorded.completed = false;
        let left = twin(&outcome).unwrap();
        assert_eq!(left.result, SendResult::Cancelled, "its client went away");
        assert_eq!(
            (left.first_token_us, left.is_abandoned()),
            (Some(24_000), false)
        );
        outcome.recorded.first_token_us = None;
        assert_eq!(twin(&outcome), None, "and had seen nothing");
        outcome.recorded.failure = Some(FailureKind::Overloaded);
        let failed = twin(&outcome).unwrap();
        assert_eq!(failed.result, SendResult::Failed(FailureKind::Overloaded));
    }
}
