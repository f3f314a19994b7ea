//! Where requests go: an upstream's URL, its addresses, and fresh connections to it.

pub(super) mod connect;
pub(super) mod resolve;
pub(super) mod url;
