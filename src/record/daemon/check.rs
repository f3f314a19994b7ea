//! `record --check`: tries everything that a start needs and takes nothing, so that a mistake shows before the traffic does.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use rustix::fs::Access;
use serde::Serialize;

use crate::anonymise::{Keys, Statement};
use crate::directory;
use crate::net::open_files;
use crate::record::daemon::admin::{AdminAddr, AdminOptions};
use crate::record::front::arrival::Arrival;
use crate::record::front::client_io::Protocol;
use crate::record::front::listen::{self, Inherited, Listen, ListenPlace};
use crate::record::front::place::Place;
use crate::record::mirror::MirrorOut;
use crate::record::options::{Options, RecordError, StoreOptions, TraceOptions};
use crate::trace::Store;

/// What a recorder with these options would do, and what keeps it from it.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Whether it would start.
    pub ok: bool,
    /// One for each thing looked at, in the order in which traffic meets them.
    pub findings: Vec<Finding>,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// The option it is about.
    pub about: &'static str,
    /// How it stands.
    pub level: Level,
    /// What would happen, or why it would not.
    pub says: String,
    /// The mend, where one is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// In order.
    Ok,
    /// The recorder would start, and something would not work yet.
    Warning,
    /// The recorder would not start.
    Error,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Error => "error",
            };
            writeln!(f, "{level:<8} {:<12} {}", finding.about, finding.says)?;
            if let Some(hint) = &finding.hint {
                writeln!(f, "{:<8} {:<12} {hint}", "", "hint:")?;
            }
        }
        Ok(())
    }
}

/// Looks at everything. Addresses are bound and let go, the upstream is connected to and left, a file is made in the trace
/// directory and removed.
pub fn check(options: &Options) -> Check {
    let mut findings = Vec::new();
    findings.extend(
        options
            .listen
            .iter()
            .map(|listen| listener(listen, options)),
    );
    match Place::of(options) {
        Ok(place) => findings.extend(upstreams(options, &place)),
        Err(error) => findings.push(Finding::of("placement", Err(error))),
    }
    if let Some(trace) = &options.trace {
        findings.push(trace_dir(trace));
        findings.extend(kept(trace));
        findings.extend(trace.keeping.store.as_ref().map(store));
    } else {
        findings.push(Finding::ok("keep", "nothing: it only forwards"));
    }
    let out = options.mirror.as_ref().and_then(|it| it.out.as_ref());
    findings.extend(out.map(mirror_out));
    if let Some(options) = &options.admin {
        findings.push(admin(options));
    }
    findings.push(Finding::ok("limits", limits(options)));
    findings.extend(descriptors());
    Check {
        ok: findings.iter().all(|finding| finding.level != Level::Error),
        findings,
    }
}

impl Finding {
    fn ok(about: &'static str, says: impl Into<String>) -> Self {
        Self {
            about,
            level: Level::Ok,
            says: says.into(),
            hint: None,
        }
    }

    fn warning(about: &'static str, says: impl Into<String>, hint: &str) -> Self {
        Self {
            about,
            level: Level::Warning,
            says: says.into(),
            hint: Some(hint.to_owned()),
        }
    }

    fn of(about: &'static str, result: Result<String, RecordError>) -> Self {
        match result {
            Ok(says) => Self::ok(about, says),
            Err(error) => Self {
                about,
                level: Level::Error,
                says: error.to_string(),
                hint: Some(error.hint().to_owned()),
            },
        }
    }
}

fn listener(listen: &Listen, options: &Options) -> Finding {
    let place = &listen.place;
    let scheme = match listen.tls.unwrap_or(options.placement.listen_tls.is_some()) {
        true => "https",
        false => "http",
    };
    let opened = match place {
        // Handed over at the start, and only then.
        ListenPlace::Inherited(_) => Ok(()),
        _ => listen::open(place, options.placement.socket_mode, &mut Inherited::none()).map(drop),
    };
    Finding::of(
        "listen",
        opened.map(|()| format!("clients connect to {place}, over {scheme}")),
    )
}

/// An upstream that is not there yet is no mistake: servers load their weights for minutes.
fn upstreams(options: &Options, place: &Place<'_>) -> Vec<Finding> {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return vec![Finding::of("upstream", Err(error.into()))],
    };
    let mut findings = Vec::new();
    if options.placement.transparent.is_some() {
        findings.push(Finding::ok(
            "upstream",
            "requests go where each redirected client wanted to go",
        ));
    }
    for (upstream, named) in place.upstreams().iter().zip(&options.upstreams) {
        let url = &named.url;
        let finding = match runtime
            .block_on(upstream.connect(&Arrival::default(), upstream.wanted(Protocol::Http1)))
        {
            Ok(_) => Finding::ok(
                "upstream",
                format!("requests go to {url}, which takes connections"),
            ),
            Err(refusal) => Finding::warning(
                "upstream",
                format!("requests go to {url}, and {}", refusal.reason()),
                "until it does, clients get a 502 or 504 with x-reenact-error",
            ),
        };
        findings.push(finding);
    }
    findings
}

fn trace_dir(trace: &TraceOptions) -> Finding {
    let dir = &trace.dir;
    let says = |made: &str| format!("files go to {}{made}", dir.join(&trace.name).display());
    let ending = match trace.recipients.is_empty() {
        true => "-000001.rt and on",
        false => "-000001.rt.age and on",
    };
    Finding::of(
        "trace-dir",
        may_write(dir)
            .map(|there| says(&format!("{ending}{there}")))
            .map_err(|source| RecordError::TraceDir {
                dir: dir.clone(),
                source,
            }),
    )
}

fn mirror_out(out: &MirrorOut) -> Finding {
    let dir = &out.dir;
    let says = |there| {
        let dir = dir.join("mirror-000001");
        format!("the mirror's results go to {} and on{there}", dir.display())
    };
    Finding::of(
        "mirror-out",
        may_write(dir)
            .map(says)
            .map_err(|source| RecordError::MirrorOut {
                dir: dir.clone(),
                source: source.into(),
            }),
    )
}

/// That a directory can be written to, and whether it has yet to be made.
fn may_write(dir: &Path) -> io::Result<&'static str> {
    match std::fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => try_a_file(dir).map(|()| ""),
        Ok(_) => Err(directory::is_none()),
        Err(_) => can_be_made(dir).map(|()| "; the directory will be made"),
    }
}

fn try_a_file(dir: &Path) -> io::Result<()> {
    let path = dir.join(format!(".reenact-check-{}", std::process::id()));
    std::fs::File::create_new(&path)?;
    std::fs::remove_file(path)
}

/// The nearest directory that is there must let us make the rest.
fn can_be_made(dir: &Path) -> io::Result<()> {
    let there = dir
        .ancestors()
        .map(|up| match up.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => up.to_owned(),
        })
        .find(|up| up.exists())
        .ok_or(io::ErrorKind::NotFound)?;
    if !there.is_dir() {
        return Err(directory::is_none());
    }
    rustix::fs::access(&there, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
}

fn kept(trace: &TraceOptions) -> Vec<Finding> {
    let share = trace.share() * 100.0;
    let mut findings = vec![Finding::ok(
        "keep",
        format!("shapes and times of {share}% of conversations, no content"),
    )];
    let policy = trace.told_policy();
    findings.extend(policy.statements().into_iter().map(|statement| {
        let Statement {
            what,
            treatment,
            how,
        } = statement;
        Finding::ok("policy", format!("{what}: {treatment}: {how}"))
    }));
    let at_rest = match trace.recipients.as_slice() {
        [] => "not encrypted, readable by this user only (mode 0600)".to_owned(),
        recipients => {
            let recipients: Vec<_> = recipients.iter().map(ToString::to_string).collect();
            format!("sealed to {}", recipients.join(", "))
        }
    };
    findings.push(Finding::ok("at rest", at_rest));
    if policy.keys == Keys::Operator {
        findings.push(Finding::warning(
            "key-file",
            "the files of a run can be linked, and so can the samples of recorders that have the same key",
            "leave --key-file out unless you must link files",
        ));
    }
    findings
}

/// A store that is away is no reason not to start: files wait for it.
fn store(store: &StoreOptions) -> Finding {
    let url = &store.url;
    let stay = match store.keep_local {
        true => "and stay here, too",
        false => "and are removed here",
    };
    let says = format!("closed files are carried to {url} {stay}");
    let connected = Store::connect(url).map_err(|source| RecordError::Store {
        url: url.clone(),
        source,
    });
    // Whether it answers at all is asked for something that nobody has.
    match connected.map(|store| store.facts(url.join(".reenact-check").key())) {
        Err(error) => Finding::of("trace-store", Err(error)),
        Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => Finding::warning(
            "trace-store",
            format!("{says}, and the store says: {error}"),
            "until it takes them, files wait in the trace directory",
        ),
        Ok(_) => Finding::ok("trace-store", says),
    }
}

fn admin(options: &AdminOptions) -> Finding {
    let guard = match (&options.token, &options.addr) {
        (Some(_), _) => "with the token",
        (None, AdminAddr::Unix(_)) => "for this user and group",
        (None, AdminAddr::Tcp(_)) => "for everybody on this machine",
    };
    let bound = options.addr.listen().map(drop);
    Finding::of(
        "admin",
        bound.map(|()| format!("metrics, health and switches on {}, {guard}", options.addr)),
    )
}

fn limits(options: &Options) -> String {
    let mut limits = vec![
        format!("{} traffic threads", options.threads.max(1)),
        format!("connecting {:?}", options.connect_timeout),
        format!("first byte {:?}", options.first_byte_timeout),
        format!("silence {:?}", options.idle_timeout),
        match options.drain_delay {
            Duration::ZERO => format!(
                "at SIGTERM {:?} for exchanges in flight",
                options.drain_timeout
            ),
            delay => format!(
                "at SIGTERM {delay:?} for load balancers, then {:?} for exchanges in flight",
                options.drain_timeout
            ),
        },
    ];
    if let Some(trace) = &options.trace {
        let size = |bytes| ByteSize::b(bytes).display().iec().to_string();
        limits.push(format!(
            "recording memory {}, bodies read up to {}, files up to {} or {:?}",
            size(trace.capture_memory),
            size(trace.max_body),
            size(trace.rotate_bytes),
            trace.rotate_age
        ));
    }
    limits.join(", ")
}

/// An exchange holds two descriptors, its client's and its upstream's. A start raises the limit as far as it goes; it is that
/// limit which counts.
fn descriptors() -> Option<Finding> {
    let files = open_files::raise()?;
    (files < FEW_FILES).then(|| {
        Finding::warning(
            "limits",
            format!(
                "{files} open files are allowed, enough for about {} exchanges at once",
                files / 2
            ),
            "raise it: ulimit -n 65536, or LimitNOFILE= in the unit",
        )
    })
}

const FEW_FILES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_missing_is_looked_for_upwards() {
        let dir = tempfile::tempdir().unwrap();
        assert!(can_be_made(&dir.path().join("a/b/c")).is_ok());
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(can_be_made(&file.join("below")).is_err());
        assert!(can_be_made(Path::new("relative/traces")).is_ok());
        assert!(!dir.path().join("a").exists(), "a check makes nothing");
    }

    #[test]
    fn trying_a_directory_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        try_a_file(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
