use std::io;

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};

use super::super::frame::{Frame, MAX_BLOCK_BYTES};
use super::super::varint::Malformed;
use super::envelope::{FileKey, ring};

/// Seals the payloads of one file.
pub(in crate::trace) struct Sealer {
    id: u64,
    cipher: XChaCha20Poly1305,
}

const NONCE: usize = 24;
const ID: usize = 8;
const TAG: usize = 16;

/// Bytes that sealing adds to a payload.
pub(in crate::trace) const SEAL: usize = NONCE + TAG;

impl Sealer {
    pub(super) fn new(id: u64, key: &FileKey) -> Self {
        Self {
            id,
            cipher: XChaCha20Poly1305::new((&**key).into()),
        }
    }

    /// A sealed payload: nonce, ciphertext, tag. `frame` is the one that it will stand behind, with its final length.
    ///
    /// The nonce is the envelope's id and 16 random bytes, not a place in the file: after a failed write another payload may come
    /// to stand where parts of the first already did.
    pub(in crate::trace) fn seal(&self, frame: &Frame, payload: &[u8]) -> io::Result<Vec<u8>> {
        let mut sealed = Vec::with_capacity(payload.len() + SEAL);
        let mut nonce = [0; NONCE];
        let (id, random) = nonce.split_at_mut(ID);
        id.copy_from_slice(&self.id.to_le_bytes());
        getrandom::fill(random).map_err(io::Error::other)?;
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(payload);
        let body = sealed.get_mut(NONCE..).unwrap_or_default();
        let tag = self
            .cipher
            .encrypt_in_place_detached(XNonce::from_slice(&nonce), &frame.bound(), body)
            .map_err(|_| io::Error::other("a block is too long to seal"))?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }
}

/// A sealed payload's content, if the file whose envelope has the id `seal` has been unlocked, the payload was sealed for it, and
/// nobody has changed it or its frame.
pub(in crate::trace) fn opened(
    frame: &Frame,
    payload: &[u8],
    seal: u64,
) -> Result<Vec<u8>, Malformed> {
    let broken = Malformed("it does not open: it or its frame was changed");
    let (nonce, rest) = payload.split_first_chunk::<NONCE>().ok_or(broken)?;
    let (body, tag) = rest.split_last_chunk::<TAG>().ok_or(broken)?;
    let id = nonce.first_chunk::<ID>().copied().unwrap_or_default();
    if u64::from_le_bytes(id) != seal {
        return Err(Malformed(
            "it is sealed under a key that the header does not hold",
        ));
    }
    let cipher = {
        let ring = ring();
        let key = ring
            .get(&seal)
            .ok_or(Malformed("its file has not been unlocked"))?;
        XChaCha20Poly1305::new((&**key).into())
    };
    if body.len() > MAX_BLOCK_BYTES as usize {
        return Err(broken);
    }
    let mut content = body.to_vec();
    cipher
        .decrypt_in_place_detached(
            XNonce::from_slice(nonce),
            &frame.bound(),
            &mut content,
            Tag::from_slice(tag),
        )
        .map_err(|_| broken)?;
    Ok(content)
}
