use crate::anonymise::MAX_PARTS;
use crate::shape::{GapSketch, MessageShape, Role};

/// What the frames of a WebSocket showed: sizes of the client's, times of the server's.
#[derive(Default)]
pub(super) struct FramesSeen {
    pub(super) messages: Vec<MessageShape>,
    pub(super) events: u32,
    pub(super) gaps: GapSketch,
    last_us: Option<u64>,
}

impl FramesSeen {
    /// Frames of the client, `bytes` of payload in all. Beyond a bound they are added to the last.
    pub(super) fn sent(&mut self, frames: u16, bytes: u32) {
        let frames = u32::from(frames.max(1));
        for _ in 0..frames {
            let share = bytes / frames;
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

    /// Frames of the server.
    pub(super) fn came(&mut self, at_us: u64, frames: u16) {
        for _ in 0..frames {
            self.events = self.events.saturating_add(1);
            if let Some(last) = self.last_us.replace(at_us) {
                self.gaps.record(at_us.saturating_sub(last));
            }
        }
    }

    /// Bytes that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Self>()
            + self.messages.capacity() * size_of::<MessageShape>()
            + size_of_val(self.gaps.buckets())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_go_one_way_and_times_the_other() {
        let mut seen = FramesSeen::default();
        seen.sent(1, 10);
        seen.sent(3, 30);
        seen.came(100, 1);
        seen.came(150, 2);
        let bytes: Vec<u32> = seen.messages.iter().map(|message| message.bytes).collect();
        assert_eq!(bytes, [10, 10, 10, 10]);
        assert_eq!((seen.events, seen.gaps.count()), (3, 2));
    }

    #[test]
    fn a_flood_of_frames_is_added_up() {
        let mut seen = FramesSeen::default();
        for _ in 0..MAX_PARTS + 5 {
            seen.sent(1, 2);
        }
        assert_eq!(seen.messages.len(), MAX_PARTS);
        assert_eq!(seen.messages.last().unwrap().bytes, 12);
    }
}
