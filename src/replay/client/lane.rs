use std::sync::Arc;
use std::time::Duration;

use super::pool::Pool;
use crate::replay::ReadRate;
use crate::replay::pace::RunClock;
use crate::replay::synthesise::Prepared;

/// What the exchanges of one worker share.
pub(in crate::replay) struct Lane {
    pub(in crate::replay) pool: Arc<Pool>,
    /// Where some clients take their answers slowly.
    pub(in crate::replay) slow: Option<SlowLane>,
    pub(in crate::replay) clock: RunClock,
    /// An answer that brings nothing for so long has failed.
    pub(in crate::replay) idle: Duration,
}

/// What the exchanges of slow clients share. Their connections are their own: little room to receive in is a thing of the connection.
pub(in crate::replay) struct SlowLane {
    pub(in crate::replay) rate: ReadRate,
    /// What is drawn of the sessions is drawn with this.
    pub(in crate::replay) seed: u64,
    pub(in crate::replay) pool: Arc<Pool>,
}

impl Lane {
    /// The connections that a request's client has.
    pub(in crate::replay) fn pool(&self, prepared: &Prepared) -> &Arc<Pool> {
        self.slow(prepared).map_or(&self.pool, |slow| &slow.pool)
    }

    /// Where a request's client is slow.
    pub(super) fn slow(&self, prepared: &Prepared) -> Option<&SlowLane> {
        let slow = self.slow.as_ref()?;
        let is_slow = slow
            .rate
            .is_of(slow.seed, prepared.turn.session, prepared.index);
        is_slow.then_some(slow)
    }
}
