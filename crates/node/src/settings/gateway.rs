//! Who may speak to the gateway, how, and how much.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use ::gateway::{RateLimit, TlsFiles};
use anyhow::{Result, bail};
use clap::Args;

/// Who may speak to the gateway, how, and how much.
#[derive(Debug, Clone, Default, Args)]
pub struct GatewayOptions {
    /// The file of the gateway's certificate (PEM), and of those between it and an authority; read again when
    /// it changes
    #[arg(long, global = true, env = "TRADEWIND_TLS_CERT_FILE", value_name = "FILE")]
    pub tls_cert_file: Option<PathBuf>,

    /// The file of the key of that certificate (PEM)
    #[arg(long, global = true, env = "TRADEWIND_TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,

    /// Speak plain HTTP at an address that other machines can reach: where a proxy in front of the gateway
    /// speaks TLS
    #[arg(long, global = true, env = "TRADEWIND_ALLOW_PLAIN_HTTP")]
    pub allow_plain_http: bool,

    /// Requests a second that a key may send to a gateway, and how many at once after a pause: `500`,
    /// `500:2000` or `off` [default: 5000:10000; off on a loopback address]
    #[arg(long, global = true, env = "TRADEWIND_KEY_RATE_LIMIT", value_name = "RATE")]
    pub key_rate_limit: Option<RateOption>,

    /// Requests a second that a shop takes from a gateway, likewise [default: 2000:4000; off on a loopback
    /// address]
    #[arg(long, global = true, env = "TRADEWIND_SHOP_RATE_LIMIT", value_name = "RATE")]
    pub shop_rate_limit: Option<RateOption>,
}

/// A rate limit, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateOption {
    /// No limit.
    Off,
    /// This one.
    Limit(RateLimit),
}

impl FromStr for RateOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            limit => limit.parse().map(Self::Limit).map_err(|error| format!("{error}; or off")),
        }
    }
}

impl GatewayOptions {
    /// The certificate; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When there is a certificate without its key, or the other way round.
    pub fn tls(&self) -> Result<Option<TlsFiles>> {
        match (&self.tls_cert_file, &self.tls_key_file) {
            (Some(certificate), Some(key)) => {
                Ok(Some(TlsFiles { certificate: certificate.clone(), key: key.clone() }))
            }
            (None, None) => Ok(None),
            _ => bail!("tls-cert-file and tls-key-file go together: set both of them"),
        }
    }

    /// The limits of a gateway that listens there.
    pub fn limits(&self, listen: SocketAddr) -> ::gateway::Limits {
        let of = |option: Option<RateOption>, default| match option {
            Some(RateOption::Limit(limit)) => Some(limit),
            Some(RateOption::Off) => None,
            // Who is on this machine is trusted with its capacity: demos, benchmarks, a proxy with limits.
            None => (!listen.ip().is_loopback()).then_some(default),
        };
        ::gateway::Limits {
            key_rate: of(self.key_rate_limit, RateLimit::OF_KEY),
            shop_rate: of(self.shop_rate_limit, RateLimit::OF_SHOP),
            ..gateway::Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_limited_where_other_machines_can_send() {
        let rates = |options: &GatewayOptions, listen: &str| {
            let limits = options.limits(listen.parse().expect("is an address"));
            (limits.key_rate, limits.shop_rate)
        };
        let none = GatewayOptions::default();
        assert_eq!(rates(&none, "127.0.0.1:80"), (None, None));
        let defaults = ["5000:10000", "2000:4000"].map(|text| text.parse().ok());
        assert_eq!(rates(&none, "0.0.0.0:80"), defaults.into());
        let set = GatewayOptions {
            key_rate_limit: "7:9".parse().ok(),
            shop_rate_limit: "off".parse().ok(),
            ..none
        };
        for listen in ["127.0.0.1:80", "0.0.0.0:80"] {
            assert_eq!(rates(&set, listen), ("7:9".parse().ok(), None));
        }
        assert!("none".parse::<RateOption>().is_err());
    }

    #[test]
    fn a_certificate_and_its_key_go_together() {
        let file = |name: &str| Some(PathBuf::from(name));
        let both = GatewayOptions {
            tls_cert_file: file("cert.pem"),
            tls_key_file: file("key.pem"),
            ..GatewayOptions::default()
        };
        assert!(both.tls().expect("is good").is_some());
        assert!(GatewayOptions { tls_key_file: None, ..both.clone() }.tls().is_err());
        assert!(GatewayOptions { tls_cert_file: None, ..both }.tls().is_err());
        assert!(GatewayOptions::default().tls().expect("is good").is_none());
    }
}
