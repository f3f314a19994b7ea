//! How far a trace or a file has been read: a bar on a terminal, nothing elsewhere. On standard error.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows progress until it is dropped.
pub(super) struct Bar {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What is counted.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Bytes,
    Exchanges,
}

impl Bar {
    /// Shows how much of `total` is done, or how much at all where that is not known.
    pub(super) fn show(
        done: impl Fn() -> u64 + Send + 'static,
        total: Option<u64>,
        unit: Unit,
    ) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = std::io::stderr().is_terminal().then(|| {
            std::thread::Builder::new()
                .name("progress".to_owned())
                .spawn(move || draw(&done, total, unit, &ended))
        });
        // Work without a bar is still work.
        Self {
            over,
            thread: thread.and_then(Result::ok),
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

fn draw(done: &impl Fn() -> u64, total: Option<u64>, unit: Unit, over: &AtomicBool) {
    let template = match (total, unit) {
        (Some(_), Unit::Bytes) => "{bar:28} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}",
        (None, Unit::Bytes) => "{spinner} {bytes}  {bytes_per_sec}",
        (None, Unit::Exchanges) => "{spinner} {pos}  {per_sec}",
        (Some(_), Unit::Exchanges) => "{bar:28} {pos}/{len}  {per_sec}  {eta}",
    };
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::no_length(),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    while !over.load(Ordering::Relaxed) {
        bar.set_position(done());
        std::thread::park_timeout(Duration::from_millis(100));
    }
    bar.finish_and_clear();
}
