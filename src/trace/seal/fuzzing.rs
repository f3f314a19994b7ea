//! See [`crate::fuzzing`].

use super::super::frame::{FRAME, Frame};
use super::super::header::Header;
use super::envelope::{Envelope, ring, unlock};
use super::payload::{Sealer, opened};

/// The content of a sealed payload of the file that begins with `file`, by an identity that this process has been given.
pub fn unsealed(file: &[u8], frame: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    let envelope = envelope(file)?;
    opened(&decoded(frame)?, payload, envelope.id()).ok()
}

/// That content sealed again, behind a frame that may say something else by now; its payload's length is set to what comes of it.
pub fn sealed(file: &[u8], frame: &mut [u8], payload: &[u8]) -> Option<Vec<u8>> {
    let id = envelope(file)?.id();
    let sealer = Sealer::new(id, ring().get(&id)?);
    let len = u32::try_from(payload.len() + super::SEAL).ok()?;
    frame.get_mut(8..12)?.copy_from_slice(&len.to_le_bytes());
    let sum = crc32c::crc32c(frame.get(..FRAME - 4)?);
    frame
        .get_mut(FRAME - 4..FRAME)?
        .copy_from_slice(&sum.to_le_bytes());
    sealer.seal(&decoded(frame)?, payload).ok()
}

fn envelope(file: &[u8]) -> Option<Envelope> {
    let (header, _) = Header::decode(file.get(..Header::extent(file).ok()?)?).ok()?;
    unlock(header.envelope.as_ref(), "fuzzed".as_ref()).ok()?;
    header.envelope
}

fn decoded(frame: &[u8]) -> Option<Frame> {
    Frame::decode(frame.first_chunk()?)
}
