//! The keys of the issuer that are known.
//!
//! | a token whose key | a fetch |
//! |---|---|
//! | is known | none; [`keep_fetching`](IssuerKeys::keep_fetching) fetches the keys every [`REFRESH_INTERVAL`] |
//! | is not known | one, unless there was one in the last [`MIN_FETCH_INTERVAL`]: tokens with keys that nobody has make no more |
//!
//! While the issuer does not answer, keys hold for [`MAX_AGE`].

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jsonwebtoken::Algorithm;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use super::{fetch::Fetcher, key_set::IssuerKey};

/// How often the keys are fetched, whether somebody asks for them or not.
const REFRESH_INTERVAL: Duration = Duration::from_mins(5);
/// The least time between two fetches.
pub(super) const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(10);
/// How long keys hold that cannot be fetched again.
pub(super) const MAX_AGE: Duration = Duration::from_hours(6);
/// The keys of the issuer.
pub(super) struct IssuerKeys {
    fetcher: Fetcher,
    known: RwLock<Known>,
    /// When the last fetch began. Held while one is under way: the others wait for it.
    last_fetch: Mutex<Option<Instant>>,
}

/// What is known.
#[derive(Default)]
struct Known {
    keys: Vec<Arc<IssuerKey>>,
    /// When they were fetched.
    since: Option<Instant>,
    /// Whether the last fetch failed.
    is_silent: bool,
}

/// There is no key for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoKey {
    /// The issuer has none.
    #[error("the issuer has no such key")]
    Unknown,
    /// The issuer cannot be asked for it.
    #[error("the keys of the issuer of tokens cannot be fetched")]
    Unreachable,
}

impl IssuerKeys {
    pub(super) fn new(fetcher: Fetcher) -> Self {
        Self { fetcher, known: RwLock::default(), last_fetch: Mutex::default() }
    }

    /// The key of a token with that head. Without an id it is the only one of its algorithm.
    pub(super) async fn find(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
        now: Instant,
    ) -> Result<Arc<IssuerKey>, NoKey> {
        if let Ok(known) = self.find_known(id, algorithm, now) {
            return Ok(known);
        }
        // In a task of its own: who closes the connection before the issuer answers must not end what the others
        // wait for, nor what counts as a fetch.
        let keys = self.clone();
        tokio::spawn(async move { keys.fetch(now).await }).await.ok();
        self.find_known(id, algorithm, now)
    }

    fn find_known(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        now: Instant,
    ) -> Result<Arc<IssuerKey>, NoKey> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.since.is_none_or(|since| now.duration_since(since) > MAX_AGE) {
            return Err(NoKey::Unreachable);
        }
        let mut fitting = known
            .keys
            .iter()
            .filter(|key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key.clone()),
            (None, _) if known.is_silent => Err(NoKey::Unreachable),
            // Two keys with one id, or none named and several there.
            _ => Err(NoKey::Unknown),
        }
    }

    /// Fetches the keys, unless that was done a moment ago. What is known stays when it fails.
    pub(super) async fn fetch(&self, now: Instant) {
        let mut last = self.last_fetch.lock().await;
        if last.is_some_and(|last| now.duration_since(last) < MIN_FETCH_INTERVAL) {
            return;
        }
        *last = Some(now);
        let fetched = self.fetcher.fetch().await;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let was_silent = known.is_silent;
        known.is_silent = fetched.is_err();
        match fetched {
            Ok(set) => {
                known.keys = set.usable().map(Arc::new).collect();
                known.since = Some(now);
                if was_silent {
                    info!("the issuer of tokens answers again");
                }
            }
            Err(error) if !was_silent => {
                let error = anyhow::Error::from(error);
                let error = format!("{error:#}");
                warn!(error, "the keys of the issuer of tokens cannot be fetched");
            }
            Err(_) => {}
        }
    }

    /// Fetches the keys again and again.
    pub(super) async fn keep_fetching(&self) {
        loop {
            self.fetch(Instant::now()).await;
            let is_silent = self.known.read().unwrap_or_else(PoisonError::into_inner).is_silent;
            sleep(if is_silent { MIN_FETCH_INTERVAL } else { REFRESH_INTERVAL }).await;
        }
    }
}
