//! What webhooks may be sent to: the operator's choice, which no shop can widen.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use events::webhooks::{MAX_RETRIES, MAX_SCHEDULE_S};
use webhook_http::{Policy, Ports};

use super::{secrets::SecretValueParser, value};

/// What webhooks may be sent to. All processes of an installation have the same.
#[derive(Debug, Clone, Default, Args)]
pub struct WebhookOptions {
    /// Allow webhooks to `http://` URLs: for trials
    #[arg(long = "webhook-allow-http", global = true, env = "TRADEWIND_WEBHOOK_ALLOW_HTTP")]
    pub allow_http: bool,

    /// The ports of webhooks' URLs, such as `443,8443` or `1024-65535` [default: 443,8443]
    #[arg(
        long = "webhook-ports",
        global = true,
        env = "TRADEWIND_WEBHOOK_PORTS",
        value_name = "PORTS"
    )]
    pub ports: Option<Ports>,

    /// Private networks that webhooks may be sent to, such as `10.1.0.0/16,127.0.0.0/8`
    #[arg(long = "webhook-networks", global = true, env = "TRADEWIND_WEBHOOK_NETWORKS",
          value_name = "NETWORKS", value_parser = networks)]
    pub networks: Option<String>,

    /// A proxy for all webhooks, by CONNECT; it must refuse private addresses itself
    #[arg(id = "webhook_proxy", long = "webhook-proxy", global = true,
          env = "TRADEWIND_WEBHOOK_PROXY", hide_env_values = true, value_name = "URL",
          value_parser = SecretValueParser(value::http_url))]
    pub proxy: Option<String>,

    /// A file of certificates (PEM) of authorities that are trusted besides those of the system
    #[arg(
        long = "webhook-ca-file",
        global = true,
        env = "TRADEWIND_WEBHOOK_CA_FILE",
        value_name = "FILE"
    )]
    pub ca_file: Option<PathBuf>,

    /// The pauses between the attempts at a delivery, such as `1,2,5` seconds, for endpoints without their own: for
    /// development and tests [default: 5 s to 24 h, 75.6 h together]
    #[arg(long = "webhook-retry-pauses", global = true, env = "TRADEWIND_WEBHOOK_RETRY_PAUSES",
          value_name = "SECONDS", value_parser = retry_pauses)]
    pub retry_pauses_s: Option<RetryPauses>,
}

/// The pauses before the second attempt and each further one, in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPauses(pub Vec<u32>);

impl WebhookOptions {
    /// Receivers on this machine: for demos, trials and tests.
    #[must_use]
    pub fn on_this_machine() -> Self {
        Self {
            allow_http: true,
            ports: "1-65535".parse().ok(),
            networks: Some("127.0.0.0/8,::1/128".to_owned()),
            proxy: None,
            ca_file: None,
            retry_pauses_s: None,
        }
    }

    /// The policy of those who check URLs and send.
    pub fn policy(&self) -> Result<Policy> {
        let mut policy = Policy { allow_http: self.allow_http, ..Policy::default() };
        if let Some(ports) = &self.ports {
            policy.allowed_ports = ports.clone();
        }
        if let Some(networks) = &self.networks {
            policy.allowed_networks = Policy::parse_networks(networks)?;
        }
        policy.proxy = self.proxy.as_deref().map(str::parse).transpose()?;
        if let Some(file) = &self.ca_file {
            let pem = std::fs::read_to_string(file)
                .with_context(|| format!("read the certificates in {}", file.display()))?;
            policy.trusted_roots_pem = Some(pem);
        }
        Ok(policy)
    }
}

fn retry_pauses(text: &str) -> Result<RetryPauses, String> {
    let rule = "must be 1 to 23 pauses of 1 s or more between commas, 8 days together at most, such as 1,2,5";
    let pauses = text.split(',').map(|pause| pause.trim().parse::<u32>());
    let pauses = pauses.collect::<Result<Vec<_>, _>>().map_err(|_| rule.to_owned())?;
    let sum: u64 = pauses.iter().map(|pause| u64::from(*pause)).sum();
    let is_good =
        pauses.len() <= MAX_RETRIES && !pauses.contains(&0) && sum <= u64::from(MAX_SCHEDULE_S);
    if is_good { Ok(RetryPauses(pauses)) } else { Err(rule.to_owned()) }
}

fn networks(text: &str) -> Result<String, String> {
    let parsed = Policy::parse_networks(text);
    let must = |error| format!("{error}; networks are such as 10.1.0.0/16,127.0.0.0/8");
    parsed.map(|_| text.to_owned()).map_err(must)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_strict_unless_settings_say_otherwise() {
        let strict = WebhookOptions::default().policy().expect("is good");
        assert!(!strict.allow_http && strict.allowed_networks.is_empty());
        let wide = WebhookOptions::on_this_machine().policy().expect("is good");
        assert!(wide.allow_http && wide.allowed_networks.len() == 2);
        assert!(wide.allowed_ports.contains(80) && !strict.allowed_ports.contains(80));
    }

    #[test]
    fn pauses_between_attempts_may_be_seconds_and_must_be_some() {
        assert_eq!(retry_pauses("1, 2,5"), Ok(RetryPauses(vec![1, 2, 5])));
        let too_many = vec!["1"; MAX_RETRIES + 1].join(",");
        for text in ["", "0", "1,", "-1", "1.5", "soon", "691200,1", &too_many] {
            let error = retry_pauses(text).expect_err(text);
            assert!(error.contains("such as 1,2,5"), "{error}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "localhost", "10.0.0.0/8,"] {
            assert!(networks(text).is_err(), "{text:?} passed");
        }
        assert!(networks("10.0.0.0/8, ::1/128").is_ok());
    }
}
