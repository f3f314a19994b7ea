use super::objective::{Bound, Metric, Objective, Statistic};
use crate::measure::{PerRequestBounds, tpot_us};
use crate::replay::{RequestOutcome, SendResult};

/// An objective read as a share of requests that may miss: `ttft.p99<800ms` lets one request in a hundred take longer. Such an objective
/// can be decided by counting, while a run goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Allowance {
    /// The objective.
    pub objective: Objective,
    /// The share of requests that may miss, below 1; 0 where none may.
    pub share: f64,
    bound: f64,
}

impl Allowance {
    /// `None` where the objective is not about single requests: means, rates, memory; token gaps, which are many to a request and
    /// depend on each other; and relative objectives.
    pub fn counted(objective: &Objective) -> Option<Self> {
        let Bound::Absolute(bound) = objective.bound else {
            return None;
        };
        let upper = objective.operator.is_upper();
        let share = match (objective.metric, objective.statistic) {
            (Metric::Ttft | Metric::Tpot | Metric::E2e, statistic) if upper => {
                1.0 - quantile(statistic)?
            }
            (Metric::Errors, Statistic::Rate) if upper => bound,
            (Metric::Goodput, Statistic::Rate) if !upper => 1.0 - bound,
            _ => return None,
        };
        (0.0..1.0).contains(&share).then(|| Self {
            objective: objective.clone(),
            share,
            bound,
        })
    }

    /// The same without those that let no request miss: no number of requests decides that none will.
    pub fn of(objective: &Objective) -> Option<Self> {
        Self::counted(objective).filter(|allowance| allowance.share > 0.0)
    }

    /// Whether a request missed; `None` where it does not count: one whose client had enough, or one that has no such figure. `bounds` are those of
    /// goodput.
    pub fn missed(&self, outcome: &RequestOutcome, bounds: &PerRequestBounds) -> Option<bool> {
        let failed = matches!(outcome.result, SendResult::Failed(_));
        let since = |moment: u64| moment.saturating_sub(outcome.intended_us);
        let value = match self.objective.metric {
            Metric::Errors => {
                return (outcome.result != SendResult::Cancelled).then_some(failed);
            }
            Metric::Goodput => {
                let good = outcome.result == SendResult::Ok && bounds.met_by(outcome);
                let counts = outcome.result != SendResult::Cancelled || outcome.is_abandoned();
                return counts.then_some(!good);
            }
            Metric::E2e if outcome.is_abandoned() => return Some(true),
            Metric::E2e if outcome.result == SendResult::Cancelled => None,
            Metric::E2e => Some(since(outcome.end_us)),
            _ if !outcome.stream => return None,
            Metric::Ttft if outcome.is_abandoned() => return Some(true),
            Metric::Ttft => outcome.first_token_us.map(since),
            _ if outcome.result == SendResult::Cancelled => None,
            _ => tpot_us(outcome),
        };
        if failed {
            return Some(true);
        }
        #[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
        let missed = |us: u64| {
            !self
                .objective
                .operator
                .holds(us as f64 / 1000.0, self.bound)
        };
        value.map(missed)
    }
}

fn quantile(statistic: Statistic) -> Option<f64> {
    Some(match statistic {
        Statistic::P50 => 0.5,
        Statistic::P90 => 0.9,
        Statistic::P95 => 0.95,
        Statistic::P99 => 0.99,
        Statistic::P99_9 => 0.999,
        Statistic::Max => 1.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::FailureKind;

    fn of(expr: &str) -> Option<Allowance> {
        Allowance::of(&expr.parse().unwrap())
    }

    fn outcome(ttft_us: u64, end_us: u64, result: SendResult) -> RequestOutcome {
        RequestOutcome {
            intended_us: 1000,
            first_token_us: Some(1000 + ttft_us),
            last_token_us: Some(1000 + end_us),
            end_us: 1000 + end_us,
            output_tokens: Some(11),
            stream: true,
            result,
            ..RequestOutcome::default()
        }
    }

    #[test]
    fn quantiles_errors_and_goodput_let_a_share_of_requests_miss() {
        let share = |expr| of(expr).map(|allowance| (allowance.share * 1e6).round() / 1e6);
        assert_eq!(share("ttft.p99<800ms"), Some(0.01));
        assert_eq!(share("e2e.p99.9<20s"), Some(0.001));
        assert_eq!(share("tpot.p50<=40ms"), Some(0.5));
        assert_eq!(share("errors.rate<0.1%"), Some(0.001));
        assert_eq!(share("goodput.rate>=95%"), Some(0.05));
        for other in [
            "ttft.mean<1s",
            "ttft.max<1s",
            "itl.p99<50ms",
            "ttft.p99<+10%",
            "errors.rate<=0%",
            "ttft.p99>1s",
            "vram.peak<10GiB",
            "throughput.requests_per_s>5",
        ] {
            assert_eq!(share(other), None, "{other}");
        }
    }

    #[test]
    fn a_request_misses_by_its_own_figure_and_a_failed_one_misses_all() {
        let bounds = PerRequestBounds {
            ttft_ms: Some(50.0),
            ..PerRequestBounds::default()
        };
        let missed =
            |expr: &str, outcome: &RequestOutcome| of(expr).unwrap().missed(outcome, &bounds);
        let ok = outcome(60_000, 160_000, SendResult::Ok);
        assert_eq!(missed("ttft.p99<61ms", &ok), Some(false));
        assert_eq!(missed("ttft.p99<60ms", &ok), Some(true));
        assert_eq!(missed("tpot.p99<=10ms", &ok), Some(false));
        assert_eq!(missed("e2e.p99<100ms", &ok), Some(true));
        assert_eq!(missed("goodput.rate>90%", &ok), Some(true));
        let failed = outcome(1000, 2000, SendResult::Failed(FailureKind::Reset));
        for expr in ["ttft.p99<1s", "e2e.p99<1s", "errors.rate<1%"] {
            assert_eq!(missed(expr, &failed), Some(true), "{expr}");
        }
        let cancelled = outcome(1000, 2000, SendResult::Cancelled);
        assert_eq!(missed("ttft.p99<1s", &cancelled), Some(false));
        for expr in [
            "e2e.p99<1s",
            "tpot.p99<1s",
            "errors.rate<1%",
            "goodput.rate>90%",
        ] {
            assert_eq!(missed(expr, &cancelled), None, "{expr}");
        }
        let plain = RequestOutcome {
            stream: false,
            ..ok
        };
        assert_eq!(missed("ttft.p99<1ms", &plain), None);
    }
}
