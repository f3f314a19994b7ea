use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Waker};
use std::time::Duration;

use super::*;
use crate::replay::client::AlikeCounts;
use crate::replay::testing::target;

/// A target that accepts, and says nothing.
struct Silent(TcpListener);

impl Silent {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn pool(&self, sharing: Sharing) -> Arc<Pool> {
        let url = format!("http://{}", self.0.local_addr().unwrap());
        pool_at(&url, sharing)
    }

    /// The connections that have come.
    fn accepted(&self) -> Vec<TcpStream> {
        std::iter::from_fn(|| self.0.accept().ok())
            .map(|(stream, _)| stream)
            .collect()
    }
}

fn pool_at(url: &str, sharing: Sharing) -> Arc<Pool> {
    let connector = Connector::new(&target(url), Duration::from_secs(5)).unwrap();
    Arc::new(Pool::new(connector, sharing))
}

/// On a runtime as a worker has it.
fn on_worker(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

const AS_RECORDED: Sharing = Sharing::AsRecorded(usize::MAX);
const BEGINS: Option<bool> = Some(true);
const USES_AGAIN: Option<bool> = Some(false);

/// A connection for a request that is announced and comes at once.
async fn come(pool: &Arc<Pool>, begins: Option<bool>) -> Connection {
    pool.expect(begins);
    pool.take(begins).await.unwrap()
}

#[test]
fn it_is_short_while_what_is_announced_has_no_connection() {
    on_worker(async {
        let target = Silent::start();
        let pool = target.pool(AS_RECORDED);
        assert!(!pool.is_short());
        pool.expect(USES_AGAIN);
        assert!(pool.is_short(), "it is only being opened");
        let connection = pool.take(USES_AGAIN).await.unwrap();
        assert!(!pool.is_short());
        pool.give_back(connection);
        pool.expect(USES_AGAIN);
        assert!(!pool.is_short());
        pool.expect(USES_AGAIN);
        assert!(pool.is_short());
    });
}

/// Who looks for connections under a cap that is reached would look for nothing before each of its sends.
#[test]
fn it_is_not_short_while_all_turns_are_taken() {
    on_worker(async {
        let target = Silent::start();
        let pool = target.pool(Sharing::AtMost(1));
        pool.expect(None);
        assert!(!pool.is_short(), "what is being opened has the turn");
        let connection = pool.take(None).await.unwrap();
        pool.expect(None);
        assert!(!pool.is_short());
        pool.give_back(connection);
        assert!(!pool.is_short(), "it is there");
        pool.expect(None);
        assert!(pool.is_short());
    });
}

#[test]
fn a_connection_is_ready_before_the_request_that_begins_it() {
    on_worker(async {
        let target = Silent::start();
        let pool = target.pool(AS_RECORDED);
        pool.give_back(come(&pool, None).await);
        pool.expect(BEGINS);
        while pool.shelf().opening > 0 {
            tokio::task::yield_now().await;
        }
        let taken = pool.take(BEGINS);
        let mut taken = std::pin::pin!(taken);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let ready = taken.as_mut().poll(&mut cx);
        assert!(matches!(ready, std::task::Poll::Ready(Ok(it)) if !it.used));
        assert_eq!(target.accepted().len(), 2);
        assert_eq!(pool.shelf().idle(), 1);
    });
}

#[test]
fn who_comes_while_a_connection_is_being_opened_waits_for_that_one() {
    on_worker(async {
        let target = Silent::start();
        let pool = target.pool(AS_RECORDED);
        for _ in 0..10 {
            assert!(!come(&pool, BEGINS).await.used);
        }
        assert_eq!(target.accepted().len(), 10);
    });
}

#[test]
fn what_was_opened_ahead_for_nothing_goes_to_the_next_that_begins_one() {
    on_worker(async {
        let target = Silent::start();
        let pool = target.pool(AS_RECORDED);
        let first = come(&pool, BEGINS).await;
        pool.expect(USES_AGAIN);
        pool.give_back(first);
        let second = pool.take(USES_AGAIN).await.unwrap();
        assert!(second.used);
        let third = come(&pool, BEGINS).await;
        assert!(!third.used);
        assert_eq!(target.accepted().len(), 2);
        // Nor does who uses one again take what is opened for who begins one.
        pool.expect(BEGINS);
        assert!(!pool.shelf().has_spare());
        let fourth = pool.take(USES_AGAIN).await.unwrap();
        let fifth = pool.take(BEGINS).await.unwrap();
        assert!(!fourth.used && !fifth.used);
        assert_eq!(target.accepted().len(), 2);
    });
}

#[test]
fn where_none_can_be_opened_who_waits_is_told_and_does_not_wait_again() {
    on_worker(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let pool = pool_at(&url, AS_RECORDED);
        for begins in [BEGINS, USES_AGAIN] {
            pool.expect(begins);
            assert!(pool.take(begins).await.is_err());
        }
        pool.expect(BEGINS);
        pool.renounce(BEGINS);
        let traffic = pool.connector.traffic();
        let count = |it: &AlikeCounts| (it.told.load(Relaxed), it.done.load(Relaxed));
        assert_eq!(
            (count(&traffic.began), count(&traffic.used_again)),
            ((2, 0), (1, 0)),
            "who got none did not do as it had"
        );
    });
}

#[test]
fn only_so_many_are_kept_idle_and_those_longest_idle_are_closed() {
    on_worker(async {
        let target = Silent::start();
        let pool = target.pool(Sharing::AsRecorded(2));
        let mut taken = Vec::new();
        for _ in 0..4 {
            taken.push(come(&pool, BEGINS).await);
        }
        let mut accepted = target.accepted();
        taken.drain(..).for_each(|one| pool.give_back(one));
        assert_eq!(pool.shelf().idle(), 2);
        let open: Vec<bool> = accepted
            .iter_mut()
            .map(|stream| {
                stream.set_nonblocking(true).unwrap();
                std::io::Read::read(stream, &mut [0]).is_err()
            })
            .collect();
        assert_eq!(open, [false, false, true, true]);
    });
}

#[test]
fn a_target_is_trusted_with_old_connections_until_it_has_closed_one() {
    on_worker(async {
        let target = Silent::start();
        let pool = target.pool(AS_RECORDED);
        let old = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let (first, second) = (come(&pool, BEGINS).await, come(&pool, BEGINS).await);
        pool.shelf().put(first, old);
        let first = come(&pool, USES_AGAIN).await;
        assert_eq!(target.accepted().len(), 2, "and they are closed");
        for closed in [first, second] {
            pool.shelf().put(closed, old);
        }
        pool.expect(USES_AGAIN);
        let at_hand = {
            let shelf = pool.shelf();
            (shelf.idle(), shelf.opening)
        };
        assert_eq!(at_hand, (0, 1));
        let third = pool.take(USES_AGAIN).await.unwrap();
        assert!(!third.used);
        pool.shelf().put(third, old);
        pool.expect(USES_AGAIN);
        assert_eq!(pool.shelf().idle(), 0, "it is open, and not trusted");
    });
}

#[test]
fn a_connection_that_was_found_closed_counts_as_none_that_was_used_again() {
    on_worker(async {
        let target = Silent::start();
        let pool = target.pool(AS_RECORDED);
        let first = come(&pool, BEGINS).await;
        pool.give_back(first);
        let again = come(&pool, USES_AGAIN).await;
        let traffic = pool.connector.traffic();
        let count = || {
            let again = &traffic.used_again;
            let counts = [&again.told, &again.done, &traffic.reused];
            counts.map(|count| count.load(Relaxed))
        };
        assert_eq!(count(), [1, 1, 1]);
        let old = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let idle = come(&pool, BEGINS).await;
        pool.shelf().put(idle, old);
        let other = pool.replace(again).await.unwrap();
        assert!(!other.used);
        assert_eq!(count(), [1, 0, 0]);
        pool.expect(USES_AGAIN);
        assert_eq!(
            pool.shelf().idle(),
            0,
            "one was closed: no old one is trusted"
        );
    });
}

#[test]
fn a_connection_that_is_waited_for_is_not_promised_to_another() {
    on_worker(async {
        let target = Silent::start();
        let pool = target.pool(AS_RECORDED);
        pool.expect(BEGINS);
        let mut first = Box::pin(pool.take(BEGINS));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut cx).is_pending());
        pool.expect(BEGINS);
        assert_eq!(pool.shelf().opening, 2);
        let second = pool.take(BEGINS);
        let (first, second) = tokio::join!(first, second);
        drop((first.unwrap(), second.unwrap()));
        assert_eq!(target.accepted().len(), 2);
    });
}
