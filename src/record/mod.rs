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

mod alarm;
mod answer;
mod daemon;
mod front;
mod http1;
mod lane;
mod mirror;
mod options;
mod recorder;
mod serve;
mod tape;
mod translate;
mod upstream;

#[cfg(fuzzing)]
pub(crate) mod fuzzing;

pub use daemon::admin::{AdminAddr, AdminOptions, LogLevels, Token, TokenError};
pub use daemon::check::{Check, Finding, Level, check};
pub use front::forwarded::Forwarded;
pub use front::listen::{Listen, ListenAddr, ListenPlace};
pub use front::placement::{Placement, PlacementError};
pub use front::proxy_protocol::ProxyVersion;
pub use front::tls::{
    CertificateFiles, ClientCa, ListenTls, PemError, TlsVersion, UpstreamTlsOptions,
};
pub use front::transparent::Transparent;
pub use mirror::{
    BadMirrorKey, BeginResults, CandidateSide, Ending as MirrorEnding, Lost as MirrorLost,
    MirrorKey, MirrorOptions, MirrorOut, MirrorResults, Mirrored, Unmeasured,
};
pub use options::{Keeping, Options, RecordError, StoreOptions, TraceOptions};
pub use recorder::{Recorder, run};
pub use tape::accounts::{DropReason, Summary};
pub use upstream::connect::UpstreamProtocol;
pub use upstream::url::{NamedUpstream, UpstreamUrl, UpstreamUrlError};
