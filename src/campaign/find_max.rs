use std::time::Duration;

use super::axis::Axis;
use super::climb::Climb;
use super::error::CampaignError;
use super::rung::Rung;
use super::search::{Next, Search, Told};
use super::stage::{Played, Stage};
use crate::measure::StepVerdict;

/// How the largest load is searched for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FindMax {
    /// What is raised, from the plan's own value on.
    pub by: Axis,
    /// The answer is this close, as a share, to a load that was not shown to meet the objectives.
    pub precision: f64,
    /// The search goes no further than this.
    pub most: f64,
    /// A step's measured part lasts at least this long.
    pub step: Duration,
}

impl Stage<'_> {
    /// The largest load of each target that meets the objectives.
    pub(super) fn find_max(&self, find: &FindMax) -> Result<Played, CampaignError> {
        let mut played = Played::default();
        let mut before = 0;
        let Some(mut asked) = self.ask_all()? else {
            return Ok(played);
        };
        for (target, named) in self.campaign.targets.iter().enumerate() {
            if self.stop.is_requested() || target > 0 && !self.ask_again(&mut asked, target) {
                break;
            }
            let Some(calibration) = asked.calibrations.get(target) else {
                break;
            };
            let mut search =
                Search::new(find.by.of(&self.campaign.plan), find.most, find.precision);
            let mut climb = Climb::new(find.by, &named.name);
            while !self.stop.is_requested() {
                let next = search.next();
                let (Next::Try(load) | Next::Confirm(load)) = next else {
                    break;
                };
                let rung = Rung {
                    target,
                    calibration,
                    axis: find.by,
                    load,
                    round: before + climb.taken(),
                    of: None,
                    number: climb.taken(),
                };
                let decided = self.decided(&rung, find.step);
                // What was found until here is not thrown away because the trace ends.
                if let (Err(error @ CampaignError::Short { .. }), Next::Try(_), Some(_)) =
                    (&decided, next, search.value())
                {
                    climb.ran_out(error);
                    search.tell(next, Told::Exhausted);
                    continue;
                }
                let mut climbed = decided?;
                // A hiccup of this machine is no limit of it: only what is invalid twice is.
                if climbed.step.verdict == StepVerdict::Invalid && !self.stop.is_requested() {
                    climb.keep(climbed);
                    let number = climb.taken();
                    let again = Rung {
                        number,
                        round: before + number,
                        ..rung
                    };
                    climbed = self.decided(&again, find.step)?;
                }
                if self.stop.is_requested() {
                    break;
                }
                let step = &mut climbed.step;
                step.confirmation = matches!(next, Next::Confirm(_));
                self.audience.say(&format!(
                    "{}: {}, {:.1} requests/s: {}",
                    named.name,
                    find.by.words(load),
                    step.offered_per_s,
                    step.reason
                ));
                search.tell(next, told(step.verdict));
                climb.keep(climbed);
            }
            before += climb.taken();
            climb.settle_search(find, &search, self.stop.is_requested());
            climb.into_played(&mut played);
        }
        played.invalid.extend(asked.lost);
        Ok(played)
    }
}

fn told(verdict: StepVerdict) -> Told {
    match verdict {
        StepVerdict::Pass | StepVerdict::Measured => Told::Met,
        StepVerdict::Fail | StepVerdict::Undecided | StepVerdict::Saturated => Told::NotMet,
        StepVerdict::Invalid => Told::Exhausted,
    }
}
