use serde::{Deserialize, Serialize};

/// Opens every block. Chosen to be unlikely in compressed data and impossible in text.
pub(super) const SYNC: [u8; 4] = [0xb1, 0x0c, b'R', 0x1a];

/// Bytes of a frame.
pub(super) const FRAME: usize = 60;

/// Bytes of a frame between its sync mark and its checksums.
const BOUND: usize = 48;

/// The most bytes that a block may have, packed or unpacked.
pub(super) const MAX_BLOCK_BYTES: u32 = 64 << 20;

/// The most exchanges that a block may hold.
pub(super) const MAX_BLOCK_EXCHANGES: u32 = 1 << 16;

/// A block of exchanges.
pub(super) const KIND_EXCHANGES: u8 = 1;
/// The footer: index and totals.
pub(super) const KIND_FOOTER: u8 = 2;

/// Exchanges in flight, as they stood when the block was written.
pub(super) const KIND_OPENINGS: u8 = 3;

/// The payload is one zstd frame.
pub(super) const CODEC_ZSTD: u8 = 1;
/// The payload is one zstd frame, sealed.
pub(super) const CODEC_SEALED: u8 = 2;

/// What stands before every block's payload, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) codec: u8,
    pub(super) payload_len: u32,
    /// Length of the payload once unpacked.
    pub(super) unpacked_len: u32,
    /// Exchanges in the block.
    pub(super) count: u32,
    /// Ids that the file has used up to and with this block: one more than the highest.
    pub(super) ids: IdLimits,
    pub(super) first_at_us: u64,
    pub(super) last_at_us: u64,
    pub(super) payload_crc: u32,
}

/// One more than the highest id of each kind so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct IdLimits {
    pub(super) blocks: u32,
    pub(super) models: u32,
    pub(super) sessions: u32,
    pub(super) clients: u32,
}

impl IdLimits {
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            blocks: self.blocks.max(other.blocks),
            models: self.models.max(other.models),
            sessions: self.sessions.max(other.sessions),
            clients: self.clients.max(other.clients),
        }
    }
}

impl Frame {
    pub(super) fn encode(&self) -> [u8; FRAME] {
        let mut out = Vec::with_capacity(FRAME);
        out.extend_from_slice(&SYNC);
        out.extend_from_slice(&[self.kind, self.codec, 0, 0]);
        for field in [
            self.payload_len,
            self.unpacked_len,
            self.count,
            self.ids.blocks,
            self.ids.models,
            self.ids.sessions,
            self.ids.clients,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.first_at_us.to_le_bytes());
        out.extend_from_slice(&self.last_at_us.to_le_bytes());
        out.extend_from_slice(&self.payload_crc.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        // 4 + 4 + 7 * 4 + 2 * 8 + 4 + 4 = FRAME, so this always fits.
        out.first_chunk().copied().unwrap_or([0; FRAME])
    }

    /// What a sealed payload is bound to: everything but the sync mark and the checksums.
    pub(super) fn bound(&self) -> [u8; BOUND] {
        let frame = self.encode();
        let bound = frame.get(SYNC.len()..SYNC.len() + BOUND);
        bound
            .and_then(|bound| bound.first_chunk().copied())
            .unwrap_or([0; BOUND])
    }

    /// Reads a frame; `None` where these bytes are not one that this version can take.
    pub(super) fn decode(bytes: &[u8; FRAME]) -> Option<Self> {
        let (covered, sum) = bytes.split_last_chunk::<4>()?;
        if !bytes.starts_with(&SYNC) || crc32c::crc32c(covered) != u32::from_le_bytes(*sum) {
            return None;
        }
        let mut rest = covered.get(SYNC.len()..)?;
        let [kind, codec, _, _] = take::<4>(&mut rest)?;
        let mut number = || take::<4>(&mut rest).map(u32::from_le_bytes);
        let (payload_len, unpacked_len, count) = (number()?, number()?, number()?);
        let ids = IdLimits {
            blocks: number()?,
            models: number()?,
            sessions: number()?,
            clients: number()?,
        };
        let first_at_us = take::<8>(&mut rest).map(u64::from_le_bytes)?;
        let last_at_us = take::<8>(&mut rest).map(u64::from_le_bytes)?;
        let payload_crc = take::<4>(&mut rest).map(u32::from_le_bytes)?;
        let sane = payload_len <= MAX_BLOCK_BYTES
            && unpacked_len <= MAX_BLOCK_BYTES
            && count <= MAX_BLOCK_EXCHANGES
            && first_at_us <= last_at_us;
        sane.then_some(Self {
            kind,
            codec,
            payload_len,
            unpacked_len,
            count,
            ids,
            first_at_us,
            last_at_us,
            payload_crc,
        })
    }

    /// Bytes of frame and payload.
    pub(super) fn len(&self) -> u64 {
        FRAME as u64 + u64::from(self.payload_len)
    }
}

/// Takes `N` bytes off the front.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        Frame {
            kind: KIND_EXCHANGES,
            codec: CODEC_ZSTD,
            payload_len: 1000,
            unpacked_len: 5000,
            count: 17,
            ids: IdLimits {
                blocks: 1,
                models: 2,
                sessions: 3,
                clients: 4,
            },
            first_at_us: 5,
            last_at_us: u64::MAX,
            payload_crc: 0xdead_beef,
        }
    }

    #[test]
    fn a_frame_reads_back_and_every_flipped_bit_shows() {
        let bytes = frame().encode();
        assert_eq!(Frame::decode(&bytes), Some(frame()));
        for bit in 0..FRAME * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn lengths_over_the_limits_are_refused() {
        for wrong in [
            Frame {
                payload_len: MAX_BLOCK_BYTES + 1,
                ..frame()
            },
            Frame {
                unpacked_len: u32::MAX,
                ..frame()
            },
            Frame {
                count: MAX_BLOCK_EXCHANGES + 1,
                ..frame()
            },
            Frame {
                last_at_us: 4,
                ..frame()
            },
        ] {
            assert_eq!(Frame::decode(&wrong.encode()), None);
        }
    }
}
