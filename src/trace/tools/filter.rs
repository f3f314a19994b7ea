use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::copy::{Accounts, Choice, Copied, copy};
use crate::shape::{Endpoint, Exchange, SessionId, TokenCount, TraceTime};
use crate::trace::{Trace, TraceError};

/// What an exchange must be to be taken. Every condition that is given must hold; of a list, one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// What was asked of the server.
    pub endpoints: Vec<Endpoint>,
    /// How it ended, by [`Outcome::name`](crate::shape::Outcome::name).
    pub outcomes: Vec<String>,
    /// Which model was asked for: its name where kept, else its pseudonym (`model-3`).
    pub models: Vec<String>,
    /// Which conversation.
    pub sessions: Vec<SessionId>,
    /// Which status the answer had.
    pub statuses: Vec<StatusRange>,
    /// How long the prompt was, in tokens. One of unknown length is never taken where this is given.
    pub prompt_tokens: Range,
    /// The same of the answer.
    pub output_tokens: Range,
    /// Whether the answer was streamed.
    pub stream: Option<bool>,
}

/// Bounds, both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    /// No fewer.
    pub least: Option<u32>,
    /// No more.
    pub most: Option<u32>,
}

/// A status, or a class of them (`404`, `4xx`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl Range {
    fn holds(self, tokens: Option<TokenCount>) -> bool {
        if self == Self::default() {
            return true;
        }
        tokens.is_some_and(|TokenCount { count, .. }| {
            self.least.is_none_or(|least| count >= least)
                && self.most.is_none_or(|most| count <= most)
        })
    }
}

impl FromStr for StatusRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "not a status; write 200 or 4xx";
        let status = |digits: &str, from: u16, upto: u16| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.parse().ok().filter(|_| plain).ok_or(WRONG)?;
            (from..=upto)
                .contains(&number)
                .then_some(number)
                .ok_or(WRONG)
        };
        if let Some(class) = text.strip_suffix("xx") {
            let class = status(class, 1, 9)?;
            return Ok(Self {
                first: class * 100,
                last: class * 100 + 99,
            });
        }
        let status = status(text, 0, 999)?;
        Ok(Self {
            first: status,
            last: status,
        })
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}xx", self.first / 100),
        }
    }
}

impl Filter {
    /// Whether this exchange is taken, given its model's name where one was kept.
    pub fn takes(&self, exchange: &Exchange, model_name: Option<&str>) -> bool {
        fn any<T>(wanted: &[T], is: impl Fn(&T) -> bool) -> bool {
            wanted.is_empty() || wanted.iter().any(is)
        }
        let request = &exchange.request;
        let response = &exchange.response;
        any(&self.endpoints, |endpoint| *endpoint == exchange.endpoint)
            && any(&self.outcomes, |name| name == exchange.outcome.name())
            && any(&self.models, |wanted| {
                model_name == Some(wanted)
                    || exchange.model.is_some_and(|id| id.to_string() == *wanted)
            })
            && any(&self.sessions, |id| exchange.session == Some(*id))
            && any(&self.statuses, |range| {
                (range.first..=range.last).contains(&response.status)
            })
            && self.prompt_tokens.holds(request.prompt_tokens)
            && self.output_tokens.holds(response.output_tokens)
            && self
                .stream
                .is_none_or(|stream| stream == request.params.stream)
    }
}

/// Writes what the filter takes of a trace.
///
/// # Errors
/// When the trace cannot be read, or the file cannot be written.
pub fn filter(trace: &mut Trace, filter: &Filter, output: &Path) -> Result<Copied, TraceError> {
    let from = TraceTime::from_us(0);
    copy(
        trace,
        from,
        output,
        Accounts::Part,
        |exchange, exchanges| {
            let name = exchange.model.and_then(|id| exchanges.model_name(id));
            match filter.takes(exchange, name) {
                true => Choice::Take,
                false => Choice::Leave,
            }
        },
    )
}
