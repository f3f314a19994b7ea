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
    #[error("{url} took nothing in {patience_s} s: {why}")]
    Unreachable {
        /// To whom.
        url: String,
        /// For how long it was tried.
        patience_s: u64,
        /// The last trouble.
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
