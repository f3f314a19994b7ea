//! Frames of WebSockets (RFC 6455, 5.2).

/// What follows in later frames of the same message.
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A frame that ends its message, as a server sends it.
pub fn bare(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = head(opcode, payload.len(), 0);
    frame.extend_from_slice(payload);
    frame
}

/// The same as a client does.
pub fn masked(opcode: u8, mask: [u8; 4], payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = head(opcode, payload.len(), 0x80);
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    frame
}

/// More of the message follows.
pub fn unfinished(mut frame: Vec<u8>) -> Vec<u8> {
    frame[0] &= 0x7f;
    frame
}

fn head(opcode: u8, length: usize, masked: u8) -> Vec<u8> {
    let mut head = vec![0x80 | opcode];
    match u8::try_from(length) {
        Ok(short @ 0..=125) => head.push(masked | short),
        _ => {
            head.push(masked | 126);
            head.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    head
}
