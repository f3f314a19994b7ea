//! How far a replay is: a live bar on a terminal, a plain line now and then elsewhere. On standard error.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::campaign::Ticket;
use crate::replay::Progress;

/// Shows a run's progress until it is dropped.
pub(super) struct Bar {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bar {
    /// Shows `progress` of a run.
    pub(super) fn start(ticket: &Ticket, progress: Progress) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (ticket, ended) = (ticket.clone(), Arc::clone(&over));
        let thread = std::thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || {
                if std::io::stderr().is_terminal() {
                    bar(&ticket, &progress, &ended);
                } else {
                    lines(&ticket, &progress, &ended);
                }
            });
        // A run without a display is still a run.
        Self {
            over,
            thread: thread.ok(),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn bar(ticket: &Ticket, progress: &Progress, over: &AtomicBool) {
    let planned = ticket.planned;
    let bar = ProgressBar::with_draw_target(Some(planned), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{prefix:.bold} {bar:28} {pos}/{len}  {elapsed}{msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(ticket.to_string());
    while !over.load(Ordering::Relaxed) {
        bar.set_position(progress.done());
        let left = ticket.span.saturating_sub(bar.elapsed());
        let failed = if progress.failed() > 0 {
            format!(", {} failed", progress.failed())
        } else {
            String::new()
        };
        let sending = if progress.sent() < planned {
            format!(", last send in {:.0?}", seconds(left))
        } else {
            String::new()
        };
        bar.set_message(format!(
            "  {} in flight{failed}{sending}",
            progress.in_flight()
        ));
        std::thread::park_timeout(Duration::from_millis(100));
    }
    bar.finish_and_clear();
}

fn lines(ticket: &Ticket, progress: &Progress, over: &AtomicBool) {
    let planned = ticket.planned;
    let began = Instant::now();
    let mut told = began;
    while !over.load(Ordering::Relaxed) {
        if told.elapsed() >= EVERY {
            told = Instant::now();
            say(&format!(
                "{ticket}: {:.0} s, {} of {planned} sent, {} in flight, {} answered, {} failed",
                began.elapsed().as_secs_f64(),
                progress.sent(),
                progress.in_flight(),
                progress.ok(),
                progress.failed()
            ));
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

/// A line on standard error.
#[allow(
    clippy::print_stderr,
    reason = "progress and notes stand beside machine-clean output"
)]
pub(in crate::cli) fn say(line: &str) {
    anstream::eprintln!("{line}");
}

fn seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

const EVERY: Duration = Duration::from_secs(10);
