//! Options that say how a target is reached.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::failure::{Failure, HintExt};
use crate::cli::values;
use crate::replay::{
    BadHeader, Connections, Credentials, ExtraHeaders, HttpVersion, ReadRate, Readers, RunOptions,
};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connections")]
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

    /// Which connections requests go over: recorded (new ones where the trace says that its requests began one; the default), shared, or at most N
    ///
    /// A request that used a connection again goes over an idle one, and opens one where there is none; the fidelity says how many did as
    /// they had. A trace that does not tell, and HTTP/2, have connections shared: any that is idle serves any request. With N, shared, at most
    /// so many are open to a target; a request that waits for one is late, and the fidelity says so.
    #[arg(
        long,
        value_name = "recorded|shared|N",
        conflicts_with = "no_keep_alive"
    )]
    connections: Option<Connections>,

    /// Open a connection for each request, and close it after the answer
    #[arg(long)]
    pub(super) no_keep_alive: bool,

    /// How fast clients take their answers: recorded (slow readers at their recorded pace, where the trace tells of them; the default), or fast (all as they come)
    ///
    /// A reader was slow that kept its answer waiting for at least half of the time from first byte to last. Its connections have little room
    /// to receive in, so the target's writes stall as they did. --speed does not change that pace. With --connections N readers are fast.
    #[arg(long, value_name = "recorded|fast", conflicts_with = "read_rate")]
    readers: Option<Readers>,

    /// Have clients take their answers at this rate at most, or a share of the sessions have such clients: 64KiB/s, 64KiB/s:10%
    ///
    /// Asks: what do slow readers cost the others? What a client does not take stays with the system, and then with the target, whose
    /// writes stall. Latencies of such clients are their own. With --connections, all clients are alike: give no share.
    #[arg(long, value_name = "RATE[:SHARE]", value_parser = read_rate)]
    read_rate: Option<ReadRate>,

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
    #[arg(long, default_value = "20000", value_name = "N", value_parser = values::whole::<u64>)]
    max_in_flight: u64,

    /// Threads that send; by default half of the cores, at most 4
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,

    /// Sending threads never sleep: each takes a whole core, and sends and notices answers without waiting to be woken. For a machine with cores to spare
    #[arg(long)]
    busy_poll: bool,
}

impl ConnectionArgs {
    pub(super) fn apply(&self, options: &mut RunOptions) -> Result<(), Failure> {
        let connections = self.connections.unwrap_or_default();
        if let (Some(rate), Some(_)) = (self.read_rate, connections.limit())
            && rate.share < 1.0
        {
            return Err(Failure::usage(anyhow::anyhow!(
                "--connections N cannot be kept where slow clients have connections of their own"
            ))
            .hint("give --read-rate without a share, or leave --connections out"));
        }
        if let (Some(Readers::AsRecorded), Some(_)) = (self.readers, connections.limit()) {
            return Err(Failure::usage(anyhow::anyhow!(
                "--connections N cannot be kept where slow readers have connections of their own"
            ))
            .hint("leave one of --readers recorded and --connections out"));
        }
        if self.http2 && self.connections == Some(Connections::AsRecorded) {
            return Err(Failure::usage(anyhow::anyhow!(
                "over --http2 requests share connections: --connections recorded is of HTTP/1.1"
            ))
            .hint("leave one of the two out"));
        }
        options.readers = match self.read_rate {
            Some(rate) => Readers::Drawn(rate),
            None => self.readers.unwrap_or_default(),
        };
        options.workers = self.threads;
        options.busy_poll = self.busy_poll;
        options.connections = connections;
        options.max_in_flight = self.max_in_flight;
        options.connect_timeout = self.connect_timeout;
        options.ready_timeout = self.ready_timeout;
        options.request_timeout = self.request_timeout;
        Ok(())
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

fn read_rate(text: &str) -> Result<ReadRate, String> {
    let (rate, share) = match text.split_once(':') {
        Some((rate, share)) => (rate, values::rate(share)?),
        None => (text, 1.0),
    };
    let bytes_per_s = rate
        .trim()
        .strip_suffix("/s")
        .and_then(|size| values::size(size.trim()).ok())
        .ok_or("not a rate; write 64KiB/s, or 64KiB/s:10% for a share of the sessions")?;
    if bytes_per_s < ReadRate::SLOWEST_BYTES_PER_S {
        return Err("no answer would be over in time; write 1KiB/s or more".to_owned());
    }
    if share == 0.0 {
        return Err(
            "a share of 0 is nobody: leave the option out, or write 64KiB/s:10%".to_owned(),
        );
    }
    Ok(ReadRate { bytes_per_s, share })
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
    fn a_read_rate_is_a_size_in_a_second_and_perhaps_a_share() {
        let all = ReadRate {
            bytes_per_s: 65_536,
            share: 1.0,
        };
        assert_eq!(read_rate("64KiB/s"), Ok(all));
        assert_eq!(
            read_rate("65536/s : 10%"),
            Ok(ReadRate { share: 0.1, ..all })
        );
        for bad in [
            "64KiB",
            "fast",
            "64KiB/s:2",
            "64KiB/s:0%",
            "0/s",
            "1000/s",
            "/s",
        ] {
            assert!(
                read_rate(bad).unwrap_err().contains("KiB/s") || bad.ends_with(":2"),
                "{bad}"
            );
        }
    }

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
