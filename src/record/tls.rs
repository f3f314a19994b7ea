use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::RecordError;

/// How TLS to the upstream is spoken: roots from `ca`, or the platform's; HTTP/1.1 only.
pub(super) fn client_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, RecordError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => add_from_file(&mut roots, path)?,
        None => {
            // Single bad certificates are common in a platform's store, and no reason to trust none.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(RecordError::NoRoots);
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_from_file(roots: &mut RootCertStore, path: &Path) -> Result<(), RecordError> {
    let wrong = |reason: String| RecordError::Roots {
        path: path.to_owned(),
        reason,
    };
    let certs = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    for cert in certs {
        let cert = cert.map_err(|error| wrong(error.to_string()))?;
        roots.add(cert).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it holds no certificate".to_owned()));
    }
    Ok(())
}
