use std::path::PathBuf;
use std::time::Duration;

use super::super::failure::{Failure, HintExt};
use super::super::values;
use crate::record::{MirrorKey, MirrorOptions, NamedUpstream};

/// Live shadow traffic.
#[derive(Debug, clap::Args)]
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
}

impl MirrorArgs {
    /// `silence`: how long the mirror may bring nothing.
    pub(super) fn mirror(&self, silence: Duration) -> Result<Option<MirrorOptions>, Failure> {
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
            name,
            url: mirror.url.clone(),
            share: self.mirror_share,
            model: self.mirror_model.clone(),
            key: self.key()?,
            silence,
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
