//! What an exchange comes to, once it has ended.

use std::sync::Arc;

use super::super::reading::{Panicked, guarded};
use super::Assembly;
use crate::anonymise::{Chain, Conversation, Private, Sighting, Turns};
use crate::dialect::{RequestSight, ResponseObserver, ResponseSight, Told, http_status_of_grpc};
use crate::record::mirror::Offered;
use crate::record::tape::ledger::Ledger;
use crate::record::tape::parcel::{Closing, End};
use crate::shape::{
    Exchange, FinishReason, GapTrail, MediaType, Method, Outcome, RequestShape, ResponseShape,
    ShapeStatus, TokenCount, TokenSource, TraceTime,
};

/// What is known of a request, before the gate.
#[derive(Default)]
pub(super) struct KnownRequest {
    pub(super) shape: RequestShape,
    pub(super) model: Option<Private>,
    pub(super) chain: Chain,
    pub(super) turns: Turns,
    /// Tokens by the local tokenizer.
    pub(super) tokens: Option<u32>,
}

/// A finished exchange, before the gate.
pub(in crate::record) struct Finished {
    /// The shape, and what must pass the gate.
    pub(in crate::record) sighting: Sighting,
    /// The model asked for, for the metrics' own pseudonyms.
    pub(in crate::record) model: Option<Private>,
    /// The `code` label: the status, 499 for a client that left, 502 or 504 for the upstream's faults.
    pub(in crate::record) code: u16,
    /// From arrival to the hand-over to an upstream connection.
    pub(in crate::record) overhead_us: Option<u64>,
    /// From arrival to the end.
    pub(in crate::record) duration_us: u64,
    /// Which conversation it is a turn of: by the client's own word, else by how its prompt begins.
    pub(in crate::record) conversation: Option<Conversation>,
    pub(in crate::record) probe: bool,
    /// What a mirror has made of the request.
    pub(in crate::record) mirrored: Offered,
    pub(in crate::record) simulated: bool,
}

impl Assembly {
    /// The exchange, once its closing has been taken.
    pub(in crate::record::tape::observe) fn finish(
        mut self,
        at: TraceTime,
        ledger: &Arc<Ledger>,
    ) -> Finished {
        if self.awaits_body() {
            self.is_other();
        }
        let stream = self.is_stream();
        let gathered = self.response.as_ref().map(ResponseObserver::held_bytes);
        if gathered.is_some_and(|bytes| !self.may_read(ledger, bytes, 0)) {
            self.is_in_trouble(ShapeStatus::Shed);
        }
        let mut sight = match self.response.take() {
            None => ResponseSight::default(),
            Some(observer) => guarded(|| observer.finish()).unwrap_or_else(|Panicked| {
                self.is_in_trouble(ShapeStatus::Failed);
                ResponseSight::default()
            }),
        };
        self.note_calls_end(&mut sight);
        let frames = self.frames.take();
        sight.events = frames.as_ref().map_or(sight.events, |it| it.events);
        let closing = self.closing.unwrap_or(Closing {
            at_us: 0,
            end: End::Cut,
            answered: None,
            reader_wait_us: 0,
        });
        if self.told == Told::ByBody
            && matches!(closing.end, End::Whole)
            && !self.is_borne_out(&sight)
        {
            self.is_other();
            sight = ResponseSight::default();
        }
        // An answer that was cut off cannot be expected to parse.
        if sight.unparsable && matches!(closing.end, End::Whole) {
            self.is_in_trouble(ShapeStatus::Unparsable);
        }
        if sight.too_large {
            self.is_in_trouble(ShapeStatus::TooLarge);
        }
        let at_us = closing.at_us;
        let status = match (self.head, closing.end) {
            (Some(head), End::Whole) if head.status == 200 => self.said_status(),
            (Some(head), _) => head.status,
            (None, End::Whole) => closing.answered.unwrap_or(0),
            (None, _) => 0,
        };
        // A stream that was read to its end and did not say so; one that could not be read says nothing.
        let unfinished =
            stream && self.is_read() && self.trouble.is_none() && !sight.encoded && !sight.ended;
        let outcome = match closing.end {
            End::Whole if status >= 400 => Outcome::Rejected,
            End::Whole if sight.error || unfinished => Outcome::Truncated { at_us },
            End::Whole => Outcome::Completed,
            End::ClientCancelled => Outcome::ClientCancelled { at_us },
            End::Refused => Outcome::UpstreamRefused { at_us },
            End::Reset => Outcome::UpstreamReset { at_us },
            End::Timeout => Outcome::UpstreamTimeout { at_us },
            End::Cut => Outcome::Truncated { at_us },
        };
        let code = match closing.end {
            End::ClientCancelled => 499,
            End::Refused | End::Reset => closing.answered.unwrap_or(502),
            End::Timeout => closing.answered.unwrap_or(504),
            End::Whole | End::Cut => status,
        };
        let shape = match self.trouble {
            Some(trouble) => trouble,
            None if self.is_read() => ShapeStatus::Known,
            None => ShapeStatus::Generic,
        };
        let endpoint = self.endpoint();
        let conversation = self.conversation();
        let [asked_type, answered_type] = self.media_types();
        let opening = self.opening.take();
        let request = self.request.take();
        let named = opening.and_then(|opening| opening.conversation);
        let mut known = self.known(request, sight.prompt_tokens);
        known.model = known.model.or(self.model.take());
        known.shape.media_type = asked_type;
        let mut pace = self.pace.take().filter(|_| !self.is_read());
        let mut frame_shape = None;
        if let Some(mut frames) = frames {
            frame_shape = Some(Box::new(frames.take_shape()));
            known.shape.messages = frames.messages;
            pace = Some(Box::new(frames.pace));
        }
        let (answer_bytes, answer_tokens) = (sight.answer_bytes, sight.answer_tokens);
        let answer_name = sight.answer_name.clone();
        let mut response = self.response_shape(status, closing, sight);
        response.media_type = answered_type;
        if let Some(pace) = pace {
            response.gaps = pace.gaps;
            response.trail = pace.trail;
        }
        let exchange = Exchange {
            at,
            endpoint,
            method: opening.map_or(Method::Other, |opening| opening.method),
            model: None,
            session: None,
            client: None,
            in_flight: opening.map_or(0, |opening| opening.in_flight),
            new_connection: opening.map(|opening| opening.new_connection),
            shape,
            request: known.shape,
            response,
            frames: frame_shape,
            outcome,
        };
        Finished {
            model: known.model.clone(),
            sighting: Sighting {
                exchange,
                model: known.model,
                chain: known.chain,
                named,
                turns: known.turns,
                prompt_tokens: known.tokens,
                answer_tokens,
                answer_bytes,
                answer_name,
                disguise: self.disguise,
            },
            code,
            overhead_us: self.sent_us,
            duration_us: at_us,
            conversation,
            probe: opening.is_some_and(|opening| opening.probe),
            mirrored: std::mem::take(&mut self.mirrored),
            simulated: self.head.is_some_and(|head| head.simulated),
        }
    }

    /// A call over gRPC ends with its status, after the last message; one that broke off has none.
    fn note_calls_end(&self, sight: &mut ResponseSight) {
        if let Some(status) = self.grpc_status {
            sight.ended = true;
            sight.finish = (status != 0)
                .then_some(FinishReason::Error)
                .or(sight.finish);
        }
    }

    /// What an answer under status 200 says of itself at its end.
    fn said_status(&self) -> u16 {
        self.grpc_status.map_or(200, http_status_of_grpc)
    }

    /// What is known of the request. `told` are the prompt's tokens as the server counted them.
    pub(super) fn known(&self, sight: Option<RequestSight>, told: Option<u32>) -> KnownRequest {
        let Some(RequestSight {
            model,
            prompt,
            params,
        }) = sight
        else {
            return KnownRequest {
                shape: RequestShape {
                    bytes: self.upload_bytes,
                    ..RequestShape::default()
                },
                ..KnownRequest::default()
            };
        };
        let prompt_tokens = match told {
            Some(count) => Some(TokenCount {
                count,
                source: TokenSource::Usage,
            }),
            // The gate knows better where nobody told; but tensors are not made of tokens.
            None => self.endpoint().is_inference().then_some(TokenCount {
                count: 0,
                source: TokenSource::Estimated,
            }),
        };
        let shape = RequestShape {
            bytes: self.upload_bytes,
            media_type: MediaType::Unsaid,
            messages: prompt.messages,
            prompt_tokens,
            blocks: Vec::new(),
            params,
            tools: prompt.tools,
            media: prompt.media,
            tensors: prompt.tensors,
            cache_marks: prompt.cache_marks,
        };
        KnownRequest {
            shape,
            model,
            chain: prompt.chain,
            turns: prompt.turns,
            tokens: prompt.tokens,
        }
    }

    fn response_shape(&self, status: u16, closing: Closing, sight: ResponseSight) -> ResponseShape {
        ResponseShape {
            status,
            headers_us: self.head.map(|head| head.at_us),
            first_byte_us: self.first_byte_us,
            first_token_us: sight.first_token_us,
            first_answer_us: sight.first_answer_us,
            last_token_us: sight.last_token_us,
            end_us: (closing.end == End::Whole).then_some(closing.at_us),
            reader_wait_us: self.closing.map(|closing| closing.reader_wait_us),
            gaps: sight.gaps,
            trail: trail_of(&sight.all_gaps_us),
            output_tokens: sight.output_tokens,
            cached_tokens: sight.cached_tokens,
            reasoning_tokens: sight.reasoning_tokens,
            finish: sight.finish,
            tool_calls: sight.tool_calls,
            bytes: self.response_bytes,
            media_type: MediaType::Unsaid,
            events: sight.events,
            token_events: sight.token_events,
        }
    }
}

fn trail_of(gaps_us: &[u32]) -> GapTrail {
    let mut trail = GapTrail::default();
    gaps_us.iter().for_each(|&gap| trail.record(gap.into()));
    trail
}
