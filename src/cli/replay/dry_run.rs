//! `--dry-run`: the plan, request by request, and nothing sent.

use std::io::Write;

use super::conduct::{self, Display};
use crate::campaign::Campaign;
use crate::cli::failure::{Exit, Failure};
use crate::cli::inspect;
use crate::replay::Planner;
use crate::trace::Trace;

/// Prints the plan, for people or as lines of JSON.
pub(super) fn print(campaign: &Campaign, json: bool) -> Result<Exit, Failure> {
    let survey = campaign.survey().map_err(conduct::failure)?;
    campaign.announce(&survey, &Display);
    let mut trace = Trace::open(&campaign.traces).map_err(inspect::failure)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut print = || -> Result<(), Failure> {
        if !json {
            writeln!(
                out,
                "{:>8} {:>12} {:>10} {:>10}  endpoint",
                "index", "at", "prompt", "output"
            )?;
        }
        for planned in Planner::new(trace.exchanges_from(campaign.plan.from()), campaign.plan) {
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
                let show =
                    |tokens: Option<u32>| tokens.map_or_else(|| "?".to_owned(), |n| n.to_string());
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

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
