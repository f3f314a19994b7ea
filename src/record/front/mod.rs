//! Where clients come in: listeners, the way from a socket to where HTTP begins (redirect, PROXY header, TLS), and what is told of
//! them further on.
//!
//! [`place`] puts it together at the start; a [`door::Door`] is what one listener does with its clients.

pub(super) mod admit;
pub(super) mod arrival;
pub(super) mod client_io;
pub(super) mod connections;
pub(super) mod door;
pub(super) mod forwarded;
pub(super) mod listen;
pub(super) mod place;
pub(super) mod placement;
pub(super) mod proxy_protocol;
pub(super) mod socket;
pub(super) mod tls;
pub(super) mod transparent;
pub(super) mod turn_away;
