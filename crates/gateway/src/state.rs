//! What the handlers share.

use std::{fmt, sync::Arc, time::Duration};

use engine::{Client, Clock};
use tokio_util::sync::CancellationToken;
use webhook_http::Policy;

use crate::{
    Settings,
    api_key::{ApiKeyError, ApiKeys},
    cors::CorsOrigins,
    feed::shared::Feeds,
    jwt::{Jwt, JwtSetupError},
    known_shops::KnownShops,
    limits::{ConcurrencyLimits, Limits},
    managed_keys::ManagedKeys,
    rate::RateLimits,
    readiness::ReadinessCheck,
    sealing::Sealing,
    services::Services,
};

/// What the handlers share.
pub(crate) struct AppState {
    /// The API keys of the settings.
    pub(crate) api_keys: ApiKeys,
    /// Those that the installation has made.
    pub(crate) managed_keys: ManagedKeys,
    /// What verifies tokens of an external issuer.
    pub(crate) jwt: Option<Arc<Jwt>>,
    pub(crate) limits: Limits,
    pub(crate) concurrency: ConcurrencyLimits,
    pub(crate) rates: RateLimits,
    pub(crate) services: Services,
    pub(crate) feeds: Feeds,
    /// The shops that are known.
    pub(crate) shops: KnownShops,
    /// What seals and opens personal data, and seals secrets.
    pub(crate) sealing: Sealing,
    /// What webhooks may be sent to.
    pub(crate) webhooks: Policy,
    /// The origins whose pages may use the API from a browser.
    pub(crate) cors_origins: Option<CorsOrigins>,
    pub(crate) readiness: ReadinessCheck,
    /// How long the answer of a service is waited for.
    pub(crate) answer_timeout: Duration,
    /// The present, for the commands.
    pub(crate) clock: Clock,
    /// Ends the waits for the end of an order: these take longer than a drain may.
    pub(crate) shutdown: CancellationToken,
}

/// What says who may send requests cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("check the API keys")]
    ApiKeys(#[from] ApiKeyError),
    #[error("prepare the verification of tokens")]
    Jwt(#[from] JwtSetupError),
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl AppState {
    /// `client` is called only when a service is needed, so that tests of what is refused before
    /// need none.
    pub(crate) fn new(
        client: impl Fn() -> Client + Send + Sync + 'static,
        settings: &Settings,
        shutdown: CancellationToken,
    ) -> Result<Self, AccessError> {
        let jwt = settings.jwt.as_ref().map(Jwt::new).transpose()?;
        Ok(Self {
            api_keys: ApiKeys::new(&settings.api_keys, settings.listen)?,
            managed_keys: ManagedKeys::default(),
            jwt: jwt.map(Arc::new),
            concurrency: ConcurrencyLimits::new(&settings.limits),
            rates: RateLimits::new(&settings.limits),
            limits: settings.limits.clone(),
            services: Services::new(client),
            feeds: Feeds::default(),
            shops: KnownShops::default(),
            sealing: Sealing::new(settings.person_keys.clone()),
            webhooks: settings.webhooks.clone(),
            cors_origins: settings.cors_origins.clone(),
            readiness: ReadinessCheck::new(settings.readiness.clone()),
            answer_timeout: settings.answer_timeout,
            clock: settings.clock.clone(),
            shutdown,
        })
    }
}
