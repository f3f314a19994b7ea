use std::fmt;

/// One objective: `METRIC.STAT OP VALUE`, such as `ttft.p99<800ms`.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// What is judged.
    pub metric: Metric,
    /// Which figure of it.
    pub statistic: Statistic,
    /// How it must stand to the bound.
    pub operator: Operator,
    /// The bound.
    pub bound: Bound,
    /// As the user wrote it.
    pub expr: String,
}

impl Objective {
    /// Whether it judges a change against a baseline, not a figure alone.
    pub const fn is_relative(&self) -> bool {
        matches!(self.bound, Bound::Relative(_))
    }
}

/// What an objective speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Time to first token.
    Ttft,
    /// Gaps between token events.
    Itl,
    /// Time per output token.
    Tpot,
    /// End to end.
    E2e,
    /// Failed requests.
    Errors,
    /// Requests that met every per-request objective.
    Goodput,
    /// Requests, by what became of them.
    Requests,
    /// Rates.
    Throughput,
    /// GPU memory.
    Vram,
    /// The engine's KV cache.
    KvCache,
    /// Requests thrown out of the engine's batch for want of memory.
    Preemptions,
    /// Memory that ran out.
    Oom,
    /// Requests that wait in the engine.
    Waiting,
    /// Answer quality.
    Quality,
}

/// Which figure of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// 50th percentile.
    P50,
    /// 90th percentile.
    P90,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
    /// 99.9th percentile.
    P99_9,
    /// Mean of the successes.
    Mean,
    /// Largest.
    Max,
    /// A share.
    Rate,
    /// A count of failures.
    Failed,
    /// How many.
    Count,
    /// Answers a second.
    RequestsPerS,
    /// Generated tokens a second.
    OutputTokensPerS,
    /// The most seen.
    Peak,
    /// Trend.
    Growth,
    /// Share of tests passed.
    PassRate,
    /// Mean score of tests.
    Score,
    /// Tests that passed idle, and did not under load.
    Flips,
    /// Share of the canary's prompts whose answer under load is the idle one.
    CanaryIdentical,
    /// Mean distance of the canary's answers under load to the idle ones.
    CanaryDistance,
}

/// How a value must stand to its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// What a value is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// A figure in the metric's own unit: milliseconds, bytes, bytes a second, a share, a count.
    Absolute(f64),
    /// A change against the first target, as a share: `+10%` is 0.1.
    Relative(f64),
}

/// What values of a metric's figure are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Milliseconds,
    Share,
    /// From 0, the same, to 1.
    Distance,
    Bytes,
    BytesPerSecond,
    Count,
    Number,
}

use Statistic as S;

const LATENCY: &[Statistic] = &[S::P50, S::P90, S::P95, S::P99, S::P99_9, S::Mean, S::Max];

impl Metric {
    /// Every metric, its name, and the figures it has.
    pub(super) const ALL: &'static [(Self, &'static str, &'static [Statistic])] = &[
        (Self::Ttft, "ttft", LATENCY),
        (Self::Itl, "itl", LATENCY),
        (Self::Tpot, "tpot", LATENCY),
        (Self::E2e, "e2e", LATENCY),
        (Self::Errors, "errors", &[S::Rate]),
        (Self::Goodput, "goodput", &[S::Rate, S::RequestsPerS]),
        (Self::Requests, "requests", &[S::Failed]),
        (
            Self::Throughput,
            "throughput",
            &[S::RequestsPerS, S::OutputTokensPerS],
        ),
        (Self::Vram, "vram", &[S::Peak, S::Growth]),
        (Self::KvCache, "kv_cache", &[S::Peak]),
        (Self::Preemptions, "preemptions", &[S::Count]),
        (Self::Oom, "oom", &[S::Count]),
        (Self::Waiting, "waiting", &[S::Peak]),
        (
            Self::Quality,
            "quality",
            &[
                S::PassRate,
                S::Score,
                S::Flips,
                S::CanaryIdentical,
                S::CanaryDistance,
            ],
        ),
    ];

    /// Its name in the language.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(metric, ..)| *metric == self)
            .map_or("", |(_, name, _)| name)
    }

    /// Whether it is a latency, whose figures have intervals.
    pub const fn is_latency(self) -> bool {
        matches!(self, Self::Ttft | Self::Itl | Self::Tpot | Self::E2e)
    }
}

impl Statistic {
    pub(super) const NAMES: &'static [(Self, &'static str)] = &[
        (Self::P50, "p50"),
        (Self::P90, "p90"),
        (Self::P95, "p95"),
        (Self::P99, "p99"),
        (Self::P99_9, "p99.9"),
        (Self::Mean, "mean"),
        (Self::Max, "max"),
        (Self::Rate, "rate"),
        (Self::Failed, "failed"),
        (Self::Count, "count"),
        (Self::RequestsPerS, "requests_per_s"),
        (Self::OutputTokensPerS, "output_tokens_per_s"),
        (Self::Peak, "peak"),
        (Self::Growth, "growth"),
        (Self::PassRate, "pass_rate"),
        (Self::Score, "score"),
        (Self::Flips, "flips"),
        (Self::CanaryIdentical, "canary.identical"),
        (Self::CanaryDistance, "canary.distance"),
    ];

    /// Its name in the language.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(statistic, _)| *statistic == self)
            .map_or("", |(_, name)| name)
    }
}

impl Operator {
    /// Whether `value` stands so to `bound`.
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::LessOrEqual => value <= bound,
            Self::Greater => value > bound,
            Self::GreaterOrEqual => value >= bound,
        }
    }

    /// Whether smaller values are better.
    pub const fn is_upper(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual)
    }

    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

pub(super) fn unit(metric: Metric, statistic: Statistic) -> Unit {
    match (metric, statistic) {
        (_, Statistic::Growth) => Unit::BytesPerSecond,
        (Metric::Vram, _) => Unit::Bytes,
        (metric, _) if metric.is_latency() => Unit::Milliseconds,
        (_, Statistic::Rate | Statistic::PassRate | Statistic::CanaryIdentical)
        | (Metric::KvCache, _) => Unit::Share,
        (_, Statistic::CanaryDistance) => Unit::Distance,
        (_, Statistic::Failed | Statistic::Count | Statistic::Flips) | (Metric::Waiting, _) => {
            Unit::Count
        }
        _ => Unit::Number,
    }
}

/// In canonical form: base units, no spaces. Parses back to the same objective.
impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}{}",
            self.metric.name(),
            self.statistic.name(),
            self.operator.symbol()
        )?;
        match self.bound {
            Bound::Relative(share) => write!(f, "{:+}%", share * 100.0),
            Bound::Absolute(value) => match unit(self.metric, self.statistic) {
                Unit::Milliseconds => write!(f, "{value}ms"),
                Unit::Bytes => write!(f, "{value}B"),
                Unit::BytesPerSecond => write!(f, "{value}B/s"),
                Unit::Share | Unit::Distance | Unit::Count | Unit::Number => write!(f, "{value}"),
            },
        }
    }
}
