//! One destination for each origin: its vetted addresses, and the connections to them.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;
use tokio::{sync, time::Instant};
use url::Host;

use crate::{
    Failure, Policy, SetupError, WebhookUrl,
    connect::{self, Connector, Proxy},
    resolve::Resolver,
};

/// Sends requests to the vetted addresses of one origin.
pub(crate) type Client = legacy::Client<Connector, Full<Bytes>>;

/// How long a connection stays open without a request: less than what common receivers give it (the
/// shortest are the 5 seconds of Node.js), so that it is seldom closed while a request is on its way.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// The most connections to an origin that stay open without a request.
const MAX_IDLE_CONNECTIONS: usize = 128;
/// How long a host counts as unresolved before it is looked up again.
const UNRESOLVED_FOR: Duration = Duration::from_secs(1);
/// A destination that was not used for so long is forgotten.
const FORGET_AFTER: Duration = Duration::from_mins(1);
/// The least number of destinations at which those that are not used are looked for.
const MIN_SWEEP: usize = 64;
/// The most bytes of the head of a response.
const MAX_HEAD_BYTES: usize = 64 * 1_024;
/// How often a connection by HTTP/2 that waits for an answer is probed, as a part of the timeout of an exchange.
const PINGS_PER_EXCHANGE: u32 = 3;

/// All destinations.
pub(crate) struct Destinations {
    policy: Arc<Policy>,
    resolver: Resolver,
    proxy: Option<Proxy>,
    tls: Arc<ClientConfig>,
    known: Mutex<Known>,
}

struct Known {
    by_origin: HashMap<String, Arc<Destination>>,
    /// The number of destinations at which those that are not used are looked for.
    sweep_at: usize,
}

/// What is known of one origin.
struct Destination {
    current: Mutex<Option<Resolved>>,
    /// Held while the host is looked up, so that many deliveries share one look-up.
    lookup: sync::Mutex<()>,
}

/// What the last look-up found.
struct Resolved {
    valid_until: Instant,
    found: Result<(Vec<IpAddr>, Client), Failure>,
}

impl Destinations {
    pub(crate) fn new(policy: Arc<Policy>) -> Result<Self, SetupError> {
        Ok(Self {
            resolver: Resolver::new(Arc::clone(&policy))?,
            proxy: policy.proxy.as_ref().map(Proxy::parse).transpose()?,
            tls: connect::tls(&policy)?,
            known: Mutex::new(Known { by_origin: HashMap::new(), sweep_at: MIN_SWEEP }),
            policy,
        })
    }

    /// The client for a URL, after its host was vetted.
    pub(crate) async fn client(&self, url: &WebhookUrl) -> Result<Client, Failure> {
        let destination = self.destination(url.origin());
        if let Some(found) = destination.valid() {
            return found;
        }
        let _lookup = destination.lookup.lock().await;
        // Another delivery may have looked it up meanwhile.
        if let Some(found) = destination.valid() {
            return found;
        }
        let (found, valid_for) = self.look_up(url).await;
        destination.replace(found, valid_for, |addresses| self.connect_to(addresses))
    }

    /// The vetted addresses of a URL's host, and how long they are used. There are none where a proxy
    /// resolves it.
    async fn look_up(&self, url: &WebhookUrl) -> (Result<Vec<IpAddr>, Failure>, Duration) {
        // A literal was vetted with the URL, in this attempt.
        let name = match url.host() {
            _ if self.proxy.is_some() => return (Ok(Vec::new()), FORGET_AFTER),
            Host::Ipv4(address) => return (Ok(vec![address.into()]), FORGET_AFTER),
            Host::Ipv6(address) => return (Ok(vec![address.into()]), FORGET_AFTER),
            Host::Domain(name) => name,
        };
        match self.resolver.resolve(name).await {
            Ok(answer) => (Ok(answer.addresses), answer.valid_for),
            Err(reason) => {
                tracing::info!(host = name, %reason, "sends nothing to the host of a webhook");
                (Err(Failure::Unresolved), UNRESOLVED_FOR)
            }
        }
    }

    fn connect_to(&self, addresses: &[IpAddr]) -> Client {
        let (tls, timeout) = (Arc::clone(&self.tls), self.policy.connect_timeout);
        let connector = match &self.proxy {
            Some(proxy) => Connector::through(proxy, tls, timeout),
            None => Connector::pinned(addresses, tls, timeout),
        };
        legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            // A request that could not be written because its connection was closed before may be
            // written to another: hyper gives it back only if no byte of it was written.
            .retry_canceled_requests(true)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            // A probe may take as long as an exchange: the first request that goes unanswered has all of
            // its time, and the connection is not used for long after that.
            .http2_keep_alive_interval(self.policy.exchange_timeout / PINGS_PER_EXCHANGE)
            .http2_keep_alive_timeout(self.policy.exchange_timeout)
            .build(connector)
    }

    fn destination(&self, origin: &str) -> Arc<Destination> {
        let mut known = lock(&self.known);
        if let Some(destination) = known.by_origin.get(origin) {
            return Arc::clone(destination);
        }
        if known.by_origin.len() >= known.sweep_at {
            known.by_origin.retain(|_, destination| destination.is_used());
            known.sweep_at = MIN_SWEEP.max(known.by_origin.len() * 2);
        }
        let destination =
            Arc::new(Destination { current: Mutex::new(None), lookup: sync::Mutex::new(()) });
        known.by_origin.insert(origin.to_owned(), Arc::clone(&destination));
        destination
    }
}

impl Destination {
    /// What the last look-up found, while it is valid.
    fn valid(&self) -> Option<Result<Client, Failure>> {
        let current = lock(&self.current);
        let resolved = current.as_ref().filter(|it| Instant::now() < it.valid_until)?;
        Some(resolved.found.as_ref().map(|(_, client)| client.clone()).map_err(|it| *it))
    }

    /// Takes over what a look-up found. Connections stay while the addresses stay the same.
    fn replace(
        &self,
        found: Result<Vec<IpAddr>, Failure>,
        valid_for: Duration,
        connect_to: impl FnOnce(&[IpAddr]) -> Client,
    ) -> Result<Client, Failure> {
        let mut current = lock(&self.current);
        let before = current.take().and_then(|resolved| resolved.found.ok());
        let found = found.map(|addresses| match before {
            Some((same, client)) if same == addresses => (addresses, client),
            _ => {
                let client = connect_to(&addresses);
                (addresses, client)
            }
        });
        let valid_until = Instant::now() + valid_for;
        let client = found.as_ref().map(|(_, client)| client.clone()).map_err(|it| *it);
        *current = Some(Resolved { valid_until, found });
        client
    }

    /// Whether it was looked up lately, or is being looked up.
    fn is_used(&self) -> bool {
        let current = lock(&self.current);
        current.as_ref().is_none_or(|it| Instant::now() < it.valid_until + FORGET_AFTER)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
