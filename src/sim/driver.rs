//! The engine on a real clock: a thread that computes steps, sleeps until each ends, and hands out its tokens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use tokio::sync::mpsc;

use super::Config;
use super::engine::{Engine, Event, Refusal, RequestId, Stats, Submission};
use super::metrics::Metrics;

/// What an answer's reader is told. As many as the answer has tokens, so the queue is bounded by the request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Delivery {
    /// It cannot be served now.
    Refused(Refusal),
    /// The first of it is being computed.
    Admitted {
        /// Prompt tokens found in the prefix cache.
        cached_tokens: u32,
    },
    /// The next token of a choice.
    Token {
        /// Which choice.
        choice: u32,
        /// Which token of it.
        ordinal: u32,
    },
    /// All choices are complete.
    Done,
}

enum Order {
    Submit {
        request: RequestId,
        submission: Submission,
        reader: mpsc::UnboundedSender<Delivery>,
    },
    Cancel(RequestId),
    Stop,
}

/// How the server talks to the engine's thread.
#[derive(Clone)]
pub(super) struct Orders {
    sender: Sender<Order>,
    stats: Arc<Mutex<Stats>>,
}

impl Orders {
    /// Submits a request; what becomes of it comes through the receiver.
    pub(super) fn submit(
        &self,
        request: RequestId,
        submission: Submission,
    ) -> mpsc::UnboundedReceiver<Delivery> {
        let (reader, deliveries) = mpsc::unbounded_channel();
        // If the engine is gone, the receiver finds its sender gone, too.
        let _ = self.sender.send(Order::Submit {
            request,
            submission,
            reader,
        });
        deliveries
    }

    /// Ends a request before its time; one that is over is left alone.
    pub(super) fn cancel(&self, request: RequestId) {
        let _ = self.sender.send(Order::Cancel(request));
    }

    pub(super) fn stop(&self) {
        let _ = self.sender.send(Order::Stop);
    }

    /// The engine's truth as of its last step.
    pub(super) fn stats(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the engine's thread.
pub(super) fn start(
    config: Config,
    metrics: Arc<Metrics>,
) -> std::io::Result<(Orders, JoinHandle<()>)> {
    let (sender, receiver) = unbounded();
    let stats = Arc::new(Mutex::new(Stats::default()));
    let orders = Orders {
        sender,
        stats: Arc::clone(&stats),
    };
    let thread = std::thread::Builder::new()
        .name("sim-engine".to_owned())
        .spawn(move || {
            let driver = Driver {
                engine: Engine::new(config),
                readers: HashMap::new(),
                began: Instant::now(),
                events: Vec::new(),
                stats,
                metrics,
            };
            driver.run(&receiver);
        })?;
    Ok((orders, thread))
}

struct Driver {
    engine: Engine,
    readers: HashMap<RequestId, mpsc::UnboundedSender<Delivery>>,
    began: Instant,
    events: Vec<Event>,
    stats: Arc<Mutex<Stats>>,
    metrics: Arc<Metrics>,
}

impl Driver {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            self.tell();
            // Everything that is there already takes part in the step.
            while let Ok(order) = orders.try_recv() {
                if !self.obey(order) {
                    return;
                }
            }
            let Some(end_us) = self.engine.begin_step(self.now_us(), &mut self.events) else {
                match orders.recv() {
                    Ok(order) => {
                        if !self.obey(order) {
                            return;
                        }
                        continue;
                    }
                    Err(_) => return,
                }
            };
            self.tell();
            let end = self.began + Duration::from_micros(end_us);
            loop {
                match orders.recv_deadline(end) {
                    Ok(order) => {
                        if !self.obey(order) {
                            return;
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            self.engine.finish_step(&mut self.events);
        }
    }

    /// `false` when it is to stop.
    fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Submit {
                request,
                submission,
                reader,
            } => {
                let now_us = self.now_us();
                match self.engine.submit(now_us, request, submission) {
                    Ok(()) => {
                        self.readers.insert(request, reader);
                    }
                    Err(refusal) => {
                        let _ = reader.send(Delivery::Refused(refusal));
                    }
                }
            }
            Order::Cancel(request) => {
                self.engine.cancel(request);
                self.readers.remove(&request);
            }
            Order::Stop => return false,
        }
        true
    }

    /// Hands out what has happened. A reader that is gone cancels by itself.
    fn tell(&mut self) {
        for event in self.events.drain(..) {
            self.metrics.note(&event);
            let (request, delivery) = match event {
                Event::Admitted {
                    request,
                    cached_tokens,
                    ..
                } => (request, Delivery::Admitted { cached_tokens }),
                Event::Token {
                    request,
                    choice,
                    ordinal,
                    ..
                } => (request, Delivery::Token { choice, ordinal }),
                Event::Done { request, .. } => (request, Delivery::Done),
            };
            if let Some(reader) = self.readers.get(&request) {
                let _ = reader.send(delivery);
            }
            if matches!(delivery, Delivery::Done) {
                self.readers.remove(&request);
            }
        }
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = self.engine.stats();
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
