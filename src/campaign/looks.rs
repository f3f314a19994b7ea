use crate::measure::{Allowed, Misses, PerRequestBounds, allowed, fewest_requests};
use crate::replay::RequestOutcome;
use crate::verdict::{Allowance, Objective, per_request_bounds};

/// Decides whether a step meets the objectives while it runs: after as many requests as the objectives need at least, then after twice and
/// after four times as many, each time by the requests *issued* until there, once all of them are over. (By those that happened to be over, the
/// slow ones would be missing.) That the objectives are clearly missed is seen at any time, if so many missed would be too many of all that
/// were *issued* by then: a refusal is over long before the answers that were issued with it.
#[derive(Debug)]
pub(super) struct Looks {
    allowances: Vec<Allowance>,
    bounds: PerRequestBounds,
    /// Requests at the beginning that do not count.
    warm_up: u64,
    /// Requests of the plan from one look to the next.
    parts: Vec<Part>,
    over: u64,
    /// Requests beyond the warm-up that were issued, as far as those that are over tell.
    issued: u64,
    /// See [`Looks::until`].
    until: u64,
    decision: Option<Decision>,
}

#[derive(Debug)]
struct Part {
    /// Requests of the plan before this part's end.
    end: u64,
    length: u64,
    over: u64,
    counts: Vec<Count>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    requests: u64,
    missed: u64,
}

/// What a step's requests say.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    /// Every objective is met.
    Met,
    /// This one is missed.
    Missed(String),
}

impl Looks {
    /// For a step of `objectives` that lasts at least `fewest` measured requests, whatever the objectives need, after at least `prelude` that
    /// do not count.
    pub(super) fn new(objectives: &[Objective], fewest: u64, prelude: u64) -> Self {
        let allowances: Vec<Allowance> = objectives.iter().filter_map(Allowance::of).collect();
        let needed = allowances
            .iter()
            .filter_map(|allowance| fewest_requests(allowance.share))
            .max()
            .unwrap_or(WITHOUT_ALLOWANCE)
            .max(fewest);
        let warm_up = (needed / WARM_UP).max(prelude);
        let mut end = warm_up;
        let parts: Vec<Part> = LOOKS
            .iter()
            .map(|times| {
                let length = warm_up + needed * times - end;
                end += length;
                Part {
                    end,
                    length,
                    over: 0,
                    counts: vec![Count::default(); allowances.len()],
                }
            })
            .collect();
        Self {
            allowances,
            bounds: per_request_bounds(objectives),
            warm_up,
            until: next_look(&parts, 0),
            parts,
            over: 0,
            issued: 0,
            decision: None,
        }
    }

    /// Requests at the beginning of the step that do not count.
    pub(super) fn warm_up(&self) -> u64 {
        self.warm_up
    }

    /// Requests until the first look, with the warm-up.
    pub(super) fn least(&self) -> u64 {
        self.parts.first().map_or(0, |part| part.end)
    }

    /// Requests until the last look.
    pub(super) fn most(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.end)
    }

    /// Adds a request; true where the step is decided by it.
    pub(super) fn record(&mut self, outcome: &RequestOutcome) -> bool {
        let Some(part) = self
            .parts
            .iter_mut()
            .find(|part| outcome.index < part.end)
            .filter(|_| outcome.index >= self.warm_up)
        else {
            return false;
        };
        part.over += 1;
        self.over += 1;
        self.issued = self.issued.max(outcome.index + 1 - self.warm_up);
        for (allowance, count) in self.allowances.iter().zip(&mut part.counts) {
            if let Some(missed) = allowance.missed(outcome, &self.bounds) {
                count.requests += 1;
                count.missed += u64::from(missed);
            }
        }
        if self.decision.is_some() {
            return false;
        }
        let complete = part.over == part.length;
        if complete {
            self.decision = self.look();
            let complete = self.complete();
            self.until = match self.decision {
                None => next_look(&self.parts, complete),
                Some(_) => next_look(&self.parts, complete.saturating_sub(1)),
            };
        } else if self.over.is_power_of_two() && self.over >= FIRST_GLANCE {
            self.decision = self.glance();
            if self.decision.is_some() {
                self.until = u64::MAX;
            }
        }
        self.decision.is_some()
    }

    /// The requests that count by now are those before this place of the plan: until the next look, or until the one that decided; all
    /// that there are where a glance did, or where no look is left.
    pub(super) fn until(&self) -> u64 {
        self.until
    }

    /// What was decided, if anything.
    pub(super) fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }

    /// Whether requests could decide, and did not.
    pub(super) fn is_open(&self) -> bool {
        !self.allowances.is_empty() && self.decision.is_none()
    }

    /// Whether an objective is one that is decided by counting.
    pub(super) fn counts(&self, expr: &str) -> bool {
        let mut counted = self.allowances.iter();
        counted.any(|allowance| allowance.objective.expr == expr)
    }

    /// Which objective could not be decided.
    pub(super) fn why_open(&self) -> String {
        #[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        let used =
            |misses: &Misses| misses.missed as f64 / (misses.requests as f64 * misses.allowed);
        let misses = self.misses();
        if let Some(none) = misses.iter().find(|misses| misses.requests == 0) {
            return format!("no request has the figure that {} is about", none.expr);
        }
        let near = misses.iter().max_by(|a, b| used(a).total_cmp(&used(b)));
        near.map_or_else(String::new, |near| {
            format!(
                "{} of {} requests missed {}: too near to the {} % that may to tell",
                near.missed,
                near.requests,
                near.expr,
                percent(near.allowed)
            )
        })
    }

    /// Requests that counted and missed, for each objective.
    pub(super) fn misses(&self) -> Vec<Misses> {
        let counts = (0..self.allowances.len()).map(|i| self.count(i, self.parts.len()));
        self.allowances
            .iter()
            .zip(counts)
            .map(|(allowance, count)| Misses {
                expr: allowance.objective.expr.clone(),
                requests: count.requests,
                missed: count.missed,
                allowed: allowance.share,
            })
            .collect()
    }

    /// A look at every part that is complete, with all before it.
    fn look(&self) -> Option<Decision> {
        let complete = self.complete();
        if complete == 0 {
            return None;
        }
        let mut met = !self.allowances.is_empty();
        for (i, allowance) in self.allowances.iter().enumerate() {
            let count = self.count(i, complete);
            match allowed(count.requests, count.missed, allowance.share, ALPHA) {
                Allowed::Within => {}
                Allowed::Beyond => return Some(missed(allowance, count)),
                Allowed::Open => met = false,
            }
        }
        met.then_some(Decision::Met)
    }

    /// Parts whose requests are all over, with those of every part before.
    fn complete(&self) -> usize {
        let parts = self.parts.iter();
        parts.take_while(|part| part.over == part.length).count()
    }

    /// Whether an objective is clearly missed by what is over so far, even if nothing else of what was issued misses it.
    fn glance(&self) -> Option<Decision> {
        self.allowances
            .iter()
            .enumerate()
            .find_map(|(i, allowance)| {
                let count = self.count(i, self.parts.len());
                let beyond = allowed(self.issued, count.missed, allowance.share, GLANCE_ALPHA)
                    == Allowed::Beyond;
                beyond.then(|| missed(allowance, count))
            })
    }

    fn count(&self, allowance: usize, parts: usize) -> Count {
        let counts = self
            .parts
            .iter()
            .take(parts)
            .filter_map(|part| part.counts.get(allowance));
        counts.fold(Count::default(), |sum, count| Count {
            requests: sum.requests + count.requests,
            missed: sum.missed + count.missed,
        })
    }
}

/// Where the part after the first `complete` ends.
fn next_look(parts: &[Part], complete: usize) -> u64 {
    parts.get(complete).map_or(u64::MAX, |part| part.end)
}

fn missed(allowance: &Allowance, count: Count) -> Decision {
    Decision::Missed(format!(
        "{} of {} requests missed {}, which lets {} % miss",
        count.missed,
        count.requests,
        allowance.objective.expr,
        percent(allowance.share)
    ))
}

fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

/// Multiples of the fewest requests at which a step is looked at.
const LOOKS: [u64; 3] = [1, 2, 4];
/// Each look errs in at most one case of a hundred, so the three of a step in at most three.
const ALPHA: f64 = 0.01;
/// A glance is taken at every doubling, so it must be surer.
const GLANCE_ALPHA: f64 = 0.001;
const FIRST_GLANCE: u64 = 64;
/// One part in so many of the fewest requests comes before them and does not count.
const WARM_UP: u64 = 10;
/// Measured requests where no objective is about shares of requests: as for a P99.
const WITHOUT_ALLOWANCE: u64 = 662;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::SendResult;

    fn looks(exprs: &[&str]) -> Looks {
        let objectives: Vec<Objective> = exprs.iter().map(|expr| expr.parse().unwrap()).collect();
        Looks::new(&objectives, 0, 0)
    }

    fn outcome(index: u64, ms: u64) -> RequestOutcome {
        RequestOutcome {
            index,
            end_us: ms * 1000,
            result: SendResult::Ok,
            ..RequestOutcome::default()
        }
    }

    #[test]
    fn a_step_is_as_long_as_its_objectives_need() {
        let step = looks(&["ttft.p99<1s", "e2e.p90<2s"]);
        assert_eq!((step.warm_up(), step.least(), step.most()), (66, 728, 2714));
        assert_eq!(looks(&["e2e.p99.9<1s"]).least(), 6636 + 663);
        assert_eq!(looks(&["e2e.mean<1s"]).least(), 728);
        assert!(!looks(&["e2e.mean<1s"]).is_open());
    }

    #[test]
    fn a_prelude_that_is_longer_than_the_warm_up_takes_its_place() {
        let objectives = ["ttft.p99<1s".parse().unwrap()];
        let long = Looks::new(&objectives, 0, 500);
        assert_eq!((long.warm_up(), long.least()), (500, 500 + 662));
        assert_eq!(Looks::new(&objectives, 0, 10).warm_up(), 66);
    }

    #[test]
    fn it_is_decided_when_every_request_until_the_look_is_over() {
        let mut step = looks(&["e2e.p90<100ms"]);
        let (warm_up, least) = (step.warm_up(), step.least());
        // Later ones end before the last of the first part does.
        for index in (0..least + 50).filter(|index| *index != warm_up + 3) {
            assert!(!step.record(&outcome(index, 10)), "{index}");
        }
        assert!(step.record(&outcome(warm_up + 3, 500)));
        assert_eq!(step.decision(), Some(&Decision::Met));
        assert_eq!(step.until(), least, "those later ones do not count");
    }

    #[test]
    fn the_warm_up_does_not_count() {
        let mut step = looks(&["e2e.p90<100ms"]);
        let warm_up = step.warm_up();
        for index in 0..step.least() {
            step.record(&outcome(index, if index < warm_up { 900 } else { 10 }));
        }
        assert_eq!(step.misses()[0].missed, 0);
        assert_eq!(step.decision(), Some(&Decision::Met));
    }

    #[test]
    fn what_is_clearly_lost_is_seen_early_and_what_is_close_late_or_never() {
        let mut lost = looks(&["e2e.p99<100ms"]);
        let decided = (0..lost.most()).find(|index| lost.record(&outcome(*index, 900)));
        assert_eq!(decided, Some(66 + 63));
        assert!(matches!(lost.decision(), Some(Decision::Missed(why)) if why.contains("64 of 64")));
        // One in a hundred, as allowed: no look tells.
        let mut close = looks(&["e2e.p99<100ms"]);
        let slow = |index: u64| if index.is_multiple_of(100) { 900 } else { 10 };
        assert!((0..close.most()).all(|index| !close.record(&outcome(index, slow(index)))));
        assert_eq!((close.decision(), close.until()), (None, u64::MAX));
        // Half of what is allowed is seen at the last look.
        let mut half = looks(&["e2e.p99<100ms"]);
        let slow = |index: u64| if index.is_multiple_of(200) { 900 } else { 10 };
        let decided = (0..half.most()).find(|index| half.record(&outcome(*index, slow(*index))));
        assert_eq!(decided, Some(half.most() - 1));
    }

    #[test]
    fn refusals_that_are_over_before_any_answer_are_no_share_of_what_is_over() {
        use crate::replay::FailureKind;
        // One of two hundred is refused at once, where one of a hundred may be; answers take longer than it takes to send them all.
        let mut step = looks(&["errors.rate<1%"]);
        let refused = |index: u64| index.is_multiple_of(200);
        let over = (0..step.most()).filter(|index| refused(*index));
        for index in over {
            let outcome = RequestOutcome {
                result: SendResult::Failed(FailureKind::Overloaded),
                ..outcome(index, 1)
            };
            assert!(!step.record(&outcome), "{index}");
        }
        let answers = (0..step.most()).filter(|index| !refused(*index));
        for index in answers {
            step.record(&outcome(index, 30_000));
            assert!(
                !matches!(step.decision(), Some(Decision::Missed(_))),
                "{:?} at {index}",
                step.decision()
            );
        }
        assert_eq!(step.decision(), Some(&Decision::Met));
    }

    #[test]
    fn what_decides_is_what_counts() {
        let mut step = looks(&["e2e.p90<100ms"]);
        let (warm_up, least) = (step.warm_up(), step.least());
        let second = least + (least - warm_up);
        // The second part is over before the last of the first is.
        for index in (0..second).filter(|index| *index != warm_up + 3) {
            step.record(&outcome(index, 10));
        }
        assert!(step.record(&outcome(warm_up + 3, 500)));
        assert_eq!(step.until(), second);
    }

    #[test]
    fn that_no_request_has_such_a_figure_is_told() {
        // None of them is a stream.
        let mut step = looks(&["ttft.p90<100ms", "e2e.p90<100ms"]);
        for index in 0..step.most() {
            assert!(!step.record(&outcome(index, 10)));
        }
        let why = step.why_open();
        assert_eq!(
            why,
            "no request has the figure that ttft.p90<100ms is about"
        );
    }
}
