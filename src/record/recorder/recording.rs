use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::anonymise::{ConversationKey, Gaps, Gates};
use crate::record::daemon::pause::Pause;
use crate::record::options::{RecordError, TraceOptions};
use crate::record::tape::capture::Capture;
use crate::record::tape::metrics::Metrics;
use crate::record::tape::observe::{self, ObserverHandle, ObserverParts};
use crate::record::tape::write::{ORDERS, Writer, WriterState};

/// Begins the first file, and starts the observer and the writer.
pub(super) fn start_recording(
    trace: &TraceOptions,
    capture: &Arc<Capture>,
    metrics: Metrics,
    pause: &Arc<Pause>,
    state: Arc<WriterState>,
    sampling: ConversationKey,
) -> Result<ObserverHandle, RecordError> {
    let mut run = [0; 8];
    getrandom::fill(&mut run).map_err(std::io::Error::other)?;
    let run = u64::from_le_bytes(run);
    let mut gates = Gates::new(
        trace.policy.clone(),
        trace.operator_key.as_ref(),
        trace.share() < 1.0,
        trace.tokenizer.clone(),
    )
    .map_err(std::io::Error::other)?;
    let gate = gates
        .next(capture.table_bytes)
        .map_err(std::io::Error::other)?;
    let (epoch, now) = (Instant::now(), SystemTime::now());
    let epoch_unix_us = trace.keeping.wall_clock.then_some(now).and_then(unix_us);
    let writer = Writer::open(
        trace,
        run,
        epoch_unix_us,
        Arc::clone(&capture.accounts),
        Arc::clone(&state),
    )?;
    let (orders, receiver) = crossbeam_channel::bounded(ORDERS);
    let file = writer.path().map(std::path::Path::display);
    tracing::info!(
        file = file.map(tracing::field::display),
        sample = trace.share(),
        models_kept = trace.policy.keep_models.len(),
        "recording shapes and times, no content"
    );
    if trace.operator_key.is_some() {
        tracing::warn!(
            "with --key-file, the files of a run can be linked, and so can the samples of recorders that have the same key"
        );
    }
    if trace.policy.gaps == Gaps::Full {
        tracing::warn!(
            "with --gaps full, each gap between tokens is kept in its order, and such a pattern can tell what an answer was about"
        );
    }
    let parts = ObserverParts {
        capture: Arc::clone(capture),
        metrics,
        options: trace.clone(),
        pause: Arc::clone(pause),
        orders,
        writer: state,
        gates,
        gate,
        sampling,
        epoch,
    };
    Ok(observe::start(parts, writer.start(receiver)?)?)
}

fn unix_us(at: SystemTime) -> Option<u64> {
    let since_1970 = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since_1970.as_micros()).ok()
}
