//! Live shadow traffic: a share of the sessions goes to a candidate as well, whose answers are measured and thrown away.
//!
//! ```text
//! tap ─▶ observer ── offer ─▶ bounded queue ─▶ thread of its own ─▶ candidate
//!                  (never waits; what has no room is dropped and counted)
//! ```
//!
//! Where a result is asked for, a further thread measures what both sides came to ([`sides`]).
//!
//! Everything here is behind the tap: production neither waits for it nor learns of it. Requests are held in memory, within a bound, and
//! nowhere else; credentials of clients never get here, since the tap takes none.

mod beat;
mod felt;
mod missing;
mod results;
mod send;
mod sides;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::anonymise::Conversation;
use crate::record::options::RecordError;
use crate::record::tape::observe::Finished;
use crate::record::upstream::url::UpstreamUrl;
use crate::shape::{Endpoint, Outcome};
use felt::Felt;
pub use felt::Lost;
pub use missing::Unmeasured;
pub use results::{BeginResults, CandidateSide, Ending, MirrorOut, MirrorResults, Mirrored};
pub(in crate::record) use sides::MEASURE_THREAD;
use sides::{Measuring, Pair, Sides};

/// Where shadow traffic goes, and how much of it.
#[derive(Debug, Clone)]
pub struct MirrorOptions {
    /// The candidate's name in metrics.
    pub name: String,
    /// Where it is.
    pub url: UpstreamUrl,
    /// Share of conversations that it gets, each with all its turns.
    pub share: f64,
    /// The model to ask it for; the one that the client asked for where absent.
    pub model: Option<String>,
    /// The key that it wants.
    pub key: Option<MirrorKey>,
    /// How long it may be silent.
    pub silence: Duration,
    /// Where the result is written; nowhere where absent.
    pub out: Option<MirrorOut>,
}

/// An API key, shown nowhere.
#[derive(Clone)]
pub struct MirrorKey {
    plain: HeaderValue,
    bearer: HeaderValue,
}

/// A key that cannot stand in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the mirror's key holds characters that cannot stand in a header (a line end, perhaps)")]
pub struct BadMirrorKey;

impl MirrorKey {
    /// The key, without the white space around it.
    ///
    /// # Errors
    /// When it cannot stand in a header, or is empty.
    pub fn new(key: &str) -> Result<Self, BadMirrorKey> {
        let key = key.trim();
        let value = |text: &str| {
            let mut value = HeaderValue::from_str(text).map_err(|_| BadMirrorKey)?;
            value.set_sensitive(true);
            Ok(value)
        };
        if key.is_empty() {
            return Err(BadMirrorKey);
        }
        Ok(Self {
            plain: value(key)?,
            bearer: value(&format!("Bearer {key}"))?,
        })
    }
}

impl std::fmt::Debug for MirrorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MirrorKey(…)")
    }
}

/// A request to be sent to the candidate.
pub(in crate::record) struct Shadow {
    endpoint: Endpoint,
    path: String,
    body: Bytes,
    pair: Option<Arc<Pair>>,
    _weight: Weight,
}

/// A request that the mirror may take.
pub(in crate::record) struct Offer<'a> {
    pub(in crate::record) endpoint: Endpoint,
    pub(in crate::record) conversation: Option<Conversation>,
    pub(in crate::record) path: &'a str,
    pub(in crate::record) body: &'a [u8],
    /// When its head was complete at the recorder.
    pub(in crate::record) arrived: Option<Instant>,
    /// From then until its body was.
    pub(in crate::record) upload_us: u64,
}

/// What became of an offer.
#[derive(Default)]
pub(in crate::record) struct Offered {
    /// The mirror has taken it.
    pub(in crate::record) taken: bool,
    /// Where production's side is to be left, where both are measured; also of one that was not taken.
    pub(in crate::record) pair: Option<Arc<Pair>>,
}

/// The observer's side.
pub(in crate::record) struct Mirror {
    share: f64,
    queue: mpsc::Sender<Shadow>,
    held: Arc<AtomicU64>,
    felt: Arc<Felt>,
    sides: Option<Arc<Sides>>,
    over: AtomicBool,
}

/// The running sender.
pub(in crate::record) struct MirrorHandle {
    mirror: Arc<Mirror>,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: JoinHandle<()>,
    measuring: Option<Measuring>,
}

/// Starts the thread that sends. `ca` and `min_version` as for upstreams.
pub(in crate::record) fn start(
    options: &MirrorOptions,
    tls: &crate::record::UpstreamTlsOptions,
    connect_timeout: Duration,
    registry: &mut Registry,
) -> Result<MirrorHandle, RecordError> {
    let felt = Arc::new(Felt::new(&options.name, registry));
    let (queue, shadows) = mpsc::channel(QUEUE);
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let sender = send::Sender::new(options, tls, connect_timeout, Arc::clone(&felt))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let out = options.out.as_ref();
    let measuring = out.map(|out| sides::start(out, registry)).transpose()?;
    let sides = measuring.as_ref().map(Measuring::sides);
    // Nobody asks for an answer that is not measured.
    let patience = measuring.as_ref().map_or(Duration::ZERO, |_| PATIENCE);
    let thread = std::thread::Builder::new()
        .name(MIRROR_THREAD.to_owned())
        .spawn(move || {
            // Not fatal where it is not allowed: traffic comes first where cores are short.
            let _ = rustix::process::nice(NICE);
            run_out(runtime, async {
                let over = async {
                    let _ = stopped.await;
                };
                sender.run(shadows, over, patience, sides).await;
            });
        })?;
    tracing::info!(
        mirror = options.name,
        to = %options.url,
        share = options.share,
        "a share of the sessions goes to the mirror as well; its answers are discarded"
    );
    Ok(MirrorHandle {
        mirror: Arc::new(Mirror {
            share: options.share,
            queue,
            held: Arc::default(),
            felt,
            sides: measuring.as_ref().map(Measuring::sides),
            over: AtomicBool::new(false),
        }),
        stop,
        thread,
        measuring,
    })
}

/// Runs `work` to its end, and lets go of what is then still at it. A look-up of a name that hangs is left behind on its thread: to wait
/// for it, as a runtime does by itself, could keep the process from ending.
fn run_out(runtime: tokio::runtime::Runtime, work: impl Future<Output = ()>) {
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, work);
    drop(local);
    runtime.shutdown_background();
}

impl MirrorHandle {
    /// The observer's side.
    pub(in crate::record) fn mirror(&self) -> Arc<Mirror> {
        Arc::clone(&self.mirror)
    }

    /// Ends it at once, or where it is measured a little later: answers that are still to come then are nobody's. Says what it came to.
    pub(in crate::record) fn finish(self) {
        self.mirror.over.store(true, Ordering::Release);
        // An error means that it has ended by itself.
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the mirror's thread ended in a panic");
        }
        self.mirror.felt.say();
        if let Some(measuring) = self.measuring {
            measuring.finish();
        }
    }
}

impl Mirror {
    /// Whether an exchange of this conversation goes to the candidate. By the same draw as sampling, so that with a smaller share what
    /// is mirrored is also recorded. What belongs to no conversation goes only where everything does.
    pub(in crate::record) fn wants(
        &self,
        endpoint: Endpoint,
        conversation: Option<Conversation>,
    ) -> bool {
        let drawn = match conversation {
            Some(conversation) => conversation.is_sampled(self.share),
            None => self.share >= 1.0,
        };
        drawn && endpoint.generates() && !self.over.load(Ordering::Acquire)
    }

    /// Takes a request's copy, or drops it, and counts it. Never waits.
    pub(in crate::record) fn offer(&self, offer: &Offer<'_>) -> Offered {
        let pair = self.sides.as_ref().map(|sides| sides.pair(offer));
        let lost = match Weight::of(&self.held, offer.body.len() as u64) {
            None => Some(Lost::Memory),
            Some(weight) => {
                let shadow = Shadow {
                    endpoint: offer.endpoint,
                    path: offer.path.to_owned(),
                    body: Bytes::copy_from_slice(offer.body),
                    pair: pair.clone(),
                    _weight: weight,
                };
                match self.queue.try_send(shadow) {
                    Ok(()) => None,
                    Err(TrySendError::Full(_) | TrySendError::Closed(_)) => Some(Lost::QueueFull),
                }
            }
        };
        if let Some(lost) = lost {
            self.felt.lose(lost);
            if let Some(pair) = &pair {
                pair.dropped(lost);
            }
        }
        Offered {
            taken: lost.is_none(),
            pair,
        }
    }

    /// What production felt at an exchange that was mirrored.
    pub(in crate::record) fn beside(&self, finished: &Finished) {
        let exchange = &finished.sighting.exchange;
        // Broken off is no answer on this side either.
        if (200..300).contains(&finished.code) && exchange.outcome != Outcome::Completed {
            self.felt.production_lost();
            return;
        }
        let response = &exchange.response;
        self.felt.production(
            finished.code,
            response.first_token_us,
            &response.gaps,
            finished.duration_us,
        );
    }
}

/// What a request weighs as long as it waits or is sent.
struct Weight {
    held: Arc<AtomicU64>,
    bytes: u64,
}

impl Weight {
    /// `None` where there is no room for it.
    fn of(held: &Arc<AtomicU64>, bytes: u64) -> Option<Self> {
        let taken = held.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
            now.checked_add(bytes).filter(|sum| *sum <= MOST_BYTES)
        });
        taken.ok().map(|_| Self {
            held: Arc::clone(held),
            bytes,
        })
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Names the thread.
pub(in crate::record) const MIRROR_THREAD: &str = "reenact-mirror";
/// Requests that wait.
const QUEUE: usize = 256;
/// Bytes of requests that wait or are sent.
const MOST_BYTES: u64 = 64 << 20;
const NICE: i32 = 10;
/// How long answers that are measured may take beyond the recorder's end. Production has by then had as long for its own.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_nowhere_and_stands_in_a_header() {
        let key = MirrorKey::new(" s3cret\n").unwrap();
        assert!(!format!("{key:?} {:?} {:?}", key.plain, key.bearer).contains("s3cret"));
        assert_eq!(key.bearer.to_str().unwrap(), "Bearer s3cret");
        assert_eq!(MirrorKey::new("a\nb").unwrap_err(), BadMirrorKey);
        assert_eq!(MirrorKey::new(" ").unwrap_err(), BadMirrorKey);
    }

    #[test]
    fn a_look_up_that_hangs_is_not_waited_for() {
        let (let_go, hangs) = crossbeam_channel::bounded::<()>(0);
        let (ended, end) = crossbeam_channel::bounded(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        std::thread::spawn(move || {
            run_out(runtime, async move {
                tokio::task::spawn_blocking(move || hangs.recv());
            });
            let _ = ended.send(());
        });
        let long = Duration::from_secs(20);
        assert!(end.recv_timeout(long).is_ok(), "it was waited for");
        drop(let_go);
    }

    #[test]
    fn what_waits_is_bounded_and_given_back() {
        let held = Arc::default();
        let most = Weight::of(&held, MOST_BYTES).unwrap();
        assert!(Weight::of(&held, 1).is_none());
        drop(most);
        assert!(Weight::of(&held, 1).is_some());
        assert_eq!(held.load(Ordering::Acquire), 0);
    }
}
