use std::collections::BTreeMap;

use serde::Serialize;

use super::quantiles::{Quantiles, Sample};
use crate::anonymise::MAX_PARTS;
use crate::shape::{Exchange, MessageShape};

/// What passed over WebSockets whose frames are read: when, and how much. Nothing in a frame is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WebSockets {
    /// Exchanges that tell of frames.
    pub exchanges: u64,
    /// Frames of clients.
    pub frames_sent: u64,
    /// Frames of servers.
    pub frames_came: u64,
    /// How many of the servers' are about how large: (least size in bytes, count) by rising size; what is below 1 KiB is not told apart.
    pub came_sizes: Vec<(u64, u64)>,
    /// Bytes of frames of clients: of each that the trace tells apart, which are a session's first 65,536 where it sent more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<Quantiles>,
    /// Gaps between successive frames of a client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_gap_ms: Option<Quantiles>,
    /// Gaps between successive frames of a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub came_gap_ms: Option<Quantiles>,
}

/// Gathers [`WebSockets`]. Takes no room while there are none.
#[derive(Default)]
pub(super) struct WebSocketMeter(Option<Box<Gathered>>);

struct Gathered {
    exchanges: u64,
    sent: u64,
    came: u64,
    came_sizes: BTreeMap<u64, u64>,
    sent_bytes: Sample,
    sent_gaps: Sample,
    came_gaps: Sample,
}

impl WebSocketMeter {
    pub(super) fn add(&mut self, exchange: &Exchange) {
        let Some(frames) = &exchange.frames else {
            return;
        };
        let all = self.0.get_or_insert_with(|| {
            Box::new(Gathered {
                exchanges: 0,
                sent: 0,
                came: 0,
                came_sizes: BTreeMap::new(),
                sent_bytes: Sample::new(),
                sent_gaps: Sample::new(),
                came_gaps: Sample::new(),
            })
        });
        all.exchanges += 1;
        // Messages do not tell how many: beyond a bound they are added up.
        let first = u64::from(frames.first_sent_us.is_some());
        let sent = first + frames.sent_gaps.count();
        all.sent += sent;
        all.came += frames.came_sizes.count();
        for (least_bytes, count) in frames.came_sizes.values() {
            *all.came_sizes.entry(least_bytes).or_default() += u64::from(count);
        }
        for message in each_a_frame(&exchange.request.messages, sent) {
            all.sent_bytes.add(message.bytes.into());
        }
        for (gap_us, count) in frames.sent_gaps.values() {
            all.sent_gaps.add_n(gap_us, count.into());
        }
        for (gap_us, count) in exchange.response.gaps.values() {
            all.came_gaps.add_n(gap_us, count.into());
        }
    }

    /// `None` where there were none.
    pub(super) fn finish(self) -> Option<WebSockets> {
        let all = *self.0?;
        Some(WebSockets {
            exchanges: all.exchanges,
            frames_sent: all.sent,
            frames_came: all.came,
            came_sizes: all.came_sizes.into_iter().collect(),
            sent_bytes: all.sent_bytes.finish(1.0),
            sent_gap_ms: all.sent_gaps.finish(1000.0),
            came_gap_ms: all.came_gaps.finish(1000.0),
        })
    }
}

/// Those of a session's messages that are one frame each, where it sent so many: beyond the bound the recorder adds frames to the last.
fn each_a_frame(messages: &[MessageShape], sent: u64) -> &[MessageShape] {
    match messages {
        [each @ .., _] if messages.len() >= MAX_PARTS && sent > messages.len() as u64 => each,
        all => all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Role;

    #[test]
    fn frames_that_were_added_up_are_not_taken_for_one_large_one() {
        let message = |bytes| MessageShape {
            role: Role::Other,
            bytes,
            tokens: None,
        };
        let mut messages = vec![message(10); MAX_PARTS - 1];
        assert_eq!(each_a_frame(&messages, 100_000).len(), messages.len());
        messages.push(message(3_000_000));
        let kept = each_a_frame(&messages, MAX_PARTS as u64 + 1);
        assert_eq!(kept, &messages[..MAX_PARTS - 1]);
        assert_eq!(each_a_frame(&messages, MAX_PARTS as u64), messages);
    }
}
