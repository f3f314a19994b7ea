use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sample::{RunSample, Values, kept, milliseconds};

/// Gaps between the tokens of one run's answers. Bounded: beyond 60,000 every second gap is left out, by a hash of its request and its place
/// there alone, then every second of those left, and so on. So most answers keep some, which is better than all of a few, since a gap has more to do
/// with the others of its answer than with those of another; and those of a replay's shards together are those of the whole (where requests are left out, too, perhaps more of them).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct GapSample {
    /// One of so many is kept, as a power of two.
    thinned_log2: u32,
    /// By the request's place in the plan: each gap's place in its answer, and its microseconds.
    requests: BTreeMap<u64, Vec<(u32, u32)>>,
    #[serde(skip)]
    held: usize,
}

impl GapSample {
    pub(super) fn add(&mut self, request: u64, gaps_us: &[u32]) {
        if gaps_us.is_empty() {
            return;
        }
        let gaps: Vec<(u32, u32)> = (0..)
            .zip(gaps_us.iter().copied())
            .filter(|&(place, _)| is_kept(request, place, self.thinned_log2))
            .collect();
        self.held += gaps.len();
        self.requests.insert(request, gaps);
        self.bound();
    }

    /// Adds those of other requests of the same run; says whether they are of others.
    pub(super) fn join(&mut self, others: Self) -> bool {
        self.thinned_log2 = self.thinned_log2.max(others.thinned_log2);
        let before = self.requests.len() + others.requests.len();
        self.requests.extend(others.requests);
        self.thin();
        self.bound();
        self.requests.len() == before
    }

    /// Whether it has any of a request's.
    pub(super) fn has(&self, request: u64) -> bool {
        self.requests.contains_key(&request)
    }

    /// Whether the longest of each answer is that of the answer, or where some were left out, none is longer.
    pub(super) fn is_within(&self, values: &BTreeMap<u64, Values>) -> bool {
        let is_whole = self.thinned_log2 == 0;
        self.requests.iter().all(|(request, gaps)| {
            let Some(longest) = values.get(request).and_then(|values| values.stall) else {
                return true;
            };
            let kept = gaps.iter().map(|&(_, us)| milliseconds(us.into()));
            let most = kept.fold(0.0, f32::max);
            most <= longest && (most >= longest || !is_whole)
        })
    }

    /// Lets go of requests that are not compared any more.
    pub(super) fn keep_only(&mut self, values: &BTreeMap<u64, Values>) {
        self.requests
            .retain(|request, _| values.contains_key(request));
        self.count();
    }

    fn bound(&mut self) {
        while self.held > MOST && self.thinned_log2 < 63 {
            self.thinned_log2 += 1;
            self.thin();
        }
    }

    fn thin(&mut self) {
        let thinned = self.thinned_log2;
        for (&request, gaps) in &mut self.requests {
            gaps.retain(|&(place, _)| is_kept(request, place, thinned));
        }
        self.count();
    }

    fn count(&mut self) {
        self.held = self.requests.values().map(Vec::len).sum();
    }

    /// A request's gaps, thinned so far; `None` where it has none.
    fn of(&self, request: u64, thinned_log2: u32) -> Option<Vec<f32>> {
        let gaps = self.requests.get(&request)?.iter();
        let kept = gaps.filter(|&&(place, _)| is_kept(request, place, thinned_log2));
        Some(kept.map(|&(_, us)| milliseconds(us.into())).collect())
    }
}

/// Gaps between tokens are of another run than what they were put beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("they are of another run")]
pub struct OfAnotherRun {
    /// Which of the parts.
    pub part: usize,
}

/// The gaps of each request that both runs have, with its cluster. One that failed on one side has as many as on the other, and each is infinite: else
/// a target that fails at its slow answers would seem smooth.
pub(super) fn paired(
    baseline: &RunSample,
    target: &RunSample,
) -> impl Iterator<Item = (u64, (Vec<f32>, Vec<f32>))> {
    let known = baseline.gaps().zip(target.gaps());
    target.values.iter().filter_map(move |(&request, now)| {
        let (ours, theirs) = known?;
        let thinned = ours.thinned_log2.max(theirs.thinned_log2);
        let before = baseline.values.get(&request)?;
        let lost = |gaps: &Vec<f32>| vec![f32::INFINITY; gaps.len()];
        let (gaps_before, gaps_now) = (ours.of(request, thinned), theirs.of(request, thinned));
        let pair = match (gaps_before, gaps_now) {
            (Some(before), Some(now)) => (before, now),
            (Some(before), None) if now.failed => {
                let now = lost(&before);
                (before, now)
            }
            (None, Some(now)) if before.failed => (lost(&now), now),
            _ => return None,
        };
        Some((now.cluster, pair))
    })
}

fn is_kept(request: u64, place: u32, thinned_log2: u32) -> bool {
    thinned_log2 == 0 || kept(request.rotate_left(32) ^ u64::from(place), thinned_log2)
}

const MOST: usize = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::target::tests::outcome;
    use crate::replay::{FailureKind, RequestOutcome, SendResult};

    fn gaps_of(requests: u64, gap_us: u32) -> BTreeMap<u64, Vec<u32>> {
        let gaps = || (0..100).map(|place| gap_us + place).collect();
        (0..requests).map(|request| (request, gaps())).collect()
    }

    fn run(requests: u64, gap_us: u32, fails: impl Fn(u64) -> bool) -> RunSample {
        let mut sample = RunSample::default();
        for (i, gaps_us) in gaps_of(requests, gap_us) {
            sample.record(&answer(i, gaps_us, fails(i)));
        }
        sample
    }

    fn answer(request: u64, gaps_us: Vec<u32>, fails: bool) -> RequestOutcome {
        let mut outcome = outcome(request, request * 1000, 100_000);
        outcome.gaps_us = gaps_us;
        if fails {
            outcome.result = SendResult::Failed(FailureKind::Reset);
            outcome.gaps_us.truncate(3);
        }
        outcome
    }

    #[test]
    fn long_answers_are_thinned_alike_on_both_sides_and_each_keeps_some() {
        let (one, other) = (run(2000, 10_000, |_| false), run(2000, 20_000, |_| false));
        let kept = one.gaps().unwrap();
        assert!(kept.held <= MOST && kept.held > MOST / 4);
        assert_eq!(kept.requests.len(), 2000);
        for (_, (before, now)) in paired(&one, &other) {
            assert!(before.len() == now.len() && !now.is_empty());
            assert!(
                before
                    .iter()
                    .zip(&now)
                    .all(|(before, now)| (now - before - 10.0).abs() < 1e-3)
            );
        }
    }

    #[test]
    fn a_request_that_failed_on_one_side_has_as_many_infinite_gaps_as_on_the_other() {
        let (sound, failing) = (run(3, 10_000, |_| false), run(3, 10_000, |i| i == 1));
        let pairs: Vec<_> = paired(&sound, &failing).collect();
        assert_eq!(pairs.len(), 3);
        let (before, now) = &pairs[1].1;
        assert_eq!((before.len(), now.len()), (100, 100));
        assert!(now.iter().all(|gap| gap.is_infinite()) && before[0].is_finite());
        assert_eq!(paired(&failing, &failing).count(), 2, "both failed at one");
    }

    #[test]
    fn a_log_has_no_gaps_to_compare_until_they_are_put_beside_it() {
        let mut log = RunSample::of_log();
        for (request, gaps_us) in gaps_of(2, 10_000) {
            log.record(&answer(request, gaps_us, false));
        }
        assert_eq!(paired(&log, &log).count(), 0);
        let known = run(3, 10_000, |_| false);
        let gaps = || known.gaps().unwrap().clone();
        assert_eq!(paired(&log, &known).count(), 0);
        log.put_gaps([gaps()]).unwrap();
        assert_eq!(paired(&log, &known).count(), 2, "its own requests");
        let twice = log.put_gaps([gaps(), gaps()]);
        assert_eq!(twice, Err(OfAnotherRun { part: 1 }));
        for other_us in [9000, 30_000] {
            let other = run(2, other_us, |_| false);
            let other = log.put_gaps(other.gaps().cloned());
            assert_eq!(other, Err(OfAnotherRun { part: 0 }));
        }
    }

    /// Else those that failed would be all that is compared, against nothing.
    #[test]
    fn where_a_side_does_not_know_its_gaps_nothing_is_compared() {
        let known = |fails| run(9, 10_000, move |i| i < fails);
        let unknown = |fails| {
            let mut log = RunSample::of_log();
            for (i, gaps_us) in gaps_of(9, 10_000) {
                log.record(&answer(i, gaps_us, i < fails));
            }
            log
        };
        for fails in [1, 7] {
            assert_eq!(paired(&known(fails), &unknown(0)).count(), 0);
            assert_eq!(paired(&known(0), &unknown(fails)).count(), 0);
            assert_eq!(paired(&unknown(fails), &known(0)).count(), 0);
        }
        // A run of which all failed knows that it has none.
        assert_eq!(paired(&known(0), &known(9)).count(), 9);
    }

    #[test]
    fn the_gaps_of_shards_are_those_of_the_whole() {
        for answers in [100, 2000] {
            let sample = run(answers, 10_000, |_| false);
            let whole = sample.gaps().unwrap();
            let mut parts = [GapSample::default(), GapSample::default()];
            for (&request, gaps) in &gaps_of(answers, 10_000) {
                parts[usize::from(request % 3 == 0)].add(request, gaps);
            }
            let mut joined = GapSample::default();
            for part in parts {
                let stored = serde_json::to_vec(&part).unwrap();
                let read = serde_json::from_slice(&stored).unwrap();
                assert!(joined.join(read));
            }
            assert_eq!(joined.requests, whole.requests);
            assert_eq!(joined.thinned_log2, whole.thinned_log2);
            assert_eq!(joined.held, whole.held);
        }
    }
}
