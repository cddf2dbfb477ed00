//! The API keys that the installation has made: events of the shop service, looked up there by their
//! ids, and known for a moment ([`Rechecked`]).
//!
//! A key that is revoked, or whose old secret is over, is refused by every gateway after
//! [`TIMING`]`.recheck_after`, and at the latest after `max_age`, unless the shop service does not answer:
//! then what is known of a key holds for `max_silence`. Times are compared with the clock in each
//! request.
//!
//! A secret that the installation has made and that is not the key's as it is known may be one that another gateway has
//! made since: the shop service is asked by all of its log before it is refused, once in `recheck_after` for each secret.

use std::{sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use events::proto::shop::{GetKeyCredentials, Key, KeyCredentials};
use protocol::{id::Shop, time::Timestamp};
use subtle::ConstantTimeEq;
use tokio::time::{Instant, timeout};

use crate::{
    api_key::{Caller, Scope},
    key_text::{Digest, Presented},
    key_use::KeyUses,
    problem::{Code, Problem},
    recheck::{Found, Rechecked, Timing},
    sealing::Sealing,
    services::Services,
};

const TIMING: Timing = Timing {
    recheck_after: Duration::from_secs(2),
    max_age: Duration::from_secs(5),
    max_silence: Duration::from_mins(15),
    max_entries: 10_000,
};
/// How often it is looked whether the key of a stream is still accepted.
pub(crate) const STREAM_CHECK_INTERVAL: Duration = TIMING.recheck_after;
/// How long a request waits for the shop service when the key is known.
const RECHECK_TIMEOUT: Duration = Duration::from_millis(500);

/// The keys that are known.
#[derive(Debug)]
pub(crate) struct ManagedKeys {
    known: Rechecked<String, Arc<ManagedKey>>,
    /// Secrets that were refused when the shop service was asked by all of its log.
    refused: Rechecked<Digest, ()>,
    /// When they were used.
    pub(crate) uses: KeyUses,
}

/// A key, as the shop service knows it.
#[derive(Debug, PartialEq, Eq)]
struct ManagedKey {
    caller: Caller,
    digest: Digest,
    /// Of the secret before, and until when that is accepted.
    old: Option<(Digest, Timestamp)>,
    is_revoked: bool,
    last_used_at: Option<Timestamp>,
}

/// Why a key is refused that the installation has made.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// Its secret is another one by now, or it is gone.
    OtherSecret,
    Revoked,
    Expired,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = match refusal {
            Refusal::OtherSecret => {
                "the API key has got another secret since, or is not known any more"
            }
            Refusal::Revoked => "the API key was revoked: use another one",
            Refusal::Expired => "the API key has expired: use another one",
        };
        Self::new(Code::Unauthorized, detail)
    }
}

impl ManagedKey {
    fn check(&self, digest: &Digest, now: Timestamp) -> Result<(), Refusal> {
        let is_new = digest.ct_eq(&self.digest);
        let is_old = self
            .old
            .as_ref()
            .is_some_and(|(old, valid_until)| bool::from(digest.ct_eq(old)) && now < *valid_until);
        // Who has no secret of the key learns nothing about it.
        if !bool::from(is_new) && !is_old {
            return Err(Refusal::OtherSecret);
        }
        if self.is_revoked {
            return Err(Refusal::Revoked);
        }
        if self.caller.has_expired(now) {
            return Err(Refusal::Expired);
        }
        Ok(())
    }
}

impl Default for ManagedKeys {
    fn default() -> Self {
        let (known, refused) = (Rechecked::new(TIMING), Rechecked::new(TIMING));
        Self { known, refused, uses: KeyUses::default() }
    }
}

impl ManagedKeys {
    /// Who presents that key, if it is accepted; `None` when the installation has not made it.
    pub(crate) async fn caller(
        &self,
        (services, sealing): (&Services, &Sealing),
        presented: &Presented,
        now: Timestamp,
    ) -> Result<Option<Caller>, Problem> {
        let Some(digest) = presented.digest(sealing).await? else { return Ok(None) };
        let mut key = accepted(self.find(services, presented.id()).await?, &digest, now);
        if key == Err(Refusal::OtherSecret) && !self.was_refused(&digest) {
            let client = services.client();
            let end = client.log_end("shop", &Shop::installation()).await;
            let end = end.map_err(|error| Problem::unavailable(&error))?.last;
            key = accepted(self.ask(services, presented.id(), end).await?, &digest, now);
            if key == Err(Refusal::OtherSecret) {
                self.refused.remember(&digest, 0, (), Instant::now());
            }
        }
        let key = key?;
        self.uses.note(presented.id(), key.last_used_at, now);
        Ok(Some(key.caller.clone().with_secret(digest)))
    }

    /// Refuses a caller whose key or token is accepted no more. A key of the settings and a token end by their
    /// time alone.
    pub(crate) async fn check(
        &self,
        services: &Services,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), Problem> {
        if caller.has_expired(now) {
            return Err(Refusal::Expired.into());
        }
        let Some(digest) = &caller.secret else { return Ok(()) };
        accepted(self.find(services, &caller.key_id).await?, digest, now)?;
        Ok(())
    }

    /// Whether a secret was refused a moment ago.
    fn was_refused(&self, digest: &Digest) -> bool {
        matches!(self.refused.find(digest, Instant::now()), Found::Known(()))
    }

    async fn find(
        &self,
        services: &Services,
        id: &str,
    ) -> Result<Option<Arc<ManagedKey>>, Problem> {
        match self.known.find(id, Instant::now()) {
            Found::Known(key) => Ok(Some(key)),
            Found::Old(key) => {
                if let Ok(Ok(found)) = timeout(RECHECK_TIMEOUT, self.ask(services, id, 0)).await {
                    return Ok(found);
                }
                self.known.note_silence(id);
                tracing::warn!(
                    api_key.id = id,
                    "the shop service does not answer; what was known of the API key holds"
                );
                Ok(Some(key))
            }
            Found::Unknown => self.ask(services, id, 0).await,
        }
    }

    /// Asks the shop service for a key, by its log at least up to the position `at_least`; `None` when there is none with
    /// that id.
    async fn ask(
        &self,
        services: &Services,
        id: &str,
        at_least: u64,
    ) -> Result<Option<Arc<ManagedKey>>, Problem> {
        let asked = Instant::now();
        let question = GetKeyCredentials { key_id: id.to_owned() };
        let Some(found) = services.ask(&Shop::installation(), question, at_least).await? else {
            self.known.forget(id);
            return Ok(None);
        };
        let version = found.key.as_ref().map_or(0, |key| key.version);
        let key = Arc::new(read(found).ok_or_else(|| Problem::internal(&UnreadableKey))?);
        self.known.remember(&id.to_owned(), version, key.clone(), asked);
        Ok(Some(key))
    }

    /// Forgets what is known of a key that this gateway has just changed: it asks again.
    pub(crate) fn forget(&self, id: &str) {
        self.known.forget(id);
    }
}

/// The key, if it is accepted with that secret.
fn accepted(
    key: Option<Arc<ManagedKey>>,
    digest: &Digest,
    now: Timestamp,
) -> Result<Arc<ManagedKey>, Refusal> {
    let key = key.ok_or(Refusal::OtherSecret)?;
    key.check(digest, now)?;
    Ok(key)
}

/// What the shop service says of a key cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the shop service's answer about an API key cannot be read")]
struct UnreadableKey;

fn read(found: KeyCredentials) -> Option<ManagedKey> {
    let KeyCredentials { key, digest, old_digest } = found;
    let Key { id, settings, old_valid_until, revoked_at, last_used_at, .. } = key?;
    let settings = settings?;
    let time = |time: Option<_>| time.map(|at| Timestamp::parse(Some(&at)).ok());
    let digest_of = |hex: &str| Digest::try_from(HEXLOWER.decode(hex.as_bytes()).ok()?).ok();
    let old = match time(old_valid_until) {
        Some(until) => Some((digest_of(&old_digest)?, until?)),
        None => None,
    };
    let shops = settings.shops.iter().map(|shop| Shop::parse(shop).ok());
    // One that this version does not know grants nothing.
    let scopes = settings.scopes.iter().filter_map(|scope| Scope::parse(scope)).collect();
    // A time that cannot be read is no reason to accept the key for ever.
    let expires_at = match time(settings.expires_at) {
        Some(at) => Some(at?),
        None => None,
    };
    let caller = Caller::of_key(id, scopes, shops.collect::<Option<_>>()?, expires_at);
    Some(ManagedKey {
        caller,
        digest: digest_of(&digest)?,
        old,
        is_revoked: revoked_at.is_some(),
        last_used_at: time(last_used_at).flatten(),
    })
}

#[cfg(test)]
mod tests {
    use events::proto::shop::KeySettings;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn credentials() -> KeyCredentials {
        let settings = KeySettings {
            shops: vec!["acme".to_owned()],
            scopes: vec!["read".to_owned(), "of-the-future".to_owned()],
            expires_at: Some(at(9_000).into()),
            ..KeySettings::default()
        };
        let key = Key {
            id: "0123456789abcdef".to_owned(),
            settings: Some(settings),
            old_valid_until: Some(at(5_000).into()),
            ..Key::default()
        };
        let (digest, old_digest) = (HEXLOWER.encode(&[1; 32]), HEXLOWER.encode(&[2; 32]));
        KeyCredentials { key: Some(key), digest, old_digest }
    }

    #[test]
    fn a_key_is_accepted_with_its_secret_and_for_a_time_with_the_one_before() {
        let key = read(credentials()).expect("it reads");
        assert!(key.caller.may(Scope::Read) && !key.caller.may(Scope::Orders));
        assert!(key.caller.is_for("acme") && !key.caller.is_for("beta"));
        let (new, old, other) = (&[1; 32], &[2; 32], &[3; 32]);
        assert_eq!(key.check(new, at(8_999)), Ok(()));
        assert_eq!(key.check(new, at(9_000)), Err(Refusal::Expired));
        assert_eq!(key.check(old, at(4_999)), Ok(()));
        assert_eq!(key.check(old, at(5_000)), Err(Refusal::OtherSecret));
        assert_eq!(key.check(other, at(0)), Err(Refusal::OtherSecret));
    }

    #[test]
    fn a_revoked_key_is_refused_and_only_its_owner_learns_so() {
        let mut credentials = credentials();
        credentials.key.as_mut().expect("is there").revoked_at = Some(at(1).into());
        let key = read(credentials).expect("it reads");
        assert_eq!(key.check(&[1; 32], at(2)), Err(Refusal::Revoked));
        assert_eq!(key.check(&[3; 32], at(2)), Err(Refusal::OtherSecret));
    }

    #[test]
    fn a_key_of_which_something_cannot_be_read_is_not_accepted() {
        let broken: [fn(&mut KeyCredentials); 5] = [
            |it| it.key = None,
            |it| it.digest.clear(),
            |it| it.old_digest = "no digits".to_owned(),
            |it| {
                it.key.as_mut().and_then(|key| key.settings.as_mut()).expect("is there").shops =
                    vec!["No Shop".to_owned()];
            },
            |it| {
                let settings = it.key.as_mut().and_then(|key| key.settings.as_mut());
                settings.expect("is there").expires_at =
                    Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
            },
        ];
        for break_it in broken {
            let mut credentials = credentials();
            break_it(&mut credentials);
            assert!(read(credentials.clone()).is_none(), "{credentials:?}");
        }
    }
}
