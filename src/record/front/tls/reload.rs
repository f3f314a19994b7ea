use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::record::RecordError;
use crate::record::daemon::notify;
use crate::record::daemon::signals::Stop;
use crate::record::front::connections::Connections;

/// Something made of files, that can be made anew while it is used: who took the old one keeps it.
pub(in crate::record) struct Reloading<C> {
    what: &'static str,
    files: Vec<PathBuf>,
    load: Box<dyn Fn() -> Result<C, RecordError> + Send + Sync>,
    /// Taken once for each new connection, for as long as a pointer is copied.
    current: RwLock<Arc<C>>,
}

impl<C> Reloading<C> {
    /// Makes it for the first time.
    pub(in crate::record) fn new(
        what: &'static str,
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<C, RecordError> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, RecordError> {
        let current = RwLock::new(Arc::new(load()?));
        Ok(Arc::new(Self {
            what,
            files,
            load: Box::new(load),
            current,
        }))
    }

    /// As it is now.
    pub(in crate::record) fn current(&self) -> Arc<C> {
        // A pointer is whole whenever it can be seen.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }
}

/// What the watcher needs of it.
pub(in crate::record) trait Reload: Send + Sync {
    /// For the log.
    fn what(&self) -> &'static str;
    /// The files it is made of.
    fn files(&self) -> &[PathBuf];
    /// Makes it anew; the old one stays where that fails.
    fn reload(&self) -> Result<(), RecordError>;
}

impl<C: Send + Sync> Reload for Reloading<C> {
    fn what(&self) -> &'static str {
        self.what
    }

    fn files(&self) -> &[PathBuf] {
        &self.files
    }

    fn reload(&self) -> Result<(), RecordError> {
        let fresh = Arc::new((self.load)()?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

/// Reads files again when they change, or at SIGHUP, on a thread of its own until the recorder's end.
///
/// The files' metadata is looked at each second, through symbolic links: that is cheap, and sees the swap of a directory's link
/// (Kubernetes secrets) as well as a file that is renamed over the old one (certbot, cert-manager), where watches on inodes do not.
pub(in crate::record) fn watch(
    watched: Vec<Arc<dyn Reload>>,
    connections: Arc<Connections>,
    stop: Stop,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut hangups = {
        let _entered = runtime.enter();
        signal(SignalKind::hangup())?
    };
    let mut watched: Vec<_> = watched
        .into_iter()
        .map(|each| Watched {
            stamps: stamps(each.files()),
            each,
        })
        .collect();
    let mut look = async move || {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = tick.tick() => false,
                _ = hangups.recv() => true,
            };
            if asked {
                notify::reloading();
            }
            for watched in &mut watched {
                watched.look(asked, &connections);
            }
            if asked {
                notify::reloaded();
            }
        }
    };
    std::thread::Builder::new()
        .name("reenact-reload".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = look() => {}
                    () = stop.ended() => {}
                }
            });
        })
}

const LOOK: Duration = Duration::from_secs(1);

struct Watched {
    each: Arc<dyn Reload>,
    stamps: Vec<Stamp>,
}

impl Watched {
    fn look(&mut self, asked: bool, connections: &Connections) {
        let now = stamps(self.each.files());
        if !asked && now == self.stamps {
            return;
        }
        // Also after a failure: the log is told once for each change, not each second.
        self.stamps = now;
        let outcome = self.each.reload();
        connections.reloaded(outcome.is_ok());
        match outcome {
            Ok(()) => tracing::info!("{} were read again", self.each.what()),
            Err(error) => {
                tracing::error!(%error, "{} could not be read again: the old ones stay", self.each.what());
            }
        }
    }
}

/// What tells a changed file from the one before: device, inode, size, modification time with nanoseconds.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let of = std::fs::metadata(file).ok()?;
        Some((of.dev(), of.ino(), of.size(), of.mtime(), of.mtime_nsec()))
    };
    files.iter().map(stamp).collect()
}
