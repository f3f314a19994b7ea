//! Sealed traces: payloads that only the holders of an age identity can read, in blocks that can be found, checked and lost one
//! by one like any others.
//!
//! An age file as a whole would not do: its stream can only be read in chunks of 64 KiB and is cut off without its last one, so
//! that a block that was flushed would not survive a crash. So age wraps a key for each trace file, in the header, and every
//! payload is sealed under that key on its own (XChaCha20-Poly1305). Frames stay in clear, and are bound to their payloads.
//!
//! Who writes needs public keys only. Who reads names its identities once for the whole process ([`unlock_with`]): a sealed
//! payload says which file key it wants, so whatever reads a block can open it.

mod envelope;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod identities;
mod payload;
mod recipients;

pub(super) use envelope::{Envelope, unlock};
pub use identities::unlock_with;
pub(super) use payload::{SEAL, Sealer, opened};
pub use recipients::Recipient;
