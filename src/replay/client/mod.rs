//! The client side: connections of one worker, and one request on one of them.

mod connect;
mod envelope;
mod exchange;
mod failure;
mod pool;
mod retry_after;
mod stamped;
mod traffic;

pub(super) use connect::{ConnectError, Connection, Connector};
pub(super) use envelope::Envelope;
pub(super) use exchange::{Lane, dropped, exchange, fetch};
pub(super) use pool::Pool;
pub(super) use traffic::Traffic;
