use std::collections::BTreeMap;

use serde::Serialize;

use super::Admin;

/// `GET /status`: the recorder now, for people and scripts.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    /// `serving`, `leaving` (not ready any more, still taking clients), `draining`.
    phase: &'static str,
    /// `on`, `paused` or `off`.
    recording: &'static str,
    uptime_s: u64,
    in_flight: i64,
    seen: u64,
    recorded: u64,
    unsynced: u64,
    sampled_out: u64,
    dropped: BTreeMap<&'static str, u64>,
    queue_bytes: u64,
    trace_bytes: u64,
    /// The trace file that is written now; null where recording is off or the disk refuses.
    file: Option<String>,
    /// How long the most silent traffic thread has not been round.
    lane_silence_ms: u64,
}

impl Status {
    pub(super) fn of(admin: &Admin) -> Self {
        let summary = admin.accounts.summary();
        let recording = match (&admin.capture, admin.pause.is_on()) {
            (None, _) => "off",
            (Some(_), true) => "paused",
            (Some(_), false) => "on",
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            phase: admin.stop.phase_name(),
            recording,
            uptime_s: admin.started.elapsed().as_secs(),
            in_flight: admin.accounts.in_flight().max(0),
            seen: summary.seen,
            recorded: summary.recorded,
            unsynced: summary.unsynced,
            sampled_out: summary.sampled_out,
            dropped: summary
                .dropped
                .iter()
                .map(|(reason, &count)| (reason.name(), count))
                .collect(),
            queue_bytes: admin
                .capture
                .as_ref()
                .map_or(0, |capture| capture.ledger.held()),
            trace_bytes: admin.accounts.trace_bytes(),
            file: admin.file.get().map(|path| path.display().to_string()),
            lane_silence_ms: u64::try_from(admin.pulses.silence().as_millis()).unwrap_or(u64::MAX),
        }
    }
}
