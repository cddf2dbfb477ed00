//! Connections: to vetted addresses alone, or through the operator's proxy; with TLS.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use data_encoding::BASE64;
use http::{HeaderValue, Uri, uri::Scheme};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns::Name, proxy::Tunnel},
    rt::TokioIo,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;
use url::Url;

use crate::{Policy, SetupError};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Makes connections with TLS where the URL is `https`, within the timeout.
#[derive(Clone)]
pub(crate) struct Connector {
    https: HttpsConnector<Tcp>,
    timeout: Duration,
}

/// No connection was made in time.
#[derive(Debug, thiserror::Error)]
#[error("no connection within the timeout")]
pub(crate) struct ConnectTimeout;

impl Connector {
    /// Connects to one of these addresses alone, whatever the name in the URL.
    pub(crate) fn pinned(addresses: &[IpAddr], tls: Arc<ClientConfig>, timeout: Duration) -> Self {
        // The connector takes the port from the URL.
        let addresses = addresses.iter().map(|address| SocketAddr::new(*address, 0)).collect();
        let mut http = HttpConnector::new_with_resolver(Pinned { addresses });
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(timeout));
        Self { https: HttpsConnector::from((Tcp::Direct(http), tls)), timeout }
    }

    /// Connects through the proxy.
    pub(crate) fn through(proxy: &Proxy, tls: Arc<ClientConfig>, timeout: Duration) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_connect_timeout(Some(timeout));
        let mut tunnel = Tunnel::new(proxy.uri.clone(), http);
        if let Some(authorization) = &proxy.authorization {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        Self { https: HttpsConnector::from((Tcp::Proxy(tunnel), tls)), timeout }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = timeout(self.timeout, self.https.call(uri));
        Box::pin(async { connected.await.map_err(|_| ConnectTimeout)? })
    }
}

/// Makes connections without TLS.
#[derive(Clone)]
enum Tcp {
    Direct(HttpConnector<Pinned>),
    Proxy(Tunnel<HttpConnector>),
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Direct(http) => http.poll_ready(context).map_err(Into::into),
            Self::Proxy(tunnel) => tunnel.poll_ready(context).map_err(Into::into),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self {
            Self::Direct(http) => {
                let connected = http.call(uri);
                Box::pin(async { Ok(connected.await?) })
            }
            Self::Proxy(tunnel) => {
                let connected = with_port(&uri).map(|uri| tunnel.call(uri));
                Box::pin(async { Ok(connected?.await?) })
            }
        }
    }
}

/// The same with the port, which the tunnel takes for 443 otherwise.
fn with_port(uri: &Uri) -> Result<Uri, http::Error> {
    let port = uri.port_u16();
    let port = port.unwrap_or(if uri.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 });
    let authority = format!("{}:{port}", uri.host().unwrap_or_default());
    Uri::builder().scheme("https").authority(authority).path_and_query("/").build()
}

/// Answers every name with the same vetted addresses.
#[derive(Clone)]
struct Pinned {
    addresses: Vec<SocketAddr>,
}

impl Service<Name> for Pinned {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(self.addresses.clone().into_iter()))
    }
}

/// The operator's proxy.
#[derive(Clone)]
pub(crate) struct Proxy {
    uri: Uri,
    authorization: Option<HeaderValue>,
}

impl Proxy {
    pub(crate) fn parse(url: &Url) -> Result<Self, SetupError> {
        let (Some(host), Some(port), "http") =
            (url.host_str(), url.port_or_known_default(), url.scheme())
        else {
            return Err(SetupError::Proxy);
        };
        let uri = format!("http://{host}:{port}/").parse().map_err(|_| SetupError::Proxy)?;
        let authorization = (!url.username().is_empty()).then(|| {
            let user = format!("{}:{}", url.username(), url.password().unwrap_or_default());
            HeaderValue::from_str(&format!("Basic {}", BASE64.encode(user.as_bytes())))
        });
        let authorization = authorization.transpose().map_err(|_| SetupError::Proxy)?;
        Ok(Self { uri, authorization })
    }
}

/// TLS that trusts the authorities of the operating system and those of the policy, and takes HTTP/2
/// where the receiver has it.
pub(crate) fn tls(policy: &Policy) -> Result<Arc<ClientConfig>, SetupError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = &policy.trusted_roots_pem {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(SetupError::TrustedRoot)?;
            roots.add(certificate).map_err(SetupError::UnusableRoot)?;
        }
    }
    if roots.is_empty() {
        return Err(SetupError::NoRoots);
    }
    let mut config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(SetupError::UnusableRoot)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_http_with_user_and_password_or_without() {
        let proxy = |text: &str| Proxy::parse(&text.parse().expect("a URL"));
        let plain = proxy("http://proxy:4750").expect("a proxy");
        assert_eq!(
            (plain.uri.to_string().as_str(), plain.authorization),
            ("http://proxy:4750/", None)
        );
        let known = proxy("http://user:pw@proxy").expect("a proxy");
        assert_eq!(known.uri, "http://proxy:80/");
        assert_eq!(known.authorization.expect("it wants one"), "Basic dXNlcjpwdw==");
        assert!(proxy("https://proxy:4750").is_err());
    }

    #[test]
    fn a_tunnel_is_asked_for_with_the_port() {
        let of = |text: &str| with_port(&text.parse().expect("a URI")).expect("a URI").to_string();
        assert_eq!(of("http://example.com/a"), "https://example.com:80/");
        assert_eq!(of("https://example.com/a"), "https://example.com:443/");
        assert_eq!(of("https://[2606::1]:8443/a"), "https://[2606::1]:8443/");
    }
}
