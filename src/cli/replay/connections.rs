//! Options that say how a target is reached.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::failure::{Failure, HintExt};
use crate::cli::values;
use crate::replay::{BadHeader, Credentials, ExtraHeaders, HttpVersion, RunOptions};

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

    /// Send this header with every request (repeatable); a secret as `NAME: env:VARIABLE` or `NAME: file:PATH`
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// Speak HTTP/2, by ALPN to https:// and by prior knowledge to http://; requests share connections, as many as the target allows on one
    #[arg(long, conflicts_with = "no_keep_alive")]
    http2: bool,

    /// Have at most this many connections open to a target; a request that waits for one is late, and the fidelity says so
    #[arg(long, value_name = "N", conflicts_with = "no_keep_alive")]
    connections: Option<std::num::NonZeroUsize>,

    /// Open a connection for each request, and close it after the answer
    #[arg(long)]
    pub(super) no_keep_alive: bool,

    /// Give up on a connection after this long
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = values::duration)]
    connect_timeout: Duration,

    /// Before the first run, wait this long for a target that is not there yet, or answers 429 or 503: it may be starting (0s to not wait)
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = values::duration)]
    ready_timeout: Duration,

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
        options.connections = self.connections;
        options.max_in_flight = self.max_in_flight;
        options.connect_timeout = self.connect_timeout;
        options.ready_timeout = self.ready_timeout;
        options.request_timeout = self.request_timeout;
    }

    pub(super) fn http(&self) -> HttpVersion {
        if self.http2 {
            HttpVersion::Http2
        } else {
            HttpVersion::Http1
        }
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

    /// What `--header` says, secrets read from where they stand.
    pub(super) fn headers(&self) -> Result<ExtraHeaders, Failure> {
        read_headers("--header", &self.headers)
    }
}

/// What an option that is given headers says, secrets read from where they stand.
///
/// # Errors
/// When one is none, its secret is not where it is said to be, or stands on the command line.
pub(super) fn read_headers(
    option: &'static str,
    texts: &[String],
) -> Result<ExtraHeaders, Failure> {
    let mut headers = ExtraHeaders::default();
    for text in texts {
        let Some((name, value)) = text.split_once(':') else {
            return Err(
                Failure::usage(anyhow::anyhow!("a {option} without a colon is no header"))
                    .hint(format!("write {option} 'NAME: VALUE'")),
            );
        };
        let (name, value) = (name.trim(), value.trim());
        let value = if let Some(variable) = value.strip_prefix("env:") {
            std::env::var(variable)
                .map_err(|_| {
                    Failure::usage(anyhow::anyhow!(
                        "{option} {name}: the environment variable {variable} is not set"
                    ))
                })
                .hint("export the header's value in it")?
        } else if let Some(path) = value.strip_prefix("file:") {
            std::fs::read_to_string(path)
                .map_err(|error| {
                    Failure::could_not_run(anyhow::anyhow!("{option} {name}: {path}: {error}"))
                })
                .hint("the file holds nothing but the header's value")?
        } else if SECRET
            .iter()
            .any(|secret| name.eq_ignore_ascii_case(secret))
        {
            return Err(Failure::usage(anyhow::anyhow!(
                "{option} {name} would show a secret to everyone who sees this machine's processes"
            ))
            .hint(format!(
                "write {option} '{name}: env:VARIABLE' or {option} '{name}: file:PATH'"
            )));
        } else {
            value.to_owned()
        };
        headers.add(name, &value).map_err(bad_header)?;
    }
    Ok(headers)
}

/// Headers whose values are secrets wherever they are sent.
const SECRET: [&str; 6] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
];

fn bad_header(error: BadHeader) -> Failure {
    let hint = match error {
        BadHeader::Name(_) => "a name is letters, digits and dashes: --header 'x-tenant: a'",
        BadHeader::Value(_) => "a value is one line of visible characters",
        BadHeader::Framing(_) => "leave it out; --no-keep-alive has connections closed",
    };
    Failure::usage(error).hint(hint)
}

/// Options that are given headers.
const HEADERS: [&str; 2] = ["--header", "--engine-metrics-header"];

/// A command's arguments with the values of headers left out: the result document shows them.
pub(super) fn without_header_values(
    args: impl Iterator<Item = String>,
) -> impl Iterator<Item = String> {
    let hidden = |header: &str| {
        let name = header.split_once(':').map_or("", |(name, _)| name);
        format!("{name}: …")
    };
    let mut value_follows = false;
    args.map(move |arg| {
        if std::mem::take(&mut value_follows) {
            return hidden(&arg);
        }
        value_follows = HEADERS.contains(&arg.as_str());
        let given = arg
            .split_once('=')
            .filter(|(option, _)| HEADERS.contains(option));
        match given {
            Some((option, header)) => format!("{option}={}", hidden(header)),
            None => arg,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_shown_without_the_values_of_its_headers() {
        let args = [
            "t.rt",
            "--header",
            "x-a: s3cret",
            "--header=x-b:s3cret",
            "--engine-metrics-header",
            "x-c: s3cret",
            "--speed",
            "2",
        ];
        let shown: Vec<String> =
            without_header_values(args.iter().map(ToString::to_string)).collect();
        assert_eq!(
            shown,
            [
                "t.rt",
                "--header",
                "x-a: …",
                "--header=x-b: …",
                "--engine-metrics-header",
                "x-c: …",
                "--speed",
                "2"
            ]
        );
    }
}
