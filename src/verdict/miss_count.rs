use super::allowance::Allowance;
use super::judge::per_request_bounds;
use super::objective::Objective;
use crate::measure::{Misses, PerRequestBounds};
use crate::replay::RequestOutcome;

/// Counts how many requests of a run miss which objective, for those objectives that are about single requests.
#[derive(Debug, Clone)]
pub struct MissCount {
    bounds: PerRequestBounds,
    counts: Vec<(Allowance, Misses)>,
}

impl MissCount {
    /// Nothing counted yet.
    pub fn new(objectives: &[Objective]) -> Self {
        let counts = objectives.iter().filter_map(|objective| {
            let allowance = Allowance::counted(objective)?;
            let misses = Misses {
                expr: objective.expr.clone(),
                requests: 0,
                missed: 0,
                // As a quantile's complement is rounded in binary: 0.01, not 0.010000000000000009.
                allowed: (allowance.share * 1e9).round() / 1e9,
            };
            Some((allowance, misses))
        });
        Self {
            bounds: per_request_bounds(objectives),
            counts: counts.collect(),
        }
    }

    /// Adds a measured request.
    pub fn record(&mut self, outcome: &RequestOutcome) {
        for (allowance, misses) in &mut self.counts {
            if let Some(missed) = allowance.missed(outcome, &self.bounds) {
                misses.requests += 1;
                misses.missed += u64::from(missed);
            }
        }
    }

    /// What was counted, in the objectives' order.
    pub fn finish(self) -> Vec<Misses> {
        self.counts.into_iter().map(|(_, misses)| misses).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::SendResult;

    #[test]
    fn requests_are_counted_by_every_objective_that_is_about_them() {
        let exprs = [
            "ttft.p99<30ms",
            "e2e.max<1s",
            "e2e.mean<1s",
            "errors.rate<=0%",
            "ttft.p99<+10%",
        ];
        let objectives: Vec<Objective> = exprs.iter().map(|expr| expr.parse().unwrap()).collect();
        let mut count = MissCount::new(&objectives);
        for ms in [10, 40, 2000] {
            count.record(&RequestOutcome {
                first_token_us: Some(ms * 1000),
                end_us: ms * 1000,
                stream: true,
                result: SendResult::Ok,
                ..RequestOutcome::default()
            });
        }
        let told: Vec<_> = count.finish();
        let told: Vec<_> = told
            .iter()
            .map(|m| (m.expr.as_str(), m.requests, m.missed, m.allowed))
            .collect();
        assert_eq!(
            told,
            [
                ("ttft.p99<30ms", 3, 2, 0.01),
                ("e2e.max<1s", 3, 1, 0.0),
                ("errors.rate<=0%", 3, 0, 0.0)
            ]
        );
    }
}
