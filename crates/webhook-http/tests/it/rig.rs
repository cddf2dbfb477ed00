//! What the tests have in common.

use std::time::Duration;

use bytes::Bytes;
use testkit::DnsServer;
use webhook_http::{
    CustomHeaders, Exchange, Policy, Request, Secret, Sender, WebhookUrl, parse_url,
};

pub(crate) const ID: &str = "0190b3a1-0000-7000-8000-000000000001";
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const TIMESTAMP: i64 = 1_795_262_400;
pub(crate) const BODY: &str = r#"{"type":"order.paid","data":{}}"#;

/// A policy under which a test may send to this machine.
pub(crate) fn local() -> Policy {
    Policy {
        allow_http: true,
        allowed_ports: "1-65535".parse().expect("ports"),
        allowed_networks: vec!["127.0.0.1/32".parse().expect("a network")],
        ..Policy::default()
    }
}

/// The same, where names are resolved by the server of the test.
pub(crate) fn local_with(dns: &DnsServer) -> Policy {
    Policy { dns_servers: vec![dns.address()], ..local() }
}

/// A sender, and what it sends.
pub(crate) struct Rig {
    pub(crate) policy: Policy,
    pub(crate) sender: Sender,
    pub(crate) headers: CustomHeaders,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) replay: bool,
}

impl Rig {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            sender: Sender::new(policy.clone()).expect("the policy can be followed"),
            policy,
            headers: CustomHeaders::default(),
            secrets: vec![Secret::parse(SECRET).expect("it is a secret")],
            replay: false,
        }
    }

    pub(crate) fn url(&self, url: &str) -> WebhookUrl {
        parse_url(url, &self.policy).expect("the policy allows it")
    }

    /// Makes one attempt at a URL.
    pub(crate) async fn send(&self, url: &str) -> Exchange {
        self.send_body(url, Bytes::from_static(BODY.as_bytes())).await
    }

    pub(crate) async fn send_body(&self, url: &str, body: Bytes) -> Exchange {
        let url = self.url(url);
        self.sender
            .send(Request {
                url: &url,
                headers: &self.headers,
                secrets: &self.secrets,
                id: ID,
                timestamp: TIMESTAMP,
                attempt: 3,
                traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                body,
                replay: self.replay,
            })
            .await
    }
}

/// So short that a test waits for it, and long enough for what is to succeed within it.
pub(crate) const SHORT: Duration = Duration::from_secs(1);
