//! Options that say how a target is reached.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::failure::{Failure, HintExt};
use crate::cli::values;
use crate::replay::{Credentials, RunOptions};

#[derive(Debug, clap::Args)]
pub(super) struct ConnectionArgs {
    /// Take the API key from this environment variable
    #[arg(long, value_name = "NAME", conflicts_with = "api_key_file")]
    api_key_env: Option<String>,

    /// Take the API key from this file
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// Trust the certificate authorities in this PEM file instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,

    /// Give up on a connection after this long
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = values::duration)]
    connect_timeout: Duration,

    /// Give up on an answer that brings nothing for this long
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = values::duration)]
    request_timeout: Duration,

    /// A guard, not a queue: beyond this many requests in flight, requests are dropped and the run is invalid
    #[arg(long, default_value = "20000", value_name = "N")]
    max_in_flight: u64,

    /// Threads that send; by default half of the cores, at most 4
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
}

impl ConnectionArgs {
    pub(super) fn apply(&self, options: &mut RunOptions) {
        options.workers = self.threads;
        options.max_in_flight = self.max_in_flight;
        options.connect_timeout = self.connect_timeout;
        options.request_timeout = self.request_timeout;
    }

    pub(super) fn credentials(&self) -> Result<Credentials, Failure> {
        let key = match (&self.api_key_env, &self.api_key_file) {
            (Some(name), _) => std::env::var(name)
                .map_err(|_| {
                    Failure::usage(anyhow::anyhow!(
                        "the environment variable {name} is not set"
                    ))
                })
                .hint("export the key in it, or use --api-key-file")?,
            (None, Some(path)) => std::fs::read_to_string(path)
                .map_err(|error| {
                    Failure::could_not_run(anyhow::anyhow!("{}: {error}", path.display()))
                })
                .hint("--api-key-file names a file that holds nothing but the key")?,
            (None, None) => return Ok(Credentials::NONE),
        };
        Ok(Credentials::by_dialect(&key)?)
    }
}
