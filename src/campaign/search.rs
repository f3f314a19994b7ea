//! The search for the largest load that meets the objectives, step by step, without any clock or target.

/// Doubles the load until the objectives break, then halves the interval between the largest that met them and the smallest that did not
/// (on a logarithmic scale), until it is as narrow as asked; then runs the answer once more. The answer is the largest load that was *shown*
/// to meet them: a step that cannot tell counts as one that does not.
#[derive(Debug, Clone)]
pub(super) struct Search {
    start: f64,
    most: f64,
    precision: f64,
    /// Loads that met the objectives, rising.
    met: Vec<f64>,
    broken: Option<f64>,
    confirmed: bool,
    refuted: u32,
    /// The generator could go no further.
    exhausted: bool,
    /// Nor could it run the answer once more.
    unconfirmable: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Next {
    /// Run this load.
    Try(f64),
    /// Run this load, which met the objectives before, once more.
    Confirm(f64),
    /// The search is over.
    Done,
}

/// What a step said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// The objectives were shown to be met.
    Met,
    /// They were not.
    NotMet,
    /// The generator was the bottleneck.
    Exhausted,
}

impl Search {
    pub(super) fn new(start: f64, most: f64, precision: f64) -> Self {
        Self {
            start,
            most: most.max(start),
            precision,
            met: Vec::new(),
            broken: None,
            confirmed: false,
            refuted: 0,
            exhausted: false,
            unconfirmable: false,
        }
    }

    pub(super) fn next(&self) -> Next {
        let Some(met) = self.value() else {
            return match (self.broken, self.exhausted) {
                (None, false) => Next::Try(self.start),
                _ => Next::Done,
            };
        };
        if self.confirmed || self.unconfirmable || self.refuted >= MOST_REFUTED {
            return Next::Done;
        }
        let next = match self.broken {
            _ if self.exhausted => None,
            None if met >= self.most => None,
            None => Some((met * 2.0).min(self.most)),
            Some(broken) if broken / met <= 1.0 + self.precision => None,
            Some(broken) => {
                Some(round((met * broken).sqrt())).filter(|next| met < *next && *next < broken)
            }
        };
        next.map_or(Next::Confirm(met), Next::Try)
    }

    pub(super) fn tell(&mut self, step: Next, told: Told) {
        match (step, told) {
            (Next::Done, _) => {}
            (Next::Try(load), Told::Met) => {
                self.met.push(load);
                self.met.sort_by(f64::total_cmp);
            }
            (Next::Try(load), Told::NotMet) => self.broken = Some(load),
            (Next::Try(_), Told::Exhausted) => self.exhausted = true,
            (Next::Confirm(_), Told::Met) => self.confirmed = true,
            // That says nothing of the target, which met the objectives there before.
            (Next::Confirm(_), Told::Exhausted) => {
                self.exhausted = true;
                self.unconfirmable = true;
            }
            (Next::Confirm(load), Told::NotMet) => {
                self.refuted += 1;
                self.met.retain(|met| *met < load);
                self.broken = Some(load);
            }
        }
    }

    /// The largest load that met the objectives so far.
    pub(super) fn value(&self) -> Option<f64> {
        self.met.last().copied()
    }

    /// The smallest that did not.
    pub(super) fn above(&self) -> Option<f64> {
        self.broken
    }

    pub(super) fn confirmed(&self) -> bool {
        self.confirmed
    }

    pub(super) fn exhausted(&self) -> bool {
        self.exhausted
    }
}

/// To three significant digits: loads are typed and talked about.
fn round(load: f64) -> f64 {
    // By way of the digits: a product with a power of ten would end in 4.5600000000000005.
    format!("{load:.2e}").parse().unwrap_or(load)
}

/// Answers that a second run refuted, after which the search gives the next lower one as it is.
const MOST_REFUTED: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every load tried, until the end.
    fn tried(mut search: Search, mut tell: impl FnMut(f64) -> Told) -> (Vec<f64>, Search) {
        let mut loads = Vec::new();
        loop {
            let next = search.next();
            let (Next::Try(load) | Next::Confirm(load)) = next else {
                return (loads, search);
            };
            loads.push(load);
            let told = tell(load);
            search.tell(next, told);
            assert!(loads.len() < 60, "{loads:?}");
        }
    }

    fn up_to(limit: f64) -> impl FnMut(f64) -> Told {
        move |load| {
            if load <= limit {
                Told::Met
            } else {
                Told::NotMet
            }
        }
    }

    #[test]
    fn it_doubles_then_halves_then_confirms() {
        let (loads, search) = tried(Search::new(1.0, 1024.0, 0.1), up_to(5.0));
        assert_eq!(loads, [1.0, 2.0, 4.0, 8.0, 5.66, 4.76, 5.19, 4.76]);
        assert_eq!((search.value(), search.above()), (Some(4.76), Some(5.19)));
        assert!(search.confirmed());
    }

    #[test]
    fn a_start_that_fails_is_the_end() {
        let (loads, search) = tried(Search::new(1.0, 1024.0, 0.05), up_to(0.5));
        assert_eq!((loads, search.value()), (vec![1.0], None));
    }

    #[test]
    fn it_goes_no_further_than_it_may_or_can() {
        let (loads, search) = tried(Search::new(1.0, 6.0, 0.05), up_to(100.0));
        assert_eq!(loads, [1.0, 2.0, 4.0, 6.0, 6.0]);
        assert_eq!(search.above(), None);
        let (loads, search) = tried(Search::new(1.0, 1024.0, 0.05), |load| {
            if load > 3.0 {
                Told::Exhausted
            } else {
                Told::Met
            }
        });
        assert_eq!(loads, [1.0, 2.0, 4.0, 2.0]);
        assert!(search.exhausted() && search.confirmed());
        assert_eq!(search.value(), Some(2.0));
    }

    #[test]
    fn an_answer_that_does_not_hold_twice_gives_way_to_the_next_lower() {
        let mut fourth = 0;
        let (loads, search) = tried(Search::new(1.0, 1024.0, 0.5), |load| {
            fourth += u32::from(load == 4.0);
            match load {
                load if load > 4.0 => Told::NotMet,
                4.0 if fourth > 1 => Told::NotMet,
                _ => Told::Met,
            }
        });
        assert_eq!(loads, [1.0, 2.0, 4.0, 8.0, 5.66, 4.0, 2.83, 2.83]);
        assert_eq!((search.value(), search.above()), (Some(2.83), Some(4.0)));
    }

    proptest! {
        #[test]
        fn the_answer_is_within_the_precision_of_the_truth(limit in 1.0_f64..900.0, precision in 0.02_f64..0.5) {
            let (_, search) = tried(Search::new(1.0, 1024.0, precision), up_to(limit));
            let value = search.value().unwrap();
            prop_assert!(value <= limit);
            // Loads are rounded to three digits.
            prop_assert!(limit / value <= 1.0 + precision + 0.006, "{value} for {limit}");
        }
    }

    #[test]
    fn a_generator_that_cannot_run_the_answer_again_refutes_nothing() {
        let mut tries = 0;
        let (loads, search) = tried(Search::new(1.0, 2.0, 0.05), |_| {
            tries += 1;
            if tries > 2 {
                Told::Exhausted
            } else {
                Told::Met
            }
        });
        assert_eq!(loads, [1.0, 2.0, 2.0]);
        assert_eq!((search.value(), search.above()), (Some(2.0), None));
        assert!(search.exhausted() && !search.confirmed());
    }
}
