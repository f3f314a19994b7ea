//! How bodies are cut and coded, whoever wrote them: events, lines, the elements of an array, messages, and content codings.

pub(in crate::dialect) mod array;
mod coding;
pub(in crate::dialect) mod grpc;
pub(in crate::dialect) mod lines;
mod media_type;
pub(in crate::dialect) mod sse;

pub use coding::{Coded, Coding, Decoder, Undecodable};
pub use media_type::media_type;

use crate::shape::Endpoint;

/// How an answer is cut into what is read at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) enum Framing {
    Events,
    Lines,
    Array,
    Messages,
    Plain,
}

/// By the answer's media type, not by what was asked for. Gemini alone streams a plain array, and says so in its path.
pub(in crate::dialect) fn framing(endpoint: Endpoint, content_type: &str) -> Framing {
    let is = |kind: &str| {
        content_type
            .get(..kind.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(kind))
    };
    if is("text/event-stream") {
        Framing::Events
    } else if is("application/x-ndjson") {
        Framing::Lines
    } else if is("application/grpc") {
        Framing::Messages
    } else if endpoint == Endpoint::GeminiStream {
        Framing::Array
    } else {
        Framing::Plain
    }
}

/// Whether an answer of this media type is read as it comes, and not as a whole.
pub fn is_stream(endpoint: Endpoint, content_type: &str) -> bool {
    framing(endpoint, content_type) != Framing::Plain
}
