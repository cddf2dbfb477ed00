//! From a name to addresses that may be sent to.

use std::{net::IpAddr, sync::Arc, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
};
use tokio::time::timeout;

use crate::{Policy, SetupError};

/// How long an answer is used at least, whatever its own validity: so many deliveries to one host
/// share one look-up.
const MIN_VALIDITY: Duration = Duration::from_secs(1);
/// How long an answer is used at most, and so how late a change is noticed.
const MAX_VALIDITY: Duration = Duration::from_secs(5);
/// The questions that are sent for a name within the timeout.
const ATTEMPTS: usize = 2;

/// Resolves names, and vets the addresses.
#[derive(Clone)]
pub(crate) struct Resolver {
    dns: TokioResolver,
    policy: Arc<Policy>,
}

/// The addresses of a name, all of which may be sent to, in a fixed order.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) valid_for: Duration,
}

/// Why a name has no addresses that may be sent to: for the operator's log alone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unresolved {
    #[error("the name servers did not answer in time")]
    Timeout,
    #[error("the name servers have no address")]
    Lookup(#[from] NetError),
    #[error("its address {0} is not global, and in no allowed network")]
    NotAllowed(IpAddr),
    #[error("it has no address")]
    Empty,
}

impl Resolver {
    pub(crate) fn new(policy: Arc<Policy>) -> Result<Self, SetupError> {
        let mut builder = if policy.dns_servers.is_empty() {
            TokioResolver::builder_tokio().map_err(SetupError::Resolver)?
        } else {
            let servers = policy.dns_servers.iter().map(|server| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                let connections = connections.map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                NameServerConfig::new(server.ip(), true, connections.into())
            });
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        set_options(builder.options_mut(), &policy);
        Ok(Self { dns: builder.build().map_err(SetupError::Resolver)?, policy })
    }

    /// Resolves a name. **Any** address that may not be sent to refuses it.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Answer, Unresolved> {
        // Names are absolute: one without its end would be looked for in the search domains, too.
        let lookup = self.dns.lookup_ip(format!("{name}."));
        let lookup = timeout(self.policy.dns_timeout, lookup);
        let found = lookup.await.map_err(|_| Unresolved::Timeout)??;
        let mut addresses: Vec<_> = found.iter().collect();
        if let Some(address) = addresses.iter().find(|it| !self.policy.allows_address(**it)) {
            return Err(Unresolved::NotAllowed(*address));
        }
        if addresses.is_empty() {
            return Err(Unresolved::Empty);
        }
        // Name servers rotate their answers, which changes nothing.
        addresses.sort_unstable();
        addresses.dedup();
        let valid_for = found.valid_until().saturating_duration_since(std::time::Instant::now());
        Ok(Answer { addresses, valid_for: valid_for.clamp(MIN_VALIDITY, MAX_VALIDITY) })
    }
}

fn set_options(options: &mut ResolverOpts, policy: &Policy) {
    // What is between two look-ups of a name is the destination's to know.
    options.cache_size = 0;
    options.attempts = ATTEMPTS;
    options.timeout = policy.dns_timeout / ATTEMPTS as u32;
    // Both families, because an address of either must be global.
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
}
