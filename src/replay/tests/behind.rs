//! A sender that has fallen behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::replay::agenda::{Handed, Order};
use crate::replay::client::{Connector, Sharing};
use crate::replay::conversation::Due;
use crate::replay::room::{Account, Room};
use crate::replay::testing::prepared;
use crate::replay::worker::{Worker, runtime, work};

const OVERDUE: u64 = 1000;

/// Answers each request at once, on the sender's own runtime: however busy the machine is, it gets as many turns.
async fn accept(listener: TcpListener, accepted: Arc<AtomicU64>) {
    while let Ok((stream, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) {
    let mut request = [0; 1 << 13];
    // A request comes in one piece.
    while stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 14\r\n\r\ndata: [DONE]\n\n";
        stream.write_all(answer).await.unwrap();
    }
}

/// As if its machine had stood still: a thousand instants have passed. The answers come at once, so the connections of the first serve the
/// others; to open one for each would take longer than to send them all, and those that follow would be late, too.
#[test]
fn it_does_not_open_a_connection_for_each_request_that_is_overdue() {
    let runtime = runtime().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicU64::new(0));
    runtime.spawn(accept(listener, Arc::clone(&accepted)));
    let (orders, receiver) = tokio::sync::mpsc::unbounded_channel();
    let order = |index| {
        let mut prepared = prepared();
        prepared.index = index;
        Order::Send(Handed {
            prepared: Box::new(prepared),
            due: Due::At(index),
            account: Account::Turn,
            bytes: 0,
        })
    };
    orders.send((0..OVERDUE).map(order).collect()).unwrap();
    drop(orders);
    let (events, _events) = crossbeam_channel::unbounded();
    let (tell, outcomes) = crossbeam_channel::unbounded();
    let worker = Worker {
        number: 0,
        connector: Connector::new(&target(&url), Duration::from_secs(5)).unwrap(),
        connections: Sharing::AsRecorded(usize::MAX),
        readers: Readers::Fast,
        seed: 1,
        idle: Duration::from_secs(60),
        lead: Duration::from_millis(5),
        busy_poll: false,
        max_in_flight: OVERDUE,
        linked: false,
        live_history: false,
        room: Room::new(1),
        events,
        progress: Progress::default(),
        stop: Stop::default(),
        outcomes: tell,
    };
    let start = Instant::now() - Duration::from_secs(1);
    work(worker, &runtime, start, receiver).unwrap();
    let outcomes: Vec<RequestOutcome> = outcomes.iter().flatten().collect();
    assert_eq!(outcomes.len() as u64, OVERDUE);
    assert!(outcomes.iter().all(|it| it.result == SendResult::Ok));
    let accepted = accepted.load(Ordering::Relaxed);
    assert!(accepted < OVERDUE / 2, "{accepted} connections");
}
