use std::collections::BTreeMap;

use super::Figure;
use super::gaps::{GapSample, OfAnotherRun};
use crate::measure::extent::Extent;
use crate::measure::latency::tpot_us;
use crate::replay::{FailureKind, RequestOutcome, SendResult};

/// Latencies of single requests of one run, kept to compare it with another run of the same plan. Bounded: beyond 20,000 requests
/// every second conversation is left out, then every second of those left, and so on, by a hash of the conversation alone. Of one of more than
/// 16 turns each 16 are drawn by themselves: a sample without one of a few large ones would not be like the whole. So whether a request is kept
/// is a matter of the request and of how many there are, not of the order in which they ended, and two targets keep the same.
#[derive(Debug, Clone, Default)]
pub struct RunSample {
    pub(super) values: BTreeMap<u64, Values>,
    /// Only requests of at least this rank are kept.
    thinned_log2: u32,
    gaps: GapSample,
    /// Of the gaps between a request's tokens, only the longest is known.
    longest_only: bool,
    pub(super) load: Load,
}

/// What one request came to. Milliseconds; a failure is infinite, and what was not measured is absent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values {
    /// Requests that hang together: one conversation, or one lone request.
    pub(super) cluster: u64,
    /// Zeros at the end of the hash that it is drawn by.
    rank: u32,
    /// Prompt tokens as recorded, or as the target counted them.
    pub(super) prompt_tokens: u32,
    /// Exchanges open at the recorder when its twin arrived.
    pub(super) concurrency: u32,
    pub(super) ttft: Option<f32>,
    pub(super) tpot: Option<f32>,
    pub(super) e2e: Option<f32>,
    pub(super) stall: Option<f32>,
    /// It failed, or its client went away before anything had come.
    pub(super) failed: bool,
    pub(super) stream: bool,
}

/// What a run asked of its target.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Load {
    /// Requests that were sent, or would have been if the target had taken a connection.
    pub(super) requests: u64,
    /// Tokens of their prompts and answers, as the target counted them; as they were asked for where it failed and told none. A target
    /// that fails was asked for as much as one that does not.
    pub(super) tokens: u64,
    /// From the first send to the last.
    pub(super) sent: Extent,
    /// When they were due: in this run, by the trace alone at the run's speed, and in production.
    pub(super) due: Extent,
    pub(super) planned: Extent,
    pub(super) recorded: Extent,
}

impl RunSample {
    /// Of requests read from a log, which has of the gaps between tokens only the longest: the others are [put](Self::put_gaps) beside.
    pub fn of_log() -> Self {
        Self {
            longest_only: true,
            ..Self::default()
        }
    }

    /// Adds one request. Of a cancelled one only its first token can be compared, and that none came.
    pub fn record(&mut self, outcome: &RequestOutcome) {
        self.load.add(outcome);
        let cut = outcome.result == SendResult::Cancelled && !outcome.is_abandoned();
        let broken = matches!(outcome.result, SendResult::Failed(_));
        let failed = broken || outcome.is_abandoned();
        let since = |moment: u64| milliseconds(moment.saturating_sub(outcome.intended_us));
        let lost = |value: Option<f32>, lost: bool| if lost { Some(f32::INFINITY) } else { value };
        let streamed = |value: Option<f32>| value.filter(|_| outcome.stream);
        let whole = |value: Option<f32>| value.filter(|_| !cut);
        let stall = outcome.gaps_us.iter().max();
        self.keep(
            outcome,
            Values {
                cluster: cluster(outcome),
                rank: rank(outcome),
                prompt_tokens: prompt_tokens(outcome),
                concurrency: outcome.recorded.in_flight,
                ttft: streamed(lost(outcome.first_token_us.map(since), failed)),
                e2e: whole(lost(Some(since(outcome.end_us)), failed)),
                // Nobody waited for the further tokens of an answer whose client left before its first.
                tpot: whole(streamed(lost(tpot_us(outcome).map(milliseconds), broken))),
                stall: whole(streamed(lost(
                    stall.map(|&us| milliseconds(us.into())),
                    broken,
                ))),
                failed,
                stream: outcome.stream,
            },
        );
    }

    /// Whether it tells a latency: some answered stream has it, or none was answered. Else those that failed would be all that has it.
    pub(super) fn tells(&self, value: Figure) -> bool {
        self.has_in_streams(|_, values| value(values).is_some())
    }

    /// The same of the gaps between tokens.
    pub(super) fn tells_gaps(&self) -> bool {
        let gaps = self.gaps();
        gaps.is_some_and(|gaps| self.has_in_streams(|request, _| gaps.has(request)))
    }

    fn has_in_streams(&self, has: impl Fn(u64, &Values) -> bool) -> bool {
        let is_answered = |values: &Values| values.stream && values.e2e.is_some_and(f32::is_finite);
        let answered = self.values.iter().filter(|(_, values)| is_answered(values));
        let mut has = answered
            .map(|(&request, values)| has(request, values))
            .peekable();
        has.peek().is_none() || has.any(|has| has)
    }

    /// The gaps between tokens of the requests kept; `None` where only the longest is known.
    pub fn gaps(&self) -> Option<&GapSample> {
        (!self.longest_only).then_some(&self.gaps)
    }

    /// Puts the gaps between the tokens of these requests in, part by part, from where they are known.
    ///
    /// # Errors
    /// When they are not of this run: an answer's longest is another, or two parts tell of one request.
    pub fn put_gaps(
        &mut self,
        parts: impl IntoIterator<Item = GapSample>,
    ) -> Result<(), OfAnotherRun> {
        let mut whole = GapSample::default();
        for (number, mut part) in parts.into_iter().enumerate() {
            part.keep_only(&self.values);
            if !part.is_within(&self.values) || !whole.join(part) {
                return Err(OfAnotherRun { part: number });
            }
        }
        (self.gaps, self.longest_only) = (whole, false);
        Ok(())
    }

    /// Requests kept.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing was kept.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn keep(&mut self, outcome: &RequestOutcome, values: Values) {
        if values.rank < self.thinned_log2 {
            return;
        }
        self.values.insert(outcome.index, values);
        while self.values.len() > MOST {
            self.thinned_log2 += 1;
            let thinned = self.thinned_log2;
            self.values.retain(|_, values| values.rank >= thinned);
            self.gaps.keep_only(&self.values);
        }
        let whole = outcome.stream && outcome.result == SendResult::Ok && !self.longest_only;
        if whole && self.values.contains_key(&outcome.index) {
            self.gaps.add(outcome.index, &outcome.gaps_us);
        }
    }
}

impl Load {
    fn add(&mut self, outcome: &RequestOutcome) {
        let refused =
            matches!(outcome.result, SendResult::Failed(kind) if kind != FailureKind::Dropped);
        let unsent = refused.then_some(outcome.intended_us);
        let Some(sent) = outcome.sent_us.or(unsent) else {
            return;
        };
        self.requests += 1;
        let prompt = outcome
            .prompt_tokens
            .or(outcome.wanted_prompt_tokens)
            .or(outcome.recorded_prompt_tokens);
        let told = outcome.output_tokens;
        let asked = outcome
            .wanted_output_tokens
            .or(outcome.recorded_output_tokens);
        let output = match outcome.result {
            SendResult::Failed(_) => asked.or(told),
            SendResult::Ok | SendResult::Cancelled => told.or(asked),
        };
        self.tokens += u64::from(prompt.unwrap_or(0)) + u64::from(output.unwrap_or(0));
        self.sent.add(sent);
        self.due.add(outcome.intended_us);
        self.planned.add(outcome.planned_us);
        self.recorded.add(outcome.recorded.at_us);
    }
}

fn prompt_tokens(outcome: &RequestOutcome) -> u32 {
    let recorded = outcome.recorded_prompt_tokens;
    recorded.or(outcome.prompt_tokens).unwrap_or(0)
}

/// The conversation, or one of its own for a lone request.
fn cluster(outcome: &RequestOutcome) -> u64 {
    match outcome.session {
        Some(session) => session << 1,
        None => outcome.index << 1 | 1,
    }
}

/// What a request is drawn by: with the turns of its conversation that are near it.
fn rank(outcome: &RequestOutcome) -> u32 {
    let stretch = u64::from(outcome.turn / TOGETHER).wrapping_mul(GAMMA);
    zeros(cluster(outcome).wrapping_add(stretch))
}

/// Whether a key's hash ends in so many zeros.
pub(super) fn kept(key: u64, least: u32) -> bool {
    zeros(key) >= least
}

/// The zeros at the end of a key's hash (the finaliser of SplitMix64, Steele et al. 2014).
fn zeros(key: u64) -> u32 {
    let mut hash = key.wrapping_add(GAMMA);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash ^ hash >> 31).trailing_zeros()
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
/// Turns of a conversation that are kept or left out together.
const TOGETHER: u32 = 16;

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "24 bits are enough to compare"
)]
pub(super) fn milliseconds(us: u64) -> f32 {
    (us as f64 / 1000.0) as f32
}

const MOST: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::target::tests::outcome;

    #[test]
    fn a_large_sample_is_thinned_alike_on_both_sides_and_keeps_conversations_whole() {
        let (mut one, mut other) = (RunSample::default(), RunSample::default());
        for i in 0..100_000 {
            let mut turn = outcome(i, i, 1000);
            (turn.session, turn.turn) = (Some(i / 4), (i % 4) as u32);
            one.record(&turn);
            turn.end_us += 5;
            other.record(&turn);
        }
        assert!(one.len() <= MOST && one.len() > MOST / 4);
        assert_eq!(one.len() % 4, 0, "four turns in each conversation");
        assert!(one.values.keys().eq(other.values.keys()));
    }

    #[test]
    fn what_is_kept_does_not_hang_on_the_order_in_which_requests_ended() {
        let turns: Vec<RequestOutcome> = (0..70_000)
            .map(|i| {
                let mut turn = outcome(i, i, 1000);
                // A few large ones, and many small ones after them.
                (turn.session, turn.turn) = match i {
                    0..30_000 => (Some(i % 3), (i / 3) as u32),
                    _ => (Some(1000 + i / 4), (i % 4) as u32),
                };
                turn
            })
            .collect();
        let (mut one, mut other) = (RunSample::default(), RunSample::default());
        turns.iter().for_each(|turn| one.record(turn));
        turns.iter().rev().for_each(|turn| other.record(turn));
        assert!(one.len() > MOST / 4);
        assert!(one.values.keys().eq(other.values.keys()));
    }

    #[test]
    fn few_large_conversations_are_thinned_within_and_none_is_lost() {
        for conversations in [1, 3, 40] {
            let (mut one, mut other) = (RunSample::default(), RunSample::default());
            for i in 0..100_000 {
                let mut turn = outcome(i, i, 1000);
                turn.session = Some(i % conversations);
                turn.turn = (i / conversations) as u32;
                one.record(&turn);
                turn.end_us += 5;
                other.record(&turn);
            }
            assert!(one.len() <= MOST && one.len() > MOST / 4, "{}", one.len());
            let clusters: std::collections::BTreeSet<u64> =
                one.values.values().map(|values| values.cluster).collect();
            assert_eq!(clusters.len() as u64, conversations);
            assert!(one.values.keys().eq(other.values.keys()));
        }
    }

    #[test]
    fn a_large_conversation_beside_many_small_ones_keeps_its_part() {
        for large in 0..8 {
            let mut sample = RunSample::default();
            for i in 0..60_000 {
                let mut turn = outcome(i, i, 1000);
                turn.session = i.is_multiple_of(2).then_some(large);
                turn.turn = turn.session.map_or(0, |_| i as u32 / 2);
                sample.record(&turn);
            }
            let of_large = sample.values.values();
            let of_large = of_large.filter(|it| it.cluster == large << 1).count() as f64;
            let share = of_large / sample.len() as f64;
            assert!((0.45..0.55).contains(&share), "{share} of {large}");
        }
    }

    #[test]
    fn who_left_before_the_first_token_felt_no_slow_tokens() {
        let mut sample = RunSample::default();
        let mut left = outcome(0, 0, 1000);
        left.result = SendResult::Cancelled;
        left.first_token_us = None;
        left.last_token_us = None;
        left.gaps_us.clear();
        sample.record(&left);
        let mut broken = outcome(1, 0, 1000);
        broken.result = SendResult::Failed(FailureKind::Reset);
        sample.record(&broken);
        let lost = Some(f32::INFINITY);
        let told = |index: u64| {
            let values = &sample.values[&index];
            [values.ttft, values.e2e, values.tpot, values.stall]
        };
        assert_eq!(told(0), [lost, lost, None, None]);
        assert_eq!(told(1), [lost; 4]);
    }
}
