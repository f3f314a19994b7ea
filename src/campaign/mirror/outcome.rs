//! A mirrored request as the outcome of a replayed one.

use super::sessions::Turn;
use crate::measure::gaps_of_sketch;
use crate::record::{MirrorLost, Mirrored};
use crate::replay::{FailureKind, RecordedTimes, RequestOutcome, SendResult};
use crate::shape::{GapSketch, Outcome, TokenCount};

/// Intended is the moment at which it was handed to the mirror. What production felt counts without what its client took to send the
/// request: to connect is on both sides.
pub(super) fn outcome(mirrored: Mirrored, turn: Option<Turn>) -> RequestOutcome {
    let Mirrored {
        index,
        upload_us,
        connected_us,
        offered_us,
        candidate,
        production,
        ..
    } = mirrored;
    // Until there was a connection, its client had nobody to send it to.
    let sending_us = upload_us.saturating_sub(connected_us.unwrap_or(0));
    let left_us = match production.outcome {
        Outcome::ClientCancelled { at_us } => {
            Some(offered_us.saturating_add(at_us.saturating_sub(sending_us)))
        }
        _ => None,
    };
    let sight = candidate.sight;
    let sent = candidate.sent_us;
    let then = |since_sent: Option<u64>| Some(sent?.saturating_add(since_sent?));
    let tokens = |count: TokenCount| count.count;
    let outcome = RequestOutcome {
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
        gaps_us: gaps_of_sketch(&sight.gaps, sight.gaps.longest_gap_us()),
        simulated: candidate.simulated,
        recorded: later_by(RecordedTimes::of(&production), sending_us),
        recorded_gaps: production.response.gaps,
        ..RequestOutcome::default()
    };
    match left_us {
        Some(left_us) if outcome.end_us > left_us => cut_at(outcome, left_us),
        _ => outcome,
    }
}

/// What the candidate had done when production's client went away: nobody would have read the rest. A replay hangs up then, too.
fn cut_at(outcome: RequestOutcome, left_us: u64) -> RequestOutcome {
    if outcome.result == SendResult::Failed(FailureKind::Dropped) {
        return outcome;
    }
    let by_then = |moment: Option<u64>| moment.filter(|us| *us <= left_us);
    let cut = RequestOutcome {
        headers_us: by_then(outcome.headers_us),
        first_token_us: by_then(outcome.first_token_us),
        first_answer_us: by_then(outcome.first_answer_us),
        end_us: left_us.max(outcome.sent_us.unwrap_or(0)),
        result: SendResult::Cancelled,
        finish: None,
        ..outcome
    };
    if by_then(cut.last_token_us).is_some() {
        return cut;
    }
    // Of the tokens nobody knows how many had come, nor which of their gaps: on the other side they are left out, too.
    RequestOutcome {
        last_token_us: None,
        output_tokens: None,
        token_events: 0,
        gaps_us: Vec::new(),
        recorded: RecordedTimes {
            longest_gap_us: None,
            ..cut.recorded
        },
        recorded_gaps: GapSketch::default(),
        ..cut
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

fn later_by(felt: RecordedTimes, us: u64) -> RecordedTimes {
    let since = |moment: Option<u64>| Some(moment?.saturating_sub(us));
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
    use crate::shape::{Endpoint, Exchange, Method, ResponseShape, TokenSource, TraceTime};

    /// A stream that came whole on both sides: in production after 1 ms of connecting, and 2 ms more of upload.
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
        assert_eq!(felt.first_token_us, Some(101_000 + 21_000));
        assert_eq!(felt.end_us, 101_000 + 32_000);
        assert_eq!(felt.output_tokens, Some(2));
    }

    #[test]
    fn connecting_is_on_both_sides_and_the_clients_sending_on_neither() {
        let first = |upload_us, connected_us| {
            let mut mirrored = mirrored();
            (mirrored.upload_us, mirrored.connected_us) = (upload_us, connected_us);
            outcome(mirrored, None).recorded.first_token_us
        };
        // All of it came with its head.
        assert_eq!(first(0, Some(9_000)), Some(23_000));
        // What had come by then was passed on as soon as there was a connection.
        assert_eq!(first(9_000, Some(9_000)), Some(23_000));
        assert_eq!(first(9_000, Some(1_000)), Some(15_000));
        assert_eq!(first(9_000, None), Some(14_000));
    }

    #[test]
    fn an_answer_is_cut_where_productions_client_went_away() {
        let left = |at_us, change: fn(&mut CandidateSide)| {
            let mut left = mirrored();
            left.production.outcome = Outcome::ClientCancelled { at_us };
            left.production.response.end_us = None;
            left.production.response.gaps.record(10_000);
            change(&mut left.candidate);
            outcome(left, None)
        };
        // At 120 ms, with its last byte.
        let whole = left(21_000, |_| {});
        assert_eq!((whole.result, whole.end_us), (SendResult::Ok, 120_000));
        // Its last token was there at 115 ms.
        let late = left(16_500, |_| {});
        assert_eq!((late.result, late.end_us), (SendResult::Cancelled, 115_500));
        assert_eq!((late.gaps_us.len(), late.token_events), (1, 2));
        // Its first one at 111 ms.
        let early = left(13_000, |_| {});
        assert_eq!(early.result, SendResult::Cancelled);
        assert_eq!(early.first_token_us, Some(111_000));
        assert_eq!((early.last_token_us, early.output_tokens), (None, None));
        assert!(early.gaps_us.is_empty() && early.recorded_gaps.is_empty());
        assert_eq!(early.recorded.longest_gap_us, None);
        let abandoned = left(11_500, |_| {});
        assert!(abandoned.is_abandoned(), "{abandoned:?}");
        // How it ended later is nobody's any more, but that there was no room for it is the mirror's own.
        let broke = left(13_000, |side| side.lost = Some(MirrorLost::Timeout));
        assert_eq!(broke.result, SendResult::Cancelled);
        let busy = left(13_000, |side| side.lost = Some(MirrorLost::Busy));
        assert_eq!(busy.result, SendResult::Failed(FailureKind::Dropped));
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
