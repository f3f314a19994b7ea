use super::pace::Pace;
use crate::anonymise::MAX_PARTS;
use crate::shape::{MessageShape, Role};

/// What the frames of a WebSocket showed: sizes of the client's, times of the server's.
#[derive(Default)]
pub(super) struct FramesSeen {
    pub(super) messages: Vec<MessageShape>,
    pub(super) events: u32,
    pub(super) pace: Pace,
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
    pub(super) fn came(&mut self, at_us: u64, frames: u16, every_gap: bool) {
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
        seen.came(100, 1, true);
        seen.came(150, 2, true);
        let bytes: Vec<u32> = seen.messages.iter().map(|message| message.bytes).collect();
        assert_eq!(bytes, [10, 10, 10, 10]);
        assert_eq!((seen.events, seen.pace.gaps.count()), (3, 2));
        assert_eq!(seen.pace.trail.values().collect::<Vec<_>>(), [50, 0]);
        let mut sketched = FramesSeen::default();
        sketched.came(100, 2, false);
        assert_eq!(sketched.pace.gaps.count(), 1);
        assert!(sketched.pace.trail.is_empty());
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
