//! TLS on both sides: towards clients it ends here, towards the upstream it begins here. Certificates, keys and roots are files that
//! are read again when they change.

mod client;
mod pem;
mod reload;
mod server;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;

pub(in crate::record) use client::{client_config, client_files};
pub(in crate::record) use reload::{Reload, Reloading, watch};
pub(in crate::record) use server::{server_config, server_files};

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsVersion {
    fn and_above(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::V1_2 => rustls::ALL_VERSIONS,
            Self::V1_3 => ONLY_1_3,
        }
    }
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenTls {
    /// Certificates with their keys; the first is shown to a client that names no host, or an unknown one.
    pub certificates: Vec<CertificateFiles>,
    /// Whose certificates clients must show; none are asked for where absent.
    pub clients: Option<ClientCa>,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
}

/// A certificate with its chain, and its key: two PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, then those that lead to a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Whose certificates clients show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCa {
    /// PEM file of roots.
    pub roots: PathBuf,
    /// A client may come without a certificate. One that shows a wrong one is refused all the same.
    pub optional: bool,
}

/// TLS towards upstreams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamTlsOptions {
    /// PEM file with the roots that an upstream's certificate must lead to; the platform's where absent.
    pub ca: Option<PathBuf>,
    /// The certificate that we show.
    pub certificate: Option<CertificateFiles>,
    /// Whom the upstream's certificate must be for, in the place of its URL's host.
    pub server_name: Option<String>,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
}

/// A PEM file is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{option} {}: {reason}", path.display())]
pub struct PemError {
    /// The option that names the file.
    pub option: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it; never what stands in it.
    pub reason: String,
}

static ONLY_1_3: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
