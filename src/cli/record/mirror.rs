use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::failure::{Failure, HintExt};
use super::super::replay::command_line;
use super::super::values;
use crate::anonymise::{Lengths, Policy};
use crate::campaign::{MirrorReport, MirrorReported};
use crate::record::{MirrorKey, MirrorOptions, MirrorOut, MirrorResults, NamedUpstream};
use crate::report::ReportError;

/// Live shadow traffic.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Live shadow traffic")]
pub(super) struct MirrorArgs {
    /// Send a share of the sessions to a candidate as well: its answers are measured and discarded, and production neither waits for it nor
    /// sees it (docs/mirror.md). Client headers, keys among them, are not sent on
    #[arg(long, value_name = "NAME=URL", requires = "trace_dir")]
    mirror: Option<NamedUpstream>,
    /// Share of conversations that the mirror gets, each with all its turns: 10% or 0.1
    #[arg(long, value_name = "RATE", default_value = "10%", value_parser = values::rate, requires = "mirror")]
    mirror_share: f64,
    /// The model to ask the mirror for [default: the one the client asked for]
    #[arg(long, value_name = "NAME", requires = "mirror")]
    mirror_model: Option<String>,
    /// The environment variable that holds the mirror's API key
    #[arg(
        long,
        value_name = "NAME",
        requires = "mirror",
        conflicts_with = "mirror_key_file"
    )]
    mirror_key_env: Option<String>,
    /// The file that holds the mirror's API key
    #[arg(long, value_name = "FILE", requires = "mirror")]
    mirror_key_file: Option<PathBuf>,
    /// Write what the mirror and production made of the same requests at the recorder's end, as replay does: result.json, report.html and all
    /// else, in a directory of its own below this one for each start (mirror-000001)
    #[arg(long, value_name = "DIR", requires = "mirror")]
    mirror_out: Option<PathBuf>,
}

/// What is kept of single requests.
pub(super) struct Kept<'a> {
    pub(super) policy: &'a Policy,
    /// Traces are sealed, so that nobody who has this machine's disk can read them.
    pub(super) sealed: bool,
    /// Whether traces tell when they were recorded.
    pub(super) wall_clock: bool,
}

impl MirrorArgs {
    /// `silence`: how long the mirror may bring nothing. `kept` is what is recorded of requests, where anything is.
    pub(super) fn mirror(
        &self,
        silence: Duration,
        kept: Option<&Kept<'_>>,
    ) -> Result<Option<MirrorOptions>, Failure> {
        let Some(mirror) = &self.mirror else {
            return Ok(None);
        };
        let Some(name) = mirror.name.clone().filter(|name| name != "production") else {
            return Err(Failure::usage(anyhow::anyhow!(
                "--mirror {}: it needs a name, and `production` is what production is called",
                mirror.url
            ))
            .hint("write --mirror candidate=http://HOST:PORT"));
        };
        Ok(Some(MirrorOptions {
            url: mirror.url.clone(),
            share: self.mirror_share,
            model: self.mirror_model.clone(),
            key: self.key()?,
            silence,
            out: self.out(mirror, &name, kept)?,
            name,
        }))
    }

    /// Where the result goes.
    fn out(
        &self,
        mirror: &NamedUpstream,
        name: &str,
        kept: Option<&Kept<'_>>,
    ) -> Result<Option<MirrorOut>, Failure> {
        let (Some(dir), Some(kept)) = (&self.mirror_out, kept) else {
            return Ok(None);
        };
        if let Some(hides) = hides(kept) {
            return Err(Failure::usage(anyhow::anyhow!(
                "--mirror-out writes a line for each mirrored request, with its arrival and its lengths, and {hides}"
            ))
            .hint("leave one of them out: metrics have the mirror as well"));
        }
        let reported = MirrorReported {
            name: name.to_owned(),
            url: mirror.url.to_string(),
            model: self.mirror_model.clone(),
            share: self.mirror_share,
            wall_clock: kept.wall_clock,
            command: Some(command_line()),
        };
        Ok(Some(MirrorOut {
            dir: dir.clone(),
            begin: Arc::new(move |dir| {
                let report = MirrorReport::begin(dir, reported.clone());
                let report = report.map_err(|error| match error {
                    // Whoever tells it names the directory.
                    ReportError::Io { path, source } if path == dir => source.into(),
                    other => Box::<dyn Error + Send + Sync>::from(other),
                })?;
                Ok(Box::new(report) as Box<dyn MirrorResults>)
            }),
        }))
    }

    fn key(&self) -> Result<Option<MirrorKey>, Failure> {
        let key = match (&self.mirror_key_env, &self.mirror_key_file) {
            (Some(name), _) => std::env::var(name)
                .map_err(|_| {
                    Failure::usage(anyhow::anyhow!(
                        "--mirror-key-env: the environment variable {name} is not set"
                    ))
                })
                .hint("export the key in it, or use --mirror-key-file")?,
            (None, Some(path)) => std::fs::read_to_string(path)
                .map_err(|error| {
                    Failure::could_not_run(anyhow::anyhow!("{}: {error}", path.display()))
                })
                .hint("--mirror-key-file names a file that holds nothing but the key")?,
            (None, None) => return Ok(None),
        };
        let key = MirrorKey::new(&key).map_err(Failure::usage);
        key.hint("the key stands alone, on one line").map(Some)
    }
}

/// What would be of no use beside exact lines for single requests.
fn hides(kept: &Kept<'_>) -> Option<&'static str> {
    let policy = kept.policy;
    let hides = [
        (
            policy.lengths != Lengths::Exact,
            "--quantise-lengths is to hide lengths",
        ),
        (
            policy.time_jitter_us > 0 || policy.time_shift_us > 0,
            "--time-jitter and --time-shift are to hide arrivals",
        ),
        (
            policy.dropped_sessions_ppm > 0,
            "--drop-sessions is to leave no trace of some",
        ),
        (kept.sealed, "traces are sealed, which it is not"),
    ];
    hides
        .into_iter()
        .find_map(|(is_so, hides)| is_so.then_some(hides))
}
