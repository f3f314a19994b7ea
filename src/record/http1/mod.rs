//! HTTP/1 from client to upstream, relayed rather than translated: heads are read strictly and written again with only what
//! a proxy must change, bodies pass as the bytes they are, chunk for chunk.
//!
//! ```text
//! serve ── reads a request's head ── exchange ── both directions at once ── the next request
//!             │ request                 │ response               └ tunnel, after a 101
//!             ▼                         ▼
//!          refused with 400          link ── pool
//! ```
//! How HTTP/1 reads is [`crate::net::http1`]'s. Where the upstream speaks HTTP/2, `across` carries the exchange instead of `exchange`.
//!
//! One task owns a client's connection and, while an exchange lasts, the upstream connection that serves it. Reads go into
//! one buffer of the lane's ([`scratch`]), so an open stream that is silent holds none.

mod across;
mod exchange;
mod fate;
mod link;
mod own;
mod prepared;
mod request;
mod response;
mod scratch;
mod serve;
mod tunnel;
mod way;

#[cfg(fuzzing)]
pub(in crate::record) mod fuzzing;

pub(super) use link::{Link, Pool};
pub(super) use scratch::Scratch;
pub(super) use serve::serve;
