use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::prompt::MediaShape;
use crate::shape::{
    Endpoint, MediaKind, ModelId, RequestShape, ShapeStatus, TokenSource, ToolsShape,
};

use super::plan::{PlannedRequest, Skipped};

/// What is in a plan, or in as much of it as has been read. Bounded, whatever the trace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PlanSummary {
    /// Requests planned.
    pub planned: u64,
    /// Exchanges of the slice that are not sent, by reason.
    pub skipped: Skipped,
    /// When the last request is to be sent, in microseconds after the first.
    pub span_us: u64,
    /// Prompt tokens recorded (or estimated), in all.
    pub prompt_tokens: u64,
    /// Output tokens recorded, in all.
    pub output_tokens: u64,
    /// Requests whose prompt tokens the trace does not tell.
    pub unknown_prompt_tokens: u64,
    /// Requests whose answer's length the trace does not tell.
    pub unknown_output_tokens: u64,
    /// Requests whose body the recorder could not read: planned from their size.
    pub unknown_shapes: u64,
    /// Requests that are streamed.
    pub streams: u64,
    /// Requests whose client went away, which the replay does, too.
    pub cancelled: u64,
    /// Later turns of conversations.
    pub later_turns: u64,
    /// Exchanges that were earlier than one before them.
    pub out_of_order: u64,
    /// Requests by endpoint, and the shapes of tools offered there: what calibration has to ask the target.
    pub endpoints: BTreeMap<Endpoint, EndpointNeeds>,
    /// Conversations that begin in the plan.
    pub sessions: u64,
    /// Requests that belong to none.
    pub lone: u64,
    /// Requests that would be open at once, at most, if each took as long as it did when it was recorded; absent where the trace
    /// does not tell.
    pub peak_in_flight: Option<u64>,
    /// Requests that began their client's connection, as far as the trace tells.
    pub began_connections: u64,
    /// Requests that went over a connection that was there before, as far as it tells.
    pub reused_connections: u64,
    /// Requests of which the trace tells how long their answers waited for their clients.
    pub known_readers: u64,
    /// Those of them whose clients took their answers slowly.
    pub slow_readers: u64,
    /// Idle connections that these come back to at most: with so many kept open none has to open another. Absent where the trace does not
    /// tell how long each request took.
    pub idle_connections: Option<u64>,
    /// Models asked for in the trace.
    pub models: BTreeSet<ModelId>,
    /// Bytes of prompt text whose tokens the server counted, and those tokens.
    #[serde(skip)]
    counted: (u64, u64),
}

/// What a plan asks of one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EndpointNeeds {
    /// Requests.
    pub requests: u64,
    /// Different shapes of tools, the first [`EndpointNeeds::MOST_TOOLS`] of them.
    pub tools: Vec<ToolsShape>,
    /// Different shapes of pictures and clips, as many.
    pub media: Vec<MediaShape>,
    /// Requests whose prompt came as token ids.
    pub token_ids: u64,
}

impl EndpointNeeds {
    /// Shapes that are probed; tokens of the others are estimated.
    pub const MOST_TOOLS: usize = 16;
}

/// Model pseudonyms are bounded in a recording; a foreign trace may hold any number.
const MOST_MODELS: usize = 1000;

impl PlanSummary {
    /// Requests per second over the span; `None` where there is no span.
    #[allow(clippy::cast_precision_loss, reason = "for display")]
    pub fn mean_rate(&self) -> Option<f64> {
        (self.span_us > 0).then(|| self.planned as f64 / (self.span_us as f64 / 1e6))
    }

    /// Bytes of prompt text that make a token, where the trace's servers counted some.
    #[allow(clippy::cast_precision_loss, reason = "a ratio")]
    pub fn bytes_per_token(&self) -> Option<f64> {
        let (bytes, tokens) = self.counted;
        (bytes > 0 && tokens > 0).then(|| bytes as f64 / tokens as f64)
    }

    /// Whether the trace tells which requests began a connection.
    pub fn tells_connections(&self) -> bool {
        self.began_connections + self.reused_connections > 0
    }

    /// Whether the trace tells how fast clients took their answers.
    pub fn tells_readers(&self) -> bool {
        self.known_readers > 0
    }

    pub(super) fn add(&mut self, planned: &PlannedRequest) {
        let exchange = &planned.exchange;
        self.planned += 1;
        self.span_us = self.span_us.max(planned.intended_us);
        match planned.turn.session {
            None => self.lone += 1,
            Some(_) => self.sessions += u64::from(planned.turn.number == 0),
        }
        match exchange.request.prompt_tokens {
            Some(tokens) => {
                self.prompt_tokens += u64::from(tokens.count);
                if tokens.source == TokenSource::Usage {
                    self.counted.0 += text_bytes(&exchange.request);
                    self.counted.1 += u64::from(tokens.count);
                }
            }
            None => self.unknown_prompt_tokens += 1,
        }
        match exchange.response.output_tokens {
            Some(tokens) => self.output_tokens += u64::from(tokens.count),
            None => self.unknown_output_tokens += 1,
        }
        self.unknown_shapes += u64::from(exchange.shape != ShapeStatus::Known);
        self.streams += u64::from(exchange.request.params.stream);
        self.cancelled += u64::from(matches!(
            exchange.outcome,
            crate::shape::Outcome::ClientCancelled { .. }
        ));
        self.began_connections += u64::from(exchange.new_connection == Some(true));
        self.reused_connections += u64::from(exchange.new_connection == Some(false));
        self.known_readers += u64::from(exchange.response.reader_wait_us.is_some());
        self.slow_readers += u64::from(exchange.slow_reader_bytes_per_s().is_some());
        self.later_turns += u64::from(planned.turn.number > 0);
        let needs = self.endpoints.entry(exchange.endpoint).or_default();
        needs.requests += 1;
        let tools = exchange.request.tools;
        if !tools.is_empty()
            && needs.tools.len() < EndpointNeeds::MOST_TOOLS
            && !needs.tools.contains(&tools)
        {
            needs.tools.push(tools);
        }
        needs.token_ids += u64::from(exchange.request.params.token_ids);
        for part in &exchange.request.media {
            let shape = MediaShape::of(part);
            let made = matches!(shape.kind, MediaKind::Image | MediaKind::Audio);
            if made
                && needs.media.len() < EndpointNeeds::MOST_TOOLS
                && !needs.media.contains(&shape)
            {
                needs.media.push(shape);
            }
        }
        if let Some(model) = exchange.model
            && self.models.len() < MOST_MODELS
        {
            self.models.insert(model);
        }
    }
}

/// Bytes of a prompt's text and tools; 0 where the trace does not tell (imports).
pub(super) fn text_bytes(request: &RequestShape) -> u64 {
    let messages = request
        .messages
        .iter()
        .map(|message| u64::from(message.bytes))
        .sum::<u64>();
    messages + u64::from(request.tools.bytes)
}
