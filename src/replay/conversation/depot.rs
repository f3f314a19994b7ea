use std::io;

use super::spill::{Place, Spill};
use crate::replay::synthesise::Settled;

/// Where requests wait that were read ahead of their time: in memory up to a bound, in temporary files beyond it.
pub(in crate::replay) struct Depot {
    held_bytes: usize,
    most_bytes: usize,
    spill: Spill,
}

/// A request in the depot; it goes back there, or its room is lost.
pub(in crate::replay) enum Slot {
    Held(Box<Settled>),
    Spilled(Place),
}

impl Depot {
    /// Bytes of requests that are held in memory.
    pub(in crate::replay) const BYTES: usize = 64 << 20;
    /// Bytes in temporary files beyond which nothing more is read ahead.
    const MOST_SPILLED: u64 = 8 << 30;

    pub(in crate::replay) fn new(most_bytes: usize) -> Self {
        Self {
            held_bytes: 0,
            most_bytes,
            spill: Spill::default(),
        }
    }

    /// # Errors
    /// When it would have to go to a temporary file, and cannot.
    pub(in crate::replay) fn put(&mut self, settled: Settled) -> io::Result<Slot> {
        let bytes = settled.held_bytes();
        if self.held_bytes + bytes <= self.most_bytes {
            self.held_bytes += bytes;
            return Ok(Slot::Held(Box::new(settled)));
        }
        let record = rmp_serde::to_vec_named(&settled).map_err(io::Error::other)?;
        Ok(Slot::Spilled(self.spill.put(&record)?))
    }

    /// # Errors
    /// When a temporary file cannot be read.
    pub(in crate::replay) fn take(&mut self, slot: Slot) -> io::Result<Box<Settled>> {
        match slot {
            Slot::Held(settled) => {
                self.held_bytes -= settled.held_bytes();
                Ok(settled)
            }
            Slot::Spilled(place) => {
                let record = self.spill.take(place)?;
                rmp_serde::from_slice(&record)
                    .map(Box::new)
                    .map_err(io::Error::other)
            }
        }
    }

    /// Whether some of them wait in temporary files now.
    pub(in crate::replay) fn has_spilled(&self) -> bool {
        self.spill.bytes() > 0
    }

    /// Whether nothing more should be read ahead.
    pub(in crate::replay) fn is_full(&self) -> bool {
        self.spill.bytes() >= Self::MOST_SPILLED
    }

    /// The most bytes that were in temporary files.
    pub(in crate::replay) fn spilled_peak_bytes(&self) -> u64 {
        self.spill.peak_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::calibrate::Calibration;
    use crate::replay::client::Envelope;
    use crate::replay::plan::{PlannedRequest, Turn};
    use crate::replay::prompt::{Cache, Salt};
    use crate::replay::synthesise::{LengthPolicy, Synthesiser};
    use crate::replay::testing::{exchange, target};
    use crate::shape::{
        BlockId, BlockSpec, Exchange, MediaKind, MediaPart, MessageShape, Outcome, PictureFormat,
        Role,
    };

    fn full(at_us: u64) -> Exchange {
        let mut exchange = exchange(at_us);
        exchange.outcome = Outcome::ClientCancelled { at_us: 77 };
        exchange.request.blocks = (0..40).map(BlockId).collect();
        exchange.request.messages = vec![MessageShape {
            role: Role::User,
            bytes: 2600,
            tokens: Some(3),
        }];
        exchange.request.media = vec![MediaPart {
            message: 0,
            kind: MediaKind::Image,
            format: PictureFormat::Other,
            bytes: 4,
            pixels: Some((2, 3)),
        }];
        exchange.response.gaps.record(1234);
        exchange
    }

    #[test]
    fn what_waits_in_a_file_is_what_waits_in_memory() {
        let calibration = Calibration::assumed("m");
        let mut synthesiser = Synthesiser::new(
            Salt::new(1, Cache::Fresh, 0),
            Some(BlockSpec::LIVE),
            &calibration,
            Envelope::new(&target("http://127.0.0.1:1")),
            LengthPolicy::Exact,
            crate::replay::PromptOptions::default(),
        );
        let settled: Vec<Settled> = (0..50)
            .map(|index| {
                synthesiser.settle(PlannedRequest {
                    index,
                    intended_us: index * 10,
                    turn: Turn {
                        session: Some(3),
                        number: 1,
                        think_us: Some(99),
                    },
                    exchange: full(index),
                })
            })
            .collect();
        // Room for a few.
        let mut depot = Depot::new(settled[0].held_bytes() * 5);
        let slots: Vec<Slot> = settled
            .iter()
            .map(|it| depot.put(it.clone()).unwrap())
            .collect();
        let held = slots.iter().filter(|it| matches!(it, Slot::Held(_)));
        assert_eq!(held.count(), 5);
        assert!(depot.spilled_peak_bytes() > 0);
        for (slot, settled) in slots.into_iter().zip(&settled) {
            assert_eq!(*depot.take(slot).unwrap(), *settled);
        }
        assert_eq!((depot.held_bytes, depot.spill.bytes()), (0, 0));
    }
}
