//! A WebSocket's frames, found by their heads in the bytes that pass: where each ends, and how much it carries. Payload is
//! hopped over, never looked at. RFC 6455, section 5.2.

/// One direction of a WebSocket.
#[derive(Default)]
pub(super) struct FrameScanner {
    head: [u8; LONGEST_HEAD],
    /// Bytes of the next head that have come.
    had: usize,
    /// Payload of the open frame, and what of it is still to come.
    payload: u64,
    left: u64,
}

impl FrameScanner {
    /// Takes the next bytes, and calls with the payload's size for every frame of data that they complete. Pings, pongs and
    /// closes are the protocol's own.
    pub(super) fn scan(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(u64)) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let here = bytes
                    .len()
                    .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                bytes = bytes.get(here..).unwrap_or_default();
                self.left -= here as u64;
            } else {
                let [byte, rest @ ..] = bytes else { return };
                bytes = rest;
                if let Some(slot) = self.head.get_mut(self.had) {
                    *slot = *byte;
                    self.had += 1;
                }
                if self.had < 2 || self.had < self.head_length() {
                    continue;
                }
                self.had = 0;
                self.payload = self.payload_length();
                self.left = self.payload;
            }
            if self.left == 0 {
                let [first, ..] = self.head;
                if first & CONTROL == 0 {
                    on_frame(self.payload);
                }
            }
        }
    }

    /// Length of the head that has begun, which its second byte tells.
    fn head_length(&self) -> usize {
        let [_, second, ..] = self.head;
        let extended = match second & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & MASKED == 0 { 0 } else { 4 };
        2 + extended + mask
    }

    fn payload_length(&self) -> u64 {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.head;
        match second & !MASKED {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        }
    }
}

const LONGEST_HEAD: usize = 14;
const MASKED: u8 = 0x80;
const CONTROL: u8 = 0x08;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, masked: bool, payload: usize) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut frame = vec![first];
        match payload {
            0..=125 => frame.push(mask | payload as u8),
            126..=0xffff => {
                frame.push(mask | 126);
                frame.extend_from_slice(&(payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend_from_slice(&(payload as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend_from_slice(&[1, 2, 3, 4]);
        }
        frame.resize(frame.len() + payload, 0x81);
        frame
    }

    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut() {
        let frames = [
            frame(0x81, true, 5),
            frame(0x89, true, 3),
            frame(0x02, false, 0),
            frame(0x80, false, 300),
            frame(0x88, true, 0),
            frame(0x81, true, 126),
        ];
        let stream = frames.concat();
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            let mut scanner = FrameScanner::default();
            let mut seen = Vec::new();
            scanner.scan(head, |bytes| seen.push(bytes));
            scanner.scan(tail, |bytes| seen.push(bytes));
            assert_eq!(seen, [5, 0, 300, 126], "cut at {cut}");
        }
    }

    #[test]
    fn long_frames_are_hopped_over() {
        let stream = [frame(0x82, false, 70_000), frame(0x81, false, 1)].concat();
        let mut scanner = FrameScanner::default();
        let mut seen = Vec::new();
        for piece in stream.chunks(999) {
            scanner.scan(piece, |bytes| seen.push(bytes));
        }
        assert_eq!(seen, [70_000, 1]);
    }

    #[test]
    fn any_length_can_be_claimed() {
        let mut scanner = FrameScanner::default();
        scanner.scan(
            &[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0],
            |_| {
                panic!("it has not ended");
            },
        );
    }
}
