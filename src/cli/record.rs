mod keeping;
mod limits;
mod mirror;
mod placement;
mod privacy;

use std::io::Write;
use std::path::{Path, PathBuf};

use super::failure::{Exit, Failure};
use super::values;
use crate::anonymise::{self, Policy};
use crate::dialect::DialectRule;
use crate::memory::in_small_pages;
use crate::record::{
    self, AdminAddr, AdminOptions, Listen, LogLevels, NamedUpstream, Options, RecordError, Token,
    TokenError, TraceOptions, UpstreamProtocol,
};

/// Record the shape and timing of live traffic
///
/// A transparent proxy in front of an inference server. It forwards every request untouched and writes down how long, how
/// large and how alike the exchanges are, never what they say. Recording can fail in any way without touching traffic.
/// SIGTERM drains and closes the trace; a second one leaves at once.
// An upstream is needed, too, unless the kernel redirects.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "reenact record --listen <ADDR> --upstream <URL> --trace-dir <DIR> [OPTIONS]"
)]
pub(super) struct RecordArgs {
    /// Where clients connect: `127.0.0.1:8080`, `[::1]:8080`, `:8080`, `unix:PATH`, `systemd` or `fd:NAME` (sockets handed over by systemd).
    /// With https:// or http:// before it, TLS is spoken there or not; with UPSTREAM= before all, it leads to the --upstream
    /// of that name (may be given several times)
    #[arg(long, value_name = "[UPSTREAM=]ADDR", required = true)]
    listen: Vec<Listen>,
    /// The inference server: http://HOST:PORT or https://HOST, with a base path where one is needed, or unix:PATH. Several have
    /// names, by which --listen chooses
    #[arg(long, value_name = "[NAME=]URL")]
    upstream: Vec<NamedUpstream>,
    /// Which HTTP upstreams are spoken to in: the client's (over TLS, what both sides can), or always the same
    #[arg(long, value_name = "PROTOCOL", default_value = "auto")]
    upstream_protocol: Protocol,
    /// The directory that trace files are written to (made where missing)
    #[arg(long, value_name = "DIR", required_unless_present = "no_record")]
    trace_dir: Option<PathBuf>,
    /// Only forward: no trace, no inference metrics
    #[arg(long, conflicts_with = "trace_dir")]
    no_record: bool,
    /// Trace files are called NAME-000001.rt and on
    #[arg(long, value_name = "NAME", default_value = "trace", value_parser = name)]
    name: String,
    /// Where /metrics, /healthz, /readyz and the switches are served: an address or unix:PATH
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    admin: AdminAddr,
    /// A file that holds the token that --admin asks for (needed beyond this machine; else from the systemd credential
    /// reenact-admin-token or the variable REENACT_ADMIN_TOKEN)
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Share of conversations to record, each with all its turns: 5% or 0.05
    #[arg(long, value_name = "RATE", default_value = "100%", value_parser = values::rate)]
    sample: f64,
    /// The request header that says which conversation a request belongs to [default: x-conversation-id and its like, else told by how
    /// prompts begin]
    #[arg(long, value_name = "NAME")]
    session_header: Option<http::HeaderName>,
    /// Take requests whose path begins so for an endpoint's, where a gateway has paths of its own: `/llm/=chat_completions`
    /// (may be given several times; the longest prefix counts)
    #[arg(long, value_name = "PATH-PREFIX=ENDPOINT")]
    dialect: Vec<DialectRule>,
    /// Leave the process every right it was started with, instead of giving up all files but those it needs
    #[arg(long)]
    no_sandbox: bool,
    /// The model's tokenizer.json: prompts and plain answers are then counted by it where the server does not tell, and prompts cut
    /// into blocks of 16 tokens as its engine does (instead of 64 bytes)
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// How the gaps between an answer's tokens are kept: as counts, or one by one in their order, which is a fingerprint of the text
    #[arg(long, value_enum, default_value_t = Gaps::Sketch)]
    gaps: Gaps,
    /// Threads that carry traffic [default: one for each core, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Try everything that a start needs, say what would happen, and end: 0 if it would start, else 1
    #[arg(long)]
    check: bool,
    /// Say it in JSON
    #[arg(long, requires = "check")]
    json: bool,
    // Groups with headings come last: what follows one would stand under its heading.
    #[command(flatten)]
    placement: placement::PlacementArgs,
    #[command(flatten)]
    keeping: keeping::KeepingArgs,
    #[command(flatten)]
    privacy: privacy::PrivacyArgs,
    #[command(flatten)]
    mirror: mirror::MirrorArgs,
    #[command(flatten)]
    limits: limits::LimitArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Gaps {
    /// Counts in buckets, within 1.6 %
    Sketch,
    /// Every one, within 0.8 %
    Full,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Protocol {
    Auto,
    Http1,
    Http2,
}

impl From<Protocol> for UpstreamProtocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Auto => Self::Auto,
            Protocol::Http1 => Self::Http1,
            Protocol::Http2 => Self::Http2,
        }
    }
}

/// Runs it until a signal ends it.
///
/// # Errors
/// When it cannot start.
pub(super) fn run(args: &RecordArgs, log_levels: LogLevels) -> Result<Exit, Failure> {
    in_small_pages();
    let trace = match &args.trace_dir {
        Some(dir) => Some(trace(args, dir)?),
        None => None,
    };
    let kept = trace.as_ref().map(|trace| mirror::Kept {
        policy: &trace.policy,
        sealed: !trace.recipients.is_empty(),
        wall_clock: trace.keeping.wall_clock,
    });
    let mirror = args
        .mirror
        .mirror(args.limits.idle_timeout, kept.as_ref())?;
    let options = Options {
        listen: args.listen.clone(),
        upstreams: args.upstream.clone(),
        upstream_protocol: args.upstream_protocol.into(),
        placement: args.placement.placement()?,
        admin: Some(admin(args, log_levels)?),
        sandbox: !args.no_sandbox,
        trace,
        mirror,
        threads: args.threads.map_or_else(default_threads, usize::from),
        connect_timeout: args.limits.connect_timeout,
        first_byte_timeout: args.limits.first_byte_timeout,
        idle_timeout: args.limits.idle_timeout,
        header_timeout: args.limits.header_timeout,
        body_timeout: args.limits.body_timeout,
        client_idle: args.limits.client_idle,
        max_header_bytes: usize::try_from(args.limits.max_header_size).unwrap_or(usize::MAX),
        pool_idle: args.limits.pool_idle,
        drain_delay: args.limits.drain_delay,
        drain_timeout: args.limits.drain_timeout,
    };
    if args.check {
        return say(&record::check(&options), args.json);
    }
    record::run(&options)
        .map(|_| Exit::Ok)
        .map_err(|error: RecordError| {
            let hint = error.hint();
            // It tells its cause in words of its own, and the system's need not follow.
            Failure::could_not_run(anyhow::anyhow!("{error}")).hint(hint)
        })
}

/// Where and how traces are written.
fn trace(args: &RecordArgs, dir: &Path) -> Result<TraceOptions, Failure> {
    Ok(TraceOptions {
        dir: dir.to_owned(),
        name: args.name.clone(),
        policy: policy(args)?,
        operator_key: args.privacy.operator_key()?,
        recipients: args.privacy.recipients()?,
        sample: args.sample,
        tokenizer: args
            .tokenizer
            .as_deref()
            .map(values::tokenizer)
            .transpose()?,
        every_gap: args.gaps == Gaps::Full,
        session_header: args.session_header.clone(),
        dialects: args.dialect.clone(),
        capture_memory: args.limits.capture_memory,
        max_body: args.limits.max_body,
        rotate_bytes: args.keeping.rotate_size,
        rotate_age: args.keeping.rotate_age,
        keeping: args.keeping.keeping(),
    })
}

fn policy(args: &RecordArgs) -> Result<Policy, Failure> {
    let policy = Policy {
        gaps: match args.gaps {
            Gaps::Sketch => anonymise::Gaps::Sketch,
            Gaps::Full => anonymise::Gaps::Full,
        },
        ..args.privacy.policy()
    };
    if args.gaps == Gaps::Full && policy.lengths != anonymise::Lengths::Exact {
        return Err(Failure::usage(anyhow::anyhow!(
            "--gaps full keeps as many gaps as an answer had tokens, and --quantise-lengths is to hide how many those were"
        ))
        .hint("leave one of them out"));
    }
    if args.keeping.keeping().wall_clock && policy.time_shift_us > 0 {
        return Err(Failure::usage(anyhow::anyhow!(
            "--keep-wall-clock tells when each exchange was, and --time-shift is to hide that"
        ))
        .hint("leave one of them out"));
    }
    Ok(policy)
}

fn say(check: &record::Check, json: bool) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, check).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{check}")?;
    }
    Ok(match check.ok {
        true => Exit::Ok,
        false => Exit::CouldNotRun,
    })
}

fn admin(args: &RecordArgs, log_levels: LogLevels) -> Result<AdminOptions, Failure> {
    let token = admin_token(args).map_err(|error| {
        Failure::usage(error).hint("make one with: openssl rand -hex 32 > admin-token")
    })?;
    if !args.admin.is_local() && token.is_none() {
        return Err(Failure::usage(anyhow::anyhow!(
            "--admin {} can be reached from other machines, and asks for no token",
            args.admin
        ))
        .hint(
            "name a token's file with --admin-token-file, or use a loopback address or unix:PATH",
        ));
    }
    Ok(AdminOptions {
        addr: args.admin.clone(),
        token,
        log_levels: Some(log_levels),
    })
}

/// The file that the operator names, else what systemd or the environment hands over. Never from the command line itself,
/// which every user of the machine can read.
fn admin_token(args: &RecordArgs) -> Result<Option<Token>, TokenError> {
    if let Some(path) = &args.admin_token_file {
        return Token::read(path).map(Some);
    }
    if let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") {
        let path = PathBuf::from(dir).join("reenact-admin-token");
        if path.exists() {
            return Token::read(&path).map(Some);
        }
    }
    match std::env::var("REENACT_ADMIN_TOKEN") {
        Ok(text) => Token::new(&text).map(Some),
        Err(_) => Ok(None),
    }
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4))
}

/// A name that can stand in a file's name.
fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty() && !text.starts_with('.') && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("not a name; use letters, digits, - and _".to_owned())
    }
}
