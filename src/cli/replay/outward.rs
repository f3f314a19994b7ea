//! Options that say what goes to other services when the replay is over.

use std::cell::Cell;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::progress::say;
use crate::cli::failure::Failure;
use crate::cli::progress::{Bar, Unit};
use crate::cli::values;
use crate::outward::{
    Finished, LangSmith, Otlp, OutwardError, RunStart, Sent, read_headers, read_pairs,
};
use crate::replay::BaseUrl;
use crate::report::ResultDocument;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Other places to report to")]
pub(super) struct OutwardArgs {
    /// When it is over, send a span for each request (GenAI attributes, no content) and metrics to this address over OTLP/HTTP: a collector's
    /// (`http://host:4318`), `https://api.smith.langchain.com/otel` or `https://HOST/api/public/otel` (Langfuse). Keys stand in
    /// OTEL_EXPORTER_OTLP_HEADERS. Needs --out
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    otlp: Option<BaseUrl>,

    /// Send spans of this share of the conversations alone, such as 1%: of requests that failed always, of others by a draw that is the same
    /// for every target. Metrics are of all requests
    #[arg(
        long,
        value_name = "SHARE",
        value_parser = values::rate,
        requires = "otlp",
        default_value = "100%"
    )]
    otlp_sample: f64,

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
            otlp: self
                .otlp
                .as_ref()
                .map(|endpoint| otlp(endpoint, self.otlp_sample))
                .transpose()?,
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
            let sent = {
                let progress = SpanProgress::show();
                otlp.send(&finished, &mut |sent| {
                    taken = *sent;
                    progress.note(sent);
                })
            };
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

/// How far the spans are: a bar on a terminal, elsewhere a line now and then.
struct SpanProgress {
    requests: Arc<AtomicU64>,
    told: Cell<Instant>,
    _bar: Bar,
}

impl SpanProgress {
    fn show() -> Self {
        let requests = Arc::new(AtomicU64::new(0));
        let done = Arc::clone(&requests);
        Self {
            requests,
            told: Cell::new(Instant::now()),
            _bar: Bar::show(move || done.load(Relaxed), None, Unit::Exchanges),
        }
    }

    fn note(&self, sent: &Sent) {
        self.requests.store(sent.requests, Relaxed);
        if !std::io::stderr().is_terminal() && self.told.get().elapsed() >= TELL_EVERY {
            self.told.set(Instant::now());
            say(&format!(
                "otlp: {} spans taken, of {} requests so far",
                sent.spans, sent.requests
            ));
        }
    }
}

fn told(otlp: &Otlp, taken: Sent, whole: bool) -> String {
    let mut told = format!("otlp: {} took {} spans", otlp.endpoint, taken.spans);
    if taken.rejected > 0 {
        told += &format!(" and rejected {}", taken.rejected);
    }
    if otlp.sample < 1.0 {
        told += &format!(
            " (a sample of {} %, of {} requests)",
            otlp.sample * 100.0,
            taken.requests
        );
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

fn otlp(endpoint: &BaseUrl, sample: f64) -> Result<Otlp, Failure> {
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
        sample,
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

const TELL_EVERY: Duration = Duration::from_secs(30);
const LANGSMITH: &str = "https://api.smith.langchain.com";
