//! What became of a mirrored request on both sides, for whoever measures the two together.
//!
//! Each side holds a [`Pair`] as long as it is at work. The last one to let go of it hands over what both have left there, without
//! waiting: what the measuring has no room for is counted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use prometheus_client::registry::Registry;

use super::beat::Beat;
use super::felt::Lost;
use super::missing::Missing;
use super::results::{CandidateSide, Ending, MirrorOut, MirrorResults, Mirrored};
use super::{NICE, Offer};
use crate::anonymise::Conversation;
use crate::record::options::RecordError;
use crate::record::tape::observe::Finished;
use crate::shape::{Exchange, GapTrail, RequestShape};

/// Makes pairs, and takes what they come to.
pub(super) struct Sides {
    epoch: Instant,
    next: AtomicU64,
    missing: Missing,
    beat: Beat,
    over: AtomicBool,
    whole: AtomicBool,
    queue: Sender<Box<Mirrored>>,
}

/// The running measurement.
pub(super) struct Measuring {
    sides: Arc<Sides>,
    thread: JoinHandle<()>,
}

/// One request on both sides.
pub(in crate::record) struct Pair {
    sides: Arc<Sides>,
    index: u64,
    conversation: Option<Conversation>,
    whole_us: u64,
    upload_us: u64,
    offered_us: u64,
    left: Mutex<Left>,
}

/// What the sides have left.
#[derive(Default)]
struct Left {
    candidate: Option<CandidateSide>,
    production: Option<ProductionSide>,
}

struct ProductionSide {
    exchange: Exchange,
    connected_us: Option<u64>,
    simulated: bool,
}

/// Begins to measure.
pub(super) fn start(out: &MirrorOut, registry: &mut Registry) -> Result<Measuring, RecordError> {
    let results = (out.begin)(&out.dir).map_err(|source| RecordError::MirrorOut {
        dir: out.dir.clone(),
        source,
    })?;
    let (queue, taken) = crossbeam_channel::bounded(QUEUE);
    let sides = Arc::new(Sides::new(queue, registry));
    let shared = Arc::clone(&sides);
    let thread = std::thread::Builder::new()
        .name(MEASURE_THREAD.to_owned())
        .spawn(move || {
            // Not fatal where it is not allowed: traffic comes first where cores are short.
            let _ = rustix::process::nice(NICE);
            measure(results, &taken, &shared);
        })?;
    Ok(Measuring { sides, thread })
}

fn measure(mut results: Box<dyn MirrorResults>, taken: &Receiver<Box<Mirrored>>, sides: &Sides) {
    loop {
        // Read before the queue is looked at: what was handed over before the flag was set is then seen.
        let last_round = sides.over.load(Ordering::Acquire);
        match taken.recv_timeout(LOOK) {
            Ok(mirrored) => {
                // A bug that one request provokes must not cost the others their figures.
                let added = catch_unwind(AssertUnwindSafe(|| results.add(*mirrored)));
                match added {
                    Ok(true) => {}
                    Ok(false) => _ = sides.missing.not_taken.inc(),
                    Err(_) => _ = sides.missing.failed.inc(),
                }
            }
            Err(RecvTimeoutError::Timeout) if !last_round => {}
            Err(_) => break,
        }
    }
    let ending = Ending {
        unmeasured: sides.missing.unmeasured(),
        late_p99_us: sides.beat.p99_us(),
        is_whole: &|| sides.whole.store(true, Ordering::Release),
    };
    if let Err(error) = results.finish(ending) {
        tracing::error!(%error, "the mirror's result could not be written");
    }
}

impl Measuring {
    pub(super) fn sides(&self) -> Arc<Sides> {
        Arc::clone(&self.sides)
    }

    /// Writes the result, once both sides have let go of every pair. Neither a disk that hangs nor a comparison that takes long may keep
    /// the process from ending.
    pub(super) fn finish(self) {
        self.finish_within(WRITING_PATIENCE, COMPARING_PATIENCE);
    }

    fn finish_within(self, writing: Duration, comparing: Duration) {
        self.sides.over.store(true, Ordering::Release);
        let mut deadline = Instant::now() + writing;
        let mut is_whole = false;
        while !self.thread.is_finished() {
            let now = Instant::now();
            if !is_whole && self.sides.whole.load(Ordering::Acquire) {
                is_whole = true;
                deadline = now + comparing;
            }
            if now >= deadline {
                match is_whole {
                    true => tracing::info!(
                        "the mirror's result is written but for its comparison, which takes long: `reenact compare recorded` works it out"
                    ),
                    false => tracing::warn!(
                        "the mirror's result takes too long; leaving without its end, or all of it"
                    ),
                }
                return;
            }
            std::thread::sleep(NAP);
        }
        if self.thread.join().is_err() {
            tracing::error!("measuring the mirror ended in a panic; there is no result of it");
        }
    }
}

impl Sides {
    fn new(queue: Sender<Box<Mirrored>>, registry: &mut Registry) -> Self {
        Self {
            epoch: Instant::now(),
            next: AtomicU64::new(0),
            missing: Missing::new(registry),
            beat: Beat::default(),
            over: AtomicBool::new(false),
            whole: AtomicBool::new(false),
            queue,
        }
    }

    /// Tells how late the thread is that takes the candidate's times.
    pub(super) fn beat(&self) -> &Beat {
        &self.beat
    }

    /// Both sides of a request that is to be mirrored.
    pub(super) fn pair(self: &Arc<Self>, offer: &Offer<'_>) -> Arc<Pair> {
        let now = Instant::now();
        let arrived = offer.arrived.unwrap_or(now);
        let whole = arrived + Duration::from_micros(offer.upload_us);
        Arc::new(Pair {
            index: self.next.fetch_add(1, Ordering::Relaxed),
            conversation: offer.conversation,
            whole_us: self.since(whole),
            upload_us: offer.upload_us,
            offered_us: self.since(now),
            left: Mutex::default(),
            sides: Arc::clone(self),
        })
    }

    /// Microseconds since the mirror began; 0 for what was before.
    fn since(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.epoch);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

impl Pair {
    /// The moment, as results have it.
    pub(super) fn now_us(&self) -> u64 {
        self.sides.since(Instant::now())
    }

    /// What it came to at the candidate.
    pub(super) fn candidate(&self, side: CandidateSide) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.candidate = Some(side);
    }

    /// What it has come to so far, should the recorder end before the answer does.
    pub(super) fn under_way(&self, side: &CandidateSide) {
        self.candidate(CandidateSide {
            lost: Some(Lost::Open),
            ..side.clone()
        });
    }

    /// It was not sent.
    pub(super) fn dropped(&self, lost: Lost) {
        self.candidate(CandidateSide {
            end_us: self.now_us(),
            lost: Some(lost),
            ..CandidateSide::default()
        });
    }

    /// What it came to in production.
    pub(in crate::record) fn production(&self, finished: &Finished) {
        let exchange = &finished.sighting.exchange;
        let mut response = exchange.response.clone();
        response.trail = GapTrail::default();
        let slim = Exchange {
            model: None,
            session: None,
            client: None,
            request: RequestShape {
                prompt_tokens: exchange.request.prompt_tokens,
                params: exchange.request.params,
                ..RequestShape::default()
            },
            response,
            ..Exchange::bare(exchange.at, exchange.endpoint, exchange.method)
        };
        let slim = Exchange {
            in_flight: exchange.in_flight,
            shape: exchange.shape,
            outcome: exchange.outcome,
            ..slim
        };
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.production = Some(ProductionSide {
            exchange: slim,
            connected_us: finished.overhead_us,
            simulated: finished.simulated,
        });
    }
}

/// Both sides are done.
impl Drop for Pair {
    fn drop(&mut self) {
        let left = self.left.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Left {
            candidate,
            production,
        } = std::mem::take(left);
        let Some(production) = production else {
            self.sides.missing.without_production.inc();
            return;
        };
        let mut candidate = candidate.unwrap_or_else(|| CandidateSide {
            lost: Some(Lost::Open),
            ..CandidateSide::default()
        });
        // The recorder has ended before the candidate's answer had.
        if candidate.lost == Some(Lost::Open) {
            candidate.end_us = self.now_us();
        }
        let mirrored = Box::new(Mirrored {
            index: self.index,
            conversation: self.conversation,
            whole_us: self.whole_us,
            upload_us: self.upload_us,
            connected_us: production.connected_us,
            offered_us: self.offered_us,
            candidate,
            production: production.exchange,
            production_simulated: production.simulated,
        });
        if self.sides.queue.try_send(mirrored).is_err() {
            self.sides.missing.behind.inc();
        }
    }
}

/// Requests that wait to be measured: a kilobyte or two each.
const QUEUE: usize = 4096;
/// How often it is asked whether the recorder has ended.
const LOOK: Duration = Duration::from_millis(100);
const NAP: Duration = Duration::from_millis(1);
/// How long the result may take to be written. With the other waits of an end, docs/operating.md has it for service managers.
const WRITING_PATIENCE: Duration = Duration::from_secs(10);
/// How long its comparison is waited for beyond that: anybody can work it out later.
const COMPARING_PATIENCE: Duration = Duration::from_secs(2);
/// Names the thread.
pub(in crate::record) const MEASURE_THREAD: &str = "reenact-measure";

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::path::PathBuf;

    use super::*;
    use crate::record::mirror::missing::Unmeasured;
    use crate::shape::{Endpoint, Method, TraceTime};

    /// Notes what it is given, and at its end what was not. Stumbles over its second.
    #[derive(Clone, Default)]
    struct Notes {
        seen: Arc<Mutex<(Vec<Mirrored>, Option<Unmeasured>)>>,
        /// Holds its end up, once it is whole, until this is let go.
        held: Option<Receiver<()>>,
        stumbles: bool,
    }

    impl MirrorResults for Notes {
        fn add(&mut self, mirrored: Mirrored) -> bool {
            assert!(!(self.stumbles && mirrored.index == 1), "a bug");
            self.seen.lock().unwrap().0.push(mirrored);
            true
        }

        fn finish(self: Box<Self>, ending: Ending<'_>) -> Result<(), Box<dyn Error>> {
            self.seen.lock().unwrap().1 = Some(ending.unmeasured);
            (ending.is_whole)();
            if let Some(held) = self.held {
                let _ = held.recv();
            }
            Ok(())
        }
    }

    fn measuring(notes: &Notes) -> Measuring {
        let results = notes.clone();
        let out = MirrorOut {
            dir: PathBuf::new(),
            begin: Arc::new(move |_| Ok(Box::new(results.clone()) as Box<dyn MirrorResults>)),
        };
        start(&out, &mut Registry::default()).unwrap()
    }

    fn started() -> (Measuring, Notes) {
        let notes = Notes::default();
        (measuring(&notes), notes)
    }

    fn pair(measuring: &Measuring) -> Arc<Pair> {
        measuring.sides().pair(&Offer {
            endpoint: Endpoint::ChatCompletions,
            conversation: None,
            path: "/",
            body: b"",
            arrived: Some(Instant::now()),
            upload_us: 7,
        })
    }

    fn is_seen_in_production(pair: &Pair) {
        let at = TraceTime::from_us(1);
        let exchange = Exchange::bare(at, Endpoint::ChatCompletions, Method::Post);
        pair.left.lock().unwrap().production = Some(ProductionSide {
            exchange,
            connected_us: Some(2),
            simulated: false,
        });
    }

    #[test]
    fn a_request_is_measured_once_both_sides_have_let_go_of_it() {
        let (measuring, notes) = started();
        let (whole, open, unseen) = (pair(&measuring), pair(&measuring), pair(&measuring));
        for pair in [&whole, &open] {
            is_seen_in_production(pair);
        }
        whole.candidate(CandidateSide {
            status: Some(200),
            ..CandidateSide::default()
        });
        unseen.dropped(Lost::Busy);
        let other_side = Arc::clone(&whole);
        for pair in [whole, open, unseen] {
            drop(pair);
        }
        drop(other_side);
        measuring.finish();
        let (seen, unmeasured) = std::mem::take(&mut *notes.seen.lock().unwrap());
        let told: Vec<_> = seen
            .iter()
            .map(|it| (it.index, it.candidate.status, it.candidate.lost))
            .collect();
        // In the order in which they were let go.
        assert_eq!(told, [(1, None, Some(Lost::Open)), (0, Some(200), None)]);
        assert!(
            seen.iter()
                .all(|it| (it.upload_us, it.connected_us) == (7, Some(2)))
        );
        let unmeasured = unmeasured.unwrap();
        assert_eq!((unmeasured.without_production, unmeasured.behind), (1, 0));
    }

    #[test]
    fn of_a_request_that_is_still_open_at_the_end_what_is_known_is_kept() {
        let (measuring, notes) = started();
        let open = pair(&measuring);
        is_seen_in_production(&open);
        open.under_way(&CandidateSide {
            taken_us: Some(1),
            sent_us: Some(2),
            ..CandidateSide::default()
        });
        let before_us = open.now_us();
        drop(open);
        measuring.finish();
        let seen = std::mem::take(&mut *notes.seen.lock().unwrap()).0;
        let side = &seen[0].candidate;
        assert_eq!((side.sent_us, side.lost), (Some(2), Some(Lost::Open)));
        assert!(side.end_us >= before_us);
    }

    #[test]
    fn one_that_cannot_be_measured_costs_the_others_nothing() {
        let notes = Notes {
            stumbles: true,
            ..Notes::default()
        };
        let measuring = measuring(&notes);
        for _ in 0..3 {
            is_seen_in_production(&pair(&measuring));
        }
        measuring.finish();
        let (seen, unmeasured) = std::mem::take(&mut *notes.seen.lock().unwrap());
        let told: Vec<_> = seen.iter().map(|it| it.index).collect();
        assert_eq!(told, [0, 2]);
        assert_eq!(unmeasured.unwrap().failed, 1);
    }

    #[test]
    fn what_takes_long_once_the_result_is_whole_is_not_waited_for() {
        let (let_go, held) = crossbeam_channel::bounded(0);
        let notes = Notes {
            held: Some(held),
            ..Notes::default()
        };
        let measuring = measuring(&notes);
        let (long, began) = (Duration::from_secs(60), Instant::now());
        measuring.finish_within(long, Duration::ZERO);
        assert!(began.elapsed() < long);
        drop(let_go);
    }

    #[test]
    fn what_cannot_be_measured_in_time_is_counted_and_not_waited_for() {
        let (queue, taken) = crossbeam_channel::bounded(1);
        let mut registry = Registry::default();
        let sides = Arc::new(Sides::new(queue, &mut registry));
        for _ in 0..3 {
            let pair = sides.pair(&Offer {
                endpoint: Endpoint::ChatCompletions,
                conversation: None,
                path: "/",
                body: b"",
                arrived: None,
                upload_us: 0,
            });
            is_seen_in_production(&pair);
        }
        assert_eq!(taken.len(), 1);
        assert_eq!(sides.missing.unmeasured().behind, 2);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        for line in [
            "reenact_mirror_unmeasured_total{reason=\"behind\"} 2",
            "reenact_mirror_unmeasured_total{reason=\"failed\"} 0",
        ] {
            assert!(page.contains(line), "{line} not in {page}");
        }
    }
}
