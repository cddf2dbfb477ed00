//! TLS to a gateway: whose certificates are trusted, and what is wrong with one that is not.

use std::{error::Error as StdError, io};

use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::Error;

/// Who signs the certificates of gateways.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Authorities<'a> {
    /// Nobody: the gateway is called without TLS.
    None,
    /// Those that the operating system trusts.
    OfSystem,
    /// Those of this PEM, and no others.
    Pem(&'a [u8]),
}

/// TLS that trusts these authorities.
pub(crate) fn config(authorities: Authorities<'_>) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Authorities::None => {}
        Authorities::OfSystem => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(Error::NoAuthorities);
            }
        }
        Authorities::Pem(pem) => {
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            let (added, _) = roots.add_parsable_certificates(certificates.unwrap_or_default());
            if added == 0 {
                return Err(Error::Authorities);
            }
        }
    }
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// What became of a request that has no answer.
pub(crate) fn unanswered(error: reqwest::Error) -> Error {
    match cause(&error) {
        None => Error::Unanswered(error),
        // The signature is bad where another authority has the same name.
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => Error::UnknownAuthority,
        Some(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented,
            ..
        })) => Error::OtherName { names: presented.join(", ") },
        Some(rustls::Error::InvalidMessage(_)) => Error::NoTls,
        Some(cause) => Error::Tls(cause.clone()),
    }
}

/// The error of TLS that led to an error of a request.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // What an I/O error holds is not its source.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}
