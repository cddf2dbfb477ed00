//! Fetches the keys of the issuer.

use std::{error::Error, io, path::PathBuf, time::Duration};

use axum::http::{StatusCode, Uri, uri::InvalidUri};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{error::Elapsed, timeout};

use super::{JwtSettings, key_set::KeySet};

/// How long a fetch may take, discovery included.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer, in bytes. Sets of keys have a few thousand.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Where an issuer says where its keys are (`OpenID` Connect Discovery).
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// Settings of tokens that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwtSetupError {
    /// The issuer is no URL, and there is none for its keys.
    #[error("the issuer {issuer} is no URL: set jwt-jwks-url, which says where its keys are")]
    Issuer {
        /// The issuer.
        issuer: String,
        /// Why it is none.
        source: InvalidUri,
    },
    /// Keys that come unencrypted from another machine could be anybody's.
    #[error("the keys of the issuer would be fetched from {0}: the URL must begin with https://")]
    Insecure(Uri),
    /// The file with authorities cannot be read.
    #[error("read the certificates in {}", file.display())]
    ReadAuthorities {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It has no certificates.
    #[error("{} has no certificates, or one that cannot be read", file.display())]
    Authorities {
        /// The file.
        file: PathBuf,
    },
    /// TLS cannot be set up.
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
}

/// The keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer within {FETCH_TIMEOUT:?}")]
    TimedOut(#[from] Elapsed),
    #[error("request {url}")]
    Request { url: Uri, source: hyper_util::client::legacy::Error },
    #[error("{url} answered {status}")]
    Status { url: Uri, status: StatusCode },
    #[error("receive the answer of {url}")]
    Receive { url: Uri, source: Box<dyn Error + Send + Sync> },
    #[error("read the answer of {url}")]
    Read { url: Uri, source: serde_json::Error },
    #[error("{url} is of the issuer {found}")]
    OtherIssuer { url: Uri, found: String },
    #[error("the issuer says that its keys are at {0}, which is no https:// URL")]
    Insecure(String),
}

/// Fetches the keys of one issuer.
pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    issuer: String,
    source: Source,
}

enum Source {
    Keys(Uri),
    Discovery(Uri),
}

/// What an issuer says of itself.
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

impl Fetcher {
    pub(super) fn new(settings: &JwtSettings) -> Result<Self, JwtSetupError> {
        let issuer = settings.issuer.clone();
        let source = if let Some(url) = &settings.jwks_url {
            Source::Keys(url.clone())
        } else {
            let url = format!("{}{DISCOVERY_PATH}", issuer.trim_end_matches('/'));
            let wrong = |source| JwtSetupError::Issuer { issuer: issuer.clone(), source };
            Source::Discovery(url.parse().map_err(wrong)?)
        };
        let (Source::Keys(url) | Source::Discovery(url)) = &source;
        if !is_secure(url) {
            return Err(JwtSetupError::Insecure(url.clone()));
        }
        let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities(settings)?)
            .with_no_client_auth();
        // `is_secure` has looked at every URL.
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let client = Client::builder(TokioExecutor::new()).build(https.enable_http1().build());
        Ok(Self { client, issuer, source })
    }

    /// Fetches the keys.
    pub(super) async fn fetch(&self) -> Result<KeySet, FetchError> {
        timeout(FETCH_TIMEOUT, async {
            let url = match &self.source {
                Source::Keys(url) => url.clone(),
                Source::Discovery(url) => self.discover(url).await?,
            };
            self.get(&url).await
        })
        .await?
    }

    /// Where the keys are.
    async fn discover(&self, url: &Uri) -> Result<Uri, FetchError> {
        let Discovered { issuer: found, jwks_uri } = self.get(url).await?;
        if found != self.issuer {
            return Err(FetchError::OtherIssuer { url: url.clone(), found });
        }
        let keys = jwks_uri.parse().ok().filter(is_secure);
        keys.ok_or(FetchError::Insecure(jwks_uri))
    }

    async fn get<T: DeserializeOwned>(&self, url: &Uri) -> Result<T, FetchError> {
        let answer = self.client.get(url.clone()).await;
        let answer = answer.map_err(|source| FetchError::Request { url: url.clone(), source })?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(FetchError::Status { url: url.clone(), status });
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|source| FetchError::Receive { url: url.clone(), source })?;
        serde_json::from_slice(&body.to_bytes())
            .map_err(|source| FetchError::Read { url: url.clone(), source })
    }
}

/// Whether nobody can change what comes from there: it is by HTTPS, or from this machine.
fn is_secure(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = || {
        let address: Option<std::net::IpAddr> = host.parse().ok();
        host == "localhost" || address.is_some_and(|it| it.is_loopback())
    };
    match url.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_here(),
        _ => false,
    }
}

fn authorities(settings: &JwtSettings) -> Result<RootCertStore, JwtSetupError> {
    let mut roots = RootCertStore::empty();
    // Certificates of the system that cannot be read are nobody's fault here.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = &settings.ca_file {
        let pem = std::fs::read(file)
            .map_err(|source| JwtSetupError::ReadAuthorities { file: file.clone(), source })?;
        let wrong = || JwtSetupError::Authorities { file: file.clone() };
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let certificates = certificates.ok().filter(|it| !it.is_empty()).ok_or_else(wrong)?;
        for certificate in certificates {
            roots.add(certificate).map_err(|_| wrong())?;
        }
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_https_or_from_this_machine() {
        for (url, expected) in [
            ("https://issuer.example/keys", true),
            ("http://issuer.example/keys", false),
            ("http://127.0.0.1:8080/keys", true),
            ("http://[::1]:8080/keys", true),
            ("http://localhost/keys", true),
            ("http://localhost.example/keys", false),
            ("ftp://127.0.0.1/keys", false),
            ("/keys", false),
        ] {
            assert_eq!(is_secure(&url.parse().expect("is a URL")), expected, "{url}");
        }
    }
}
