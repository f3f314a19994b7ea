use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::accounts::{Accounts, Summary};
use super::capture::Capture;
use super::connections::Connections;
use super::door::Door;
use super::lane::{LaneParts, Limits};
use super::listen::Listener;
use super::metrics::Metrics;
use super::observe::{ObserverHandle, ObserverParts};
use super::options::{Options, RecordError, TraceOptions};
use super::place::{Place, Taken};
use super::signals::{Stop, Stopper, watch_signals};
use super::write::{ORDERS, Writer, WriterState};
use super::{admin, lane, listen, observe, open_files, tls};
use crate::anonymise::{Anonymiser, Policy};

/// A running recorder.
pub struct Recorder {
    listening: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    accounts: Arc<Accounts>,
    stopper: Stopper,
    drain_timeout: Duration,
    /// In the order in which they end.
    traffic: Vec<JoinHandle<()>>,
    observer: Option<ObserverHandle>,
    ending: Vec<JoinHandle<()>>,
}

/// Records until SIGTERM or SIGINT, then drains. A second signal ends the process at once.
///
/// # Errors
/// When it cannot start.
pub fn run(options: &Options) -> Result<Summary, RecordError> {
    open_files::raise();
    let first_signal = watch_signals()?;
    let recorder = Recorder::start(options)?;
    // An error means that the signal thread is gone, and nobody could end us otherwise.
    let _ = first_signal.recv();
    tracing::info!("draining: no new clients, exchanges in flight may finish");
    Ok(recorder.drain())
}

impl Recorder {
    /// Starts a recorder in this process.
    ///
    /// # Errors
    /// When an address, the trace directory or a certificate file is of no use.
    pub fn start(options: &Options) -> Result<Self, RecordError> {
        let place = Place::of(options)?.take()?;
        let listening = place.addresses();
        let connections = Connections::new(most_clients(options));
        let admin_listener = options.admin.map(listen::bind).transpose()?;

        let accounts = Arc::new(Accounts::default());
        let capture = options.trace.as_ref().map(|trace| {
            Arc::new(Capture::new(
                trace.capture_memory,
                trace.max_body,
                Arc::clone(&accounts),
            ))
        });
        let policy = options
            .trace
            .as_ref()
            .map_or_else(Policy::default, |trace| trace.policy.clone());
        let (metrics, registry) = Metrics::new(
            policy,
            Arc::clone(&accounts),
            Arc::clone(&connections),
            capture.clone(),
        )
        .map_err(std::io::Error::other)?;
        let (stopper, stop) = Stopper::new();
        let mut ending = Vec::new();
        let observer = match (&options.trace, &capture) {
            (Some(trace), Some(capture)) => {
                let (observer, writer) = start_recording(trace, capture, metrics)?;
                ending.push(writer);
                Some(observer)
            }
            _ => None,
        };
        ending.push(tls::watch(
            place.reloading.clone(),
            Arc::clone(&connections),
            stop.clone(),
        )?);
        let parts = LaneParts {
            capture,
            accounts: Arc::clone(&accounts),
            connections,
            limits: Limits {
                first_byte: options.first_byte_timeout,
                idle: options.idle_timeout,
                pool_idle: options.pool_idle,
                handshake: options.placement.handshake_timeout,
            },
            stop: stop.clone(),
        };
        say_what_is_on(options, &place);
        let traffic = start_traffic(place.listeners, options.threads, &parts, stop.clone())?;
        let admin = match admin_listener {
            Some(listener) => {
                let (address, thread) = admin::start(listener, registry, stop)?;
                ending.push(thread);
                Some(address)
            }
            None => None,
        };
        if let Some(admin) = admin {
            tracing::info!("admin on http://{admin}");
        }
        Ok(Self {
            listening,
            admin,
            accounts,
            stopper,
            drain_timeout: options.drain_timeout,
            traffic,
            observer,
            ending,
        })
    }

    /// The addresses where clients connect; unix sockets have none.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// Where metrics are served.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The accounts now.
    pub fn summary(&self) -> Summary {
        self.accounts.summary()
    }

    /// Stops accepting, lets exchanges in flight finish (up to the drain timeout), closes the trace.
    pub fn drain(mut self) -> Summary {
        self.stopper.drain(self.drain_timeout);
        join_all(std::mem::take(&mut self.traffic));
        if let Some(observer) = self.observer.take() {
            observer.finish();
        }
        self.stopper.end();
        join_all(std::mem::take(&mut self.ending));
        let summary = self.accounts.summary();
        let dropped: Vec<_> = summary
            .dropped
            .iter()
            .filter(|&(_, &count)| count > 0)
            .map(|(reason, count)| format!("{}={count}", reason.name()))
            .collect();
        tracing::info!(
            seen = summary.seen,
            recorded = summary.recorded,
            sampled_out = summary.sampled_out,
            dropped = summary.dropped_in_all(),
            reasons = dropped.join(" "),
            trace_bytes = self.accounts.trace_bytes(),
            "drained"
        );
        if summary.unaccounted() > 0 {
            tracing::error!(
                exchanges = summary.unaccounted(),
                "exchanges are unaccounted for: this is a bug"
            );
        }
        summary
    }
}

/// As many as were asked for, and as there is room for.
fn most_clients(options: &Options) -> usize {
    let asked = options.placement.max_connections;
    let room = open_files::clients(options.threads.max(1));
    if room < asked {
        tracing::warn!(
            max_connections = asked,
            room,
            "the limit on open files (ulimit -n, LimitNOFILE=) has room for fewer clients"
        );
    }
    asked.min(room)
}

fn start_recording(
    trace: &TraceOptions,
    capture: &Arc<Capture>,
    metrics: Metrics,
) -> Result<(ObserverHandle, JoinHandle<()>), RecordError> {
    let mut run = [0; 8];
    getrandom::fill(&mut run).map_err(std::io::Error::other)?;
    let run = u64::from_le_bytes(run);
    let gate = Anonymiser::new(trace.policy.clone()).map_err(std::io::Error::other)?;
    let state = Arc::new(WriterState::default());
    let writer = Writer::open(
        trace,
        run,
        Arc::clone(&capture.accounts),
        Arc::clone(&state),
    )?;
    let (orders, receiver) = crossbeam_channel::bounded(ORDERS);
    let file = writer.path().map(std::path::Path::display);
    tracing::info!(
        file = file.map(tracing::field::display),
        sample = trace.sample,
        models_kept = trace.policy.keep_models.len(),
        "recording shapes and times, no content"
    );
    let writer = writer.start(receiver)?;
    let observer = observe::start(ObserverParts {
        capture: Arc::clone(capture),
        metrics,
        options: trace.clone(),
        orders,
        writer: state,
        gate,
        epoch: Instant::now(),
    })?;
    Ok((observer, writer))
}

fn start_traffic(
    listeners: Vec<(Listener, Arc<Door>)>,
    threads: usize,
    parts: &LaneParts,
    stop: Stop,
) -> Result<Vec<JoinHandle<()>>, RecordError> {
    let mut lanes = Vec::new();
    let mut traffic = Vec::new();
    for number in 0..threads.max(1) {
        let (lane, thread) = lane::start(number, parts.clone())?;
        lanes.push(lane);
        traffic.push(thread);
    }
    let connections = Arc::clone(&parts.connections);
    traffic.insert(0, listen::start(listeners, lanes, connections, stop)?);
    Ok(traffic)
}

fn say_what_is_on(options: &Options, place: &Taken) {
    if options.trace.is_none() {
        tracing::info!("recording is off: this is a proxy only");
    }
    for line in place.lines() {
        tracing::info!(
            upstream = line.upstream,
            threads = options.threads.max(1),
            "listening on {}",
            line.listener
        );
    }
}

fn join_all(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread ended in a panic");
        }
    }
}
