//! HTTP/1 as it lies on the wire, read strictly: what two parsers could read differently is refused, never guessed at. Nothing
//! here reads from a connection or knows what a message is for.

mod answer;
mod fields;
mod framing;
mod hop;
mod response;

#[cfg(fuzzing)]
pub(crate) mod fuzzing;

pub(crate) use answer::{Answer, Seen};
pub(crate) use fields::{BodyFields, Field, Fields, end_of_head, is_token, members, next_line};
pub(crate) use framing::{Chunked, Framing, append_data};
pub(crate) use hop::HopByHop;
pub(crate) use response::ResponseHead;

/// Why a message is not taken for HTTP/1. The name goes into the `x-reenact-error` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A line that ends in a line feed alone.
    BareLineFeed,
    /// A line that continues the one before.
    Folded,
    FieldName,
    FieldValue,
    /// The request line or status line.
    FirstLine,
    /// Not HTTP/1.0 or HTTP/1.1.
    Version,
    /// No `Host`, or more than one, or one that is no host.
    Host,
    /// `Content-Length` twice, or no number.
    ContentLength,
    /// A `Transfer-Encoding` other than `chunked`.
    TransferEncoding,
    /// `Content-Length` and `Transfer-Encoding`.
    BothLengths,
    Chunk,
    Trailer,
    /// Larger than heads may be.
    HeadTooLarge,
}

impl Malformed {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BareLineFeed => "bare_line_feed",
            Self::Folded => "folded_line",
            Self::FieldName => "field_name",
            Self::FieldValue => "field_value",
            Self::FirstLine => "first_line",
            Self::Version => "version",
            Self::Host => "host",
            Self::ContentLength => "content_length",
            Self::TransferEncoding => "transfer_encoding",
            Self::BothLengths => "both_lengths",
            Self::Chunk => "chunk",
            Self::Trailer => "trailer",
            Self::HeadTooLarge => "head_too_large",
        }
    }

    /// The status that a client is refused with.
    pub(crate) const fn status(self) -> http::StatusCode {
        match self {
            Self::HeadTooLarge => http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => http::StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => http::StatusCode::BAD_REQUEST,
        }
    }
}
