//! The one bound on the memory of recording: everything behind the tap that holds bytes of exchanges charges them here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes held by everything behind the tap, against their bound.
#[derive(Debug)]
pub(in crate::record) struct Ledger {
    held: AtomicU64,
    bound: u64,
}

/// Who asks: bodies may fill seven eighths of the bound, so that exchanges without them still find room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::record) enum Share {
    Bodies,
    All,
}

impl Ledger {
    pub(in crate::record) fn new(bound: u64) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU64::new(0),
            bound,
        })
    }

    /// Bytes held now.
    pub(in crate::record) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Charges `bytes` until the charge is dropped; `None` where they do not fit.
    pub(in crate::record) fn charge(self: &Arc<Self>, bytes: u64, share: Share) -> Option<Charge> {
        self.take(bytes, share).then(|| Charge {
            bytes,
            ledger: Arc::clone(self),
        })
    }

    fn take(&self, bytes: u64, share: Share) -> bool {
        let bound = match share {
            Share::Bodies => self.bound - self.bound / 8,
            Share::All => self.bound,
        };
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= bound;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes of the ledger, given back when dropped.
#[derive(Debug)]
pub(in crate::record) struct Charge {
    bytes: u64,
    ledger: Arc<Ledger>,
}

impl Charge {
    /// Bytes charged.
    pub(in crate::record) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes it `bytes`. Fewer always fit; where more do not, it stays as it was and the answer is false.
    pub(in crate::record) fn resize(&mut self, bytes: u64, share: Share) -> bool {
        if bytes > self.bytes {
            if !self.ledger.take(bytes - self.bytes, share) {
                return false;
            }
        } else {
            self.ledger.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        true
    }

    /// Takes over what another of the same ledger weighs.
    pub(in crate::record) fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_leave_an_eighth_to_exchanges_without_them() {
        let ledger = Ledger::new(80);
        let bodies = ledger.charge(70, Share::Bodies).unwrap();
        assert!(ledger.charge(1, Share::Bodies).is_none());
        let exchange = ledger.charge(10, Share::All).unwrap();
        assert!(ledger.charge(1, Share::All).is_none());
        assert_eq!(ledger.held(), 80, "what was refused is not held");
        drop((bodies, exchange));
        assert_eq!(ledger.held(), 0);
    }

    #[test]
    fn a_charge_grows_as_far_as_the_bound_and_always_shrinks() {
        let ledger = Ledger::new(100);
        let mut charge = ledger.charge(10, Share::All).unwrap();
        assert!(charge.resize(100, Share::All));
        assert!(!charge.resize(101, Share::All));
        assert_eq!((charge.bytes(), ledger.held()), (100, 100));
        assert!(charge.resize(40, Share::Bodies));
        let other = ledger.charge(5, Share::All).unwrap();
        charge.absorb(other);
        assert_eq!((charge.bytes(), ledger.held()), (45, 45));
        drop(charge);
        assert_eq!(ledger.held(), 0);
    }
}
