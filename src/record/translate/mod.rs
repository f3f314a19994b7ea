//! HTTP/2 on either side, through hyper: messages are taken apart and put together again in the other version, which keeps
//! their meaning (RFC 9110) and not their bytes.
//!
//! ```text
//! serve (hyper's server, HTTP/2) ── forward ─┐
//!                                            ├ send ── link (hyper's client, HTTP/1 or 2) ── upstream
//! http1's serve, HTTP/1 ──────────── across ─┘
//!                                              upload, feed, relay: bodies on their way, watched
//! ```

mod answer;
mod executor;
mod feed;
mod forward;
mod headers;
mod link;
mod pool;
mod relay;
mod rewound;
mod send;
mod serve;
mod upload;

pub(super) use feed::{Feed, feed};
pub(super) use headers::clean_trailers;
pub(super) use link::Link;
pub(super) use pool::Pools;
pub(super) use relay::{Broken, Relay};
pub(super) use send::{Sent, Unanswered, send};
pub(super) use serve::serve;
pub(super) use upload::Upload;
