use crate::replay::RequestOutcome;

/// Tokens of open requests over time: prompts from their send on, answers as they grow. In cells of equal length; when a run
/// outgrows [`MOST`] cells, neighbours are joined and the cells are twice as long.
#[derive(Debug)]
pub(in crate::measure) struct TokensInFlight {
    cell_us: u64,
    /// Token-microseconds in each cell.
    cells: Vec<f64>,
}

impl Default for TokensInFlight {
    fn default() -> Self {
        Self {
            cell_us: 250_000,
            cells: Vec::new(),
        }
    }
}

impl TokensInFlight {
    pub(in crate::measure) fn record(&mut self, outcome: &RequestOutcome) {
        let Some(sent) = outcome.sent_us else {
            return;
        };
        let prompt = outcome.prompt_tokens.or(outcome.wanted_prompt_tokens);
        let prompt = f64::from(prompt.unwrap_or(0));
        let output = f64::from(outcome.output_tokens.unwrap_or(outcome.token_events));
        let first = outcome.first_token_us.unwrap_or(sent).max(sent);
        let last = outcome.last_token_us.unwrap_or(outcome.end_us).max(first);
        self.add(sent, first, prompt, prompt);
        self.add(first, last, prompt, prompt + output);
        self.add(last, outcome.end_us, prompt + output, prompt + output);
    }

    /// Mean tokens in flight in the cell of this instant; 0 where nothing was in flight.
    pub(super) fn at(&self, us: u64) -> f64 {
        let index = usize::try_from(us / self.cell_us).unwrap_or(usize::MAX);
        self.cells.get(index).copied().unwrap_or(0.0) / float(self.cell_us)
    }

    /// The most between two instants; `None` where nothing was in flight at all.
    pub(in crate::measure) fn peak_between(&self, start_us: u64, end_us: u64) -> Option<f64> {
        let cell = |us: u64| usize::try_from(us / self.cell_us).unwrap_or(usize::MAX);
        let until = cell(end_us.saturating_sub(1)).saturating_add(1);
        let cells = self
            .cells
            .get(cell(start_us)..until.min(self.cells.len()))?;
        let most = cells.iter().copied().reduce(f64::max)?;
        Some(most / float(self.cell_us))
    }

    /// Adds what grows linearly from `from` to `to` tokens between two instants.
    fn add(&mut self, start_us: u64, end_us: u64, from: f64, to: f64) {
        if end_us <= start_us || to <= 0.0 {
            return;
        }
        self.reach(end_us);
        let slope = (to - from) / float(end_us - start_us);
        let mut at_us = start_us;
        while at_us < end_us {
            let cell = at_us / self.cell_us;
            let until_us = end_us.min((cell + 1).saturating_mul(self.cell_us));
            let middle = float(at_us - start_us).midpoint(float(until_us - start_us));
            let index = usize::try_from(cell).unwrap_or(usize::MAX);
            if let Some(sum) = self.cells.get_mut(index) {
                *sum += (from + slope * middle) * float(until_us - at_us);
            }
            at_us = until_us;
        }
    }

    fn reach(&mut self, end_us: u64) {
        while (end_us - 1) / self.cell_us >= MOST {
            self.cell_us *= 2;
            self.cells = self.cells.chunks(2).map(|pair| pair.iter().sum()).collect();
        }
        let cells = usize::try_from((end_us - 1) / self.cell_us + 1).unwrap_or(0);
        if self.cells.len() < cells {
            self.cells.resize(cells, 0.0);
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
fn float(us: u64) -> f64 {
    us as f64
}

/// Five minutes in cells of a quarter of a second.
const MOST: u64 = 1200;

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(sent: u64, first: u64, end: u64, prompt: u32, output: u32) -> RequestOutcome {
        RequestOutcome {
            sent_us: Some(sent),
            first_token_us: Some(first),
            last_token_us: Some(end),
            end_us: end,
            prompt_tokens: Some(prompt),
            output_tokens: Some(output),
            ..RequestOutcome::default()
        }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6 * b.abs().max(1.0)
    }

    #[test]
    fn prompts_count_from_the_send_and_answers_as_they_grow() {
        let mut tokens = TokensInFlight::default();
        tokens.record(&outcome(0, 1_000_000, 2_000_000, 100, 40));
        assert!(close(tokens.at(0), 100.0) && close(tokens.at(999_999), 100.0));
        assert!(
            close(tokens.at(1_000_000), 105.0),
            "{}",
            tokens.at(1_000_000)
        );
        assert!(close(tokens.at(1_900_000), 135.0));
        assert!(close(tokens.at(2_000_000), 0.0));
        tokens.record(&outcome(1_750_000, 1_750_000, 2_500_000, 10, 0));
        assert!(close(tokens.at(1_900_000), 145.0) && close(tokens.at(2_400_000), 10.0));
        assert_eq!(tokens.peak_between(0, 1_000_000), Some(100.0));
        assert_eq!(tokens.peak_between(9_000_000, 10_000_000), None);
    }

    #[test]
    fn a_long_run_keeps_its_sum_in_a_bounded_number_of_cells() {
        let mut tokens = TokensInFlight::default();
        for i in 0..10_000_u64 {
            tokens.record(&outcome(
                i * 500_000,
                i * 500_000,
                i * 500_000 + 100_000,
                10,
                0,
            ));
        }
        assert!(tokens.cells.len() <= 1200);
        let sum: f64 = tokens.cells.iter().sum();
        assert!(close(sum, 10_000.0 * 10.0 * 100_000.0), "{sum}");
    }

    #[test]
    fn what_was_never_sent_or_took_no_time_counts_for_nothing() {
        let mut tokens = TokensInFlight::default();
        tokens.record(&RequestOutcome::default());
        tokens.record(&outcome(5, 5, 5, 100, 1));
        tokens.record(&outcome(u64::MAX - 10, u64::MAX - 5, u64::MAX, 100, 1));
        assert!(tokens.cells.len() <= 1200);
    }
}
