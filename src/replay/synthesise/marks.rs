//! Where the marks of what shall be kept go in a prompt of other words.

use crate::shape::{BlockSpec, BlockUnit, CacheMark, CachePlace, Exchange, Role};

/// The marks of a recorded request, as they are to be written. One within a message moves up by a block: prompts that were the same
/// to the mark are then the same to where it stands now, since words are the same in whole blocks. An answer is marked as a whole:
/// its text is the target's own, and not known yet.
pub(super) fn marks(exchange: &Exchange, spec: Option<BlockSpec>) -> Vec<CacheMark> {
    let block = match spec {
        Some(spec) if spec.unit == BlockUnit::Bytes => spec.size,
        _ => BlockSpec::LIVE.size,
    };
    let request = &exchange.request;
    let moved = |mark: &CacheMark| {
        let CachePlace::Message { index, bytes } = mark.place else {
            return *mark;
        };
        let within = request
            .messages
            .get(usize::from(index))
            .is_some_and(|it| bytes < it.bytes && it.role != Role::Assistant);
        let bytes = match within {
            true => bytes.saturating_sub(block),
            false => u32::MAX,
        };
        CacheMark {
            place: CachePlace::Message { index, bytes },
            ..*mark
        }
    };
    request.cache_marks.iter().map(moved).collect()
}
