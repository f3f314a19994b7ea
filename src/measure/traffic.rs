//! What is in a trace: counts, arrivals, sizes, latencies, prefix sharing. One pass in order of arrival, in bounded memory:
//! histograms, a few windows, and one bit for each block id.

mod arrivals;
pub mod picture;
mod quantiles;
mod seen;
mod sharing;
mod tensors;
mod websockets;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::arrivals::Arrivals;
pub use self::quantiles::Quantiles;
pub use self::sharing::{PrefixSharing, SharingMeter};
pub use self::websockets::WebSockets;

use self::arrivals::ArrivalMeter;
use self::quantiles::Sample;
use self::seen::SeenIds;
use self::tensors::TensorMeter;
use self::websockets::WebSocketMeter;
use crate::shape::{
    BlockSpec, Endpoint, Exchange, FinishReason, MediaKind, MediaType, ModelId, ShapeStatus,
    TensorType,
};

/// Statistics of a trace. What is absent was not measured; a zero is a measured zero.
#[derive(Debug, Clone, Serialize)]
pub struct Traffic {
    /// Exchanges read.
    pub exchanges: u64,
    /// Seconds from the first arrival to the last.
    pub span_s: f64,
    /// Exchanges by endpoint.
    pub by_endpoint: BTreeMap<Endpoint, u64>,
    /// Exchanges by how they ended.
    pub by_outcome: BTreeMap<&'static str, u64>,
    /// Exchanges by class of status; `none` where no response head arrived.
    pub by_status: BTreeMap<&'static str, u64>,
    /// Exchanges by how much of their shape is known.
    pub by_shape: BTreeMap<ShapeStatus, u64>,
    /// Exchanges by why generation stopped, where it was told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_finish: BTreeMap<FinishReason, u64>,
    /// Exchanges that did not complete.
    pub errors: Share,
    /// Exchanges whose answer was streamed.
    pub streaming: Share,
    /// Exchanges that offered tools.
    pub with_tools: Share,
    /// Exchanges with media in the prompt.
    pub with_media: Share,
    /// Exchanges whose clients took their answers slowly ([`Exchange::slow_reader_bytes_per_s`]), of those that tell; absent where none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_readers: Option<Share>,
    /// Tool calls in answers.
    pub tool_calls: u64,
    /// Media parts by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub media_parts: BTreeMap<MediaKind, u64>,
    /// Exchanges with input tensors; absent where none has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_tensors: Option<Share>,
    /// Input tensors by what they are made of.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tensor_datatypes: BTreeMap<TensorType, u64>,
    /// What heads say that bodies are which no dialect reads: of requests.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub request_media_types: BTreeMap<MediaType, u64>,
    /// The same of answers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub response_media_types: BTreeMap<MediaType, u64>,
    /// Frames of WebSockets; absent where none is told of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub websockets: Option<WebSockets>,
    /// How exchanges arrive.
    pub arrivals: Arrivals,
    /// Exchanges open at once; absent where the source does not tell when they end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<InFlight>,
    /// Tokens of prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<Quantiles>,
    /// Tokens of answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<Quantiles>,
    /// Bytes of request bodies; absent where the source has no bodies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_bytes: Option<Quantiles>,
    /// Elements of each input tensor whose dimensions are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensor_elements: Option<Quantiles>,
    /// Arrival to first token, of streamed answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<Quantiles>,
    /// Arrival to last byte, of completed exchanges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e2e_ms: Option<Quantiles>,
    /// Gaps between token events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_ms: Option<Quantiles>,
    /// The longest gap of each answer that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_stall_ms: Option<Quantiles>,
    /// How much of the prompts repeats earlier ones; absent where the trace has no chains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<PrefixSharing>,
    /// Different sessions; absent where none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
    /// Exchanges by model (at most 10,000 models are told apart).
    #[serde(skip)]
    pub by_model: BTreeMap<ModelId, u64>,
}

/// How many of all exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// How many.
    pub count: u64,
    /// Of all, from 0 to 1.
    pub share: f64,
}

/// Exchanges open at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct InFlight {
    /// The most, the one that arrives counted.
    pub peak: u64,
    /// What an arriving exchange met on average, itself not counted.
    pub mean: f64,
}

/// Gathers [`Traffic`].
pub struct TrafficMeter {
    traffic: Traffic,
    in_flight_known: bool,
    in_flight_sum: u64,
    in_flight_peak: u64,
    counts: Counts,
    tensors: TensorMeter,
    websockets: WebSocketMeter,
    arrivals: ArrivalMeter,
    sharing: Option<SharingMeter>,
    sessions: SeenIds,
    prompt_tokens: Sample,
    output_tokens: Sample,
    request_bytes: Sample,
    ttft: Sample,
    e2e: Sample,
    gaps: Sample,
    stalls: Sample,
}

#[derive(Default)]
struct Counts {
    errors: u64,
    streaming: u64,
    tools: u64,
    media: u64,
    readers: u64,
    slow_readers: u64,
}

const MODELS: usize = 10_000;

impl TrafficMeter {
    /// A meter for a trace with chains of `blocks`. `live` says whether the trace was recorded, so that sizes in bytes and
    /// exchanges in flight are known.
    pub fn new(blocks: Option<BlockSpec>, live: bool) -> Self {
        let none = Share {
            count: 0,
            share: 0.0,
        };
        Self {
            traffic: Traffic {
                exchanges: 0,
                span_s: 0.0,
                by_endpoint: BTreeMap::new(),
                by_outcome: BTreeMap::new(),
                by_status: BTreeMap::new(),
                by_shape: BTreeMap::new(),
                by_finish: BTreeMap::new(),
                errors: none,
                streaming: none,
                with_tools: none,
                with_media: none,
                slow_readers: None,
                tool_calls: 0,
                media_parts: BTreeMap::new(),
                with_tensors: None,
                tensor_datatypes: BTreeMap::new(),
                request_media_types: BTreeMap::new(),
                response_media_types: BTreeMap::new(),
                websockets: None,
                arrivals: Arrivals::default(),
                in_flight: None,
                prompt_tokens: None,
                output_tokens: None,
                request_bytes: None,
                tensor_elements: None,
                ttft_ms: None,
                e2e_ms: None,
                gap_ms: None,
                longest_stall_ms: None,
                prefix: None,
                sessions: None,
                by_model: BTreeMap::new(),
            },
            in_flight_known: live,
            in_flight_sum: 0,
            in_flight_peak: 0,
            counts: Counts::default(),
            tensors: TensorMeter::default(),
            websockets: WebSocketMeter::default(),
            arrivals: ArrivalMeter::default(),
            sharing: blocks.map(SharingMeter::new),
            sessions: SeenIds::default(),
            prompt_tokens: Sample::new(),
            output_tokens: Sample::new(),
            request_bytes: Sample::new(),
            ttft: Sample::new(),
            e2e: Sample::new(),
            gaps: Sample::new(),
            stalls: Sample::new(),
        }
    }

    /// Adds an exchange. They must come in order of arrival.
    pub fn add(&mut self, exchange: &Exchange) {
        self.count(exchange);
        self.arrivals.add(exchange.at.us());
        let in_flight = u64::from(exchange.in_flight);
        self.in_flight_sum = self.in_flight_sum.saturating_add(in_flight);
        self.in_flight_peak = self.in_flight_peak.max(in_flight + 1);
        if let Some(sharing) = &mut self.sharing {
            sharing.add(&exchange.request);
        }
        if let Some(session) = exchange.session {
            self.sessions.insert(session.0);
        }
        let (request, response) = (&exchange.request, &exchange.response);
        if let Some(tokens) = request.prompt_tokens {
            self.prompt_tokens.add(tokens.count.into());
        }
        if let Some(tokens) = response.output_tokens {
            self.output_tokens.add(tokens.count.into());
        }
        if self.in_flight_known {
            self.request_bytes.add(request.bytes);
        }
        if let Some(us) = response.first_token_us {
            self.ttft.add(us);
        }
        if let (true, Some(us)) = (exchange.outcome.is_ok(), response.end_us) {
            self.e2e.add(us);
        }
        if let Some(gaps) = response.token_gaps() {
            for (gap_us, count) in gaps.values() {
                self.gaps.add_n(gap_us, count.into());
            }
            self.stalls.add(gaps.longest_us());
        }
    }

    fn count(&mut self, exchange: &Exchange) {
        let traffic = &mut self.traffic;
        traffic.exchanges += 1;
        *traffic.by_endpoint.entry(exchange.endpoint).or_default() += 1;
        let outcome = exchange.outcome.name();
        *traffic.by_outcome.entry(outcome).or_default() += 1;
        let class = status_class(exchange.response.status);
        *traffic.by_status.entry(class).or_default() += 1;
        *traffic.by_shape.entry(exchange.shape).or_default() += 1;
        if let Some(finish) = exchange.response.finish {
            *traffic.by_finish.entry(finish).or_default() += 1;
        }
        if let Some(model) = exchange.model {
            if let Some(count) = traffic.by_model.get_mut(&model) {
                *count += 1;
            } else if traffic.by_model.len() < MODELS {
                traffic.by_model.insert(model, 1);
            }
        }
        traffic.tool_calls += u64::from(exchange.response.tool_calls);
        for part in &exchange.request.media {
            *traffic.media_parts.entry(part.kind).or_default() += 1;
        }
        self.tensors.add(&exchange.request.tensors);
        self.websockets.add(exchange);
        for (types, media_type) in [
            (
                &mut traffic.request_media_types,
                exchange.request.media_type,
            ),
            (
                &mut traffic.response_media_types,
                exchange.response.media_type,
            ),
        ] {
            if media_type != MediaType::Unsaid {
                *types.entry(media_type).or_default() += 1;
            }
        }
        self.counts.errors += u64::from(!exchange.outcome.is_ok());
        self.counts.streaming += u64::from(exchange.request.params.stream);
        self.counts.tools += u64::from(exchange.request.tools.count > 0);
        self.counts.media += u64::from(!exchange.request.media.is_empty());
        self.counts.readers += u64::from(exchange.response.reader_wait_us.is_some());
        self.counts.slow_readers += u64::from(exchange.slow_reader_bytes_per_s().is_some());
    }

    /// The statistics.
    pub fn finish(self) -> Traffic {
        let mut traffic = self.traffic;
        let all = traffic.exchanges;
        let share = |count| Share {
            count,
            share: ratio(count, all).unwrap_or(0.0),
        };
        traffic.errors = share(self.counts.errors);
        traffic.streaming = share(self.counts.streaming);
        traffic.with_tools = share(self.counts.tools);
        traffic.with_media = share(self.counts.media);
        let slow = self.counts.slow_readers;
        traffic.slow_readers =
            ratio(slow, self.counts.readers).map(|share| Share { count: slow, share });
        let (exchanges, datatypes, elements) = self.tensors.finish();
        traffic.with_tensors = Some(share(exchanges)).filter(|it| it.count > 0);
        traffic.tensor_datatypes = datatypes;
        traffic.tensor_elements = elements;
        traffic.websockets = self.websockets.finish();
        (traffic.span_s, traffic.arrivals) = self.arrivals.finish();
        traffic.in_flight = ratio(self.in_flight_sum, all)
            .filter(|_| self.in_flight_known)
            .map(|mean| InFlight {
                peak: self.in_flight_peak,
                mean,
            });
        traffic.prompt_tokens = self.prompt_tokens.finish(1.0);
        traffic.output_tokens = self.output_tokens.finish(1.0);
        traffic.request_bytes = self.request_bytes.finish(1.0);
        traffic.ttft_ms = self.ttft.finish(1000.0);
        traffic.e2e_ms = self.e2e.finish(1000.0);
        traffic.gap_ms = self.gaps.finish(1000.0);
        traffic.longest_stall_ms = self.stalls.finish(1000.0);
        traffic.prefix = self.sharing.and_then(SharingMeter::finish);
        traffic.sessions = Some(self.sessions.count()).filter(|&count| count > 0);
        traffic
    }
}

fn status_class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        0 => "none",
        _ => "other",
    }
}

/// `None` where there is nothing to divide by.
#[allow(clippy::cast_precision_loss, reason = "a ratio for display")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
