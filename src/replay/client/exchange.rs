use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::connect::{ConnectError, Connection};
use super::failure::kind_of;
use super::pool::Pool;
use super::retry_after;
use super::stamped::Stamps;
use crate::dialect::{AnswerReader, ResponseHead, ResponseObserver, ResponseSight};
use crate::replay::pace::RunClock;
use crate::replay::synthesise::{Cancel, Prepared};
use crate::replay::{FailureKind, RequestOutcome, SendResult};

/// What the exchanges of one worker share.
pub(in crate::replay) struct Lane {
    pub(in crate::replay) pool: Arc<Pool>,
    pub(in crate::replay) clock: RunClock,
    /// An answer that brings nothing for so long has failed.
    pub(in crate::replay) idle: Duration,
}

/// Sends a request at once and follows its answer to the end.
pub(in crate::replay) async fn exchange(lane: &Lane, prepared: Prepared) -> RequestOutcome {
    let mut outcome = blank(&prepared);
    let mut follow = Follow {
        lane,
        watch: Watch::new(lane, prepared.cancel),
        outcome: &mut outcome,
    };
    let result = follow.finish(prepared).await;
    outcome.result = match result {
        Ok(()) => SendResult::Ok,
        Err(Cut::Failed(kind)) => SendResult::Failed(kind),
        Err(Cut::Cancelled) => SendResult::Cancelled,
    };
    outcome.end_us = outcome.end_us.max(outcome.sent_us.unwrap_or(0));
    outcome
}

/// The outcome of a request that the generator gave up before it was sent.
pub(in crate::replay) fn dropped(prepared: &Prepared, clock: RunClock) -> RequestOutcome {
    RequestOutcome {
        end_us: clock.now_us(),
        result: SendResult::Failed(FailureKind::Dropped),
        ..blank(prepared)
    }
}

/// A small answer, read whole.
pub(in crate::replay) struct Fetched {
    pub(in crate::replay) status: u16,
    pub(in crate::replay) simulated: bool,
    pub(in crate::replay) body: Vec<u8>,
}

/// Sends a request that no model answers, and reads up to a megabyte of the answer.
pub(in crate::replay) async fn fetch(
    lane: &Lane,
    request: http::Request<Bytes>,
) -> Result<Fetched, FailureKind> {
    let asked = async {
        let mut connection = lane.pool.take().await.map_err(|error| error.kind())?;
        let response = connection
            .sender
            .send_request(request.map(Full::new))
            .await
            .map_err(|error| kind_of(&error, false))?;
        let (head, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| kind_of(&error, true))?;
            bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if bytes.len() > MOST_ERROR_BYTES {
                return Err(FailureKind::Truncated);
            }
        }
        lane.pool.give_back(connection);
        let server = head.headers.get(http::header::SERVER);
        Ok(Fetched {
            status: head.status.as_u16(),
            simulated: server
                .and_then(|value| value.to_str().ok())
                .is_some_and(is_simulator),
            body: bytes,
        })
    };
    tokio::time::timeout(lane.idle, asked)
        .await
        .unwrap_or(Err(FailureKind::Timeout))
}

/// Why an answer was not followed to its end.
enum Cut {
    Failed(FailureKind),
    Cancelled,
}

/// Bytes of an error's body that are read, so that its connection can be used again.
const MOST_ERROR_BYTES: usize = 1 << 20;

struct Follow<'a> {
    lane: &'a Lane,
    watch: Watch,
    outcome: &'a mut RequestOutcome,
}

impl Follow<'_> {
    async fn finish(&mut self, prepared: Prepared) -> Result<(), Cut> {
        let Prepared {
            request,
            endpoint,
            cancel,
            answer,
            ..
        } = prepared;
        let clock = self.lane.clock;
        let taken = self.lane.pool.take().await;
        // The recorded client's patience did not have to wait for a connection.
        self.watch = Watch::new(self.lane, cancel);
        let sleep = tokio::time::sleep_until(self.watch.first().into());
        tokio::pin!(sleep);
        let sent = self
            .send(taken, request.map(Full::new), sleep.as_mut())
            .await;
        let (connection, response) = match sent {
            Ok(sent) => sent,
            Err(cut) => {
                self.outcome.end_us = clock.now_us();
                return Err(cut);
            }
        };
        let stamps = Arc::clone(&connection.stamps);
        self.watch.heard_us = stamps.last_read_us();
        self.outcome.headers_us = Some(self.watch.heard_us);
        let (head, mut body) = response.into_parts();
        let status = head.status.as_u16();
        self.outcome.status = Some(status);
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        self.outcome.simulated = header(http::header::SERVER).is_some_and(is_simulator);
        if let Some(kind) = FailureKind::of_status(status) {
            self.outcome.retry_after_s = header(http::header::RETRY_AFTER)
                .and_then(|value| retry_after::seconds(value, SystemTime::now()));
            let drained = self.drain(&mut body, &stamps, sleep.as_mut()).await;
            self.outcome.end_us = clock.now_us();
            if drained {
                self.lane.pool.give_back(connection);
            }
            return Err(Cut::Failed(kind));
        }
        let mut observer = ResponseObserver::new(
            endpoint,
            ResponseHead {
                status,
                content_type: header(http::header::CONTENT_TYPE),
                content_encoding: header(http::header::CONTENT_ENCODING),
            },
            true,
        );
        let kind = header(http::header::CONTENT_TYPE);
        let mut reader = answer.as_ref().map(|_| AnswerReader::new(endpoint, kind));
        let enough = match cancel {
            Some(Cancel::TokenEvents(events)) => events,
            _ => u32::MAX,
        };
        let ended = loop {
            match self.frame(&mut body, &stamps, sleep.as_mut()).await {
                Ok(Some(bytes)) => {
                    observer.data(stamps.last_read_us(), &bytes);
                    if let Some(reader) = &mut reader {
                        reader.data(&bytes);
                    }
                    if observer.token_events() >= enough {
                        break Err(Cut::Cancelled);
                    }
                }
                Ok(None) => break Ok(()),
                Err(cut) => break Err(cut),
            }
        };
        self.outcome.end_us = match ended {
            Ok(()) => stamps.last_read_us(),
            Err(_) => clock.now_us(),
        };
        if let (Some(answer), Some(text)) = (answer, reader.and_then(AnswerReader::finish)) {
            let _ = answer.set(text);
        }
        let sight = observer.finish();
        let whole = sight.ended && !sight.error;
        self.note(sight, ended.is_ok() && endpoint.generates());
        ended?;
        self.lane.pool.give_back(connection);
        if whole {
            Ok(())
        } else {
            Err(Cut::Failed(FailureKind::Truncated))
        }
    }

    /// Hands the request to a connection and waits for the response's head.
    async fn send(
        &mut self,
        mut taken: Result<Connection, ConnectError>,
        mut request: http::Request<Full<Bytes>>,
        mut sleep: Pin<&mut Sleep>,
    ) -> Result<(Connection, Response<Incoming>), Cut> {
        loop {
            let mut connection = taken.map_err(|error| Cut::Failed(error.kind()))?;
            connection.stamps.arm();
            let answer = connection.sender.try_send_request(request);
            tokio::pin!(answer);
            let answered = loop {
                tokio::select! {
                    biased;
                    answered = answer.as_mut() => break Ok(answered),
                    () = sleep.as_mut() => if let Some(cut) = self.watch.rang(sleep.as_mut()) {
                        break Err(cut);
                    },
                }
            };
            self.outcome.sent_us = connection.stamps.first_write_us();
            let mut error = match answered {
                Err(cut) => return Err(cut),
                Ok(Ok(response)) => return Ok((connection, response)),
                Ok(Err(error)) => error,
            };
            match error.take_message() {
                // An idle connection that the server had closed; nothing of the request was written, so this is no retry.
                Some(unsent) if connection.used && self.outcome.sent_us.is_none() => {
                    request = unsent;
                    taken = self.lane.pool.replace(connection).await;
                }
                _ => return Err(Cut::Failed(kind_of(error.error(), false))),
            }
        }
    }

    /// The next piece of the body; `None` at its end.
    async fn frame(
        &mut self,
        body: &mut Incoming,
        stamps: &Stamps,
        mut sleep: Pin<&mut Sleep>,
    ) -> Result<Option<Bytes>, Cut> {
        loop {
            tokio::select! {
                biased;
                frame = body.frame() => match frame {
                    None => return Ok(None),
                    Some(Err(error)) => return Err(Cut::Failed(kind_of(&error, true))),
                    Some(Ok(frame)) => {
                        self.watch.heard_us = stamps.last_read_us();
                        if let Ok(bytes) = frame.into_data() {
                            return Ok(Some(bytes));
                        }
                    }
                },
                () = sleep.as_mut() => if let Some(cut) = self.watch.rang(sleep.as_mut()) {
                    return Err(cut);
                },
            }
        }
    }

    /// Reads an error's body away; false where that was not worth it or did not work.
    async fn drain(
        &mut self,
        body: &mut Incoming,
        stamps: &Stamps,
        mut sleep: Pin<&mut Sleep>,
    ) -> bool {
        let mut left = MOST_ERROR_BYTES;
        loop {
            match self.frame(body, stamps, sleep.as_mut()).await {
                Ok(Some(bytes)) if bytes.len() <= left => left -= bytes.len(),
                Ok(None) => return true,
                Ok(Some(_)) | Err(_) => return false,
            }
        }
    }

    /// `answered`: tokens came, the last of them at the end.
    fn note(&mut self, sight: ResponseSight, answered: bool) {
        let outcome = &mut *self.outcome;
        if outcome.stream {
            outcome.first_token_us = sight.first_token_us;
            outcome.first_answer_us = sight.first_answer_us;
            outcome.last_token_us = sight.last_token_us;
        } else if answered {
            outcome.first_token_us = Some(outcome.end_us);
        }
        outcome.prompt_tokens = sight.prompt_tokens;
        outcome.output_tokens = sight.output_tokens.map(|tokens| tokens.count);
        outcome.cached_tokens = sight.cached_tokens;
        outcome.finish = sight.finish;
        outcome.token_events = sight.token_events;
        outcome.gaps_us = sight.all_gaps_us;
    }
}

/// Watches over silence and over the recorded client's patience. One timer serves both, and is moved only when it rings, so that
/// a stream of events does not pay for it.
struct Watch {
    clock: RunClock,
    idle_us: u64,
    heard_us: u64,
    cancel_us: u64,
}

impl Watch {
    fn new(lane: &Lane, cancel: Option<Cancel>) -> Self {
        let now_us = lane.clock.now_us();
        Self {
            clock: lane.clock,
            idle_us: u64::try_from(lane.idle.as_micros()).unwrap_or(u64::MAX),
            heard_us: now_us,
            cancel_us: match cancel {
                Some(Cancel::After(us)) => now_us.saturating_add(us),
                _ => u64::MAX,
            },
        }
    }

    /// What the timer's ringing means; where it means nothing yet, it is set again.
    fn rang(&self, sleep: Pin<&mut Sleep>) -> Option<Cut> {
        let now_us = self.clock.now_us();
        let silent_us = self.heard_us.saturating_add(self.idle_us);
        if now_us >= self.cancel_us {
            Some(Cut::Cancelled)
        } else if now_us >= silent_us {
            Some(Cut::Failed(FailureKind::Timeout))
        } else {
            let next = self.clock.instant_at(silent_us.min(self.cancel_us));
            sleep.reset(next.into());
            None
        }
    }

    /// When the timer rings first.
    fn first(&self) -> Instant {
        let silent_us = self.heard_us.saturating_add(self.idle_us);
        self.clock.instant_at(silent_us.min(self.cancel_us))
    }
}

/// How simulated servers introduce themselves.
pub(in crate::replay) fn is_simulator(server: &str) -> bool {
    server.starts_with("reenact-sim")
}

fn blank(prepared: &Prepared) -> RequestOutcome {
    RequestOutcome {
        index: prepared.index,
        session: prepared.turn.session,
        turn: prepared.turn.number,
        planned_us: prepared.planned_us,
        intended_us: prepared.intended_us,
        stream: prepared.stream,
        recorded_prompt_tokens: prepared.recorded_prompt_tokens,
        recorded_output_tokens: prepared.recorded_output_tokens,
        wanted_prompt_tokens: prepared.wanted_prompt_tokens,
        wanted_output_tokens: prepared.wanted_output_tokens,
        planned_shared_tokens: prepared.planned_shared_tokens,
        recorded: prepared.recorded,
        ..RequestOutcome::default()
    }
}
