use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{CertificateFiles, PemError, provider};

/// The options that name a certificate and its key.
pub(super) struct Options {
    pub(super) certificate: &'static str,
    pub(super) key: &'static str,
}

/// A certificate's chain, one at least.
pub(super) fn chain(
    option: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let wrong = |reason: String| wrong(option, path, reason);
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(say(&error)))?;
    match chain.is_empty() {
        true => Err(wrong("it holds no certificate".to_owned())),
        false => Ok(chain),
    }
}

/// A certificate with a key that belongs to it.
pub(super) fn certified(files: &CertificateFiles, of: &Options) -> Result<CertifiedKey, PemError> {
    let chain = chain(of.certificate, &files.certificate)?;
    let wrong = |reason| wrong(of.key, &files.key, reason);
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| match error {
        pem::Error::NoItemsFound => wrong("it holds no private key".to_owned()),
        error => wrong(say(&error)),
    })?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => wrong(format!(
            "the key does not belong to the certificate in {}",
            files.certificate.display()
        )),
        rustls::Error::InvalidCertificate(_) => PemError {
            option: of.certificate,
            path: files.certificate.clone(),
            reason: "the certificate cannot be read".to_owned(),
        },
        _ => wrong("the key is of no kind that is known here".to_owned()),
    })
}

/// Roots, one at least.
pub(super) fn roots(option: &'static str, path: &Path) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(option, path)? {
        roots.add(certificate).map_err(|_| {
            wrong(
                option,
                path,
                "one of its certificates is no root".to_owned(),
            )
        })?;
    }
    Ok(roots)
}

fn wrong(option: &'static str, path: &Path, reason: String) -> PemError {
    PemError {
        option,
        path: path.to_owned(),
        reason,
    }
}

/// The parser's own words would quote the file.
fn say(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "it holds no certificate".to_owned(),
        _ => "it is not well-formed PEM".to_owned(),
    }
}
