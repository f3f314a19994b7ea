use super::axis::Axis;
use super::climb::Climb;
use super::error::CampaignError;
use super::rung::Rung;
use super::stage::{Played, Stage};

impl Stage<'_> {
    /// Every target at every one of `loads`, in their order.
    pub(super) fn sweep(&self, axis: Axis, loads: &[f64]) -> Result<Played, CampaignError> {
        let mut played = Played::default();
        let steps = (self.campaign.targets.len() * loads.len()) as u64;
        let mut place = 0;
        for (target, named) in self.campaign.targets.iter().enumerate() {
            if self.stop.is_requested() {
                break;
            }
            let calibration = self.calibrate(named)?;
            let mut climb = Climb::new(axis, &named.name);
            for &load in loads {
                place += 1;
                if self.stop.is_requested() {
                    continue;
                }
                climb.keep(self.whole(&Rung {
                    target,
                    calibration: &calibration,
                    axis,
                    load,
                    place: Some((place, steps)),
                    number: climb.taken(),
                })?);
            }
            climb.settle_sweep();
            climb.into_played(&mut played);
        }
        Ok(played)
    }
}
