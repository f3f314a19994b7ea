//! HTTP/1 from client to upstream, relayed rather than translated: heads are read strictly and written again with only what
//! a proxy must change, bodies pass as the bytes they are, chunk for chunk.
//!
//! ```text
//! serve ── reads a request's head ── exchange ── both directions at once ── the next request
//!             │ request, fields         │ response, framing      └ tunnel, after a 101
//!             ▼                         ▼
//!          refused with 400          link ── pool
//! ```
//! Where the upstream speaks HTTP/2, `across` carries the exchange instead of `exchange`.
//!
//! One task owns a client's connection and, while an exchange lasts, the upstream connection that serves it. Reads go into
//! one buffer of the lane's ([`scratch`]), so an open stream that is silent holds none.

mod across;
mod exchange;
mod fate;
mod fields;
mod framing;
mod link;
mod own;
mod prepared;
mod request;
mod response;
mod scratch;
mod serve;
mod tunnel;
mod way;

#[cfg(fuzzing)]
pub(in crate::record) mod fuzzing;

pub(super) use link::{Link, Pool};
pub(super) use scratch::Scratch;
pub(super) use serve::serve;

/// Why a message is not taken for HTTP/1. The name goes into the `x-reenact-error` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
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
    pub(super) const fn name(self) -> &'static str {
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
    pub(super) const fn status(self) -> http::StatusCode {
        match self {
            Self::HeadTooLarge => http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => http::StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => http::StatusCode::BAD_REQUEST,
        }
    }
}
