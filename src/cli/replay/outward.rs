//! Options that say what goes to other services when the replay is over.

use std::path::{Path, PathBuf};

use http::HeaderValue;

use super::progress::say;
use crate::cli::failure::Failure;
use crate::outward::{
    Finished, LangSmith, Otlp, OutwardError, RunStart, Sent, read_headers, read_pairs,
};
use crate::replay::BaseUrl;
use crate::report::ResultDocument;

#[derive(Debug, clap::Args)]
pub(super) struct OutwardArgs {
    /// When it is over, send a span for each request (GenAI attributes, no content) and metrics to this address over OTLP/HTTP: a collector's
    /// (`http://host:4318`), `https://api.smith.langchain.com/otel` or `https://HOST/api/public/otel` (Langfuse). Keys stand in
    /// OTEL_EXPORTER_OTLP_HEADERS. Needs --out
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    otlp: Option<BaseUrl>,

    /// When it is over, post its verdict to LangSmith as an experiment of this data set, one for each target, with the key of
    /// LANGSMITH_API_KEY; LANGSMITH_ENDPOINT says where, if not at api.smith.langchain.com. Needs --out
    #[arg(long, value_name = "DATASET", value_parser = dataset)]
    langsmith: Option<String>,
}

/// Who is sent what, once it is there.
pub(super) struct Outward {
    otlp: Option<Otlp>,
    langsmith: Option<LangSmith>,
    requests: PathBuf,
}

impl OutwardArgs {
    /// # Errors
    /// When --out is missing, or a variable holds nothing that could be sent: better before a replay than after it.
    pub(super) fn outward(&self, out: Option<&Path>) -> Result<Option<Outward>, Failure> {
        let option = match (&self.otlp, &self.langsmith) {
            (None, None) => return Ok(None),
            (Some(_), _) => "--otlp",
            (None, Some(_)) => "--langsmith",
        };
        let Some(out) = out else {
            return Err(Failure::usage(anyhow::anyhow!("{option} needs --out"))
                .hint("add --out DIR: what is sent is read from there when the replay is over, so that nothing slows it"));
        };
        Ok(Some(Outward {
            otlp: self.otlp.as_ref().map(otlp).transpose()?,
            langsmith: self.langsmith.as_deref().map(langsmith).transpose()?,
            requests: out.join("requests.jsonl.zst"),
        }))
    }
}

impl Outward {
    /// Sends it, and says what was taken. What was not changes nothing of the verdict.
    pub(super) fn send(&self, document: &ResultDocument, starts: &[RunStart]) {
        let finished = Finished {
            document,
            requests: &self.requests,
            starts,
        };
        if let Some(otlp) = &self.otlp {
            let mut taken = Sent::default();
            let sent = otlp.send(&finished, &mut |sent| taken = *sent);
            say(&told(otlp, taken, sent.is_ok()));
            warn("--otlp", sent.err());
        }
        if let Some(langsmith) = &self.langsmith {
            match langsmith.send(&finished) {
                Ok(experiments) => say(&format!(
                    "langsmith: {experiments} experiments of the data set `{}`",
                    langsmith.dataset
                )),
                Err(error) => warn("--langsmith", Some(error)),
            }
        }
    }
}

fn told(otlp: &Otlp, taken: Sent, whole: bool) -> String {
    let mut told = format!("otlp: {} took {} spans", otlp.endpoint, taken.spans);
    if taken.rejected > 0 {
        told += &format!(" and rejected {}", taken.rejected);
    }
    match (taken.metrics, whole) {
        (true, _) => told += ", and metrics",
        (false, true) => told += "; it takes no metrics",
        (false, false) => told += ", then no more",
    }
    told
}

fn warn(option: &str, error: Option<OutwardError>) {
    if let Some(error) = error {
        say(&format!("warning: {option}: {error}"));
        say(&format!("hint: {}", error.hint()));
    }
}

fn otlp(endpoint: &BaseUrl) -> Result<Otlp, Failure> {
    let list = |name: &str| std::env::var(name).unwrap_or_default();
    let malformed = |why: String| {
        Failure::usage(anyhow::anyhow!(why))
            .hint("write NAME=VALUE,NAME=VALUE, with %2C for a comma and %3D for `=` in values")
    };
    const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let mut resource = read_pairs(RESOURCE, &list(RESOURCE)).map_err(malformed)?;
    let service = std::env::var("OTEL_SERVICE_NAME").ok();
    resource.extend(
        service
            .filter(|name| !name.is_empty())
            .map(|name| ("service.name".to_owned(), name)),
    );
    Ok(Otlp {
        endpoint: endpoint.clone(),
        headers: read_headers(HEADERS, &list(HEADERS)).map_err(malformed)?,
        ca: std::env::var_os("OTEL_EXPORTER_OTLP_CERTIFICATE").map(PathBuf::from),
        resource,
    })
}

fn langsmith(dataset: &str) -> Result<LangSmith, Failure> {
    let key = std::env::var("LANGSMITH_API_KEY")
        .ok()
        .filter(|key| !key.trim().is_empty())
        .ok_or_else(|| {
            Failure::usage(anyhow::anyhow!("--langsmith: LANGSMITH_API_KEY is not set"))
                .hint("make a key in LangSmith's settings; it cannot be given on the command line, which others see")
        })?;
    let key = HeaderValue::from_str(key.trim()).map_err(|_| {
        Failure::usage(anyhow::anyhow!(
            "LANGSMITH_API_KEY holds characters that cannot stand in a header"
        ))
        .hint("copy the key again, without line ends")
    })?;
    let endpoint = std::env::var("LANGSMITH_ENDPOINT").unwrap_or_else(|_| LANGSMITH.to_owned());
    let endpoint =
        BaseUrl::parse(endpoint.trim().trim_end_matches("/api/v1")).map_err(|error| {
            Failure::usage(anyhow::anyhow!("LANGSMITH_ENDPOINT: {error}"))
                .hint(format!("write it like {LANGSMITH}"))
        })?;
    Ok(LangSmith {
        endpoint,
        key,
        dataset: dataset.to_owned(),
    })
}

/// The address before `/v1/traces`, whichever of the two is written.
fn endpoint(text: &str) -> Result<BaseUrl, String> {
    let text = text.trim().trim_end_matches('/');
    BaseUrl::parse(text.strip_suffix("/traces").unwrap_or(text)).map_err(|error| error.to_string())
}

fn dataset(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a data set has a name; write --langsmith 'canary gates'".to_owned()),
        name => Ok(name.to_owned()),
    }
}

const LANGSMITH: &str = "https://api.smith.langchain.com";
