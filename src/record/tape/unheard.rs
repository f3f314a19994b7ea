use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use slab::Slab;

use super::passage::Passage;

/// Exchanges of one traffic thread that the observer has not heard of: what passes waits in their parcels. Most end within a
/// moment and are handed over whole; the others speak up after [`AGE`].
#[derive(Default)]
pub(in crate::record) struct Unheard(RefCell<Slab<Weak<Passage>>>);

/// An exchange this old is no moment's matter.
pub(in crate::record::tape) const AGE: Duration = Duration::from_millis(150);
/// How often [`Unheard::speak_up`] is to be called.
pub(in crate::record) const ROUND: Duration = Duration::from_millis(100);

impl Unheard {
    pub(in crate::record) fn add(&self, passage: &Rc<Passage>) -> usize {
        self.0.borrow_mut().insert(Rc::downgrade(passage))
    }

    pub(in crate::record) fn remove(&self, place: usize) {
        self.0.borrow_mut().try_remove(place);
    }

    /// Has those speak up that are old enough.
    pub(in crate::record) fn speak_up(&self, now: Instant) {
        let old: Vec<_> = self
            .0
            .borrow()
            .iter()
            .filter_map(|(place, passage)| Some((place, passage.upgrade()?)))
            .filter(|(_, passage)| now.saturating_duration_since(passage.arrived) >= AGE)
            .collect();
        for (place, passage) in old {
            self.remove(place);
            passage.speak_up();
        }
    }
}
