//! What the recorder and the replay both need of connections and of the system that carries them.

pub(crate) mod http1;
mod maybe_tls;
pub(crate) mod open_files;

pub(crate) use maybe_tls::MaybeTls;
