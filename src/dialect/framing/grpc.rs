//! gRPC's messages, counted from pieces cut anywhere: a flag and a length before each. What they say is passed over.

/// Reads the lengths of messages and nothing else.
#[derive(Default)]
pub(in crate::dialect) struct MessageCounter {
    /// What has come of the next message's prefix.
    prefix: [u8; PREFIX],
    had: usize,
    /// What is still to come of the open message.
    left: u64,
}

impl MessageCounter {
    /// Takes the next piece, and calls for every message that it completes.
    pub(in crate::dialect) fn feed(&mut self, mut piece: &[u8], mut on_message: impl FnMut()) {
        while !piece.is_empty() {
            if self.left > 0 {
                let here = piece
                    .len()
                    .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                piece = piece.get(here..).unwrap_or_default();
                self.left -= here as u64;
                if self.left == 0 {
                    on_message();
                }
                continue;
            }
            let [byte, rest @ ..] = piece else { return };
            piece = rest;
            if let Some(slot) = self.prefix.get_mut(self.had) {
                *slot = *byte;
                self.had += 1;
            }
            if self.had == PREFIX {
                self.had = 0;
                self.left = u64::from(length(self.prefix));
                if self.left == 0 {
                    on_message();
                }
            }
        }
    }
}

/// The messages of a whole body that are not compressed; `None` where it ends within one.
pub(in crate::dialect) fn messages(mut body: &[u8]) -> Option<Vec<&[u8]>> {
    let mut messages = Vec::new();
    while !body.is_empty() {
        let (&prefix, rest) = body.split_first_chunk::<PREFIX>()?;
        let (message, rest) = rest.split_at_checked(usize::try_from(length(prefix)).ok()?)?;
        let [flag, ..] = prefix;
        if flag == 0 && !message.is_empty() {
            messages.push(message);
        }
        body = rest;
    }
    Some(messages)
}

/// The status of HTTP that says the same as one of gRPC, as gateways translate it (google.rpc.Code).
pub fn http_status(grpc: u16) -> u16 {
    match grpc {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

fn length([_, a, b, c, d]: [u8; PREFIX]) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

const PREFIX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"\0\0\0\0\x03abc\x01\0\0\0\x02xy\0\0\0\0\0\0\0\0\0\x01z\0\0";

    #[test]
    fn messages_are_counted_wherever_the_stream_is_cut() {
        for cut in 0..=STREAM.len() {
            let (head, tail) = STREAM.split_at(cut);
            let mut counter = MessageCounter::default();
            let mut count = 0;
            counter.feed(head, || count += 1);
            counter.feed(tail, || count += 1);
            assert_eq!(count, 4, "cut at {cut}");
        }
    }

    #[test]
    fn whole_messages_are_read_and_compressed_ones_are_not() {
        let whole = STREAM.split_at(STREAM.len() - 2).0;
        assert_eq!(messages(whole), Some(vec![&b"abc"[..], b"z"]));
        assert_eq!(messages(STREAM), None);
        assert_eq!(messages(b""), Some(vec![]));
    }
}
