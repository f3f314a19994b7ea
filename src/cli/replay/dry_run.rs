//! `--dry-run`: what the plan comes to, then its requests, and nothing sent.

use std::io::Write;

use serde::Serialize;

use super::conduct::{self, Display};
use crate::campaign::Campaign;
use crate::cli::failure::{Exit, Failure};
use crate::cli::inspect;
use crate::replay::{Passes, PlannedRequest, Readers};
use crate::shape::Endpoint;
use crate::trace::Trace;

/// A request of the plan as a line of JSON.
#[derive(Serialize)]
struct Line {
    index: u64,
    at_us: u64,
    endpoint: Endpoint,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think_us: Option<u64>,
    prompt_tokens: Option<u32>,
    output_tokens: Option<u32>,
    /// Where its client takes the answer slowly, as in the trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    reader_bytes_per_s: Option<u64>,
}

impl Line {
    fn of(planned: &PlannedRequest, readers: Readers) -> Self {
        let exchange = &planned.exchange;
        Self {
            index: planned.index,
            at_us: planned.intended_us,
            endpoint: exchange.endpoint,
            session: planned.turn.session,
            turn: planned.turn.session.map(|_| planned.turn.number),
            think_us: planned.turn.think_us,
            prompt_tokens: exchange.request.prompt_tokens.map(|tokens| tokens.count),
            output_tokens: exchange.response.output_tokens.map(|tokens| tokens.count),
            reader_bytes_per_s: readers.recorded_bytes_per_s(exchange),
        }
    }
}

/// Prints the plan, for people or as lines of JSON: the first holds the whole, as in `plan` of a result, each other one a request.
pub(super) fn print(campaign: &Campaign, json: bool) -> Result<Exit, Failure> {
    let survey = campaign
        .survey(&Display::default())
        .map_err(conduct::failure)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut trace = Trace::open(&campaign.traces).map_err(inspect::failure)?;
    let layout = survey.layout();
    let readers = campaign.readers(&survey);
    let requests = layout.requests(Passes::new(trace.exchanges_from(layout.options().from())));
    let print = || -> Result<(), Failure> {
        if json {
            let plan = serde_json::json!({ "plan": campaign.plan_account(&survey) });
            writeln!(out, "{plan}")?;
        } else {
            for line in campaign.describe(&survey) {
                writeln!(out, "{line}")?;
            }
            writeln!(
                out,
                "\n{:>8} {:>12} {:>14} {:>5} {:>10} {:>10}  endpoint",
                "index", "at", "session", "turn", "prompt", "output"
            )?;
        }
        for planned in requests {
            let planned = planned.map_err(|error| conduct::failure(error.into()))?;
            let line = Line::of(&planned, readers);
            if json {
                serde_json::to_writer(&mut out, &line).map_err(std::io::Error::from)?;
                out.write_all(b"\n")?;
            } else {
                let slowly = line
                    .reader_bytes_per_s
                    .map(|rate| format!(", taken at {}/s", bytesize::ByteSize(rate)));
                writeln!(
                    out,
                    "{:>8} {:>10.3} s {:>14} {:>5} {:>10} {:>10}  {}{}",
                    line.index,
                    seconds(line.at_us),
                    shown(line.session, "-"),
                    shown(line.turn, "-"),
                    shown(line.prompt_tokens, "?"),
                    shown(line.output_tokens, "?"),
                    line.endpoint.path(),
                    slowly.unwrap_or_default()
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

fn shown<T: ToString>(value: Option<T>, absent: &str) -> String {
    value.map_or_else(|| absent.to_owned(), |value| value.to_string())
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
