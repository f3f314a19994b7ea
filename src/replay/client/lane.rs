use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::connect::Connector;
use super::pool::{Pool, Sharing};
use crate::replay::Readers;
use crate::replay::pace::RunClock;
use crate::replay::synthesise::Prepared;

/// What the exchanges of one worker share.
pub(in crate::replay) struct Lane {
    pub(in crate::replay) pool: Arc<Pool>,
    /// Where some clients may take their answers slowly.
    pub(in crate::replay) slow: Option<SlowLane>,
    pub(in crate::replay) clock: RunClock,
    /// An answer that brings nothing for so long has failed.
    pub(in crate::replay) idle: Duration,
}

/// What the exchanges of slow clients share. Their connections are their own: little room to receive in is a thing of the connection.
pub(in crate::replay) struct SlowLane {
    readers: Readers,
    /// What is drawn of the sessions is drawn with this.
    seed: u64,
    connector: Connector,
    sharing: Sharing,
    /// By the room that their connections have.
    pools: [OnceLock<Arc<Pool>>; ROOMS],
}

/// A client that takes its answer slowly.
#[derive(Clone, Copy)]
pub(in crate::replay) struct SlowClient<'a> {
    /// Bytes that it takes in a second, at most.
    pub(super) bytes_per_s: u64,
    pub(super) pool: &'a Arc<Pool>,
}

impl Lane {
    /// The connections that a request's client has.
    pub(in crate::replay) fn pool(&self, prepared: &Prepared) -> &Arc<Pool> {
        self.slow(prepared).map_or(&self.pool, |slow| slow.pool)
    }

    /// Whether some of what is announced has no connection yet, and may have one soon.
    pub(in crate::replay) fn is_short(&self) -> bool {
        let slow = self.slow.iter().flat_map(|slow| &slow.pools);
        let mut slow = slow.filter_map(OnceLock::get);
        self.pool.is_short() || slow.any(|pool| pool.is_short())
    }

    /// Where a request's client is slow.
    pub(super) fn slow(&self, prepared: &Prepared) -> Option<SlowClient<'_>> {
        let slow = self.slow.as_ref()?;
        let bytes_per_s = slow.readers.bytes_per_s(slow.seed, prepared)?;
        let room = room(bytes_per_s);
        let pool = slow.pools.get(room)?.get_or_init(|| {
            let connector = slow.connector.of_slow_clients(window(room));
            Arc::new(Pool::new(connector, slow.sharing))
        });
        Some(SlowClient { bytes_per_s, pool })
    }
}

impl SlowLane {
    /// Where no client is slow there is none.
    pub(in crate::replay) fn new(
        readers: Readers,
        seed: u64,
        connector: &Connector,
        sharing: Sharing,
    ) -> Option<Self> {
        (readers != Readers::Fast).then(|| Self {
            readers,
            seed,
            connector: connector.clone(),
            sharing,
            pools: Default::default(),
        })
    }
}

/// Room to receive in comes in powers of two, from 1 KiB to as much as a system gives by itself.
const ROOMS: usize = 7;

/// How much lies between a client of this rate and its server before the server feels it: at most the bytes of a tenth of a second, as a
/// client behind a link of that rate has them, but no less than a system gives room for.
fn room(bytes_per_s: u64) -> usize {
    let kibibytes = (bytes_per_s / 10) >> 10;
    let room = kibibytes.checked_ilog2().unwrap_or(0);
    usize::try_from(room).map_or(0, |room| room.min(ROOMS - 1))
}

/// The same in bytes.
fn window(room: usize) -> u32 {
    ((1 << 10) << room.min(ROOMS - 1)).min((64 << 10) - 1)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::replay::ReadRate;
    use crate::replay::testing::{prepared, target};

    #[tokio::test]
    async fn it_is_short_where_slow_clients_are() {
        let connector = Connector::new(&target("http://127.0.0.1:9"), Duration::ZERO).unwrap();
        let pool = Pool::new(connector.clone(), Sharing::Free);
        let lane = Lane {
            pool: Arc::new(pool),
            slow: SlowLane::new(Readers::AsRecorded, 0, &connector, Sharing::Free),
            clock: RunClock::starting_at(Instant::now()),
            idle: Duration::ZERO,
        };
        assert!(!lane.is_short());
        let mut prepared = prepared();
        prepared.reader_bytes_per_s = Some(10_000);
        lane.pool(&prepared).expect(None);
        assert!(lane.is_short() && !lane.pool.is_short());
    }

    #[test]
    fn little_lies_between_a_slow_client_and_its_server() {
        let window = |bytes_per_s| window(room(bytes_per_s));
        assert_eq!(window(ReadRate::SLOWEST_BYTES_PER_S), 1024);
        assert_eq!(window(20_479), 1024);
        assert_eq!(window(20_480), 2048);
        assert_eq!(window(100_000), 8192);
        assert_eq!(window(655_359), 32_768);
        assert_eq!(window(655_360), 65_535);
        assert_eq!(window(u64::MAX), 65_535);
    }
}
