use super::distribution::Distribution;
use super::observed::Sampled;
use super::summary::Window;
use crate::replay::{RequestOutcome, SendResult};

/// The run over time, in windows of equal length. When a run outgrows [`MOST`] windows, neighbours are joined and the windows
/// are twice as long: memory is bounded whatever the run's length, and a histogram joins losslessly. So does the time that requests were
/// open. The most that were open at once does not: outcomes come as answers end, so it would take every one that is still open.
#[derive(Debug)]
pub(super) struct Windows {
    width_us: u64,
    /// When the last request was over.
    until_us: u64,
    windows: Vec<Open>,
}

#[derive(Debug, Default)]
struct Open {
    sent: u64,
    ok: u64,
    failed: u64,
    output_tokens: u64,
    any_output: bool,
    lateness_us: Option<u64>,
    ttft: Option<Box<Distribution>>,
    e2e: Option<Box<Distribution>>,
    /// For how long requests were open here, added up.
    open_us: u64,
    ended: u64,
}

impl Windows {
    pub(super) fn new() -> Self {
        Self {
            width_us: 1_000_000,
            until_us: 0,
            windows: Vec::new(),
        }
    }

    pub(super) fn record(&mut self, outcome: &RequestOutcome) {
        let start = self.index(outcome.intended_us);
        if let Some(window) = self.windows.get_mut(start) {
            window.note(outcome);
        }
        if let Some(sent) = outcome.sent_us {
            let end = outcome.end_us.max(sent);
            self.until_us = self.until_us.max(end);
            // `index` may join windows, so it comes before what goes by their width.
            let last = self.index(end);
            self.open(sent, end);
            if let Some(window) = self.windows.get_mut(last) {
                window.ended += 1;
                if let Some(tokens) = outcome.output_tokens {
                    window.output_tokens += u64::from(tokens);
                    window.any_output = true;
                }
            }
        }
    }

    /// The windows, with what was sampled in each, given its start and end.
    pub(super) fn finish(self, sampled: impl Fn(u64, u64) -> Sampled) -> Vec<Window> {
        let width_us = self.width_us;
        let mut start_us = 0;
        let mut windows = Vec::with_capacity(self.windows.len());
        for window in self.windows {
            // The last window is over when the last request is.
            let lasted_us = self.until_us.saturating_sub(start_us).min(width_us);
            let quantile =
                |latency: &Option<Box<Distribution>>, q| latency.as_ref()?.quantile_ms(q);
            let sampled = sampled(start_us, start_us + width_us);
            windows.push(Window {
                t_s: seconds(start_us),
                in_flight: seconds(window.open_us) / seconds(lasted_us.max(1)),
                in_flight_tokens: sampled.in_flight_tokens,
                sent: window.sent,
                ended: window.ended,
                ok: window.ok,
                failed: window.failed,
                ttft_p50_ms: quantile(&window.ttft, 0.5),
                ttft_p99_ms: quantile(&window.ttft, 0.99),
                e2e_p50_ms: quantile(&window.e2e, 0.5),
                e2e_p99_ms: quantile(&window.e2e, 0.99),
                lateness_max_ms: window.lateness_us.map(|us| seconds(us) * 1000.0),
                output_tokens_per_s: window
                    .any_output
                    .then(|| tokens(window.output_tokens) / seconds(width_us)),
                vram_used_bytes: sampled.vram_used_bytes,
                kv_cache: sampled.kv_cache,
                waiting: sampled.waiting,
                preemptions: sampled.preemptions,
            });
            start_us += width_us;
        }
        windows
    }

    /// Adds the time between two instants to each window that has a part of it.
    fn open(&mut self, sent_us: u64, end_us: u64) {
        let first = sent_us / self.width_us;
        let mut start_us = first * self.width_us;
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        for window in self.windows.iter_mut().skip(first) {
            if start_us >= end_us {
                break;
            }
            let until_us = start_us.saturating_add(self.width_us);
            let part_us = end_us.min(until_us) - sent_us.max(start_us);
            window.open_us = window.open_us.saturating_add(part_us);
            start_us = until_us;
        }
    }

    fn index(&mut self, us: u64) -> usize {
        loop {
            let index = usize::try_from(us / self.width_us).unwrap_or(usize::MAX);
            if index < MOST {
                if index >= self.windows.len() {
                    self.windows.resize_with(index + 1, Open::default);
                }
                return index;
            }
            self.join();
        }
    }

    fn join(&mut self) {
        self.width_us *= 2;
        let mut joined = Vec::with_capacity(MOST / 2 + 1);
        let mut windows = std::mem::take(&mut self.windows).into_iter();
        while let Some(mut first) = windows.next() {
            if let Some(second) = windows.next() {
                first.join(second);
            }
            joined.push(first);
        }
        self.windows = joined;
    }
}

impl Open {
    fn note(&mut self, outcome: &RequestOutcome) {
        if let Some(sent) = outcome.sent_us {
            self.sent += 1;
            let late = sent.saturating_sub(outcome.intended_us);
            self.lateness_us = Some(self.lateness_us.map_or(late, |most| most.max(late)));
        }
        let e2e = self
            .e2e
            .get_or_insert_with(|| Box::new(Distribution::coarse()));
        match outcome.result {
            SendResult::Ok => {
                self.ok += 1;
                e2e.record(outcome.end_us.saturating_sub(outcome.intended_us));
            }
            SendResult::Failed(_) => {
                self.failed += 1;
                e2e.miss();
            }
            SendResult::Cancelled if outcome.is_abandoned() => e2e.miss(),
            SendResult::Cancelled => {}
        }
        if outcome.stream {
            let ttft = self
                .ttft
                .get_or_insert_with(|| Box::new(Distribution::coarse()));
            match (outcome.first_token_us, outcome.result) {
                (_, SendResult::Failed(_)) | (None, SendResult::Cancelled) => ttft.miss(),
                (Some(first), _) => ttft.record(first.saturating_sub(outcome.intended_us)),
                (None, _) => {}
            }
        }
    }

    fn join(&mut self, other: Self) {
        self.sent += other.sent;
        self.ok += other.ok;
        self.failed += other.failed;
        self.output_tokens += other.output_tokens;
        self.any_output |= other.any_output;
        self.lateness_us = self.lateness_us.max(other.lateness_us);
        self.open_us = self.open_us.saturating_add(other.open_us);
        self.ended += other.ended;
        join(&mut self.ttft, other.ttft);
        join(&mut self.e2e, other.e2e);
    }
}

fn join(into: &mut Option<Box<Distribution>>, from: Option<Box<Distribution>>) {
    match (into.as_mut(), from) {
        (Some(into), Some(from)) => into.add(&from),
        (None, from) => *into = from,
        (Some(_), None) => {}
    }
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
fn tokens(count: u64) -> f64 {
    count as f64
}

/// Windows at most; a chart has no more pixels than this to show them.
const MOST: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::target::tests::outcome;

    #[test]
    fn a_long_run_is_told_in_a_bounded_number_of_windows() {
        let mut windows = Windows::new();
        for i in 0..5000_u64 {
            windows.record(&outcome(i, i * 1_000_000, 300_000));
        }
        assert_eq!(windows.width_us, 16_000_000);
        let told = windows.finish(|_, _| Sampled::default());
        assert!(told.len() <= MOST);
        assert_eq!(told.iter().map(|window| window.sent).sum::<u64>(), 5000);
        assert_eq!(told.iter().map(|window| window.ok).sum::<u64>(), 5000);
        // 0.3 s open of each second.
        let (last, whole) = told.split_last().unwrap();
        assert!(whole.iter().all(|it| close(it.in_flight, 0.3)));
        assert!(close(last.in_flight, 2.4 / 7.3), "{last:?}");
    }

    #[test]
    fn requests_that_last_are_in_flight_all_along() {
        let mut windows = Windows::new();
        windows.record(&outcome(0, 500_000, 3_000_000));
        windows.record(&outcome(1, 2_100_000, 100_000));
        let told = windows.finish(|start, _| Sampled {
            vram_used_bytes: Some(start),
            ..Sampled::default()
        });
        let expected = [0.5, 1.0, 1.1, 1.0];
        let pairs = means(&told).into_iter().zip(expected);
        assert!(
            told.len() == 4 && pairs.into_iter().all(|(a, b)| close(a, b)),
            "{told:?}"
        );
        assert_eq!(told[2].vram_used_bytes, Some(2_000_000));
        let ended: Vec<u64> = told.iter().map(|window| window.ended).collect();
        assert_eq!(ended, [0, 0, 1, 1]);
    }

    #[test]
    fn many_short_requests_one_at_a_time_are_not_many_in_flight() {
        let mut windows = Windows::new();
        for i in 0..20_u64 {
            windows.record(&outcome(i, i * 50_000, 40_000));
        }
        // The last is over at 990 ms.
        let told = windows.finish(|_, _| Sampled::default());
        assert_eq!((told.len(), told[0].sent), (1, 20));
        assert!(close(told[0].in_flight, 0.8 / 0.99), "{told:?}");
    }

    #[test]
    fn outcomes_in_any_order_have_the_same_means() {
        let all: Vec<_> = (0..900_u64)
            .map(|i| outcome(i, i * 1_100_000, 100_000 + i % 7 * 900_000))
            .collect();
        let told = |order: &mut dyn Iterator<Item = &RequestOutcome>| {
            let mut windows = Windows::new();
            order.for_each(|outcome| windows.record(outcome));
            means(&windows.finish(|_, _| Sampled::default()))
        };
        let in_order = told(&mut all.iter());
        // As a merge reads them: all of one shard, then all of the other.
        let (even, odd) = (all.iter().step_by(2), all.iter().skip(1).step_by(2));
        assert_eq!(in_order, told(&mut even.chain(odd)));
        assert_eq!(in_order, told(&mut all.iter().rev()));
        // Windows of two seconds, but for the last.
        let open_s: f64 = all
            .iter()
            .map(|it| seconds(it.end_us - it.sent_us.unwrap()))
            .sum();
        let until_s = all.iter().map(|it| seconds(it.end_us)).fold(0.0, f64::max);
        let (last, whole) = in_order.split_last().unwrap();
        let last_s = until_s - 2.0 * whole.len() as f64;
        assert!(close(
            2.0 * whole.iter().sum::<f64>() + last * last_s,
            open_s
        ));
    }

    fn means(told: &[Window]) -> Vec<f64> {
        told.iter().map(|window| window.in_flight).collect()
    }

    /// Sends are 50 µs late here.
    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1.1e-3
    }
}
