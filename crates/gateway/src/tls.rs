//! TLS of the gateway: its certificate, which is read again while it runs.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tracing::{error, info};

/// How often the files are looked at. A renewed certificate is valid at once, and the old one for days more.
pub(crate) const RELOAD_INTERVAL: Duration = Duration::from_secs(30);

/// The files of the gateway's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and an authority (PEM), its own first.
    pub certificate: PathBuf,
    /// Its key (PEM): PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Files that are no certificate with its key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One cannot be read.
    #[error("read {}", file.display())]
    Read {
        /// Which one.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// One is no PEM, or not of what it should be.
    #[error("read the PEM of {}", file.display())]
    Pem {
        /// Which one.
        file: PathBuf,
        /// Why not.
        source: rustls::pki_types::pem::Error,
    },
    /// There is no certificate in the file.
    #[error("{} has no certificate: it must have one as PEM, and those that signed it", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// The key is of another certificate, or of a kind that is not known.
    #[error("use the certificate of {} with the key of {}", files.certificate.display(), files.key.display())]
    Unusable {
        /// The files.
        files: TlsFiles,
        /// Why they cannot be used.
        source: rustls::Error,
    },
}

/// The certificate of the gateway as its files last had it.
pub(crate) struct Certificate {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    /// What the files had when they were last read, whether it could be used or not.
    seen: Mutex<(Vec<u8>, Vec<u8>)>,
    used: RwLock<Arc<CertifiedKey>>,
}

/// Shows no key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.used.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When they cannot be read, or are no certificate with its key.
    pub(crate) async fn read(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let (certificate, key) = read_both(&files).await?;
        let used = parse(&files, &certificate, &key, &provider)?;
        let used = RwLock::new(Arc::new(used));
        Ok(Arc::new(Self { files, provider, seen: Mutex::new((certificate, key)), used }))
    }

    /// What takes connections with this certificate: TLS 1.2 and 1.3, and HTTP/1.1 in it.
    ///
    /// # Errors
    ///
    /// None with the provider that is used.
    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Looks at the files again and again, and uses what they have from then on, for connections that are made
    /// later. The old certificate stays while the files have none that can be used, as in the middle of a renewal.
    pub(crate) async fn keep_reading(self: Arc<Self>, interval: Duration) {
        loop {
            sleep(interval).await;
            match self.read_again().await {
                Ok(true) => {
                    info!(file = %self.files.certificate.display(), "a new certificate is used");
                }
                Ok(false) => {}
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    let error = format!("{error:#}");
                    error!(error, "the certificate cannot be read again; the old one is used");
                }
            }
        }
    }

    /// Reads the files; whether they had another certificate. What cannot be used is reported once.
    async fn read_again(&self) -> Result<bool, TlsError> {
        // Contents and not times: a link that is exchanged may lead to a file that is older.
        let read = read_both(&self.files).await?;
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == read {
                return Ok(false);
            }
            seen.clone_from(&read);
        }
        let used = parse(&self.files, &read.0, &read.1, &self.provider)?;
        *self.used.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(used);
        Ok(true)
    }
}

async fn read_both(files: &TlsFiles) -> Result<(Vec<u8>, Vec<u8>), TlsError> {
    let read = async |file: &Path| {
        let read = tokio::fs::read(file).await;
        read.map_err(|source| TlsError::Read { file: file.to_owned(), source })
    };
    Ok((read(&files.certificate).await?, read(&files.key).await?))
}

fn parse(
    files: &TlsFiles,
    certificate: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let wrong = |file: &Path, source| TlsError::Pem { file: file.to_owned(), source };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|source| wrong(&files.certificate, source))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { file: files.certificate.clone() });
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| wrong(&files.key, source))?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|source| TlsError::Unusable { files: files.clone(), source })
}

#[cfg(test)]
mod tests {
    use testkit::Authority;

    use super::*;

    fn write(folder: &Path, (certificate, key): &(String, String)) -> TlsFiles {
        let files = TlsFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
        std::fs::write(&files.certificate, certificate).expect("it is written");
        std::fs::write(&files.key, key).expect("it is written");
        files
    }

    fn used(certificate: &Certificate) -> CertificateDer<'static> {
        certificate.used.read().expect("nobody panicked").cert[0].clone()
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_used_and_a_half_written_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new();
        let [first, second] = [(); 2].map(|()| authority.certificate(&["localhost"]));
        let files = write(folder.path(), &first);
        let certificate = Certificate::read(files.clone()).await.expect("is good");
        let old = used(&certificate);
        assert!(!certificate.read_again().await.expect("nothing changed"));

        // The certificate comes before its key.
        std::fs::write(&files.certificate, &second.0).expect("it is written");
        let error = certificate.read_again().await.expect_err("the key is of another");
        assert!(matches!(error, TlsError::Unusable { .. }), "{error:?}");
        assert_eq!(used(&certificate), old);
        std::fs::write(&files.certificate, "").expect("it is written");
        let error = certificate.read_again().await.expect_err("there is none");
        assert!(matches!(error, TlsError::NoCertificate { .. }), "{error:?}");
        assert!(!certificate.read_again().await.expect("it is reported once"));

        write(folder.path(), &second);
        assert!(certificate.read_again().await.expect("is good"));
        assert_ne!(used(&certificate), old);
        std::fs::remove_file(&files.key).expect("it is there");
        let error = certificate.read_again().await.expect_err("there is no key");
        assert!(matches!(error, TlsError::Read { .. }), "{error:?}");
        assert_ne!(used(&certificate), old);
    }

    #[tokio::test]
    async fn files_that_are_no_certificate_with_its_key_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new();
        let (good, key) = authority.certificate(&["localhost"]);
        let (_, other) = authority.certificate(&["localhost"]);
        for (certificate, key, problem) in [
            (good.as_str(), other.as_str(), "use the certificate of"),
            ("no PEM", &key, "has no certificate"),
            (&key, &key, "has no certificate"),
            (&good, "no PEM", "read the PEM of"),
            (&good, &good, "read the PEM of"),
        ] {
            let files = write(folder.path(), &(certificate.to_owned(), key.to_owned()));
            let error = Certificate::read(files).await.expect_err("is wrong");
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
}
