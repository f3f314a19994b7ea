//! What is in the trace, and what of it will be sent: read and told before anything is.

use super::Campaign;
use super::audience::Audience;
use super::error::CampaignError;
use crate::measure::traffic::TrafficMeter;
use crate::replay::{PlanSummary, Planner, SkipReason};
use crate::report::TraceAccount;
use crate::shape::BlockSpec;
use crate::trace::{Source, Trace};

/// What the first reading of the trace found.
#[derive(Debug)]
pub struct Survey {
    pub(super) plan: PlanSummary,
    pub(super) prefix_share: Option<f64>,
    pub(super) trace: TraceAccount,
    pub(super) block: Option<BlockSpec>,
    pub(super) remarks: Vec<String>,
}

impl Campaign {
    /// Reads the trace once, for what a run must know before it begins.
    ///
    /// # Errors
    /// When the trace cannot be read, or holds nothing to send.
    pub fn survey(&self) -> Result<Survey, CampaignError> {
        let mut trace = Trace::open(&self.traces)?;
        let (block, recorded) = (
            trace.header().block,
            trace.header().source == Source::Recorded,
        );
        let mut meter = TrafficMeter::new(block, recorded);
        let mut planner = Planner::new(trace.exchanges_from(self.plan.from()), self.plan);
        for planned in &mut planner {
            meter.add(&planned?.exchange);
        }
        let plan = planner.summary().clone();
        drop(planner);
        if plan.planned == 0 {
            return Err(nothing(&plan, &trace));
        }
        let prefix_share = meter
            .finish()
            .prefix
            .and_then(|sharing| sharing.prefix_share);
        Ok(Survey {
            plan,
            prefix_share,
            trace: TraceAccount {
                files: trace
                    .files()
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect(),
                exchanges: trace.exchange_count(),
                span_s: trace
                    .last_at()
                    .map_or(0.0, crate::shape::TraceTime::seconds),
            },
            block,
            remarks: remarks(&trace),
        })
    }

    /// Tells what will be sent.
    pub fn announce(&self, survey: &Survey, audience: &dyn Audience) {
        let plan = &survey.plan;
        let rate = plan
            .mean_rate()
            .map_or_else(String::new, |rate| format!(", {rate:.1} a second"));
        let speed = if self.plan.speed == 1.0 {
            "original speed".to_owned()
        } else {
            format!("{}× speed", self.plan.speed)
        };
        audience.say(&format!(
            "{} requests over {:.1} s at {speed}{rate}; {} prompt and {} output tokens",
            plan.planned,
            seconds(plan.span_us),
            plan.prompt_tokens,
            plan.output_tokens
        ));
        for (&reason, n) in &plan.skipped {
            audience.say(&format!(
                "{n} exchanges are not replayed: {}",
                skip_words(reason)
            ));
        }
        survey
            .remarks
            .iter()
            .for_each(|remark| audience.say(&format!("warning: {remark}")));
    }
}

fn nothing(plan: &PlanSummary, trace: &Trace) -> CampaignError {
    let (why, hint) = if !plan.skipped.is_empty() {
        let hint = "it holds no request for tokens: see `reenact inspect`";
        (None, hint)
    } else if trace.damage().is_loss() {
        let hint = "what is sound is read; if the file is a copy, copy it again";
        (Some(trace.damage().to_string()), hint)
    } else {
        let hint = "`reenact inspect` shows what is in it, and --from, --to and --limit what is taken of it";
        (None, hint)
    };
    CampaignError::Nothing { why, hint }
}

/// What a reader of any figure should know of the trace.
fn remarks(trace: &Trace) -> Vec<String> {
    let mut remarks = Vec::new();
    let damage = trace.damage();
    if damage.is_loss() {
        remarks.push(format!("the trace is damaged: {damage}"));
    }
    if let Some(missing) = trace.totals().missing() {
        remarks.push(format!("the trace lacks {missing}"));
    }
    remarks
}

/// Why exchanges are not replayed, as half a sentence.
pub(super) fn skip_words(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::NotInference => {
            "no model generates tokens there (/metrics, /v1/models and the like)"
        }
        SkipReason::BadRequest => {
            "the server had refused them as malformed, unauthorised or unknown"
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
