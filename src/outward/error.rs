use super::langsmith::UPLOAD;
use crate::report::ReportError;

/// Why something was not sent. Headers and bodies are quoted nowhere.
#[derive(Debug, thiserror::Error)]
pub enum OutwardError {
    /// No TLS.
    #[error("{url}: TLS failed: {why}")]
    Tls {
        /// To whom.
        url: String,
        /// Why.
        why: String,
    },
    /// No thread or timer here.
    #[error("{url}: {source}")]
    Machine {
        /// To whom.
        url: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It was refused.
    #[error("{url} answered with status {status}")]
    Refused {
        /// To whom.
        url: String,
        /// With what.
        status: http::StatusCode,
    },
    /// Nobody took it, however often it was tried.
    #[error("{url} did not take all of it, with {patience_s} s of trying again: {why}")]
    Unreachable {
        /// To whom.
        url: String,
        /// For how long it was tried.
        patience_s: u64,
        /// The last trouble.
        why: String,
    },
    /// It may have been taken, or not.
    #[error("{url} did not say whether it took it: {why}")]
    Unanswered {
        /// To whom.
        url: String,
        /// What came instead of an answer.
        why: String,
    },
    /// The requests could not be read again.
    #[error(transparent)]
    Log(#[from] ReportError),
    /// The body could not be written.
    #[error("the experiment cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl OutwardError {
    /// What mends it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Refused { status, .. } if matches!(status.as_u16(), 401 | 403) => {
                "the key is missing or wrong: OTEL_EXPORTER_OTLP_HEADERS holds what OTLP is sent with, LANGSMITH_API_KEY what LangSmith is"
            }
            Self::Refused { url, status } if url.ends_with(UPLOAD) => match status.as_u16() {
                404 => {
                    "LANGSMITH_ENDPOINT is where LangSmith's API is, such as https://api.smith.langchain.com"
                }
                _ => {
                    "LangSmith takes experiments for data sets that were made by one: name another with --langsmith"
                }
            },
            Self::Refused { status, .. } if status.as_u16() == 413 => {
                "the collector's bound on bodies is too low for a batch of spans: raise it there"
            }
            Self::Refused { status, .. } if matches!(status.as_u16(), 400 | 415 | 422) => {
                "what is there speaks no OTLP over HTTP with protobuf: give the address of one that does, usually port 4318"
            }
            Self::Unanswered { .. } => {
                "look whether it is there before you send it again: twice would be two"
            }
            Self::Refused { status, .. } if status.as_u16() == 404 => {
                "give the address before /v1/traces: http://collector:4318, https://api.smith.langchain.com/otel, https://HOST/api/public/otel"
            }
            Self::Tls { .. } => {
                "OTEL_EXPORTER_OTLP_CERTIFICATE names a PEM file of authorities to trust"
            }
            _ => "the results are in --out; what was measured is not touched by this",
        }
    }
}
