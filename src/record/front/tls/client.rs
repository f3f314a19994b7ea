use std::path::PathBuf;
use std::sync::Arc;

use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use super::{UpstreamTlsOptions, pem, provider};
use crate::record::RecordError;

/// How TLS to upstreams is spoken. Each connection offers the protocols that it can be used for.
pub(in crate::record) fn client_config(
    options: &UpstreamTlsOptions,
) -> Result<ClientConfig, RecordError> {
    let roots = match &options.ca {
        Some(path) => pem::roots("--upstream-ca", path)?,
        None => platform_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(options.min_version.and_above())
        .map_err(std::io::Error::other)?
        .with_root_certificates(roots);
    Ok(match &options.certificate {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let certified = pem::certified(files, &OWN)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
    })
}

/// The files that it is made of.
pub(in crate::record) fn client_files(options: &UpstreamTlsOptions) -> Vec<PathBuf> {
    let own = options.certificate.iter();
    let own = own.flat_map(|files| [files.certificate.clone(), files.key.clone()]);
    options.ca.iter().cloned().chain(own).collect()
}

const OWN: pem::Options = pem::Options {
    certificate: "--upstream-cert",
    key: "--upstream-key",
};

fn platform_roots() -> Result<RootCertStore, RecordError> {
    let mut roots = RootCertStore::empty();
    // Single bad certificates are common in a platform's store, and no reason to trust none.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(RecordError::NoRoots);
    }
    Ok(roots)
}
