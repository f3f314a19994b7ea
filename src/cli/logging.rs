//! Logs go to standard error: a line for each event worth waking for, never content.

use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::record::LogLevels;

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sets up logging for the process. `RUST_LOG` overrides `level`.
///
/// Only this crate's own events pass, whatever `RUST_LOG` says: what a dependency logs could quote a header or a body.
/// What comes back changes the levels of the running process.
pub(super) fn start(level: LevelFilter, format: LogFormat) -> LogLevels {
    let levels = EnvFilter::builder()
        .with_default_directive(level.into())
        .from_env_lossy();
    let (levels, handle) = reload::Layer::new(levels);
    let ours = filter_fn(|metadata| metadata.target().starts_with("reenact"));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    let lines = match format {
        LogFormat::Text => {
            let colours =
                anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
            lines.with_ansi(colours).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // A second call in one process (tests) keeps the first subscriber.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(levels).with_filter(ours))
        .try_init();
    LogLevels::new(handle)
}
