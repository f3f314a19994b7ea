use std::path::PathBuf;

use clap::builder::PossibleValuesParser;

use super::super::failure::{Exit, Failure};
use super::super::{inspect, values};
use crate::shape::{Endpoint, SessionId};
use crate::trace::{self, Filter, Range, StatusRange, Trace};

/// Write the exchanges that meet every condition as a trace of their own
///
/// A condition that is given several times is met by any of its values.
#[derive(Debug, clap::Args)]
pub(super) struct FilterArgs {
    /// Trace files, directories of them, or URLs in a store; several are read as one trace
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,

    /// The trace to write (*.rt), a file or a URL in a store; it must not be there yet, and appears only when it is whole
    #[arg(short, long, value_name = "TRACE")]
    output: PathBuf,

    /// What was asked of the server: chat_completions, messages, … as `inspect --exchanges` says it
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint)]
    endpoint: Vec<Endpoint>,

    /// How it ended
    #[arg(long, value_name = "OUTCOME", value_parser = PossibleValuesParser::new(OUTCOMES))]
    outcome: Vec<String>,

    /// The model asked for: its name where that was kept, else its pseudonym, model-3
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,

    /// The status of the answer: 200, or 4xx for all of a class
    #[arg(long, value_name = "STATUS")]
    status: Vec<StatusRange>,

    /// The conversation, by its number in this trace
    #[arg(long, value_name = "N", value_parser = session)]
    session: Vec<SessionId>,

    /// Streamed answers only (true) or none of them (false)
    #[arg(long, value_name = "BOOL")]
    stream: Option<bool>,

    /// Prompts of at least so many tokens
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>)]
    min_prompt_tokens: Option<u32>,

    /// Prompts of at most so many tokens
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>)]
    max_prompt_tokens: Option<u32>,

    /// Answers of at least so many tokens
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>)]
    min_output_tokens: Option<u32>,

    /// Answers of at most so many tokens
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>)]
    max_output_tokens: Option<u32>,
}

/// Runs `reenact trace filter`.
///
/// # Errors
/// When a trace cannot be read or written, or no condition is given.
pub(super) fn run(args: &FilterArgs) -> Result<Exit, Failure> {
    let filter = Filter {
        endpoints: args.endpoint.clone(),
        outcomes: args.outcome.clone(),
        models: args.model.clone(),
        sessions: args.session.clone(),
        statuses: args.status.clone(),
        stream: args.stream,
        prompt_tokens: Range {
            least: args.min_prompt_tokens,
            most: args.max_prompt_tokens,
        },
        output_tokens: Range {
            least: args.min_output_tokens,
            most: args.max_output_tokens,
        },
    };
    if filter == Filter::default() {
        return Err(Failure::usage(anyhow::anyhow!("no condition is given"))
            .hint("`reenact trace filter --help` has them; `reenact trace merge` copies all"));
    }
    let mut trace = Trace::open(&args.traces).map_err(inspect::failure)?;
    super::tell_if_in_clear(&trace, &args.output)?;
    let copied = trace::filter(&mut trace, &filter, &args.output);
    super::wrote_part(&args.output, &trace, copied)
}

const OUTCOMES: [&str; 8] = [
    "completed",
    "client_cancelled",
    "upstream_refused",
    "upstream_reset",
    "upstream_timeout",
    "rejected",
    "truncated",
    "in_flight",
];

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let name = |endpoint: Endpoint| match serde_json::to_value(endpoint) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    };
    let mut all = Endpoint::ALL.into_iter();
    all.find(|endpoint| name(*endpoint) == text).ok_or_else(|| {
        let names: Vec<_> = Endpoint::ALL.into_iter().map(name).collect();
        format!("not an endpoint; they are {}", names.join(", "))
    })
}

fn session(text: &str) -> Result<SessionId, String> {
    let digits = text.strip_prefix("session-").unwrap_or(text);
    let number = digits.parse().map(SessionId);
    number.map_err(|_| "not a conversation; write its number, 3 or session-3".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Outcome;

    #[test]
    fn values_read_as_inspect_shows_them() {
        for endpoint in Endpoint::ALL {
            let shown = serde_json::to_string(&endpoint).unwrap();
            assert_eq!(super::endpoint(shown.trim_matches('"')), Ok(endpoint));
        }
        assert!(endpoint("chat").unwrap_err().contains("chat_completions"));
        assert_eq!(session("session-3"), Ok(SessionId(3)));
        assert_eq!(session("3"), Ok(SessionId(3)));
        assert!(session("three").is_err());
    }

    #[test]
    fn every_outcome_can_be_asked_for() {
        let at_us = 1;
        let all = [
            Outcome::Completed,
            Outcome::ClientCancelled { at_us },
            Outcome::UpstreamRefused { at_us },
            Outcome::UpstreamReset { at_us },
            Outcome::UpstreamTimeout { at_us },
            Outcome::Rejected,
            Outcome::Truncated { at_us },
            Outcome::InFlight { at_us },
        ];
        assert_eq!(all.map(Outcome::name), OUTCOMES);
    }
}
