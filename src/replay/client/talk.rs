use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

use super::brake::Brake;
use super::connect::ConnectError;
use super::connection::{Connection, READ, Socket, Wire};
use super::lane::{Lane, SlowClient};
use super::message::{Message, Outgoing};
use super::pool::Pool;
use super::watch::Watch;
use crate::net::http1::{Answer, ResponseHead, Seen};
use crate::replay::FailureKind;

/// Why an answer was not followed to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Failed(FailureKind),
    Cancelled,
}

/// Who follows an answer.
pub(super) trait Listener {
    /// Its head came at `at_us`.
    fn head(&mut self, at_us: u64, head: &ResponseHead<'_>);

    /// Some of its body came.
    fn data(&mut self, at_us: u64, bytes: &[u8]);

    /// Why it wants no more, if so.
    fn enough(&self) -> Option<Cut>;
}

/// One request and its answer, here over HTTP/1. The task that follows the answer writes and reads itself: it went
/// out as the system was called, and came as the system had it; an answer costs nothing while it is silent.
pub(super) struct Talk<'a, L> {
    pub(super) lane: &'a Lane,
    pool: &'a Pool,
    /// Where its client takes the answer slowly.
    pub(super) brake: Option<Brake>,
    pub(super) listener: &'a mut L,
    pub(super) outgoing: Outgoing,
    answer: Answer,
    pub(super) watch: Watch,
    /// The target takes no more of the request; it may have answered all the same.
    refused: bool,
    /// More came than the answer.
    surplus: bool,
    /// It had to wait for others on its connection before it could be sent.
    pub(super) queued: bool,
    pub(super) sent_us: Option<u64>,
}

/// What is known of a talk's course.
pub(super) struct Course {
    /// When its first byte was handed to the system.
    pub(super) sent_us: Option<u64>,
    /// When something was read last.
    pub(super) heard_us: u64,
    /// Whether the answer was followed to its end.
    pub(super) ended: Result<(), Cut>,
}

impl<'a, L: Listener> Talk<'a, L> {
    pub(super) fn new(lane: &'a Lane, message: Message, watch: Watch, listener: &'a mut L) -> Self {
        Self {
            lane,
            pool: &lane.pool,
            brake: None,
            listener,
            outgoing: Outgoing::new(message),
            answer: Answer::default(),
            watch,
            refused: false,
            surplus: false,
            queued: false,
            sent_us: None,
        }
    }

    /// Has a slow client take the answer.
    pub(super) fn slow_down(&mut self, slow: SlowClient<'a>) {
        self.pool = slow.pool;
        self.brake = Some(Brake::new(slow.bytes_per_s));
    }

    /// Sends the request over a connection and follows the answer to its end; the connection goes back to the pool if another
    /// exchange can go over it.
    pub(super) async fn over(&mut self, taken: Result<Connection, ConnectError>) -> Course {
        let ended = self.converse(taken).await;
        if let Some(brake) = &self.brake {
            self.pool.note_slow(brake.has_held());
        }
        Course {
            sent_us: self.sent_us,
            heard_us: self.watch.heard_us(),
            ended,
        }
    }

    async fn converse(&mut self, mut taken: Result<Connection, ConnectError>) -> Result<(), Cut> {
        let sleep = self.watch.sleep();
        tokio::pin!(sleep);
        loop {
            let mut connection = taken.map_err(|error| Cut::Failed(error.kind()))?;
            let ended = match &mut connection.wire {
                Wire::Http1(socket) => {
                    let step = |cx: &mut Context<'_>| self.poll(cx, socket, sleep.as_mut());
                    std::future::poll_fn(step).await
                }
                // Apart: it takes more than all the rest.
                Wire::Http2(link) => Box::pin(self.stream(link, sleep.as_mut())).await,
            };
            match ended {
                Ok(()) => {
                    if self.leaves_it_whole(&connection.wire) {
                        self.pool.give_back(connection);
                    }
                    return Ok(());
                }
                // The target had closed it while it was idle, or said goodbye before it took another stream; nothing of the request was
                // written, so this is no retry.
                Err(Cut::Failed(FailureKind::Reset))
                    if (connection.used || self.queued) && self.sent_us.is_none() =>
                {
                    self.refused = false;
                    taken = self.pool.replace(connection).await;
                }
                Err(cut) => {
                    // The request crossed a close on its way.
                    let closed = cut == Cut::Failed(FailureKind::Reset) && !self.answer.has_begun();
                    if closed && connection.used {
                        self.pool.distrust();
                    }
                    return Err(cut);
                }
            }
        }
    }

    /// Whether another exchange can go over it after this one.
    fn leaves_it_whole(&self, wire: &Wire) -> bool {
        match wire {
            Wire::Http1(_) => {
                self.outgoing.is_over() && !self.surplus && self.answer.keeps_connection()
            }
            Wire::Http2(_) => true,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Socket,
        sleep: Pin<&mut Sleep>,
    ) -> Poll<Result<(), Cut>> {
        self.write(cx, connection);
        loop {
            let most = match &mut self.brake {
                None => READ,
                Some(brake) => match brake.poll(cx) {
                    Poll::Ready(most) => most,
                    Poll::Pending => break,
                },
            };
            match connection.poll_read(cx, most, |read, came| self.take(read, came)) {
                Poll::Pending => {
                    if let Some(brake) = &mut self.brake {
                        brake.found_nothing();
                    }
                    break;
                }
                Poll::Ready(ControlFlow::Break(end)) => return Poll::Ready(end),
                Poll::Ready(ControlFlow::Continue(())) => {}
            }
        }
        self.watch.poll(cx, sleep).map(Err)
    }

    /// Writes what the connection takes.
    fn write(&mut self, cx: &mut Context<'_>, connection: &mut Socket) {
        while !self.refused && !self.outgoing.is_over() {
            let at = Instant::now();
            match connection.poll_write(cx, &mut self.outgoing) {
                Poll::Pending => return,
                Poll::Ready(Ok(_)) => {
                    let clock = self.lane.clock;
                    self.sent_us.get_or_insert_with(|| clock.us_at(at));
                }
                Poll::Ready(Err(_)) => self.refused = true,
            }
        }
    }

    /// The moment of what is taken now and `came` to the system before: never before what was heard last, nor before the request, since the
    /// wall clock that stamps may have been set meanwhile.
    pub(super) fn moment(&self, came: Instant) -> u64 {
        let after = self.watch.heard_us().max(self.sent_us.unwrap_or(0));
        let clock = &self.lane.clock;
        let at_us = match &self.brake {
            None => clock.us_at(came),
            // It lay there because its client did not take it.
            Some(_) => clock.now_us(),
        };
        at_us.max(after)
    }

    /// Takes what was read, and had come then.
    fn take(&mut self, read: io::Result<&[u8]>, came: Instant) -> ControlFlow<Result<(), Cut>> {
        let failed = |kind| ControlFlow::Break(Err(Cut::Failed(kind)));
        let begun = self.answer.has_begun();
        let bytes = match read {
            Ok([]) if self.answer.close() => return ControlFlow::Break(Ok(())),
            // It stopped in the middle, but by an orderly end of the connection.
            Ok([]) if begun => return failed(FailureKind::Truncated),
            Err(error) if begun && error.kind() == io::ErrorKind::UnexpectedEof => {
                return failed(FailureKind::Truncated);
            }
            Ok([]) | Err(_) => return failed(FailureKind::Reset),
            Ok(bytes) => bytes,
        };
        if let Some(brake) = &mut self.brake {
            brake.took(bytes.len());
        }
        let at_us = self.moment(came);
        let listener = &mut *self.listener;
        let fed = self.answer.feed(bytes, |seen| match seen {
            Seen::Head(head) => listener.head(at_us, &head),
            Seen::Data(data) => listener.data(at_us, data),
        });
        if self.watch.heard(at_us) {
            return ControlFlow::Break(Err(Cut::Cancelled));
        }
        match fed {
            Err(_) if self.answer.has_begun() => return failed(FailureKind::Truncated),
            Err(_) => return failed(FailureKind::NotHttp),
            Ok(taken) => self.surplus |= taken < bytes.len(),
        }
        match self.listener.enough() {
            Some(cut) => ControlFlow::Break(Err(cut)),
            None if self.answer.is_over() => ControlFlow::Break(Ok(())),
            None => ControlFlow::Continue(()),
        }
    }
}
