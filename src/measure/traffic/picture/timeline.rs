use std::collections::BTreeMap;

use serde::Serialize;

use super::in_flight::OpenExchanges;
use crate::shape::{Endpoint, Exchange};

/// Traffic over time. Columns of equal length, one value for each window; the first window begins at the first arrival, the
/// last holds the last arrival and may be cut short by it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Timeline {
    /// Length of a window in seconds.
    pub window_s: f64,
    /// Arrivals, by endpoint.
    pub arrivals: BTreeMap<Endpoint, Vec<u64>>,
    /// How the exchanges that arrived in the window ended.
    pub outcomes: BTreeMap<&'static str, Vec<u64>>,
    /// Prompt tokens that arrived; absent where no prompt's tokens are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<Vec<u64>>,
    /// Output tokens of the exchanges that arrived; absent where no answer's tokens are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<Vec<u64>>,
    /// Exchanges of this trace open at once, up to the last arrival; absent where no exchange's end is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<InFlightColumns>,
}

/// Exchanges open at once, over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct InFlightColumns {
    /// The mean over the time of the window.
    pub mean: Vec<f64>,
    /// The most at any instant of it.
    pub peak: Vec<u64>,
    /// Exchanges whose end is not known, and that are not counted here.
    pub unknown_ends: u64,
}

/// Gathers a [`Timeline`].
#[derive(Debug, Default)]
pub(super) struct TimelineMeter {
    first_us: Option<u64>,
    /// Up to where the level of open exchanges is told, since the first arrival.
    told_us: u64,
    width: Width,
    windows: Vec<Window>,
    open: OpenExchanges,
    known_ends: u64,
    unknown_ends: u64,
    any_prompt_tokens: bool,
    any_output_tokens: bool,
}

#[derive(Debug, Clone, Default)]
struct Window {
    arrivals: BTreeMap<Endpoint, u64>,
    outcomes: BTreeMap<&'static str, u64>,
    prompt_tokens: u64,
    output_tokens: u64,
    /// Exchanges open, times microseconds.
    open_us: f64,
    open_peak: u64,
}

impl TimelineMeter {
    /// Adds an exchange; they must come in order of arrival.
    pub(super) fn add(&mut self, exchange: &Exchange) {
        let at_us = exchange.at.us();
        let since_us = at_us.saturating_sub(*self.first_us.get_or_insert(at_us));
        self.reach(since_us);
        while let Some(end_us) = self.open.close_next(since_us) {
            // The level held until the end; it is one lower from there on.
            self.tell(end_us, self.open.level() + 1);
        }
        self.tell(since_us, self.open.level());
        let response = &exchange.response;
        match response.end_us.or(exchange.outcome.at_us()) {
            Some(lasted_us) => {
                self.known_ends += 1;
                self.open.open(since_us.saturating_add(lasted_us));
            }
            None => self.unknown_ends += 1,
        }
        let level = self.open.level();
        let prompt = exchange.request.prompt_tokens;
        let output = response.output_tokens;
        self.any_prompt_tokens |= prompt.is_some();
        self.any_output_tokens |= output.is_some();
        if let Some(window) = self.window(since_us) {
            *window.arrivals.entry(exchange.endpoint).or_default() += 1;
            *window.outcomes.entry(exchange.outcome.name()).or_default() += 1;
            window.prompt_tokens += prompt.map_or(0, |tokens| tokens.count.into());
            window.output_tokens += output.map_or(0, |tokens| tokens.count.into());
            window.open_peak = window.open_peak.max(level);
        }
    }

    fn window(&mut self, since_us: u64) -> Option<&mut Window> {
        let index = usize::try_from(since_us / self.width.us()).ok()?;
        self.windows.get_mut(index)
    }

    /// Makes windows up to an instant, joining neighbours as needed.
    fn reach(&mut self, since_us: u64) {
        while since_us / self.width.us() >= MOST as u64 {
            self.widen();
        }
        let needed = since_us / self.width.us() + 1;
        while (self.windows.len() as u64) < needed {
            self.windows.push(Window::default());
        }
    }

    fn widen(&mut self) {
        let joined = self.width.widen();
        self.windows = self.windows.chunks(joined).map(Window::of).collect();
    }

    /// Says that `level` exchanges were open from where the telling stopped up to `upto_us`.
    #[allow(clippy::cast_precision_loss, reason = "a mean for display")]
    fn tell(&mut self, upto_us: u64, level: u64) {
        let width_us = self.width.us();
        while self.told_us < upto_us {
            let window_end_us = (self.told_us / width_us + 1).saturating_mul(width_us);
            let until_us = upto_us.min(window_end_us);
            let lasted_us = until_us - self.told_us;
            if let Some(window) = self.window(self.told_us) {
                window.open_us += level as f64 * lasted_us as f64;
                window.open_peak = window.open_peak.max(level);
            }
            self.told_us = until_us;
        }
    }

    /// The columns. Windows that would mostly hold an arrival or none are joined, as long as there are enough to see a course.
    pub(super) fn finish(mut self) -> Timeline {
        let exchanges: u64 = self
            .windows
            .iter()
            .flat_map(|window| window.arrivals.values())
            .sum();
        while exchanges < SPARSE * self.windows.len() as u64
            && self.windows.len().div_ceil(self.width.joined_next()) >= FEWEST
        {
            self.widen();
        }
        if self.windows.is_empty() {
            return Timeline::default();
        }
        let windows = &self.windows;
        let column = |of: fn(&Window) -> u64| windows.iter().map(of).collect::<Vec<_>>();
        Timeline {
            window_s: seconds(self.width.us()),
            arrivals: columns(windows, |window| &window.arrivals),
            outcomes: columns(windows, |window| &window.outcomes),
            prompt_tokens: self
                .any_prompt_tokens
                .then(|| column(|window| window.prompt_tokens)),
            output_tokens: self
                .any_output_tokens
                .then(|| column(|window| window.output_tokens)),
            in_flight: (self.known_ends > 0).then(|| InFlightColumns {
                mean: self.open_means(),
                peak: column(|window| window.open_peak),
                unknown_ends: self.unknown_ends,
            }),
        }
    }

    fn open_means(&self) -> Vec<f64> {
        let width_us = self.width.us();
        let means = self.windows.iter().scan(0_u64, |start_us, window| {
            let told_us = self.told_us.saturating_sub(*start_us).min(width_us);
            *start_us = start_us.saturating_add(width_us);
            // Of a last window that ends as it begins, the level is all there is to tell.
            Some(match told_us {
                0 => count(window.open_peak),
                told_us => window.open_us / count(told_us),
            })
        });
        means.collect()
    }
}

impl Window {
    /// Neighbours as one.
    fn of(parts: &[Self]) -> Self {
        let mut whole = Self::default();
        for part in parts {
            for (&endpoint, count) in &part.arrivals {
                *whole.arrivals.entry(endpoint).or_default() += count;
            }
            for (&outcome, count) in &part.outcomes {
                *whole.outcomes.entry(outcome).or_default() += count;
            }
            whole.prompt_tokens += part.prompt_tokens;
            whole.output_tokens += part.output_tokens;
            whole.open_us += part.open_us;
            whole.open_peak = whole.open_peak.max(part.open_peak);
        }
        whole
    }
}

/// A column for every key that any window has.
fn columns<K: Copy + Ord>(
    windows: &[Window],
    of: impl Fn(&Window) -> &BTreeMap<K, u64>,
) -> BTreeMap<K, Vec<u64>> {
    let mut columns = BTreeMap::new();
    for (index, window) in windows.iter().enumerate() {
        for (&key, &count) in of(window) {
            let column: &mut Vec<u64> =
                columns.entry(key).or_insert_with(|| vec![0; windows.len()]);
            if let Some(value) = column.get_mut(index) {
                *value = count;
            }
        }
    }
    columns
}

/// The length of a window: lengths that people use, each a multiple of the one before, and doubled beyond a day.
#[derive(Debug, Clone, Copy)]
struct Width {
    us: u64,
}

/// In milliseconds: 10 ms to a day.
const WIDTHS_MS: [u64; 17] = [
    10, 50, 100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000,
    10_800_000, 21_600_000, 43_200_000, 86_400_000,
];

impl Default for Width {
    fn default() -> Self {
        let [shortest_ms, ..] = WIDTHS_MS;
        Self {
            us: shortest_ms * 1000,
        }
    }
}

impl Width {
    fn us(self) -> u64 {
        self.us
    }

    /// How many windows of this length make one of the next.
    fn joined_next(self) -> usize {
        let next_us = WIDTHS_MS
            .iter()
            .map(|ms| ms * 1000)
            .find(|&us| us > self.us)
            .unwrap_or(self.us.saturating_mul(2));
        usize::try_from(next_us / self.us).unwrap_or(2).max(1)
    }

    /// Takes the next length; says how many windows of the old one make one of it.
    fn widen(&mut self) -> usize {
        let joined = self.joined_next();
        self.us = self.us.saturating_mul(joined as u64);
        joined
    }
}

fn seconds(us: u64) -> f64 {
    count(us) / 1e6
}

#[allow(clippy::cast_precision_loss, reason = "for display")]
fn count(value: u64) -> f64 {
    value as f64
}

/// Windows at most; a chart has no more pixels than this to show them.
const MOST: usize = 600;
/// Fewer arrivals than this in a window, on average, make a comb and no course.
const SPARSE: u64 = 4;
/// Windows that sparse ones are not joined below.
const FEWEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Method, Outcome, TraceTime};

    fn exchange(at_us: u64, end_us: Option<u64>) -> Exchange {
        let mut exchange = Exchange::bare(
            TraceTime::from_us(at_us),
            Endpoint::ChatCompletions,
            Method::Post,
        );
        exchange.response.end_us = end_us;
        exchange
    }

    fn timeline(exchanges: impl IntoIterator<Item = Exchange>) -> Timeline {
        let mut meter = TimelineMeter::default();
        for exchange in exchanges {
            meter.add(&exchange);
            assert!(meter.windows.len() <= MOST);
        }
        meter.finish()
    }

    #[test]
    fn a_long_trace_is_told_in_a_bounded_number_of_windows_and_nothing_is_lost() {
        let told = timeline((0..100_000).map(|i| exchange(77 + i * 1_000_000, Some(1_500_000))));
        assert_eq!(told.window_s, 300.0);
        let arrivals = &told.arrivals[&Endpoint::ChatCompletions];
        assert!(arrivals.len() <= MOST);
        assert_eq!(arrivals.iter().sum::<u64>(), 100_000);
        assert_eq!(told.outcomes["completed"], *arrivals);
        let in_flight = told.in_flight.unwrap();
        // One a second, each open for a second and a half.
        assert!(
            in_flight.mean[1..]
                .iter()
                .all(|mean| (mean - 1.5).abs() < 0.01)
        );
        assert!(in_flight.peak.iter().all(|&peak| peak == 2));
    }

    #[test]
    fn the_level_of_open_exchanges_is_the_mean_over_time_and_not_over_arrivals() {
        let mut all: Vec<_> = (0..160)
            .map(|i| exchange(i * 100_000, Some(10_000)))
            .collect();
        // Open from the fifth second to the tenth.
        all.push(exchange(5_000_000, Some(5_000_000)));
        all.sort_by_key(|exchange| exchange.at);
        let told = timeline(all);
        assert_eq!(told.window_s, 0.5);
        let in_flight = told.in_flight.unwrap();
        assert!((in_flight.mean[8] - 0.1).abs() < 1e-9, "{in_flight:?}");
        assert!((in_flight.mean[12] - 1.1).abs() < 1e-9, "{in_flight:?}");
        assert_eq!(
            (in_flight.peak[8], in_flight.peak[12], in_flight.peak[25]),
            (1, 2, 1)
        );
    }

    #[test]
    fn an_exchange_without_an_end_is_not_guessed_at() {
        let mut cancelled = exchange(0, None);
        cancelled.outcome = Outcome::ClientCancelled { at_us: 400 };
        let told = timeline([cancelled, exchange(1_000_000, None)]);
        let in_flight = told.in_flight.unwrap();
        assert_eq!(in_flight.unknown_ends, 1);
        assert_eq!(in_flight.peak[0], 1);
        assert_eq!(timeline([exchange(3, None)]).in_flight, None);
    }

    #[test]
    fn one_exchange_is_one_window() {
        let told = timeline([exchange(123_456, Some(1_000))]);
        assert_eq!(told.arrivals[&Endpoint::ChatCompletions], [1]);
        assert_eq!(told.in_flight.unwrap().mean, [1.0]);
    }

    #[test]
    fn instants_at_the_end_of_time_are_taken() {
        let told = timeline([
            exchange(0, Some(u64::MAX)),
            exchange(u64::MAX, Some(u64::MAX)),
        ]);
        assert_eq!(
            told.arrivals[&Endpoint::ChatCompletions]
                .iter()
                .sum::<u64>(),
            2
        );
    }

    #[test]
    fn every_width_is_a_multiple_of_the_one_before() {
        for pair in WIDTHS_MS.windows(2) {
            assert!(pair[1] % pair[0] == 0 && pair[1] / pair[0] <= 6);
        }
    }
}
