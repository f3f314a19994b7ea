mod recording;
mod room;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;

use self::recording::start_recording;
use self::room::most_clients;
use crate::anonymise::{ConversationKey, Policy};
use crate::net::open_files;
use crate::record::daemon::admin;
use crate::record::daemon::admin::{Admin, AdminAddr};
use crate::record::daemon::notify::{Notifier, Watched, watchdog};
use crate::record::daemon::pages;
use crate::record::daemon::pause::Pause;
use crate::record::daemon::pulse::Pulses;
use crate::record::daemon::sandbox;
use crate::record::daemon::signals::{Stopper, watch_signals};
use crate::record::front::connections::Connections;
use crate::record::front::door::Door;
use crate::record::front::listen;
use crate::record::front::listen::Listener;
use crate::record::front::place::{Place, Taken};
use crate::record::front::tls;
use crate::record::lane;
use crate::record::lane::{LaneParts, Limits};
use crate::record::mirror;
use crate::record::mirror::MirrorHandle;
use crate::record::options::{Options, RecordError};
use crate::record::tape::accounts::{Accounts, Summary};
use crate::record::tape::capture::Capture;
use crate::record::tape::metrics::Metrics;
use crate::record::tape::observe::ObserverHandle;
use crate::record::tape::session_headers::SessionHeaders;
use crate::record::tape::uploads::{CountedUploads, Uploads};
use crate::record::tape::write::WriterState;

/// A running recorder.
pub struct Recorder {
    listening: Vec<SocketAddr>,
    admin: Option<AdminAddr>,
    accounts: Arc<Accounts>,
    pause: Arc<Pause>,
    pulses: Arc<Pulses>,
    stopper: Stopper,
    drain_delay: Duration,
    drain_timeout: Duration,
    /// In the order in which they end.
    traffic: Vec<JoinHandle<()>>,
    observer: Option<ObserverHandle>,
    uploads: Option<Uploads>,
    mirror: Option<MirrorHandle>,
    ending: Vec<JoinHandle<()>>,
}

/// Records until SIGTERM or SIGINT, then drains. A second signal ends the process at once.
///
/// # Errors
/// When it cannot start.
pub fn run(options: &Options) -> Result<Summary, RecordError> {
    pages::small();
    open_files::raise();
    if options.sandbox {
        sandbox::enter(options);
    }
    let first_signal = watch_signals()?;
    let recorder = Recorder::start(options)?;
    let notifier = Notifier::start(recorder.watched())?;
    // An error means that the signal thread is gone, and nobody could end us otherwise.
    let _ = first_signal.recv();
    notifier.stopping();
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
        let admin_listener = options
            .admin
            .as_ref()
            .map(|admin| admin.addr.listen())
            .transpose()?;

        let accounts = Arc::new(Accounts::default());
        let operator_key = options
            .trace
            .as_ref()
            .and_then(|trace| trace.operator_key.as_ref());
        let sampling = ConversationKey::of(operator_key).map_err(std::io::Error::other)?;
        let capture = options.trace.as_ref().map(|trace| {
            let mut capture =
                Capture::new(trace.capture_memory, trace.max_body, Arc::clone(&accounts));
            capture.dialects.clone_from(&trace.dialects);
            let headers = SessionHeaders::new(trace.session_header.clone(), sampling.clone());
            capture.session_headers = Some(headers);
            capture
        });
        let policy = options
            .trace
            .as_ref()
            .map_or_else(Policy::default, |trace| trace.policy.of_labels());
        let mut registry = Registry::default();
        let mirror = match (&options.mirror, &capture) {
            (Some(mirror), Some(_)) => Some(mirror::start(
                mirror,
                &options.placement.upstream_tls,
                options.connect_timeout,
                &mut registry,
            )?),
            _ => None,
        };
        let capture = capture.map(|mut capture| {
            capture.mirror = mirror.as_ref().map(MirrorHandle::mirror);
            Arc::new(capture)
        });
        let metrics = Metrics::new(
            policy,
            Arc::clone(&accounts),
            Arc::clone(&connections),
            capture.clone(),
            &mut registry,
        )
        .map_err(std::io::Error::other)?;
        let (stopper, stop) = Stopper::new();
        let pause = Arc::new(Pause::default());
        let state = Arc::new(WriterState::default());
        let file = state.file.clone();
        let mut ending = Vec::new();
        // Before the first file is begun: a store that makes no sense leaves nothing behind.
        let uploads = options.trace.as_ref().and_then(|trace| {
            let store = trace.keeping.store.as_ref()?;
            Some(Uploads::start(trace, store, file.clone()))
        });
        let uploads = uploads.transpose()?;
        if let Some(uploads) = &uploads {
            registry.register_collector(Box::new(CountedUploads(uploads.counts())));
        }
        let observer = match (&options.trace, &capture) {
            (Some(trace), Some(capture)) => Some(start_recording(
                trace, capture, metrics, &pause, state, sampling,
            )?),
            _ => None,
        };
        ending.push(tls::watch(
            place.reloading.clone(),
            Arc::clone(&connections),
            stop.clone(),
        )?);
        let mut pulses = Pulses::new(watchdog());
        let parts = LaneParts {
            capture: capture.clone(),
            accounts: Arc::clone(&accounts),
            connections,
            limits: Limits {
                first_byte: options.first_byte_timeout,
                idle: options.idle_timeout,
                pool_idle: options.pool_idle,
                header: options.header_timeout,
                body: options.body_timeout,
                client_idle: options.client_idle,
                max_head: options.max_header_bytes,
                handshake: options.placement.handshake_timeout,
            },
            stop: stop.clone(),
            pulse: pulses.add(),
        };
        say_what_is_on(options, &place);
        let traffic = start_traffic(place.listeners, options.threads, parts, &mut pulses)?;
        let pulses = Arc::new(pulses);
        let admin = match (admin_listener, &options.admin) {
            (Some(listener), Some(options)) => {
                let address = options.addr.of(&listener);
                ending.push(admin::start(
                    listener,
                    Admin {
                        registry,
                        accounts: Arc::clone(&accounts),
                        capture,
                        pause: Arc::clone(&pause),
                        pulses: Arc::clone(&pulses),
                        file,
                        started: Instant::now(),
                        stop,
                        token: options.token.clone(),
                        log_levels: options.log_levels.clone(),
                    },
                )?);
                Some(address)
            }
            _ => None,
        };
        match &admin {
            Some(AdminAddr::Tcp(addr)) => tracing::info!("admin on http://{addr}"),
            Some(unix) => tracing::info!("admin on {unix}"),
            None => {}
        }
        Ok(Self {
            listening,
            admin,
            accounts,
            pause,
            pulses,
            stopper,
            drain_delay: options.drain_delay,
            drain_timeout: options.drain_timeout,
            traffic,
            observer,
            uploads,
            mirror,
            ending,
        })
    }

    /// The addresses where clients connect; unix sockets have none.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// Where metrics are served.
    pub fn admin(&self) -> Option<&AdminAddr> {
        self.admin.as_ref()
    }

    /// The accounts now.
    pub fn summary(&self) -> Summary {
        self.accounts.summary()
    }

    /// What a service manager is told about.
    fn watched(&self) -> Watched {
        Watched {
            accounts: Arc::clone(&self.accounts),
            pulses: Arc::clone(&self.pulses),
            pause: Arc::clone(&self.pause),
        }
    }

    /// Says that it is not ready any more, waits for the drain delay, stops accepting, lets exchanges in flight finish (up to the drain timeout), closes the trace.
    pub fn drain(mut self) -> Summary {
        self.stopper.leave();
        if !self.drain_delay.is_zero() {
            tracing::info!(
                delay_s = self.drain_delay.as_secs_f64(),
                "leaving: not ready any more, new clients are still taken"
            );
            std::thread::sleep(self.drain_delay);
        }
        self.stopper.drain(self.drain_timeout);
        tracing::info!("draining: no new clients, exchanges in flight may finish");
        join_all(std::mem::take(&mut self.traffic));
        if let Some(observer) = self.observer.take() {
            observer.finish();
        }
        if let Some(uploads) = self.uploads.take() {
            uploads.finish();
        }
        // The trace comes first where there is little time.
        if let Some(mirror) = self.mirror.take() {
            mirror.finish();
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
            unsynced = summary.unsynced,
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

fn start_traffic(
    listeners: Vec<(Listener, Arc<Door>)>,
    threads: usize,
    mut parts: LaneParts,
    pulses: &mut Pulses,
) -> Result<Vec<JoinHandle<()>>, RecordError> {
    let mut lanes = Vec::new();
    let mut traffic = Vec::new();
    let stop = parts.stop.clone();
    for number in 0..threads.max(1) {
        if number > 0 {
            parts.pulse = pulses.add();
        }
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
