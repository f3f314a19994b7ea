use super::pace::Pace;
use crate::anonymise::MAX_PARTS;
use crate::shape::{FrameShape, FrameSizes, MessageShape, Role};

/// What the frames of a WebSocket showed: of the client's each size, and times; of the server's times, and about their sizes.
#[derive(Default)]
pub(super) struct FramesSeen {
    pub(super) messages: Vec<MessageShape>,
    /// Frames of the server, and when they came.
    pub(super) events: u32,
    pub(super) pace: Pace,
    first_sent_us: Option<u64>,
    sent: Pace,
    came_sizes: FrameSizes,
}

impl FramesSeen {
    /// Frames of the client that were whole at `at_us`, `bytes` of payload in all. Beyond a bound they are added to the last.
    pub(super) fn sent(&mut self, at_us: u64, frames: u16, bytes: u32, every_gap: bool) {
        let (frames, share) = shared(frames, bytes);
        self.first_sent_us.get_or_insert(at_us);
        for _ in 0..frames {
            self.sent.beat(at_us, every_gap);
            let full = self.messages.len() >= MAX_PARTS;
            match self.messages.last_mut() {
                Some(last) if full => last.bytes = last.bytes.saturating_add(share),
                _ => self.messages.push(MessageShape {
                    role: Role::Other,
                    bytes: share,
                    tokens: None,
                }),
            }
        }
    }

    /// Frames of the server, likewise.
    pub(super) fn came(&mut self, at_us: u64, frames: u16, bytes: u32, every_gap: bool) {
        let (frames, share) = shared(frames, bytes);
        self.came_sizes.record(share.into(), frames);
        for _ in 0..frames {
            self.events = self.events.saturating_add(1);
            self.pace.beat(at_us, every_gap);
        }
    }

    /// Bytes that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Self>()
            + self.messages.capacity() * size_of::<MessageShape>()
            + self.pace.held_bytes()
            + self.sent.held_bytes()
            + size_of_val(self.came_sizes.buckets())
    }

    /// What is neither a message nor a gap of the answer; it is not here any more.
    pub(super) fn take_shape(&mut self) -> FrameShape {
        let sent = std::mem::take(&mut self.sent);
        FrameShape {
            first_sent_us: self.first_sent_us,
            sent_gaps: sent.gaps,
            sent_trail: sent.trail,
            came_sizes: std::mem::take(&mut self.came_sizes),
        }
    }
}

/// How many frames, and what each has of their bytes: their mean.
fn shared(frames: u16, bytes: u32) -> (u32, u32) {
    let frames = u32::from(frames.max(1));
    (frames, bytes / frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_clients_frames_each_size_is_kept_and_of_the_servers_about_what_they_were() {
        let mut seen = FramesSeen::default();
        seen.sent(70, 1, 10, true);
        seen.sent(90, 3, 30, true);
        seen.came(100, 1, 8_000, true);
        seen.came(150, 2, 6_000, true);
        let bytes: Vec<u32> = seen.messages.iter().map(|message| message.bytes).collect();
        assert_eq!(bytes, [10, 10, 10, 10]);
        assert_eq!((seen.events, seen.pace.gaps.count()), (3, 2));
        assert_eq!(seen.pace.trail.values().collect::<Vec<_>>(), [50, 0]);
        let frames = seen.take_shape();
        assert_eq!(frames.first_sent_us, Some(70));
        assert_eq!(frames.sent_gaps.count(), 3);
        assert_eq!(frames.sent_trail.values().collect::<Vec<_>>(), [20, 0, 0]);
        // Two that share a mean, and the larger one, whichever came first.
        let sizes: Vec<_> = frames.came_sizes.values().collect();
        assert_eq!(sizes, [(2048, 2), (4096, 1)]);
    }

    #[test]
    fn gaps_are_in_order_where_that_is_asked_for() {
        let mut seen = FramesSeen::default();
        seen.came(100, 2, 0, false);
        seen.sent(100, 2, 0, false);
        assert_eq!(seen.pace.gaps.count(), 1);
        assert!(seen.pace.trail.is_empty());
        let frames = seen.take_shape();
        assert_eq!(frames.sent_gaps.count(), 1);
        assert!(frames.sent_trail.is_empty());
    }

    #[test]
    fn a_flood_of_frames_is_added_up() {
        let mut seen = FramesSeen::default();
        for _ in 0..MAX_PARTS + 5 {
            seen.sent(0, 1, 2, false);
        }
        assert_eq!(seen.messages.len(), MAX_PARTS);
        assert_eq!(seen.messages.last().unwrap().bytes, 12);
        assert_eq!(seen.take_shape().sent_gaps.count(), MAX_PARTS as u64 + 4);
    }
}
