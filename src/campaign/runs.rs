//! The plan as it is: each target in turn or all at once, once or several times.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::audience::{Place, Ticket};
use super::error::CampaignError;
use super::once::{Measured, Order};
use super::schedule::{Schedule, Slot};
use super::stage::{Played, Stage};
use crate::replay::{Calibration, Gate};
use crate::report::{ScheduleAccount, ScheduledRun};

impl Stage<'_> {
    /// Runs every target `repeats` times.
    pub(super) fn runs(&self, schedule: Schedule, repeats: u32) -> Result<Played, CampaignError> {
        let targets = self.campaign.targets.len();
        let mut runs: BTreeMap<usize, Vec<Measured>> = BTreeMap::new();
        let rounds = schedule.rounds(targets, repeats);
        // Told now, and not after the hours of the rounds before.
        self.campaign
            .starts_at(rounds.len().saturating_sub(1) as u64)?;
        let mut run: Vec<Vec<ScheduledRun>> = Vec::new();
        let Some(mut asked) = self.ask_all()? else {
            return Ok(self.join(runs));
        };
        let mut begun = BTreeSet::new();
        'rounds: for (position, round) in rounds.iter().enumerate() {
            if self.stop.is_requested() {
                break;
            }
            for slot in round {
                if !begun.insert(slot.target) {
                    continue;
                }
                if position > 0 && !self.ask_again(&mut asked, slot.target) {
                    break 'rounds;
                }
                let target = self.campaign.targets.get(slot.target);
                if let Some((target, calibration)) = target.zip(asked.calibrations.get(slot.target))
                {
                    self.evaluate_idle(target, calibration);
                }
            }
            let place = Place::Run {
                number: position as u64 + 1,
                of: rounds.len() as u64,
            };
            for (slot, measured) in
                round
                    .iter()
                    .zip(self.round(round, &asked.calibrations, position as u64, place)?)
            {
                runs.entry(slot.target).or_default().push(measured);
            }
            run.push(round.iter().map(|slot| self.scheduled(*slot)).collect());
        }
        let several = run.iter().map(Vec::len).sum::<usize>() > 1;
        let mut played = self.join(runs);
        played.invalid.extend(asked.lost);
        played.schedule = several.then(|| ScheduleAccount {
            order: schedule.name().to_owned(),
            rounds: run,
        });
        Ok(played)
    }

    fn scheduled(&self, slot: Slot) -> ScheduledRun {
        let target = self.campaign.targets.get(slot.target);
        ScheduledRun {
            target: target.map(|target| target.name.clone()).unwrap_or_default(),
            run: u64::from(slot.repeat) + 1,
        }
    }

    /// The runs of one round, at the same time.
    fn round(
        &self,
        round: &[Slot],
        calibrations: &[Calibration],
        position: u64,
        place: Place,
    ) -> Result<Vec<Measured>, CampaignError> {
        let gate = (round.len() > 1).then(|| Gate::of(round.len()));
        let salts = self.salts(round);
        let orders = round.iter().zip(salts).filter_map(|(slot, salt)| {
            let target = self.campaign.targets.get(slot.target)?;
            Some(Order {
                target,
                calibration: calibrations.get(slot.target)?,
                plan: self.campaign.plan,
                salt,
                number: u64::from(slot.repeat),
                round: position,
                ticket: Ticket {
                    name: target.name.clone(),
                    target: target.name.clone(),
                    planned: self.survey.plan.planned,
                    span: Duration::from_micros(self.survey.plan.span_us),
                    place,
                },
                warm_up: 0,
                judged: slot.repeat == 0,
                gate: gate.clone(),
                // Once is enough: every run has the same twins.
                with_recorded: (slot.target, slot.repeat) == (0, 0),
                stop: self.stop.part(),
            })
        });
        std::thread::scope(|scope| {
            let runs: Vec<_> = orders
                .map(|order| {
                    std::thread::Builder::new()
                        .name("target".to_owned())
                        .spawn_scoped(scope, move || self.once(order, &mut |_| u64::MAX))
                })
                .collect();
            // One that cannot be started must not be waited for.
            if let (Some(gate), true) = (&gate, runs.iter().any(Result::is_err)) {
                gate.open();
            }
            let mut measured = Vec::new();
            for run in runs {
                let run = run.map_err(CampaignError::Thread)?;
                measured.push(run.join().map_err(|_| CampaignError::Panicked)??);
            }
            Ok(measured)
        })
    }

    /// What sets the words of a round's runs apart. Targets that are run at the same time get the same words, so that they are sent the
    /// same bytes; but not two targets at one address, where one would warm the cache for the other.
    fn salts(&self, round: &[Slot]) -> Vec<u64> {
        let url = |slot: &Slot| {
            let target = self.campaign.targets.get(slot.target);
            target.map(|target| target.url.to_string())
        };
        let mut salts: Vec<u64> = Vec::new();
        let mut used: Vec<(Option<String>, u64)> = Vec::new();
        for slot in round {
            let url = url(slot);
            let common = used.iter().map(|(_, salt)| *salt).find(|salt| {
                !used
                    .iter()
                    .any(|(other, used)| *other == url && used == salt)
            });
            let salt = common.unwrap_or_else(|| self.salt());
            used.push((url, salt));
            salts.push(salt);
        }
        salts
    }
}
