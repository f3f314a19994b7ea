//! Small builders for this room's tests.

use crate::shape::{
    Endpoint, Exchange, Method, RequestShape, ResponseShape, TokenCount, TokenSource, TraceTime,
};

/// A plain chat exchange that arrived at `at_us`: 100 prompt tokens, 10 output tokens, streamed.
pub(super) fn exchange(at_us: u64) -> Exchange {
    let usage = |count| {
        Some(TokenCount {
            count,
            source: TokenSource::Usage,
        })
    };
    let mut request = RequestShape {
        bytes: 1000,
        prompt_tokens: usage(100),
        ..RequestShape::default()
    };
    request.params.stream = true;
    request.params.n = 1;
    Exchange {
        request,
        response: ResponseShape {
            status: 200,
            output_tokens: usage(10),
            ..ResponseShape::default()
        },
        ..Exchange::bare(
            TraceTime::from_us(at_us),
            Endpoint::ChatCompletions,
            Method::Post,
        )
    }
}
