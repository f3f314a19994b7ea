use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::ring::Ticketer;
use rustls::pki_types::ServerName;
use rustls::server::{
    ClientHello, NoClientAuth, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;

use super::{ClientCa, ListenTls, pem, provider};
use crate::record::RecordError;
use crate::record::front::client_io::Protocol;

/// How TLS with clients is spoken. `offered` are the protocols to choose from, the preferred one first.
pub(in crate::record) fn server_config(
    options: &ListenTls,
    offered: &[Protocol],
) -> Result<ServerConfig, RecordError> {
    let certificates = options
        .certificates
        .iter()
        .map(|files| pem::certified(files, &SHOWN).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()?;
    let verifier = match &options.clients {
        None => Arc::new(NoClientAuth),
        Some(clients) => verifier(clients)?,
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(options.min_version.and_above())
        .map_err(std::io::Error::other)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(ByName(certificates)));
    config.alpn_protocols = offered.iter().map(|each| each.alpn().to_vec()).collect();
    // Resumption without a table that the lanes would share.
    config.ticketer = Ticketer::new().map_err(std::io::Error::other)?;
    Ok(config)
}

/// The files that it is made of.
pub(in crate::record) fn server_files(options: &ListenTls) -> Vec<PathBuf> {
    let shown = options.certificates.iter();
    let shown = shown.flat_map(|files| [files.certificate.clone(), files.key.clone()]);
    let roots = options.clients.iter().map(|clients| clients.roots.clone());
    shown.chain(roots).collect()
}

const SHOWN: pem::Options = pem::Options {
    certificate: "--tls-cert",
    key: "--tls-key",
};

fn verifier(
    clients: &ClientCa,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, RecordError> {
    let roots = pem::roots("--tls-client-ca", &clients.roots)?;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = match clients.optional {
        true => builder.allow_unauthenticated(),
        false => builder,
    };
    builder
        .build()
        .map_err(|error| std::io::Error::other(error).into())
}

/// Chooses the certificate that is for the name a client asks for, among those with a key that it can use; the first of all
/// where there is none.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let usable = |certified: &&Arc<CertifiedKey>| {
            let chosen = certified.key.choose_scheme(hello.signature_schemes());
            chosen.is_some()
        };
        let is_for = |certified: &&Arc<CertifiedKey>| {
            // Asked the way that a client will check it, wildcards included.
            name.as_ref().is_some_and(|name| {
                certified
                    .end_entity_cert()
                    .and_then(ParsedCertificate::try_from)
                    .and_then(|parsed| verify_server_name(&parsed, name))
                    .is_ok()
            })
        };
        let usable_ones = || self.0.iter().filter(usable);
        usable_ones()
            .find(is_for)
            .or_else(|| usable_ones().next())
            .or(self.0.first())
            .cloned()
    }
}
