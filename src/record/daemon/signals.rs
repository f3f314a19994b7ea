use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How far the recorder is on its way out; every part holds one.
#[derive(Debug, Clone)]
pub(in crate::record) struct Stop(watch::Receiver<Phase>);

#[derive(Debug, Clone, Copy)]
enum Phase {
    Running,
    /// Not ready any more, and still taking clients: load balancers are to look elsewhere first.
    Leaving,
    /// No new clients; exchanges in flight may finish until then.
    Draining(Instant),
    /// Everything is closed.
    Ended,
}

/// The other end of [`Stop`].
#[derive(Debug)]
pub(in crate::record) struct Stopper(watch::Sender<Phase>);

impl Stopper {
    pub(in crate::record) fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(Phase::Running);
        (Self(sender), Stop(receiver))
    }

    pub(in crate::record) fn leave(&self) {
        self.0.send_replace(Phase::Leaving);
    }

    pub(in crate::record) fn drain(&self, within: Duration) {
        let deadline = crate::record::alarm::later(Instant::now(), within);
        self.0.send_replace(Phase::Draining(deadline));
    }

    pub(in crate::record) fn end(&self) {
        self.0.send_replace(Phase::Ended);
    }
}

impl Stop {
    pub(in crate::record) fn is_ready(&self) -> bool {
        matches!(*self.0.borrow(), Phase::Running)
    }

    /// For people and their scripts.
    pub(in crate::record) fn phase_name(&self) -> &'static str {
        match *self.0.borrow() {
            Phase::Running => "serving",
            Phase::Leaving => "leaving",
            Phase::Draining(_) => "draining",
            Phase::Ended => "ended",
        }
    }

    /// Waits for the drain's beginning.
    pub(in crate::record) async fn draining(mut self) {
        // An error means that the recorder is gone, which is as good as an end.
        let _ = self
            .0
            .wait_for(|phase| !matches!(phase, Phase::Running | Phase::Leaving))
            .await;
    }

    /// Waits for the drain's deadline.
    pub(in crate::record) async fn deadline(mut self) {
        let deadline = match self
            .0
            .wait_for(|phase| !matches!(phase, Phase::Running | Phase::Leaving))
            .await
        {
            Ok(phase) => match *phase {
                Phase::Draining(deadline) => deadline,
                Phase::Running | Phase::Leaving | Phase::Ended => return,
            },
            Err(_) => return,
        };
        tokio::time::sleep_until(tokio::time::Instant::from_std(deadline)).await;
    }

    /// Waits for the end.
    pub(in crate::record) async fn ended(mut self) {
        let _ = self.0.wait_for(|phase| matches!(phase, Phase::Ended)).await;
    }
}

/// Watches for SIGTERM and SIGINT from now on: the first is sent to the channel, the second ends the process.
pub(in crate::record) fn watch_signals() -> std::io::Result<crossbeam_channel::Receiver<()>> {
    let (first, receiver) = crossbeam_channel::bounded(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut terminate, mut interrupt) = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        )
    };
    std::thread::Builder::new()
        .name("reenact-signals".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                let mut next = async || {
                    tokio::select! {
                        _ = terminate.recv() => {}
                        _ = interrupt.recv() => {}
                    }
                };
                next().await;
                // The receiver waits for it, or is gone and the process with it.
                let _ = first.send(());
                next().await;
                tracing::warn!("second signal: leaving at once");
                std::process::exit(1);
            });
        })?;
    Ok(receiver)
}
