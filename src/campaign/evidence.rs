use std::time::Duration;

use super::stage::Stage;
use super::{connections, readers};
use crate::measure::GeneratorEvidence;
use crate::replay::{Cache, Calibration, Ended, HttpVersion, RunSummary};

impl Stage<'_> {
    /// What a run tells of the generator and of the trace, for the judgement of its fidelity. That it was stopped is a fault, unless it
    /// was `on_purpose`. `prefix_share` is the recorded one of the requests that were measured.
    pub(super) fn evidence(
        &self,
        summary: &RunSummary,
        calibration: &Calibration,
        on_purpose: bool,
        prefix_share: Option<f64>,
    ) -> GeneratorEvidence {
        let (survey, run) = (self.survey, &self.campaign.run);
        let generator = &summary.evidence;
        let mut faults = Vec::new();
        match &summary.ended {
            Ended::Whole => {}
            Ended::Stopped if on_purpose => {}
            Ended::Stopped => faults.push(format!(
                "the run was stopped: {} of {} requests were sent, {} of them still open",
                summary.plan.planned.min(survey.plan.planned),
                survey.plan.planned,
                summary.abandoned
            )),
            Ended::TraceBroken(error) => {
                faults.push(format!("the trace could not be read to its end: {error}"));
            }
            Ended::NoRoom(error) => faults.push(format!(
                "turns that were read ahead of their time could not wait in a temporary file: {error} (TMPDIR names its place)"
            )),
        }
        faults.extend(lacking(generator.outcomes_lost, generator.local_errors));
        let mut remarks = survey.remarks.clone();
        if generator.http == HttpVersion::Http2 {
            remarks.push(format!(
                "requests went over HTTP/2: {} connections, at most {} at once",
                generator.connections_opened, generator.connections_peak
            ));
        }
        if run.busy_poll {
            remarks.push(
                "the threads that sent never slept (--busy-poll), so their use of the processor says nothing"
                    .to_owned(),
            );
        }
        remarks.extend(connections::remark(generator));
        remarks.extend(readers::remark(
            self.campaign.readers(survey),
            survey.plan.slow_readers,
            generator,
        ));
        if summary.turns.read_late > 0 {
            remarks.push(format!(
                "{} turns were due before they had been read from the trace, and were sent late",
                summary.turns.read_late
            ));
        }
        remarks.extend(calibration.remarks());
        #[allow(clippy::cast_precision_loss, reason = "cores are few")]
        let cores = generator.cpu_cores as f64;
        GeneratorEvidence {
            heartbeat_p99: Some(Duration::from_micros(generator.heartbeat_p99_us)),
            // A thread that never sleeps uses all of its core, busy or not.
            cpu_share: (!self.campaign.shares_process && !run.busy_poll && cores > 0.0)
                .then(|| generator.cpu_cores_used / cores),
            prefix_share_recorded: prefix_share,
            // With the target's own answers in its prompts, or kept words, it has seen more than the plan knows of.
            template_tokens: (run.cache == Cache::Fresh && !run.live_history)
                .then(|| calibration.template_tokens()),
            alterations: summary
                .alterations
                .iter()
                .map(|(alteration, n)| format!("{} ({n} requests)", alteration.describe()))
                .collect(),
            faults,
            remarks,
        }
    }
}

/// What this machine had not enough of, so that figures are its own and not the target's.
fn lacking(outcomes_lost: u64, local_errors: u64) -> impl Iterator<Item = String> {
    let lost = (outcomes_lost > 0)
        .then(|| format!("{outcomes_lost} outcomes were lost inside the generator"));
    // The target never saw these requests, and yet they count as its failures.
    let local = (local_errors > 0).then(|| {
        format!(
            "{local_errors} connections failed for want of a port, a descriptor or memory on this machine (the generator was the bottleneck): spread the load over more machines (--shard), or keep connections open"
        )
    });
    lost.into_iter().chain(local)
}
