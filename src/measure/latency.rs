use super::distribution::Distribution;
use crate::replay::{RequestOutcome, SendResult};

/// The latencies of one target, all from the intended send, and two from the actual one beside them.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    /// First token − intended send (streams).
    pub ttft: Distribution,
    /// First answer token after any reasoning − intended send (streams).
    pub ttft_answer: Distribution,
    /// Gaps between successive token events (streams). Those of one answer depend on each other.
    pub itl: Distribution,
    /// (last token − first token) / (output tokens − 1) (streams of two tokens or more).
    pub tpot: Distribution,
    /// Last byte − intended send.
    pub e2e: Distribution,
    /// The longest gap between two token events of a stream: what a mean such as TPOT hides.
    pub stall: Distribution,
    /// First token − actual send: what tools that do not count from the schedule would show.
    pub ttft_from_send: Distribution,
    /// Last byte − actual send.
    pub e2e_from_send: Distribution,
}

impl Latencies {
    /// Adds another's, losslessly.
    pub fn add(&mut self, other: &Self) {
        for ((_, into), (_, from)) in self.named_mut().into_iter().zip(other.named()) {
            into.add(from);
        }
    }

    /// Each with its name in a result document.
    pub fn named(&self) -> [(&'static str, &Distribution); 8] {
        [
            ("ttft_ms", &self.ttft),
            ("itl_ms", &self.itl),
            ("tpot_ms", &self.tpot),
            ("e2e_ms", &self.e2e),
            ("ttft_answer_ms", &self.ttft_answer),
            ("stall_ms", &self.stall),
            ("ttft_from_send_ms", &self.ttft_from_send),
            ("e2e_from_send_ms", &self.e2e_from_send),
        ]
    }

    /// The same, in the same order.
    pub fn named_mut(&mut self) -> [(&'static str, &mut Distribution); 8] {
        [
            ("ttft_ms", &mut self.ttft),
            ("itl_ms", &mut self.itl),
            ("tpot_ms", &mut self.tpot),
            ("e2e_ms", &mut self.e2e),
            ("ttft_answer_ms", &mut self.ttft_answer),
            ("stall_ms", &mut self.stall),
            ("ttft_from_send_ms", &mut self.ttft_from_send),
            ("e2e_from_send_ms", &mut self.e2e_from_send),
        ]
    }

    /// Adds one request.
    pub fn record(&mut self, outcome: &RequestOutcome) {
        match outcome.result {
            SendResult::Ok => self.success(outcome),
            SendResult::Failed(_) => {
                self.e2e.miss();
                self.e2e_from_send.miss();
                if outcome.stream {
                    self.ttft.miss();
                    self.ttft_answer.miss();
                    self.tpot.miss();
                    self.stall.miss();
                    self.ttft_from_send.miss();
                }
            }
            // To leave it out would flatter the slow: of those whose client went away in the end, only the fast ones would count.
            SendResult::Cancelled if outcome.is_abandoned() => {
                self.e2e.miss();
                self.e2e_from_send.miss();
                if outcome.stream {
                    self.ttft.miss();
                    self.ttft_answer.miss();
                    self.ttft_from_send.miss();
                }
            }
            // It made load, and that its first token came before the cancel is as good as any. How long all of it would have taken
            // nobody knows, or had to: its client had enough.
            SendResult::Cancelled => self.first_tokens(outcome),
        }
    }

    fn success(&mut self, outcome: &RequestOutcome) {
        self.e2e
            .record(outcome.end_us.saturating_sub(outcome.intended_us));
        if let Some(sent) = outcome.sent_us {
            self.e2e_from_send
                .record(outcome.end_us.saturating_sub(sent));
        }
        self.first_tokens(outcome);
        if let Some(us) = tpot_us(outcome) {
            self.tpot.record(us);
        }
        if let Some(&us) = outcome.gaps_us.iter().max().filter(|_| outcome.stream) {
            self.stall.record(us.into());
        }
    }

    fn first_tokens(&mut self, outcome: &RequestOutcome) {
        if !outcome.stream {
            return;
        }
        if let Some(first) = outcome.first_token_us {
            self.ttft.record(first.saturating_sub(outcome.intended_us));
            if let Some(sent) = outcome.sent_us {
                self.ttft_from_send.record(first.saturating_sub(sent));
            }
        }
        if let Some(first) = outcome.first_answer_us {
            self.ttft_answer
                .record(first.saturating_sub(outcome.intended_us));
        }
        self.itl
            .record_group(outcome.gaps_us.iter().map(|&gap| u64::from(gap)));
    }
}

/// Time per output token after the first, in microseconds, where a stream had two tokens or more.
pub(crate) fn tpot_us(outcome: &RequestOutcome) -> Option<u64> {
    let tokens = u64::from(outcome.output_tokens?);
    let span = outcome
        .last_token_us?
        .saturating_sub(outcome.first_token_us?);
    (outcome.stream && tokens >= 2).then(|| span / (tokens - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_went_away_with_nothing_is_a_miss_and_one_that_had_enough_is_not() {
        let mut latencies = Latencies::default();
        let cancelled = |first_token_us| RequestOutcome {
            stream: true,
            result: crate::replay::SendResult::Cancelled,
            first_token_us,
            end_us: 10_000_000,
            ..RequestOutcome::default()
        };
        latencies.record(&cancelled(Some(5000)));
        assert_eq!((latencies.ttft.count(), latencies.e2e.total()), (1, 0));
        latencies.record(&cancelled(None));
        assert_eq!((latencies.ttft.count(), latencies.ttft.total()), (1, 2));
        assert_eq!((latencies.e2e.count(), latencies.e2e.total()), (0, 1));
    }
}
