//! What is in the trace, and what of it will be sent: read and told before anything is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Campaign;
use super::audience::Audience;
use super::error::CampaignError;
use super::full_load::Course;
use crate::measure::traffic::{Arrivals, TrafficMeter};
use crate::replay::{Passes, Plan, PlanOptions, PlanSummary, SkipReason};
use crate::report::TraceAccount;
use crate::shape::{BlockSpec, ModelId, TraceTime};
use crate::trace::{Source, Trace};

/// What the first reading of the trace found.
#[derive(Debug)]
pub struct Survey {
    pub(super) layout: Plan,
    pub(super) plan: PlanSummary,
    pub(super) prefix_share: Option<f64>,
    pub(super) arrivals: Arrivals,
    /// Requests that are sent before the plan is at full load: its prelude is over, and its rate near its most.
    pub(super) before_full: u64,
    pub(super) trace: TraceAccount,
    pub(super) block: Option<BlockSpec>,
    pub(super) remarks: Vec<String>,
    /// What is asked for in place of a recorded model.
    pub(super) models: BTreeMap<ModelId, String>,
}

impl Survey {
    /// Requests a second that the plan has in the mean; 0 where it has no length.
    pub fn mean_rate(&self) -> f64 {
        self.plan.mean_rate().unwrap_or(0.0)
    }

    /// Requests in the plan's busiest second.
    #[allow(clippy::cast_precision_loss, reason = "for display")]
    pub fn peak_rate(&self) -> f64 {
        // Of a plan that is no second long, all of them.
        self.arrivals
            .peak_1s_per_s
            .unwrap_or(self.plan.planned as f64)
            .max(self.mean_rate())
    }

    /// Idle connections to keep at a plan, where they are as recorded; any number where absent. A target answers at other moments than production did, so twice as
    /// many as those would have asked for; and more where requests come closer together than the survey had them.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "none is negative, and the cast saturates"
    )]
    pub(super) fn idle_connections(&self, plan: &PlanOptions) -> Option<usize> {
        let density = |plan: &PlanOptions| plan.speed * plan.rate_scale;
        let denser = density(plan) / density(self.layout.options());
        let needed = self.plan.idle_connections? as f64;
        Some((2.0 * needed * denser.max(1.0)).ceil() as usize)
    }

    /// What the requests are made by.
    pub fn layout(&self) -> &Plan {
        &self.layout
    }
}

impl Campaign {
    /// Reads the trace, for what a run must know before it begins: once, or twice where the plan is scaled.
    ///
    /// # Errors
    /// When the trace cannot be read, holds nothing to send, or cannot be planned as asked.
    pub fn survey(&self, audience: &dyn Audience) -> Result<Survey, CampaignError> {
        let mut trace = Trace::open(&self.traces)?;
        if trace.parts_clocks() {
            audience.say(
                "warning: recorders of one time are replayed one after another; `reenact trace merge` puts them side by side first",
            );
        }
        let header = trace.shared_header()?;
        let mut meter = TrafficMeter::new(header.block, header.source == Source::Recorded);
        let options = self.resolved(self.plan);
        let read = Arc::default();
        let shown = audience.reading(trace.exchange_count(), &read);
        let exchanges = trace.exchanges_from(options.from());
        let layout = Plan::survey(options, Passes::new(exchanges).counted(&read))?;
        read.store(0, Ordering::Relaxed);
        let exchanges = trace.exchanges_from(options.from());
        let mut planner = layout.requests(Passes::new(exchanges).counted(&read));
        let (mut course, mut prelude) = (Course::new(), 0);
        for planned in &mut planner {
            let mut planned = planned?;
            course.add(planned.intended_us);
            prelude += u64::from(planned.intended_us < self.measure.prelude_us);
            // Arrivals as they are planned.
            planned.exchange.at = TraceTime::from_us(planned.intended_us);
            meter.add(&planned.exchange);
        }
        let plan = planner.summary().clone();
        drop(planner);
        drop(shown);
        if plan.planned == 0 {
            return Err(nothing(&plan, &trace));
        }
        self.check_connections(&plan)?;
        let traffic = meter.finish();
        let models = models(&self.run.prompts.model_map, &plan, &trace)?;
        Ok(Survey {
            layout,
            plan,
            models,
            prefix_share: traffic.prefix.and_then(|sharing| sharing.prefix_share),
            arrivals: traffic.arrivals,
            before_full: course.before_full().max(prelude),
            trace: TraceAccount {
                files: trace
                    .files()
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect(),
                exchanges: trace.exchange_count(),
                span_s: trace.ends().map_or(0.0, |(first, last)| {
                    seconds(last.us().saturating_sub(first.us()))
                }),
            },
            block: header.block,
            remarks: remarks(&trace),
        })
    }
}

/// Finds the models of a map in the plan, by the name that the trace kept or by its pseudonym.
fn models(
    map: &BTreeMap<String, String>,
    plan: &PlanSummary,
    trace: &Trace,
) -> Result<BTreeMap<ModelId, String>, CampaignError> {
    let label = |id: ModelId| trace.model_name(id).map_or(id.to_string(), str::to_owned);
    let mut found = BTreeMap::new();
    for (recorded, candidate) in map {
        let id = plan
            .models
            .iter()
            .find(|&&id| *recorded == label(id) || *recorded == id.to_string());
        let Some(&id) = id else {
            return Err(CampaignError::UnknownModel {
                name: recorded.clone(),
                there: plan.models.iter().map(|&id| label(id)).collect(),
            });
        };
        found.insert(id, candidate.clone());
    }
    Ok(found)
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
    remarks.extend(sampled(trace.header().sample_ppm));
    remarks
}

/// A trace of a share of production's conversations is that share of its load. Files of unlike shares are not read as one trace.
fn sampled(ppm: u32) -> Option<String> {
    const WHOLE: f64 = 1e6;
    if ppm == 0 || f64::from(ppm) >= WHOLE {
        return None;
    }
    Some(format!(
        "the trace holds {} % of production's conversations: --rate-scale {:.4} sends as many as there were",
        f64::from(ppm) / 1e4,
        WHOLE / f64::from(ppm)
    ))
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
        SkipReason::BegunBefore => "their conversations had begun before the slice",
    }
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::sampled;

    #[test]
    fn a_sampled_trace_says_how_to_send_the_whole_load() {
        assert_eq!(sampled(1_000_000), None);
        let eighth = sampled(125_000).unwrap();
        assert!(eighth.contains(" 12.5 % "), "{eighth}");
        assert!(eighth.contains("--rate-scale 8.0000"), "{eighth}");
    }
}
