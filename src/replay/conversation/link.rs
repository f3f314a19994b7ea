/// What the instant of a later turn hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::replay) struct Link {
    /// The conversation.
    pub(in crate::replay) session: u64,
    /// The turn before, by its index in the plan.
    pub(in crate::replay) after: u64,
    pause: Pause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// So long after the end of the turn before.
    Think {
        think_us: u64,
        /// After a failure, not before: when the turn would come at its recorded distance from the one before.
        failed_us: u64,
    },
    /// At this instant, or at the end of the turn before.
    Until { planned_us: u64 },
}

/// How the turn before ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::replay) struct End {
    pub(in crate::replay) at_us: u64,
    /// It brought no whole answer, and no recorded client had cancelled it.
    pub(in crate::replay) failed: bool,
}

impl Link {
    /// A turn that its user thought about. `distance_us` is from the planned instant of the turn before, which was due at
    /// `before_due_us`, to this one's.
    pub(in crate::replay) const fn think(
        session: u64,
        after: u64,
        think_us: u64,
        before_due_us: u64,
        distance_us: u64,
    ) -> Self {
        Self {
            session,
            after,
            pause: Pause::Think {
                think_us,
                failed_us: before_due_us.saturating_add(distance_us),
            },
        }
    }

    /// A turn that keeps its instant where it can.
    pub(super) const fn until(session: u64, after: u64, planned_us: u64) -> Self {
        Self {
            session,
            after,
            pause: Pause::Until { planned_us },
        }
    }

    /// When it is due.
    ///
    /// A failure gives a conversation no head start: a target that refuses at once would otherwise be asked faster than production
    /// ever asked, and a plan would run dry on one that is down.
    pub(in crate::replay) fn due_us(&self, end: End) -> u64 {
        match self.pause {
            Pause::Think {
                think_us,
                failed_us,
            } => {
                let due_us = end.at_us.saturating_add(think_us);
                if end.failed {
                    due_us.max(failed_us)
                } else {
                    due_us
                }
            }
            Pause::Until { planned_us } => planned_us.max(end.at_us),
        }
    }

    /// When it is due at the earliest, if the turn before is answered in no time at `before_due_us`.
    pub(super) fn earliest_us(&self, before_due_us: u64) -> u64 {
        self.due_us(End {
            at_us: before_due_us,
            failed: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn end(at_us: u64, failed: bool) -> End {
        End { at_us, failed }
    }

    #[test]
    fn think_time_is_kept_whatever_the_answer_took() {
        let link = Link::think(1, 0, 30, 100, 80);
        assert_eq!(link.earliest_us(100), 130);
        assert_eq!(link.due_us(end(110, false)), 140);
        assert_eq!(link.due_us(end(900, false)), 930);
    }

    #[test]
    fn a_failure_gives_no_head_start() {
        let link = Link::think(1, 0, 30, 100, 80);
        assert_eq!(link.due_us(end(101, true)), 180);
        assert_eq!(link.due_us(end(500, true)), 530);
    }

    #[test]
    fn catching_up_waits_for_the_later_of_the_two() {
        let link = Link::until(1, 0, 200);
        assert_eq!(link.due_us(end(150, false)), 200);
        assert_eq!(link.due_us(end(250, true)), 250);
    }
}
