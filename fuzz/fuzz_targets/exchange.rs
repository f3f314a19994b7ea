//! What is recorded of an exchange (the shape of its request, the chain of its prompt, what its answer showed) does not depend on
//! how its bodies were cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reenact::anonymise::Recordable;
use reenact::fuzzing::{Bodies, recorded};
use reenact::shape::{Exchange, GapSketch, GapTrail, ShapeStatus};

const PATHS: [&str; 4] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/messages",
    "/anything/else",
];
const TYPES: [&str; 4] = [
    "text/event-stream; charset=utf-8",
    "application/json",
    "application/x-ndjson",
    "",
];

// The first byte picks path and media type; the two bodies stand on either side of a NUL, which neither has.
fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else {
        return;
    };
    let Some((bodies, _)) = pieces::cut(rest) else {
        return;
    };
    let plan = &rest[..rest.len() - bodies.len()];
    let middle = bodies
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bodies.len());
    let (request, response) = (
        &bodies[..middle],
        bodies.get(middle + 1..).unwrap_or_default(),
    );
    let path = PATHS[usize::from(choice & 3)];
    let content_type = TYPES[usize::from(choice >> 2 & 3)];
    let again = |body: &[u8]| [plan, body].concat();
    let (cut_request, cut_response) = (again(request), again(response));
    let cut = |input: &'_ [u8]| -> Vec<Vec<u8>> {
        let pieces = pieces::cut(input)
            .map(|(_, pieces)| pieces)
            .unwrap_or_default();
        pieces.into_iter().map(<[u8]>::to_vec).collect()
    };
    let (request_pieces, response_pieces) = (cut(&cut_request), cut(&cut_response));
    let ways = [
        Bodies {
            path,
            content_type,
            request: one(request),
            response: one(response),
        },
        Bodies {
            path,
            content_type,
            request: request_pieces.iter().map(|piece| &piece[..]).collect(),
            response: response_pieces.iter().map(|piece| &piece[..]).collect(),
        },
    ];
    let seen = recorded(&ways);
    assert_ne!(seen[0].exchange().shape, ShapeStatus::Failed);
    if seen[0].exchange().shape == ShapeStatus::Generic {
        assert_eq!(but_for_reads(&seen[0]), but_for_reads(&seen[1]));
    } else {
        assert_eq!(seen[0], seen[1]);
    }
});

/// Of a body that no dialect reads, the gaps between its reads are recorded, and these are the cuts.
fn but_for_reads(seen: &Recordable) -> Exchange {
    let mut exchange = seen.exchange().clone();
    exchange.response.gaps = GapSketch::default();
    exchange.response.trail = GapTrail::default();
    exchange
}

fn one(body: &[u8]) -> Vec<&[u8]> {
    if body.is_empty() {
        Vec::new()
    } else {
        vec![body]
    }
}
