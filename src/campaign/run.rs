//! A campaign from trace to verdict: the rooms called in their order.

use std::time::Instant;

use super::audience::Audience;
use super::error::CampaignError;
use super::stage::Stage;
use super::survey::Survey;
use super::{Baseline, Campaign, Mode};
use crate::measure::{Comparison, RECORDED, TargetSummary};
use crate::replay::Stop;
use crate::report::{ResultDirectory, ResultDocument, Tool};
use crate::verdict::{ObjectiveResult, ObjectiveStatus, Status, Verdict, judge_against};

impl Campaign {
    /// Replays against every target in turn, writes the results, and gives them back.
    ///
    /// # Errors
    /// When the trace cannot be read or holds nothing to send, a target does not answer, this machine lacks threads or timers, or
    /// the results cannot be written.
    pub fn run(
        &self,
        audience: &dyn Audience,
        stop: &Stop,
    ) -> Result<ResultDocument, CampaignError> {
        let began = Instant::now();
        let started_at = now();
        let out = self
            .out
            .as_deref()
            .map(ResultDirectory::create)
            .transpose()?;
        let survey = self.survey(audience)?;
        self.announce(&survey, audience);
        self.check_baseline(&survey)?;
        let log = out.as_ref().map(ResultDirectory::request_log).transpose()?;
        for warning in self.unwatched() {
            audience.say(&warning);
        }
        let stage = Stage::new(self, &survey, audience, stop, log);
        let played = match &self.mode {
            Mode::Runs { schedule, repeats } => stage.runs(*schedule, *repeats),
            Mode::Sweep { by, loads, step } => stage.sweep(*by, loads, *step),
            Mode::FindMax(find) => stage.find_max(find),
        }?;
        stage.close()?;
        let charts = played.charts();
        let targets: Vec<_> = played.targets.into_iter().map(|run| run.summary).collect();
        let comparison = played.comparison;
        let verdict = self.verdict(&targets, &comparison, played.judged, played.invalid);
        let document = ResultDocument {
            schema: ResultDocument::SCHEMA,
            tool: Tool::THIS,
            started_at,
            elapsed_s: began.elapsed().as_secs_f64(),
            simulated: targets.iter().any(|target| target.simulated),
            command: self.command.clone(),
            plan: self.plan_account(&survey),
            trace: survey.trace,
            schedule: played.schedule,
            targets,
            comparison,
            verdict,
        };
        if let Some(out) = &out {
            out.write(&document, &charts, &played.histograms)?;
            audience.say(&format!(
                "report: {}",
                out.path().join("report.html").display()
            ));
        }
        Ok(document)
    }

    /// Holds that an earlier result, where it is the baseline, was sent what this one will be.
    fn check_baseline(&self, survey: &Survey) -> Result<(), CampaignError> {
        let Baseline::Earlier(earlier) = &self.baseline else {
            return Ok(());
        };
        match earlier.differs_from_plan(&survey.trace, &self.plan_account(survey)) {
            Some(why) => Err(CampaignError::OtherPlan(why)),
            None => Ok(()),
        }
    }

    /// What the objectives say of each target, and what the mode was about beside them.
    fn verdict(
        &self,
        targets: &[TargetSummary],
        comparison: &[Comparison],
        judged: Vec<ObjectiveResult>,
        invalid: Vec<String>,
    ) -> Verdict {
        let baseline = match (&self.baseline, targets.first()) {
            (Baseline::Recorded, _) => RECORDED.to_owned(),
            (Baseline::Earlier(earlier), _) => earlier.name(),
            (Baseline::First, first) => first.map_or_else(String::new, |it| it.name.clone()),
        };
        let mut verdict = judge_against(&baseline, &self.objectives, targets, comparison);
        let failed = |result: &ObjectiveResult| result.status == ObjectiveStatus::Fail;
        if verdict.status == Status::Pass && judged.iter().any(failed) {
            verdict.status = Status::Fail;
        }
        if !invalid.is_empty() {
            verdict.status = Status::Invalid;
            for reason in invalid {
                if !verdict.reasons.contains(&reason) {
                    verdict.reasons.push(reason);
                }
            }
        }
        verdict.objectives.splice(0..0, judged);
        verdict
    }
}

/// The wall clock, to the second: nobody compares clocks closer than that.
fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}
