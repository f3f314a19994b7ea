//! A campaign from trace to verdict: the rooms called in their order.

use std::time::Instant;

use super::audience::Audience;
use super::error::CampaignError;
use super::stage::Stage;
use super::survey::Survey;
use super::{Baseline, Campaign, Mode};
use crate::measure::{Comparison, RECORDED, TargetSummary};
use crate::replay::Stop;
use crate::report::{
    Difference, EarlierResult, ReportError, ResultDirectory, ResultDocument, Tool,
};
use crate::verdict::{ObjectiveResult, ObjectiveStatus, Status, Verdict, judge_against};

/// What a campaign came to.
#[derive(Debug)]
pub struct Ran {
    /// The result.
    pub document: ResultDocument,
    /// Why the directory for it does not hold all of it: hours of replaying are not lost with a disk that is full.
    pub unwritten: Option<ReportError>,
}

impl Campaign {
    /// Replays against every target in turn, writes the results, and gives them back.
    ///
    /// # Errors
    /// When the trace cannot be read or holds nothing to send, a target does not answer, this machine lacks threads or timers, or
    /// there can be no directory for the results.
    pub fn run(&self, audience: &dyn Audience, stop: &Stop) -> Result<Ran, CampaignError> {
        let out = self
            .out
            .as_deref()
            .map(ResultDirectory::create)
            .transpose()?;
        let ran = self.run_into(out.as_ref(), audience, stop);
        if let (Err(_), Some(out)) = (&ran, &out) {
            out.forsake();
        }
        ran
    }

    fn run_into(
        &self,
        out: Option<&ResultDirectory>,
        audience: &dyn Audience,
        stop: &Stop,
    ) -> Result<Ran, CampaignError> {
        let began = Instant::now();
        let started_at = now();
        let survey = self.survey(audience)?;
        self.announce(&survey, audience);
        self.check_baseline(&survey)?;
        let log = out.map(ResultDirectory::request_log).transpose()?;
        for warning in self.unwatched() {
            audience.say(&warning);
        }
        let stage = Stage::new(self, &survey, audience, stop, log);
        let played = match &self.mode {
            Mode::Runs { schedule, repeats } => stage.runs(*schedule, *repeats),
            Mode::Sweep { by, loads, step } => stage.sweep(*by, loads, *step),
            Mode::FindMax(find) => stage.find_max(find),
        }?;
        let mut unwritten = stage.close().err();
        let charts = played.charts();
        let targets: Vec<_> = played.targets.into_iter().map(|run| run.summary).collect();
        let comparison = played.comparison;
        let mut invalid = played.invalid;
        if stop.is_requested() {
            invalid.push(STOPPED.to_owned());
        }
        let verdict = self.verdict(&targets, &comparison, played.judged, invalid);
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
            mirror: None,
            targets,
            comparison,
            verdict,
        };
        if let Some(out) = out {
            let samples = match self.plan.shard {
                Some(_) => out.write_samples(&played.samples),
                None => Ok(()),
            };
            match out
                .write(&document, &charts, &played.histograms, Some(&played.gaps))
                .and(samples)
            {
                Ok(()) => audience.say(&format!(
                    "report: {}",
                    out.path().join("report.html").display()
                )),
                Err(error) => unwritten = unwritten.or(Some(error)),
            }
        }
        Ok(Ran {
            document,
            unwritten,
        })
    }

    /// Holds that an earlier result, where it is the baseline, was sent what this one will be.
    fn check_baseline(&self, survey: &Survey) -> Result<(), CampaignError> {
        let Baseline::Earlier(earlier) = &self.baseline else {
            return Ok(());
        };
        match self.beside(earlier, survey) {
            Some(Difference::Plan(why)) => Err(CampaignError::OtherPlan(why)),
            Some(Difference::Connections(_)) | None => Ok(()),
        }
    }

    /// In what an earlier result differs from what this replay will send.
    pub(super) fn beside(&self, earlier: &EarlierResult, survey: &Survey) -> Option<Difference> {
        let plan = self.plan_account(survey);
        earlier.differs_from_plan(&survey.trace, &plan, self.speaks_http2())
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
        let failed = |result: &ObjectiveResult| {
            use ObjectiveStatus::{Fail, NotMeasured};
            matches!(result.status, Fail | NotMeasured)
        };
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

/// A gate must not open because someone stopped the replay before it came to what would have been missed.
const STOPPED: &str =
    "the replay was stopped before it was over; what was measured until then is no verdict";

/// The wall clock, to the second: nobody compares clocks closer than that.
pub(super) fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::campaign::{EngineMetrics, Gpu, Ticket};
    use crate::interop::{ImportFormat, ImportOptions, import};
    use crate::measure::MeasureOptions;
    use crate::replay::{
        BaseUrl, Credentials, ExtraHeaders, HttpVersion, PlanOptions, Progress, RunOptions, Target,
    };

    /// Stops everything at the first word.
    struct Impatient(Stop);

    impl Audience for Impatient {
        fn say(&self, _: &str) {
            self.0.request();
        }

        fn reading(&self, _: u64, _: &Arc<AtomicU64>) -> Box<dyn Send> {
            Box::new(())
        }

        fn watch(&self, _: &Ticket, _: &Progress) -> Box<dyn Send> {
            Box::new(())
        }
    }

    fn campaign(trace: PathBuf) -> Campaign {
        Campaign {
            traces: vec![trace],
            targets: vec![Target {
                name: "never asked".to_owned(),
                url: BaseUrl::parse("http://127.0.0.1:9").unwrap(),
                model: None,
                credentials: Credentials::NONE,
                ca: None,
                headers: ExtraHeaders::default(),
                keep_alive: true,
                http: HttpVersion::default(),
            }],
            plan: PlanOptions::default(),
            run: RunOptions::default(),
            mode: Mode::ONCE,
            start_every: None,
            objectives: vec!["errors.rate<1%".parse().unwrap()],
            measure: MeasureOptions::default(),
            baseline: Baseline::First,
            margin: 0.05,
            out: None,
            gpu: Gpu::Off,
            engine_metrics: EngineMetrics::Off,
            evaluator: None,
            command: None,
            shares_process: false,
        }
    }

    #[test]
    fn a_replay_that_was_stopped_between_its_runs_opens_no_gate() {
        let dir = tempfile::tempdir().unwrap();
        let (rows, trace) = (dir.path().join("rows.jsonl"), dir.path().join("trace.rt"));
        let row = r#"{"timestamp":0,"input_length":8,"output_length":2,"hash_ids":[1]}"#;
        std::fs::write(&rows, row).unwrap();
        let options = ImportOptions::default();
        import(ImportFormat::Mooncake, &rows, &trace, &options).unwrap();
        let campaign = campaign(trace);
        let stop = Stop::default();
        let ran = campaign.run(&Impatient(stop.clone()), &stop).unwrap();
        let document = ran.document;
        assert_eq!(document.verdict.status, Status::Invalid);
        assert_eq!(document.verdict.reasons, [STOPPED]);
    }

    #[test]
    fn what_could_not_be_judged_opens_no_gate() {
        let unjudged = ObjectiveResult {
            expr: "no worse than a@monday".to_owned(),
            target: "b".to_owned(),
            value: None,
            status: ObjectiveStatus::NotMeasured,
            reason: "no request was answered on both sides".to_owned(),
        };
        let campaign = campaign(PathBuf::new());
        let verdict = campaign.verdict(&[], &[], vec![unjudged], Vec::new());
        assert_eq!(verdict.status, Status::Fail);
    }

    #[test]
    fn a_run_at_a_moment_that_no_clock_tells_is_an_error() {
        let mut campaign = campaign(PathBuf::new());
        campaign.run.start_at = Some(std::time::SystemTime::now());
        campaign.start_every = Some(std::time::Duration::MAX);
        assert_eq!(campaign.starts_at(0).unwrap(), campaign.run.start_at);
        for round in [1, 2, u64::MAX] {
            let error = campaign.starts_at(round).unwrap_err();
            assert!(error.to_string().contains("--start-every"), "{error}");
            assert!(error.hint().is_some());
        }
        campaign.start_every = None;
        assert_eq!(campaign.starts_at(7).unwrap(), None);
    }
}
