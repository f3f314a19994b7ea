use serde::{Deserialize, Serialize};

/// What kind of body its head says it is, where no dialect reads it: a closed list, since the names of types are free text.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MediaType {
    /// Not kept: a dialect reads it, so that the endpoint tells; or there was no head, or nobody looked.
    #[default]
    Unsaid,
    /// The head names none.
    None,
    /// `application/json`, `…+json`
    Json,
    /// Any other text.
    Text,
    /// `text/html`
    Html,
    /// `text/event-stream`
    EventStream,
    /// `application/x-ndjson`, and other names of a JSON document to a line.
    Ndjson,
    /// `application/x-www-form-urlencoded`
    Form,
    /// `multipart/…`: several bodies, as when a file is uploaded.
    Multipart,
    /// `application/octet-stream`
    OctetStream,
    /// `application/protobuf` and its other names.
    Protobuf,
    /// `application/grpc…`
    Grpc,
    /// `audio/…`
    Audio,
    /// `image/…`
    Image,
    /// `video/…`
    Video,
    /// Any other.
    Other,
}

impl MediaType {
    /// Every kind, in the order of their codes in the trace file.
    pub const ALL: [Self; 16] = [
        Self::Unsaid,
        Self::None,
        Self::Json,
        Self::Text,
        Self::Html,
        Self::EventStream,
        Self::Ndjson,
        Self::Form,
        Self::Multipart,
        Self::OctetStream,
        Self::Protobuf,
        Self::Grpc,
        Self::Audio,
        Self::Image,
        Self::Video,
        Self::Other,
    ];

    pub(super) fn is_unsaid(&self) -> bool {
        *self == Self::Unsaid
    }
}
