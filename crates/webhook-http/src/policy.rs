//! What the operator allows.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use url::Url;

use crate::address::is_global;

/// What webhooks may be sent to, how, and how long it may take. It is the operator's alone: nothing
/// of it follows from what a tenant sets.
///
/// The proxy may have a password, so `Debug` shows its origin alone.
#[derive(Clone)]
pub struct Policy {
    /// Whether URLs may be `http`; otherwise they are `https`.
    pub allow_http: bool,
    /// The ports of URLs.
    pub allowed_ports: Ports,
    /// Networks that may be sent to though they are not global, such as that of an installation of
    /// one's own receivers. While there are any, a URL may have a host without a dot, too.
    pub allowed_networks: Vec<IpNet>,
    /// A proxy for everything that is sent, by `CONNECT` (`http://host:port`, with user and password
    /// where it wants them). It resolves the names of hosts, so **it** must refuse what is private;
    /// only addresses within URLs are still judged here. Proxies in the environment are never used.
    pub proxy: Option<Url>,
    /// The name servers; those of the operating system if there are none.
    pub dns_servers: Vec<SocketAddr>,
    /// Certificates (PEM) of authorities that are trusted besides those of the operating system.
    pub trusted_roots_pem: Option<String>,
    /// How long a name may take to be resolved.
    pub dns_timeout: Duration,
    /// How long a connection may take, with TLS.
    pub connect_timeout: Duration,
    /// How long an exchange may take in all.
    pub exchange_timeout: Duration,
    /// How long the body of a response is awaited once its status is known. An answer whose body
    /// takes longer counts by its status, and its connection is closed.
    pub body_timeout: Duration,
    /// The header `user-agent`.
    pub user_agent: String,
}

impl Default for Policy {
    /// HTTPS to global addresses, on the ports 443 and 8443.
    fn default() -> Self {
        Self {
            allow_http: false,
            allowed_ports: Ports::default(),
            allowed_networks: Vec::new(),
            proxy: None,
            dns_servers: Vec::new(),
            trusted_roots_pem: None,
            dns_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(5),
            exchange_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(1),
            user_agent: concat!("Tradewind/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            allow_http,
            allowed_ports,
            allowed_networks,
            proxy,
            dns_servers,
            trusted_roots_pem,
            dns_timeout,
            connect_timeout,
            exchange_timeout,
            body_timeout,
            user_agent,
        } = self;
        let proxy = proxy.as_ref().map(|proxy| proxy.origin().ascii_serialization());
        f.debug_struct("Policy")
            .field("allow_http", allow_http)
            .field("allowed_ports", allowed_ports)
            .field("allowed_networks", allowed_networks)
            .field("proxy", &proxy)
            .field("dns_servers", dns_servers)
            .field("trusted_roots_pem", trusted_roots_pem)
            .field("dns_timeout", dns_timeout)
            .field("connect_timeout", connect_timeout)
            .field("exchange_timeout", exchange_timeout)
            .field("body_timeout", body_timeout)
            .field("user_agent", user_agent)
            .finish()
    }
}

impl Policy {
    /// Reads networks: `10.1.0.0/16,127.0.0.0/8`.
    pub fn parse_networks(text: &str) -> Result<Vec<IpNet>, ipnet::AddrParseError> {
        text.split(',').map(|network| network.trim().parse()).collect()
    }

    /// Whether an address may be sent to.
    pub(crate) fn allows_address(&self, address: IpAddr) -> bool {
        is_global(address) || self.allowed_networks.iter().any(|it| it.contains(&address))
    }
}

/// A set of ports: `443,8443` or `1024-65535`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

impl Ports {
    /// Whether a port is in the set.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }
}

impl Default for Ports {
    /// 443 and 8443.
    fn default() -> Self {
        Self(vec![443..=443, 8443..=8443])
    }
}

impl FromStr for Ports {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Self, PortsError> {
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|it| *it > 0);
        let range = |text: &str| match text.split_once('-') {
            Some((first, last)) => Some(port(first)?..=port(last)?).filter(|it| !it.is_empty()),
            None => port(text).map(|port| port..=port),
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        ranges.map(Self).ok_or(PortsError)
    }
}

/// A text is no set of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ports are such as 443,8443 or 1024-65535")]
pub struct PortsError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_and_ranges() {
        let ports: Ports = "443, 8000-8003".parse().expect("ports");
        let contained = [442, 443, 444, 7999, 8000, 8003, 8004].map(|port| ports.contains(port));
        assert_eq!(contained, [false, true, false, false, true, true, false]);
        for text in ["", "443,", "0", "70000", "9-1", "https"] {
            text.parse::<Ports>().expect_err("it is no set of ports");
        }
    }

    #[test]
    fn the_password_of_a_proxy_is_not_shown() {
        let proxy = Url::parse("http://smith:s3cret@proxy.example:3128/").expect("a URL");
        let shown = format!("{:?}", Policy { proxy: Some(proxy), ..Policy::default() });
        assert!(shown.contains("http://proxy.example:3128"), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("smith"), "{shown}");
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let policy = Policy::default();
        assert!(!policy.allow_http);
        assert!(policy.allowed_networks.is_empty() && policy.proxy.is_none());
        assert_eq!(policy.allowed_ports, "443,8443".parse().expect("ports"));
        let timeouts = [policy.dns_timeout, policy.connect_timeout, policy.exchange_timeout];
        assert_eq!(timeouts.map(|it| it.as_secs()), [3, 5, 15]);
        assert!(policy.user_agent.starts_with("Tradewind/"));
    }
}
