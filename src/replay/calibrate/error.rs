use std::time::Duration;

use crate::replay::client::ConnectError;
use crate::replay::target::Target;

/// Why a target cannot be replayed against.
#[derive(Debug, thiserror::Error)]
#[error("target `{name}` at {url}: {problem}")]
pub struct TargetError {
    /// The target's name.
    pub name: String,
    /// Its URL.
    pub url: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a target.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Nobody listens there, or its name is not known: yet, perhaps.
    #[error("{0}")]
    Absent(String),
    /// There is no connection to be had.
    #[error("{0}")]
    Unreachable(String),
    /// It does not speak what it was asked to.
    #[error("{0}")]
    NoHttp2(String),
    /// It broke the connection before it answered.
    #[error("it broke the connection before it answered {0}")]
    Reset(&'static str),
    /// It accepted the connection and said nothing.
    #[error("no answer to {path} within {after:?}")]
    Silent {
        /// What was asked.
        path: &'static str,
        /// How long it had.
        after: Duration,
    },
    /// What it said is not HTTP.
    #[error("what it answers is not HTTP/1.1")]
    NotHttp,
    /// It refused.
    #[error("{path} answered with status {status}")]
    Refused {
        /// What was asked.
        path: &'static str,
        /// What it answered.
        status: u16,
    },
    /// The answer to a probe was no answer of its dialect.
    #[error("{path} answered, but not as this API does")]
    Foreign {
        /// What was asked.
        path: &'static str,
    },
    /// It does not say which models it serves.
    #[error("it does not name a model at /v1/models")]
    NoModel,
    /// Whoever replays it wanted it to end.
    #[error("it was still being asked how it counts when the replay was stopped")]
    Stopped,
    /// This machine cannot start the client.
    #[error("the client cannot start: {0}")]
    Runtime(std::io::Error),
}

impl TargetError {
    pub(in crate::replay) fn new(target: &Target, problem: Problem) -> Self {
        Self {
            name: target.name.clone(),
            url: target.url.to_string(),
            problem,
        }
    }

    pub(in crate::replay) fn unreachable(target: &Target, error: &ConnectError) -> Self {
        let why = error.to_string();
        Self::new(
            target,
            match error {
                ConnectError::Connect(_) | ConnectError::Resolve(_) if !error.is_local() => {
                    Problem::Absent(why)
                }
                ConnectError::Http2(_) => Problem::NoHttp2(why),
                _ => Problem::Unreachable(why),
            },
        )
    }

    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match &self.problem {
            Problem::Absent(_) => {
                "is the server running, and the URL right? --ready-timeout waits longer for one that starts"
            }
            Problem::Unreachable(_) => "is the server running, and the URL right?",
            Problem::NoHttp2(_) => "leave --http2 out",
            Problem::Reset(_) => "does this port speak HTTP, or does it want https://?",
            Problem::Silent { .. } => "is the model still loading?",
            Problem::NotHttp => {
                "does this port want https://, or does something else listen there?"
            }
            Problem::Refused { status, .. } => match status {
                401 | 403 => "give an API key",
                404 => {
                    "the target does not know this path or this model: check the URL, or name a model with --model"
                }
                400 | 422 => {
                    "the target does not take a plain request: check the model with --model"
                }
                429 | 503 | 529 => {
                    "the target is busy or still loading: --ready-timeout waits longer for it"
                }
                300..400 => "redirects are not followed: give the URL that it redirects to",
                _ => "look into the target's own log",
            },
            Problem::Foreign { .. } => {
                "the trace's requests need a target that speaks the same API"
            }
            Problem::Stopped => "start the replay again",
            Problem::NoModel => "name one with --model",
            Problem::Runtime(_) => "is the limit on open files or threads reached?",
        }
    }
}
