//! The client side: connections of one worker, and one request on one of them.
//!
//! ```text
//! envelope ── message ── talk ── connection ── pool ── connect
//!                          │ frames, over a link: the same in HTTP/2
//!                          │ watch: silence, patience; brake: a slow client's pace
//!                          └ listen: what the answer shows ── exchange: what became of it
//! ```

mod brake;
mod connect;
mod connection;
mod envelope;
mod exchange;
mod frames;
mod lane;
mod link;
mod listen;
mod message;
mod pool;
mod retry_after;
mod stamped;
mod talk;
mod traffic;
mod watch;

pub(super) use connect::{ConnectError, Connector};
pub(super) use connection::Connection;
pub(super) use envelope::Envelope;
pub(super) use exchange::{dropped, exchange, fetch};
pub(super) use lane::{Lane, SlowLane};
pub(super) use message::Message;
pub(super) use pool::{Pool, Sharing};
pub(super) use traffic::AlikeCounts;
