//! A mirrored request as the outcome of a replayed one.

use super::sessions::Turn;
use crate::measure::gaps_of_sketch;
use crate::record::{MirrorLost, Mirrored};
use crate::replay::{FailureKind, RecordedTimes, RequestOutcome, SendResult};
use crate::shape::TokenCount;

/// Intended is the moment at which it was handed to the mirror. What production felt counts from the moment at which the request was
/// whole: what its client took to send it is on neither side.
pub(super) fn outcome(mirrored: Mirrored, turn: Option<Turn>) -> RequestOutcome {
    let Mirrored {
        index,
        upload_us,
        offered_us,
        candidate,
        production,
        ..
    } = mirrored;
    let sight = candidate.sight;
    let sent = candidate.sent_us;
    let then = |since_sent: Option<u64>| Some(sent?.saturating_add(since_sent?));
    let tokens = |count: TokenCount| count.count;
    let longest_us = (!sight.gaps.is_empty()).then(|| sight.gaps.longest_us());
    RequestOutcome {
        index,
        session: turn.map(|turn| turn.session),
        turn: turn.map_or(0, |turn| turn.place),
        planned_us: offered_us,
        intended_us: offered_us,
        // To find a connection is the candidate's part of it, and the wait for its turn the mirror's.
        sent_us: sent.and(candidate.taken_us),
        headers_us: candidate.headers_us,
        first_token_us: then(sight.first_token_us),
        first_answer_us: then(sight.first_answer_us),
        last_token_us: then(sight.last_token_us),
        end_us: candidate.end_us,
        stream: production.request.params.stream,
        result: result(candidate.lost, candidate.status),
        status: candidate.status,
        out_of_memory: sight.out_of_memory,
        recorded_prompt_tokens: production.request.prompt_tokens.map(tokens),
        prompt_tokens: sight.prompt_tokens,
        recorded_output_tokens: production.response.output_tokens.map(tokens),
        output_tokens: sight.output_tokens.map(tokens),
        finish: sight.finish,
        cached_tokens: sight.cached_tokens,
        token_events: sight.token_events,
        gaps_us: gaps_of_sketch(&sight.gaps, longest_us),
        simulated: candidate.simulated,
        recorded: since_whole(RecordedTimes::of(&production), upload_us),
        recorded_gaps: production.response.gaps,
        ..RequestOutcome::default()
    }
}

fn result(lost: Option<MirrorLost>, status: Option<u16>) -> SendResult {
    let failed = match lost {
        Some(MirrorLost::QueueFull | MirrorLost::Memory | MirrorLost::Busy) => {
            Some(FailureKind::Dropped)
        }
        Some(MirrorLost::Connect) => Some(FailureKind::Connect),
        Some(MirrorLost::Reset) => Some(FailureKind::Reset),
        Some(MirrorLost::Timeout | MirrorLost::Open) => Some(FailureKind::Timeout),
        Some(MirrorLost::Truncated) => Some(FailureKind::Truncated),
        None => status.and_then(FailureKind::of_status),
    };
    failed.map_or(SendResult::Ok, SendResult::Failed)
}

fn since_whole(felt: RecordedTimes, upload_us: u64) -> RecordedTimes {
    let since = |moment: Option<u64>| Some(moment?.saturating_sub(upload_us));
    RecordedTimes {
        first_token_us: since(felt.first_token_us),
        last_token_us: since(felt.last_token_us),
        end_us: since(felt.end_us),
        ..felt
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::dialect::ResponseSight;
    use crate::measure::twin;
    use crate::record::CandidateSide;
    use crate::shape::{
        Endpoint, Exchange, GapSketch, Method, Outcome, ResponseShape, TokenSource, TraceTime,
    };

    /// A stream that came whole on both sides: in production after 3 ms of upload.
    pub(crate) fn mirrored() -> Mirrored {
        let mut gaps = GapSketch::default();
        gaps.record(4_000);
        let at = TraceTime::from_us(50_000);
        let mut production = Exchange::bare(at, Endpoint::ChatCompletions, Method::Post);
        production.request.params.stream = true;
        production.response = ResponseShape {
            status: 200,
            first_token_us: Some(23_000),
            last_token_us: Some(33_000),
            end_us: Some(34_000),
            output_tokens: Some(TokenCount {
                count: 2,
                source: TokenSource::Usage,
            }),
            ..ResponseShape::default()
        };
        Mirrored {
            index: 4,
            conversation: None,
            whole_us: 100_000,
            upload_us: 3_000,
            connected_us: Some(1_000),
            offered_us: 101_000,
            candidate: CandidateSide {
                taken_us: Some(101_200),
                sent_us: Some(102_000),
                headers_us: Some(103_000),
                end_us: 120_000,
                status: Some(200),
                sight: ResponseSight {
                    first_token_us: Some(9_000),
                    last_token_us: Some(13_000),
                    gaps,
                    token_events: 2,
                    ..ResponseSight::default()
                },
                ..CandidateSide::default()
            },
            production,
            production_simulated: false,
        }
    }

    #[test]
    fn both_sides_count_from_where_each_had_the_request() {
        let outcome = outcome(mirrored(), None);
        assert_eq!(
            (outcome.intended_us, outcome.sent_us),
            (101_000, Some(101_200))
        );
        assert_eq!(outcome.first_token_us, Some(111_000));
        assert_eq!(outcome.gaps_us, [4_000]);
        assert_eq!(outcome.result, SendResult::Ok);
        let felt = twin(&outcome).unwrap();
        assert_eq!(felt.first_token_us, Some(101_000 + 20_000));
        assert_eq!(felt.end_us, 101_000 + 31_000);
        assert_eq!(felt.output_tokens, Some(2));
    }

    #[test]
    fn what_was_lost_is_a_failure_of_its_kind_and_what_was_not_sent_has_no_moment() {
        let failed = |change: fn(&mut CandidateSide)| {
            let mut mirrored = mirrored();
            change(&mut mirrored.candidate);
            let outcome = outcome(mirrored, None);
            (outcome.result, outcome.sent_us.is_some())
        };
        let lost = |kind, sent| (SendResult::Failed(kind), sent);
        let busy = failed(|side| {
            *side = CandidateSide {
                lost: Some(MirrorLost::Busy),
                ..CandidateSide::default()
            };
        });
        assert_eq!(busy, lost(FailureKind::Dropped, false));
        let down = failed(|side| (side.sent_us, side.lost) = (None, Some(MirrorLost::Connect)));
        assert_eq!(down, lost(FailureKind::Connect, false));
        let open = failed(|side| side.lost = Some(MirrorLost::Open));
        assert_eq!(open, lost(FailureKind::Timeout, true));
        let refused = failed(|side| side.status = Some(429));
        assert_eq!(refused, lost(FailureKind::RateLimited, true));
    }

    #[test]
    fn a_request_whose_client_went_away_before_anything_came_is_not_compared() {
        let mut left = mirrored();
        left.production.outcome = Outcome::ClientCancelled { at_us: 9_000 };
        left.production.response.first_token_us = None;
        assert_eq!(twin(&outcome(left, None)), None);
    }
}
