//! A campaign from trace to verdict: the rooms called in their order.

use std::time::Instant;

use super::Campaign;
use super::audience::Audience;
use super::error::CampaignError;
use super::once::Measured;
use super::survey::{Survey, seconds, skip_words};
use crate::measure::compare;
use crate::replay::Stop;
use crate::report::{Charts, PlanAccount, ResultDirectory, ResultDocument, Tool};
use crate::verdict::judge;

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
        let survey = self.survey()?;
        self.announce(&survey, audience);
        let mut log = out.as_ref().map(ResultDirectory::request_log).transpose()?;
        let mut measured: Vec<Measured> = Vec::new();
        for (i, target) in self.targets.iter().enumerate() {
            if stop.is_requested() {
                break;
            }
            measured.push(self.once(i, target, &survey, audience, stop, log.as_mut())?);
        }
        if let Some(log) = log {
            log.finish()?;
        }
        let comparison = match measured.split_first() {
            Some((baseline, others)) => others
                .iter()
                .map(|other| {
                    let side = |measured: &Measured| measured.summary.name.clone();
                    compare(
                        (&side(baseline), &baseline.sample),
                        (&side(other), &other.sample),
                        MARGIN,
                        self.run.seed,
                    )
                })
                .collect(),
            None => Vec::new(),
        };
        let (targets, charts): (Vec<_>, Vec<_>) = measured
            .into_iter()
            .map(|measured| (measured.summary, measured.charts))
            .unzip();
        let verdict = judge(&self.objectives, &targets, &comparison);
        let document = ResultDocument {
            schema: ResultDocument::SCHEMA,
            tool: Tool {
                version: env!("CARGO_PKG_VERSION"),
            },
            started_at,
            elapsed_s: began.elapsed().as_secs_f64(),
            simulated: targets.iter().any(|target| target.simulated),
            command: self.command.clone(),
            plan: self.plan_account(&survey),
            trace: survey.trace,
            targets,
            comparison,
            verdict,
        };
        if let Some(out) = &out {
            out.write(&document, &Charts { targets: charts })?;
            audience.say(&format!(
                "report: {}",
                out.path().join("report.html").display()
            ));
        }
        Ok(document)
    }

    fn plan_account(&self, survey: &Survey) -> PlanAccount {
        PlanAccount {
            speed: self.plan.speed,
            rate_scale: 1.0,
            seed: self.run.seed,
            planned: survey.plan.planned,
            span_s: seconds(survey.plan.span_us),
            skipped: survey
                .plan
                .skipped
                .iter()
                .map(|(&reason, &n)| (skip_words(reason).to_owned(), n))
                .collect(),
        }
    }
}

/// The wall clock, to the second: nobody compares clocks closer than that.
fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}

/// A ratio of latencies within this is no difference.
const MARGIN: f64 = 0.05;
