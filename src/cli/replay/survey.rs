//! What is in the trace, and what of it will be sent: read and told before anything is.

use std::io::Write;

use super::progress::say;
use super::session::Session;
use crate::cli::failure::{Exit, Failure};
use crate::cli::inspect;
use crate::measure::traffic::TrafficMeter;
use crate::replay::{PlanSummary, Planner, SkipReason};
use crate::report::TraceAccount;
use crate::trace::{Source, Trace};

/// What the first reading of the trace found.
pub(super) struct Survey {
    pub(super) plan: PlanSummary,
    pub(super) prefix_share: Option<f64>,
    pub(super) trace: TraceAccount,
    pub(super) block: Option<crate::shape::BlockSpec>,
    pub(super) remarks: Vec<String>,
}

impl Session {
    /// Prints the plan, request by request, and sends nothing.
    pub(in crate::cli) fn print_plan(&self, json: bool) -> Result<Exit, Failure> {
        let survey = self.survey()?;
        self.announce(&survey);
        let mut trace = Trace::open(&self.traces).map_err(inspect::failure)?;
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let mut print = || -> Result<(), Failure> {
            if !json {
                writeln!(
                    out,
                    "{:>8} {:>12} {:>10} {:>10}  endpoint",
                    "index", "at", "prompt", "output"
                )?;
            }
            for planned in Planner::new(trace.exchanges_from(self.plan.from()), self.plan) {
                let planned = planned.map_err(inspect::failure)?;
                let exchange = &planned.exchange;
                let prompt = exchange.request.prompt_tokens.map(|tokens| tokens.count);
                let output = exchange.response.output_tokens.map(|tokens| tokens.count);
                if json {
                    let line = serde_json::json!({
                        "index": planned.index, "at_us": planned.intended_us, "endpoint": exchange.endpoint,
                        "prompt_tokens": prompt, "output_tokens": output,
                    });
                    writeln!(out, "{line}")?;
                } else {
                    let show = |tokens: Option<u32>| {
                        tokens.map_or_else(|| "?".to_owned(), |n| n.to_string())
                    };
                    writeln!(
                        out,
                        "{:>8} {:>10.3} s {:>10} {:>10}  {}",
                        planned.index,
                        seconds(planned.intended_us),
                        show(prompt),
                        show(output),
                        exchange.endpoint.path()
                    )?;
                }
            }
            out.flush()?;
            Ok(())
        };
        match print() {
            // The reader of our output may leave when it has seen enough (`| head`).
            Err(failure) if failure.is_broken_pipe() => Ok(Exit::Ok),
            Err(failure) => Err(failure),
            Ok(()) => Ok(Exit::Ok),
        }
    }

    /// Reads the trace once, for what a run must know before it begins.
    pub(super) fn survey(&self) -> Result<Survey, Failure> {
        let mut trace = Trace::open(&self.traces).map_err(inspect::failure)?;
        let (block, recorded) = (
            trace.header().block,
            trace.header().source == Source::Recorded,
        );
        let mut meter = TrafficMeter::new(block, recorded);
        let mut planner = Planner::new(trace.exchanges_from(self.plan.from()), self.plan);
        for planned in &mut planner {
            meter.add(&planned.map_err(inspect::failure)?.exchange);
        }
        let plan = planner.summary().clone();
        drop(planner);
        if plan.planned == 0 {
            let nothing = "there is nothing in the trace to replay";
            let (error, hint) = if !plan.skipped.is_empty() {
                let hint = "it holds no request for tokens: see `reenact inspect`";
                (nothing.to_owned(), hint)
            } else if trace.damage().is_loss() {
                (format!("{nothing}: {}", trace.damage()), inspect::DAMAGED)
            } else {
                let hint = "`reenact inspect` shows what is in it, and --from, --to and --limit what is taken of it";
                (nothing.to_owned(), hint)
            };
            return Err(Failure::could_not_run(anyhow::anyhow!(error)).hint(hint));
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
    pub(super) fn announce(&self, survey: &Survey) {
        let plan = &survey.plan;
        let rate = plan
            .mean_rate()
            .map_or_else(String::new, |rate| format!(", {rate:.1} a second"));
        let speed = if self.plan.speed == 1.0 {
            "original speed".to_owned()
        } else {
            format!("{}× speed", self.plan.speed)
        };
        say(&format!(
            "{} requests over {:.1} s at {speed}{rate}; {} prompt and {} output tokens",
            plan.planned,
            seconds(plan.span_us),
            plan.prompt_tokens,
            plan.output_tokens
        ));
        for (&reason, n) in &plan.skipped {
            say(&format!(
                "{n} exchanges are not replayed: {}",
                skip_words(reason)
            ));
        }
        survey
            .remarks
            .iter()
            .for_each(|remark| say(&format!("warning: {remark}")));
    }
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
