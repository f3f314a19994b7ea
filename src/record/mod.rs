//! The recorder: a transparent HTTP proxy whose traffic path is watched by a tap.
//!
//! ```text
//! client ─▶ listen ─▶ lane ─▶ http1 (relayed) or translate (HTTP/2) ─▶ upstream      traffic: no locks, no waiting for the recorder
//!                                │ tap: moments, references to body bytes
//!                                ▼
//!                             capture (bounded, may drop, counts it)
//!                                ▼
//!              observe ─▶ anonymise ─▶ write ─▶ trace file        two threads of their own
//! ```
//!
//! Each lane is a thread with its own runtime and its own idle upstream connections; one task owns a client's connection
//! and, while an exchange lasts, the upstream connection that serves it. Whatever happens behind the tap (a full queue, a
//! full disk, a panic in a dialect) costs recordings, which are counted, and never an exchange. What HTTP undergoes on the
//! way is docs/http.md.

mod accounts;
mod admin;
mod admit;
mod alarm;
mod answer;
mod arrival;
mod capture;
mod check;
mod client_io;
mod connections;
mod current_file;
mod door;
mod forwarded;
mod http1;
mod lane;
mod ledger;
mod listen;
mod metrics;
mod notify;
mod observe;
mod open_files;
mod options;
mod pause;
mod place;
mod placement;
mod proxy_protocol;
mod pulse;
mod recorder;
mod resolve;
mod sandbox;
mod serve;
mod session_header;
mod signals;
mod socket;
mod tap;
mod tls;
mod translate;
mod transparent;
mod turn_away;
mod upstream;
mod upstream_url;
mod write;

pub use accounts::{DropReason, Summary};
pub use admin::{AdminAddr, AdminOptions, LogLevels, Token, TokenError};
pub use check::{Check, Finding, Level, check};
pub use forwarded::Forwarded;
pub use listen::{Listen, ListenAddr, ListenPlace};
pub use options::{Options, RecordError, TraceOptions};
pub use placement::{Placement, PlacementError};
pub use proxy_protocol::ProxyVersion;
pub use recorder::{Recorder, run};
pub use tls::{CertificateFiles, ClientCa, ListenTls, PemError, TlsVersion, UpstreamTlsOptions};
pub use transparent::Transparent;
pub use upstream::UpstreamProtocol;
pub use upstream_url::{NamedUpstream, UpstreamUrl, UpstreamUrlError};
