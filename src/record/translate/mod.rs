//! HTTP/2 on either side, through hyper: messages are taken apart and put together again in the other version, which keeps
//! their meaning (RFC 9110) and not their bytes.
//!
//! ```text
//! serve (hyper's server, HTTP/1 or 2) ── forward ── link (hyper's client, HTTP/1 or 2) ── upstream
//!                                          └ upload, relay: bodies on their way, watched
//! ```

mod answer;
mod executor;
mod forward;
mod headers;
mod link;
mod pool;
mod relay;
mod rewound;
mod serve;
mod upload;

pub(super) use link::Link;
pub(super) use pool::Pools;
pub(super) use serve::serve;
