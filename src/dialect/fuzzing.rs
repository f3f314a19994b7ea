//! See [`crate::fuzzing`].

use super::framing::sse::{Event, SseSplitter};

/// The events of a stream that comes in these pieces: name, and data where it is kept.
pub fn events(pieces: &[&[u8]]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut splitter = SseSplitter::default();
    let mut seen = Vec::new();
    let mut note =
        |event: Event<'_>| seen.push((event.name.to_vec(), event.data.map(<[u8]>::to_vec)));
    for piece in pieces {
        splitter.feed(piece, &mut note);
    }
    splitter.finish(&mut note);
    seen
}
