/// How many idle connections the clients of a plan come back to, if each request takes as long as it did when it was recorded.
///
/// A trace tells when a connection began, and not when it was closed: some clients close theirs after every answer, others keep it for an
/// hour. So it is reckoned from what was used again: were none ever closed, the number of idle ones would rise with every answer and fall with
/// every request that goes over one. The deepest of its falls, from the highest before, is how many have to be kept so that closing all
/// beyond takes none from anyone.
#[derive(Debug, Default)]
pub(super) struct IdleConnections {
    idle: u64,
    highest: u64,
    deepest_fall: u64,
}

impl IdleConnections {
    /// A request is sent, which begins a connection, or goes over an idle one where there is any.
    pub(super) fn take(&mut self, begins: bool) {
        if !begins {
            self.idle = self.idle.saturating_sub(1);
            self.deepest_fall = self.deepest_fall.max(self.highest - self.idle);
        }
    }

    /// An answer is over, and its connection idle.
    pub(super) fn give_back(&mut self) {
        self.idle += 1;
        self.highest = self.highest.max(self.idle);
    }

    /// How many to keep.
    pub(super) fn needed(&self) -> u64 {
        self.deepest_fall
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Requests that find no idle connection where at most `keep` are kept.
    fn misses(course: &[(bool, bool)], keep: u64) -> usize {
        let (mut idle, mut missed) = (0_u64, 0);
        for &(ends, begins) in course {
            if ends {
                idle = (idle + 1).min(keep);
            } else if !begins {
                missed += usize::from(idle == 0);
                idle = idle.saturating_sub(1);
            }
        }
        missed
    }

    proptest! {
        #[test]
        fn so_many_kept_are_enough_and_one_less_is_not(course in prop::collection::vec((any::<bool>(), any::<bool>()), 0..60)) {
            let mut seen = IdleConnections::default();
            for &(ends, begins) in &course {
                if ends { seen.give_back() } else { seen.take(begins) }
            }
            let needed = seen.needed();
            let least = misses(&course, u64::MAX);
            prop_assert_eq!(misses(&course, needed), least);
            if needed > 0 {
                prop_assert!(misses(&course, needed - 1) > least);
            }
        }
    }

    #[test]
    fn clients_that_never_come_back_need_none_kept() {
        let mut seen = IdleConnections::default();
        for _ in 0..100 {
            seen.take(true);
            seen.give_back();
        }
        assert_eq!(seen.needed(), 0);
        seen.take(false);
        seen.give_back();
        seen.take(false);
        assert_eq!(seen.needed(), 1);
    }
}
