use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};

use super::assembly::{Assembly, Desk, Finished, since};
use super::reading::{self, Panicked, guarded, guarded_each};
use super::{ObserverParts, SHORTEST_NAP};
use crate::anonymise::{Anonymiser, ChainKey, Conversation, ConversationKey, Gates};
use crate::record::daemon::pause::Pause;
use crate::record::options::TraceOptions;
use crate::record::tape::accounts::{Accounts, DropReason};
use crate::record::tape::capture::Capture;
use crate::record::tape::ledger::Share;
use crate::record::tape::metrics::Metrics;
use crate::record::tape::parcel::Parcel;
use crate::record::tape::unheard::{AGE, ROUND};
use crate::record::tape::write::{FLUSH, ORDERS, Open, Order, WriterState};

/// What the observer's thread holds.
pub(super) struct Observer {
    capture: Arc<Capture>,
    desk: Desk,
    accounts: Arc<Accounts>,
    metrics: Metrics,
    options: TraceOptions,
    pause: Arc<Pause>,
    orders: Sender<Order>,
    writer: Arc<WriterState>,
    open: HashMap<u64, Assembly>,
    gates: Gates,
    /// The current file's gate, none while the disk refuses.
    gate: Option<Anonymiser>,
    /// The latest gate's key.
    key: ChainKey,
    retry_at: Instant,
    generation: u64,
    sampling: ConversationKey,
    /// Exchanges so far that belong to no conversation.
    alone: u64,
    epoch: Instant,
}

impl Observer {
    pub(super) fn new(parts: ObserverParts) -> Self {
        let now = Instant::now();
        Self {
            accounts: Arc::clone(&parts.capture.accounts),
            desk: Desk::new(Arc::clone(&parts.capture), parts.options.every_gap),
            capture: parts.capture,
            metrics: parts.metrics,
            options: parts.options,
            pause: parts.pause,
            orders: parts.orders,
            writer: parts.writer,
            open: HashMap::new(),
            gates: parts.gates,
            key: parts.gate.key().clone(),
            gate: Some(parts.gate),
            retry_at: now,
            generation: WriterState::FIRST,
            sampling: parts.sampling,
            alone: 0,
            epoch: parts.epoch,
        }
    }

    /// Takes what is queued until it is to finish and nothing is left.
    pub(super) fn run(mut self, finish: &AtomicBool) {
        let mut nap = SHORTEST_NAP;
        let (mut tidied, mut announced) = (Instant::now(), Instant::now());
        loop {
            // Read before the queue is emptied: what was handed over before the flag was set is then seen.
            let last_round = finish.load(Ordering::Acquire);
            let mut taken = 0_u32;
            while let Some(parcel) = self.capture.next() {
                self.take(parcel);
                taken += 1;
                if taken.is_multiple_of(1024) && announced.elapsed() >= ANNOUNCING {
                    break;
                }
            }
            if taken == 0 && last_round {
                return;
            }
            // A panic here is a bug of ours as in a dialect, and must not end the recording.
            if tidied.elapsed() >= HOUSEKEEPING {
                let _ = guarded(|| self.tidy());
                tidied = Instant::now();
            }
            if announced.elapsed() >= ANNOUNCING {
                let _ = guarded(|| self.announce());
                announced = Instant::now();
            }
            if taken == 0 {
                std::thread::park_timeout(nap);
                nap = (nap * 2).min(LONGEST_NAP);
            } else {
                nap = SHORTEST_NAP;
                if taken < 64 {
                    std::thread::park_timeout(nap);
                }
            }
        }
    }

    /// Takes a parcel. A panic outside the dialects is a bug of ours, and costs the exchange alone.
    fn take(&mut self, parcel: Box<Parcel>) {
        let id = parcel.id;
        if let Err(Panicked) = guarded(|| self.put_together(parcel)) {
            self.open.remove(&id);
            self.forget(id);
            self.accounts.drop_one(DropReason::Panic);
        }
    }

    fn put_together(&mut self, mut parcel: Box<Parcel>) {
        let whole = parcel.opening.is_some() && parcel.closing.is_some();
        let mut assembly = if whole {
            Assembly::default()
        } else {
            match self.open.remove(&parcel.id) {
                Some(assembly) => assembly,
                None if parcel.opening.is_some() => Assembly::default(),
                // The rest of an exchange whose beginning was lost.
                None => return self.capture.recycle(parcel),
            }
        };
        reading::trip_over(&parcel.texts);
        let fits = assembly.take(&mut parcel, &self.key, &mut self.desk);
        let (id, arrived, over) = (parcel.id, parcel.arrived, parcel.closing.is_some());
        self.capture.recycle(parcel);
        if over {
            let announced = assembly.announced() == self.generation;
            let at = since(self.epoch, arrived);
            let kept = self.settle(id, assembly.finish(at, &self.capture.ledger));
            if announced && !kept {
                self.forget(id);
            }
        } else if fits {
            self.open.insert(id, assembly);
        } else {
            self.accounts.drop_one(DropReason::Memory);
            self.forget(id);
        }
    }

    /// Hands an exchange that has ended to the writer, or counts why not. Says whether it did.
    fn settle(&mut self, id: u64, finished: Finished) -> bool {
        let lost = match self.keep(id, finished) {
            Ok(()) => return true,
            Err(lost) => lost,
        };
        match lost {
            Some(reason) => self.accounts.drop_one(reason),
            None => self.accounts.sample_out(),
        }
        false
    }

    /// Says why it is not kept; `None` where it was not to be.
    fn keep(&mut self, id: u64, finished: Finished) -> Result<(), Option<DropReason>> {
        if finished.probe {
            return Err(Some(DropReason::Probe));
        }
        self.metrics.observe(&finished);
        let mirror = self.capture.mirror.as_ref();
        if let Some(mirror) = mirror.filter(|_| finished.mirrored.taken) {
            mirror.beside(&finished);
        }
        if self.pause.is_on() {
            return Err(Some(DropReason::Paused));
        }
        // A pause is one of what is written of single requests, by whomever.
        if let Some(pair) = &finished.mirrored.pair {
            pair.production(&finished);
        }
        if !self.is_sampled(finished.conversation) {
            return Err(None);
        }
        self.mind_the_writer();
        let Some(gate) = &mut self.gate else {
            return Err(Some(self.writer.broken_by()));
        };
        // This thread is the only one that sends: not full now means that the order below finds room.
        if self.orders.is_full() {
            return Err(Some(DropReason::WriterBehind));
        }
        let Finished {
            sighting,
            simulated,
            ..
        } = finished;
        let recordable = gate.admit(sighting);
        let bytes = recordable.exchange().held_bytes() as u64;
        let Some(charge) = self.capture.ledger.charge(bytes, Share::All) else {
            return Err(Some(DropReason::Memory));
        };
        let order = Order::Keep {
            generation: self.generation,
            id,
            recordable: Box::new(recordable),
            charge,
        };
        match self.orders.try_send(order) {
            Ok(()) if simulated => self.accounts.simulate(),
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Some(DropReason::WriterBehind)),
            Err(TrySendError::Disconnected(_)) => return Err(Some(DropReason::WriteError)),
        }
        Ok(())
    }

    /// Has the file hold those that have been in flight for a while, so that a kill of this process leaves them there.
    fn announce(&mut self) {
        let generation = self.generation;
        for open in self.long_in_flight((ORDERS / 2).saturating_sub(self.orders.len())) {
            // What does not get there is known when it has ended.
            let _ = self.orders.try_send(Order::Open { generation, open });
        }
    }

    /// Those that have been in flight for a while and that the file does not hold: at most so many, the rest at the next round.
    fn long_in_flight(&mut self, most: usize) -> Vec<Open> {
        let (now, share) = (Instant::now(), self.options.share());
        let Some(gate) = &mut self.gate else {
            return Vec::new();
        };
        if self.pause.is_on() {
            return Vec::new();
        }
        guarded_each(self.open.iter_mut(), most, |(&id, assembly)| {
            let (sighting, conversation) = assembly.announce(self.generation, now, self.epoch)?;
            // One that belongs to no conversation is drawn when it has ended.
            let sampled = share >= 1.0
                || conversation.is_some_and(|conversation| conversation.is_sampled(share));
            if !sampled {
                return None;
            }
            let (recordable, disguise) = gate.announce(sighting);
            assembly.is_disguised(disguise);
            let bytes = recordable.exchange().held_bytes() as u64;
            Some(Open {
                id,
                charge: self.capture.ledger.charge(bytes, Share::Bodies)?,
                recordable: Box::new(recordable),
            })
        })
    }

    /// What the file may hold as in flight will not be kept. Where the writer is too far behind to be told, a crash would leave one
    /// too many.
    fn forget(&self, id: u64) {
        let generation = self.generation;
        let _ = self.orders.try_send(Order::Forget { generation, id });
    }

    /// Sampling is by conversation, so that those in the trace are whole. An exchange that belongs to none is one of its own.
    fn is_sampled(&mut self, conversation: Option<Conversation>) -> bool {
        let conversation = conversation.unwrap_or_else(|| {
            self.alone += 1;
            self.sampling.alone(self.alone)
        });
        conversation.is_sampled(self.options.share())
    }

    /// Gives the file up when the writer has, and begins the next when it is time.
    fn mind_the_writer(&mut self) {
        if self.gate.is_some() && self.writer.broken() == self.generation {
            self.retire_gate();
            self.retry_at = Instant::now() + RETRY;
        }
        if self.gate.is_none() && Instant::now() >= self.retry_at {
            self.begin_file();
        }
    }

    fn tidy(&mut self) {
        // Exchanges whose end was lost on the way (and counted there): nobody holds their other end any more.
        let orphans = self.open.extract_if(|_, assembly| assembly.is_orphaned());
        let orphans: Vec<u64> = orphans.map(|(id, _)| id).collect();
        orphans.into_iter().for_each(|id| self.forget(id));
        self.capture.buffers.trim();
        self.mind_the_writer();
        if self.gate.is_some() && self.writer.full() == self.generation {
            self.begin_file();
        }
    }

    fn retire_gate(&mut self) {
        if let Some(gate) = self.gate.take() {
            self.gates.retire(gate);
        }
    }

    /// The next file, with a gate of its own. Prompts of exchanges in flight were read with the key before; their
    /// chains hold together in the new file but share nothing with later ones.
    fn begin_file(&mut self) {
        // This thread is the only one that sends: not full now means that the order below finds room.
        if self.orders.is_full() {
            return;
        }
        self.retire_gate();
        let Ok(gate) = self.gates.next(self.capture.table_bytes) else {
            return;
        };
        self.generation += 1;
        self.key = gate.key().clone();
        self.gate = Some(gate);
        // What the file before holds as in flight goes into the next one as it begins, so that a kill leaves it in either.
        let order = Order::Begin {
            generation: self.generation,
            open: self.long_in_flight(ORDERS / 2),
        };
        if self.orders.try_send(order).is_err() {
            self.gate = None;
        }
    }
}

const LONGEST_NAP: Duration = Duration::from_millis(50);
const HOUSEKEEPING: Duration = Duration::from_millis(500);
/// How often it is looked for what the file is to hold as in flight.
const ANNOUNCING: Duration = Duration::from_millis(150);
/// What is in flight, and whose prompt is whole, is on its way to the disk after this at the latest, which docs/losses.md says of a kill.
const _: () = {
    let [age, round, announcing, nap, flush] = [AGE, ROUND, ANNOUNCING, LONGEST_NAP, FLUSH];
    let all = age.as_millis() + round.as_millis() + announcing.as_millis();
    assert!(all + nap.as_millis() + flush.as_millis() <= 1500);
};
/// How long after a write error the next file is tried.
const RETRY: Duration = Duration::from_secs(3);
