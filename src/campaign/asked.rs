//! How targets count: asked of all before anything is measured, and of each once more before its own first run.

use super::error::CampaignError;
use super::stage::Stage;
use crate::replay::Calibration;

/// What the targets said of themselves, in their order.
pub(super) struct Asked {
    pub(super) calibrations: Vec<Calibration>,
    /// Why a target could not be asked again. What was measured of others before stands, and the whole is invalid.
    pub(super) lost: Option<String>,
}

impl Stage<'_> {
    /// Asks every target before any is measured: one that is not there, or refuses the key, is told now and not after the hours that another
    /// takes. `None` where the replay was stopped meanwhile.
    ///
    /// # Errors
    /// When a target does not answer as it should.
    pub(super) fn ask_all(&self) -> Result<Option<Asked>, CampaignError> {
        let mut calibrations = Vec::new();
        for target in &self.campaign.targets {
            if self.stop.is_requested() {
                return Ok(None);
            }
            match self.calibrate(target)? {
                Some(calibration) => calibrations.push(calibration),
                None => return Ok(None),
            }
        }
        Ok(Some(Asked {
            calibrations,
            lost: None,
        }))
    }

    /// Asks a target again, while none is measured: others were since it was asked first, for hours perhaps, and an engine may have been started
    /// anew. Says whether to go on.
    pub(super) fn ask_again(&self, asked: &mut Asked, target: usize) -> bool {
        let known = asked.calibrations.get_mut(target);
        let Some((known, named)) = known.zip(self.campaign.targets.get(target)) else {
            return false;
        };
        match self.calibrate(named) {
            Ok(Some(calibration)) => *known = calibration,
            Ok(None) => return false,
            Err(error) => {
                asked.lost = Some(format!(
                    "{error}, where its first run was to begin; the runs before it are whole"
                ));
                return false;
            }
        }
        true
    }
}
