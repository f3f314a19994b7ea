use std::time::Duration;

use super::axis::Axis;
use super::climb::Climb;
use super::error::CampaignError;
use super::rung::Rung;
use super::stage::{Played, Stage};

impl Stage<'_> {
    /// Every target at every one of `loads`, in their order.
    pub(super) fn sweep(
        &self,
        axis: Axis,
        loads: &[f64],
        least: Duration,
    ) -> Result<Played, CampaignError> {
        let mut played = Played::default();
        let steps = (self.campaign.targets.len() * loads.len()) as u64;
        let mut rounds = 0..;
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
            let mut climb = Climb::new(axis, &named.name);
            for &load in loads {
                let round = rounds.next().unwrap_or(steps);
                if self.stop.is_requested() {
                    continue;
                }
                let rung = Rung {
                    target,
                    calibration,
                    axis,
                    load,
                    round,
                    of: Some(steps),
                    number: climb.taken(),
                };
                climb.keep(self.whole(&rung, least)?);
            }
            climb.settle_sweep(&self.campaign.objectives);
            climb.into_played(&mut played);
        }
        played.invalid.extend(asked.lost);
        Ok(played)
    }
}
