//! What the recorder and the replay both need of connections and of the system that carries them.

mod backlog;
mod client_tls;
pub(crate) mod http1;
mod maybe_tls;
pub(crate) mod open_files;
pub(crate) mod pages;
mod simulated;

pub(crate) use backlog::{BACKLOG, deepen};
pub(crate) use client_tls::client_tls;
pub(crate) use maybe_tls::MaybeTls;
pub(crate) use simulated::{SIMULATED, is_simulated};
