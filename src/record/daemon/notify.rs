use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender};
use sd_notify::NotifyState;

use crate::record::daemon::pause::Pause;
use crate::record::daemon::pulse::Pulses;
use crate::record::tape::accounts::Accounts;

/// Tells a service manager (systemd's `Type=notify`, or whoever set `NOTIFY_SOCKET`) how the recorder is: ready, stopping,
/// what it has seen, and that its lanes still make progress. On a thread of its own: the manager's socket may block.
pub(in crate::record) struct Notifier(Option<Sender<News>>);

enum News {
    Stopping,
}

/// What the notifier reads.
pub(in crate::record) struct Watched {
    pub(in crate::record) accounts: Arc<Accounts>,
    pub(in crate::record) pulses: Arc<Pulses>,
    pub(in crate::record) pause: Arc<Pause>,
}

/// How long the manager waits for a sign of life, where it does.
pub(in crate::record) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Says that files are read again, on whichever thread does so.
pub(in crate::record) fn reloading() {
    // systemd asks for the moment beside it, so as to tell one reload from the next.
    match NotifyState::monotonic_usec_now() {
        Ok(moment) => tell(&[NotifyState::Reloading, moment]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Says that they have been.
pub(in crate::record) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

impl Notifier {
    /// Says that the recorder is ready, and goes on from there. Does nothing where there is no manager.
    pub(in crate::record) fn start(watched: Watched) -> std::io::Result<Self> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Self(None));
        }
        let (news, inbox) = crossbeam_channel::unbounded();
        let watchdog = watchdog();
        // Half of what the manager allows, as sd_watchdog_enabled(3) asks for.
        let every = watchdog.map_or(STATUS_EVERY, |limit| (limit / 2).min(STATUS_EVERY));
        std::thread::Builder::new()
            .name("reenact-notify".to_owned())
            .spawn(move || {
                let mut voice = Voice {
                    watched,
                    watchdog,
                    phase: "",
                    said: String::new(),
                };
                tell(&[NotifyState::Ready]);
                loop {
                    voice.status();
                    match inbox.recv_timeout(every) {
                        Ok(News::Stopping) => {
                            voice.phase = "draining: ";
                            tell(&[NotifyState::Stopping]);
                        }
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                    voice.ping();
                }
            })?;
        Ok(Self(Some(news)))
    }

    /// The recorder is on its way out.
    pub(in crate::record) fn stopping(&self) {
        if let Some(sender) = &self.0 {
            // The thread is gone only when the process ends.
            let _ = sender.send(News::Stopping);
        }
    }
}

/// The status line is sent at most this often.
const STATUS_EVERY: Duration = Duration::from_secs(2);

struct Voice {
    watched: Watched,
    watchdog: Option<Duration>,
    phase: &'static str,
    said: String,
}

impl Voice {
    /// A sign of life, unless a lane is stuck: the manager then ends the process and starts another.
    fn ping(&self) {
        let Some(limit) = self.watchdog else { return };
        let silence = self.watched.pulses.silence();
        if silence < limit / 2 {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!(
                silence_ms = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX),
                "a lane makes no progress; the watchdog is not told that all is well"
            );
        }
    }

    fn status(&mut self) {
        let summary = self.watched.accounts.summary();
        let recording = if self.watched.pause.is_on() {
            "; recording is paused"
        } else {
            ""
        };
        let status = format!(
            "{}seen {}, recorded {}, sampled out {}, dropped {}; {} in flight{recording}",
            self.phase,
            summary.seen,
            summary.recorded,
            summary.sampled_out,
            summary.dropped_in_all(),
            self.watched.accounts.in_flight().max(0),
        );
        if status != self.said {
            tell(&[NotifyState::Status(&status)]);
            self.said = status;
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(kind = ?error.kind(), "the service manager cannot be told");
    }
}
