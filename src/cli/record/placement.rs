use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::super::failure::Failure;
use super::super::values;
use crate::record::{
    CertificateFiles, ClientCa, Forwarded, ListenTls, Placement, ProxyVersion, TlsVersion,
    Transparent, UpstreamTlsOptions,
};

/// Where the recorder sits between its neighbours.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Between the neighbours")]
pub(super) struct PlacementArgs {
    /// PEM file of a certificate and its chain, to speak TLS with clients (may be given several times: a client gets the one
    /// for the name it asks for, else the first). Read again when it changes, and at SIGHUP
    #[arg(long, value_name = "FILE")]
    tls_cert: Vec<PathBuf>,
    /// PEM file of its private key: one for each --tls-cert, in the same order
    #[arg(long, value_name = "FILE")]
    tls_key: Vec<PathBuf>,
    /// The oldest TLS that clients may speak
    #[arg(long, value_name = "VERSION", default_value = "1.2")]
    tls_min_version: Version,
    /// PEM file of the roots that clients' certificates must lead to
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Whether clients must show a certificate, where --tls-client-ca asks for one
    #[arg(long, value_name = "WHETHER", default_value = "required")]
    tls_client_auth: ClientAuth,
    /// PEM file with the roots to trust for an https:// upstream [default: the platform's]
    #[arg(long, value_name = "FILE")]
    upstream_ca: Option<PathBuf>,
    /// PEM file of the certificate to show to an https:// upstream
    #[arg(long, value_name = "FILE")]
    upstream_cert: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE")]
    upstream_key: Option<PathBuf>,
    /// The name to ask an https:// upstream for, and to find in its certificate [default: its URL's host]
    #[arg(long, value_name = "NAME")]
    upstream_sni: Option<String>,
    /// The oldest TLS that an https:// upstream may speak
    #[arg(long, value_name = "VERSION", default_value = "1.2")]
    upstream_tls_min_version: Version,
    /// The mode of unix sockets that are made for --listen unix:PATH
    #[arg(long, value_name = "MODE", default_value = "660", value_parser = mode)]
    socket_mode: u32,
    /// Every client's connection must begin with a PROXY header (version 1 or 2). Whoever can connect can then say whose it is:
    /// only for listeners that nobody but the proxy before this one can reach
    #[arg(long)]
    proxy_protocol_in: bool,
    /// Begin connections to upstreams with a PROXY header of this version. They are then not shared between clients
    #[arg(long, value_name = "VERSION")]
    proxy_protocol_out: Option<Proxy>,
    /// Tell upstreams the client in X-Forwarded-For, -Proto, -Host and Forwarded: behind what came (append), or in its place
    /// (replace, where clients cannot be trusted to tell the truth)
    #[arg(long, value_name = "HOW", default_value = "off")]
    forwarded: ForwardedHow,
    /// Clients are redirected here by the kernel and know of nothing: each goes on to where it wanted to go, so there is no --upstream.
    /// `redirect` for NAT rules, `tproxy` for TPROXY rules (needs CAP_NET_ADMIN)
    #[arg(
        long,
        value_name = "HOW",
        num_args = 0..=1,
        default_missing_value = "redirect"
    )]
    transparent: Option<TransparentHow>,
    /// Most clients connected at once; the next are answered 503
    #[arg(long, value_name = "N", default_value_t = 32_768, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// How long a client may take for its TLS handshake and PROXY header
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    handshake_timeout: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Version {
    #[value(name = "1.2")]
    V1_2,
    #[value(name = "1.3")]
    V1_3,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ClientAuth {
    Required,
    Optional,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Proxy {
    V1,
    V2,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ForwardedHow {
    Off,
    Append,
    Replace,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TransparentHow {
    Redirect,
    Tproxy,
}

impl PlacementArgs {
    /// What was typed, as what it means.
    ///
    /// # Errors
    /// When options that belong together do not stand together.
    pub(super) fn placement(&self) -> Result<Placement, Failure> {
        Ok(Placement {
            listen_tls: self.listen_tls()?,
            upstream_tls: UpstreamTlsOptions {
                ca: self.upstream_ca.clone(),
                certificate: self.upstream_certificate()?,
                server_name: self.upstream_sni.clone(),
                min_version: self.upstream_tls_min_version.into(),
            },
            socket_mode: self.socket_mode,
            proxy_in: self.proxy_protocol_in,
            proxy_out: self.proxy_protocol_out.map(|version| match version {
                Proxy::V1 => ProxyVersion::V1,
                Proxy::V2 => ProxyVersion::V2,
            }),
            forwarded: match self.forwarded {
                ForwardedHow::Off => Forwarded::Off,
                ForwardedHow::Append => Forwarded::Append,
                ForwardedHow::Replace => Forwarded::Replace,
            },
            transparent: self.transparent.map(|how| match how {
                TransparentHow::Redirect => Transparent::Redirect,
                TransparentHow::Tproxy => Transparent::Tproxy,
            }),
            max_connections: usize::try_from(self.max_connections).unwrap_or(usize::MAX),
            handshake_timeout: self.handshake_timeout,
        })
    }

    fn listen_tls(&self) -> Result<Option<ListenTls>, Failure> {
        let (certificates, keys) = (self.tls_cert.len(), self.tls_key.len());
        if certificates != keys {
            return Err(Failure::usage(anyhow::anyhow!(
                "there are {certificates} --tls-cert and {keys} --tls-key"
            ))
            .hint("give a --tls-key for each --tls-cert, in the same order"));
        }
        if certificates == 0 {
            return match self.tls_client_ca {
                None => Ok(None),
                Some(_) => Err(Failure::usage(anyhow::anyhow!(
                    "--tls-client-ca asks clients for certificates, and there is no --tls-cert"
                ))
                .hint("give --tls-cert FILE and --tls-key FILE")),
            };
        }
        let pairs = self.tls_cert.iter().zip(&self.tls_key);
        Ok(Some(ListenTls {
            certificates: pairs
                .map(|(certificate, key)| CertificateFiles {
                    certificate: certificate.clone(),
                    key: key.clone(),
                })
                .collect(),
            clients: self.tls_client_ca.clone().map(|roots| ClientCa {
                roots,
                optional: self.tls_client_auth == ClientAuth::Optional,
            }),
            min_version: self.tls_min_version.into(),
        }))
    }

    fn upstream_certificate(&self) -> Result<Option<CertificateFiles>, Failure> {
        match (&self.upstream_cert, &self.upstream_key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(CertificateFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            })),
            _ => Err(Failure::usage(anyhow::anyhow!(
                "--upstream-cert and --upstream-key belong together"
            ))
            .hint("give both, or none")),
        }
    }
}

impl From<Version> for TlsVersion {
    fn from(version: Version) -> Self {
        match version {
            Version::V1_2 => Self::V1_2,
            Version::V1_3 => Self::V1_3,
        }
    }
}

/// A file's mode, as `chmod` takes it.
fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("not a mode; write 660 or 600".to_owned()),
    }
}
