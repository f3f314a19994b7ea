use serde::{Deserialize, Serialize};

use super::{
    ClientId, Endpoint, FrameShape, Method, ModelId, Outcome, RequestShape, ResponseShape,
    SessionId, TensorShape, TraceTime,
};

/// One request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Arrival: the request's head was complete at the recorder.
    #[serde(rename = "at_us")]
    pub at: TraceTime,
    /// What was asked of the server.
    pub endpoint: Endpoint,
    /// The request method.
    pub method: Method,
    /// Pseudonym of the model asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<ModelId>,
    /// Pseudonym of the conversation, where one was recognised.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session: Option<SessionId>,
    /// Pseudonym of the client, where kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client: Option<ClientId>,
    /// Exchanges already open at the recorder when this one arrived (this one not counted).
    pub in_flight: u32,
    /// Whether it was the first request on its client's connection; absent where that was not seen, as in imports.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub new_connection: Option<bool>,
    /// How much of the shape could be read.
    pub shape: ShapeStatus,
    /// What was sent.
    pub request: RequestShape,
    /// What came back, and when.
    pub response: ResponseShape,
    /// What else is known of a WebSocket's frames, where they are what is read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub frames: Option<Box<FrameShape>>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Exchange {
    /// One that came to an end, and of which nothing else is known.
    pub fn bare(at: TraceTime, endpoint: Endpoint, method: Method) -> Self {
        Self {
            at,
            endpoint,
            method,
            model: None,
            session: None,
            client: None,
            in_flight: 0,
            new_connection: None,
            shape: ShapeStatus::Known,
            request: RequestShape::default(),
            response: ResponseShape::default(),
            frames: None,
            outcome: Outcome::Completed,
        }
    }

    /// Bytes that it takes in memory, its lists included.
    pub fn held_bytes(&self) -> usize {
        let Self {
            request,
            response,
            frames,
            ..
        } = self;
        size_of::<Self>()
            + size_of_val(&request.messages[..])
            + size_of_val(&request.blocks[..])
            + size_of_val(&request.media[..])
            + size_of_val(&request.tensors[..])
            + size_of_val(&request.cache_marks[..])
            + size_of_val(response.gaps.buckets())
            + response.trail.held_bytes()
            + frames.as_ref().map_or(0, |frames| frames.held_bytes())
    }

    /// How many items its lists hold, of whatever kind. What may be held, or put in one block, is bounded by it: the rest of an
    /// exchange has a size that is bounded.
    pub fn list_elements(&self) -> usize {
        let Self {
            request,
            response,
            frames,
            ..
        } = self;
        request.messages.len()
            + request.blocks.len()
            + request.media.len()
            + request.tensors.len() * TensorShape::ITEMS
            + request.cache_marks.len()
            + response.gaps.buckets().len()
            + response.trail.buckets().len()
            + frames.as_ref().map_or(0, |frames| frames.list_elements())
    }
}

/// How much of an exchange's shape is known. Times, sizes, status and outcome are always true; this says whether the
/// fields that come from reading bodies are.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ShapeStatus {
    /// Bodies were read by their dialect (or there was nothing to read).
    #[default]
    Known,
    /// The endpoint has no dialect: sizes and times only.
    Generic,
    /// A body did not parse as its dialect says.
    Unparsable,
    /// A body was larger than the recorder keeps.
    TooLarge,
    /// The recorder was over its memory bound and let the bodies go.
    Shed,
    /// Reading it failed inside the recorder (a bug there, never the traffic's fault).
    Failed,
}

impl ShapeStatus {
    /// Every status, in the order of their codes in the trace file.
    pub const ALL: [Self; 6] = [
        Self::Known,
        Self::Generic,
        Self::Unparsable,
        Self::TooLarge,
        Self::Shed,
        Self::Failed,
    ];
}
