//! HTTP without TLS: to the monitor of nats-server, and to servers on this machine.

use rustls::crypto::ring;

/// Begins a client that speaks to `http://` addresses alone.
///
/// Any client of reqwest wants to know how it would encrypt, and whom it would trust: this one trusts nobody, so that a
/// machine without certificates of authorities is good enough.
pub fn plain_http() -> reqwest::ClientBuilder {
    // One that was installed before is as good.
    ring::default_provider().install_default().ok();
    reqwest::Client::builder().tls_certs_only([])
}
