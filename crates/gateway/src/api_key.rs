//! The API keys of the gateway: what they must be, what they allow, and how a caller's key is compared
//! with them.

use std::net::SocketAddr;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The shortest key, in characters, of a gateway that other machines can reach.
pub const MIN_API_KEY_LENGTH: usize = 16;

/// An API key that the gateway does not start with.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ApiKeyError {
    /// It has no characters.
    #[error("an API key is empty: set one, for example the output of `openssl rand -hex 32`")]
    Empty,
    /// It cannot be sent in the header `Authorization`.
    #[error("an API key must be visible ASCII characters, without spaces")]
    NotVisibleAscii,
    /// It could be guessed.
    #[error(
        "an API key has {length} characters and must have at least {MIN_API_KEY_LENGTH}, because \
         {listen} can be reached from other machines: set a longer one, for example the output of \
         `openssl rand -hex 32`, or listen on 127.0.0.1"
    )]
    TooShort {
        /// The characters that it has.
        length: usize,
        /// Where the gateway was to listen.
        listen: SocketAddr,
    },
    /// Two keys have one id.
    #[error("two API keys have the id {0}")]
    SameId(String),
    /// Two ids have one key.
    #[error("the API keys {0} and {1} are the same: give each its own")]
    SameKey(String, String),
}

/// An API key, and what it allows.
#[derive(Debug, Clone)]
pub struct ApiKeySetting {
    /// Its id, by which events name who asked.
    pub id: String,
    /// The key.
    pub key: SecretString,
    /// What it allows besides.
    pub scopes: Vec<Scope>,
}

/// What a key allows besides all that every key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To say what an order costs: prices of lines, discounts, and charges below 0.
    PricesAsSold,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 1] = [Self::PricesAsSold];

    /// The scope as it is in settings and problems.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PricesAsSold => "prices-as-sold",
        }
    }

    /// Reads a scope.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// The keys of the gateway.
pub(crate) struct ApiKeys(Vec<KnownKey>);

struct KnownKey {
    caller: Caller,
    key: ApiKey,
}

/// Who sends a request: the key that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The id of the key.
    pub(crate) key_id: String,
    /// What it allows besides.
    scopes: Vec<Scope>,
}

impl Caller {
    /// Whether the key allows that.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

impl ApiKeys {
    /// Checks the keys of a gateway that listens on `listen`.
    pub(crate) fn new(keys: &[ApiKeySetting], listen: SocketAddr) -> Result<Self, ApiKeyError> {
        let mut known = Self(Vec::with_capacity(keys.len()));
        for ApiKeySetting { id, key, scopes } in keys {
            if known.0.iter().any(|other| other.caller.key_id == *id) {
                return Err(ApiKeyError::SameId(id.clone()));
            }
            if let Some(other) = known.find(key.expose_secret()) {
                return Err(ApiKeyError::SameKey(other.key_id.clone(), id.clone()));
            }
            let caller = Caller { key_id: id.clone(), scopes: scopes.clone() };
            known.0.push(KnownKey { caller, key: ApiKey::new(key, listen)? });
        }
        Ok(known)
    }

    /// Who has this key. Every key is compared, so that the time says nothing about which one it is.
    pub(crate) fn find(&self, key: &str) -> Option<&Caller> {
        let compared = self.0.iter().map(|known| known.key.matches(key).then_some(&known.caller));
        compared.fold(None, Option::or)
    }
}

/// The digest of the API key. Digests have one length, so that comparing them in constant time does
/// not reveal the length of the key either.
struct ApiKey([u8; 32]);

impl ApiKey {
    /// Checks the key of a gateway that listens on `listen`. A short one is accepted on a loopback
    /// address alone.
    fn new(key: &SecretString, listen: SocketAddr) -> Result<Self, ApiKeyError> {
        let key = key.expose_secret();
        let length = key.len();
        if length == 0 {
            return Err(ApiKeyError::Empty);
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ApiKeyError::NotVisibleAscii);
        }
        if length < MIN_API_KEY_LENGTH && !listen.ip().is_loopback() {
            return Err(ApiKeyError::TooShort { length, listen });
        }
        Ok(Self(Sha256::digest(key).into()))
    }

    /// Whether `key` is the API key.
    fn matches(&self, key: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(key).into();
        digest.ct_eq(&self.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &str = "127.0.0.1:8080";
    const EVERYWHERE: &str = "0.0.0.0:8080";

    #[track_caller]
    fn check(key: &str, listen: &str, expected: Option<&ApiKeyError>) {
        let listen = listen.parse().expect("is an address");
        assert_eq!(
            ApiKey::new(&key.into(), listen).err().as_ref(),
            expected,
            "{key:?} on {listen}"
        );
    }

    #[test]
    fn an_empty_key_or_one_that_no_header_can_carry_is_refused() {
        check("", LOOPBACK, Some(&ApiKeyError::Empty));
        check("", EVERYWHERE, Some(&ApiKeyError::Empty));
        check("two words", LOOPBACK, Some(&ApiKeyError::NotVisibleAscii));
        check("key\n", LOOPBACK, Some(&ApiKeyError::NotVisibleAscii));
    }

    #[test]
    fn a_short_key_is_for_a_loopback_address_alone() {
        check("x", LOOPBACK, None);
        check("x", "[::1]:8080", None);
        let listen = EVERYWHERE.parse().expect("is an address");
        check("fifteen-letters", EVERYWHERE, Some(&ApiKeyError::TooShort { length: 15, listen }));
        check("sixteen-letters!", EVERYWHERE, None);
    }

    #[test]
    fn a_caller_may_what_its_own_key_allows() {
        let setting = |id: &str, key: &str, scopes: &[Scope]| ApiKeySetting {
            id: id.to_owned(),
            key: key.into(),
            scopes: scopes.to_vec(),
        };
        let listen = LOOPBACK.parse().expect("is an address");
        let settings = [setting("erp", "one", &Scope::ALL), setting("shop", "two", &[])];
        let keys = ApiKeys::new(&settings, listen).expect("are good");
        let may = |key| keys.find(key).map(|it| (&*it.key_id, it.may(Scope::PricesAsSold)));
        assert_eq!(may("one"), Some(("erp", true)));
        assert_eq!(may("two"), Some(("shop", false)));
        assert_eq!(may("three"), None);
        let twice = [setting("erp", "one", &[]), setting("erp", "two", &[])];
        let error = ApiKeys::new(&twice, listen).err();
        assert_eq!(error, Some(ApiKeyError::SameId("erp".to_owned())));
        let same = [setting("erp", "one", &[]), setting("shop", "one", &[])];
        let error = ApiKeys::new(&same, listen).err();
        assert_eq!(error, Some(ApiKeyError::SameKey("erp".to_owned(), "shop".to_owned())));
    }

    #[test]
    fn only_the_same_key_matches() {
        let key = ApiKey::new(&"secret".into(), LOOPBACK.parse().expect("is an address"));
        let key = key.expect("is good");
        assert!(key.matches("secret"));
        for other in ["", "secre", "secret1", "Secret"] {
            assert!(!key.matches(other), "{other:?} matched");
        }
    }
}
