//! The API key of the gateway: what it must be, and how a caller's key is compared with it.

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
    #[error("the API key is empty: set one, for example the output of `openssl rand -hex 32`")]
    Empty,
    /// It cannot be sent in the header `Authorization`.
    #[error("the API key must be visible ASCII characters, without spaces")]
    NotVisibleAscii,
    /// It could be guessed.
    #[error(
        "the API key has {length} characters and must have at least {MIN_API_KEY_LENGTH}, because \
         {listen} can be reached from other machines: set a longer one, for example the output of \
         `openssl rand -hex 32`, or listen on 127.0.0.1"
    )]
    TooShort {
        /// The characters that it has.
        length: usize,
        /// Where the gateway was to listen.
        listen: SocketAddr,
    },
}

/// The digest of the API key. Digests have one length, so that comparing them in constant time does
/// not reveal the length of the key either.
pub(crate) struct ApiKey([u8; 32]);

impl ApiKey {
    /// Checks the key of a gateway that listens on `listen`. A short one is accepted on a loopback
    /// address alone.
    pub(crate) fn new(key: &SecretString, listen: SocketAddr) -> Result<Self, ApiKeyError> {
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
    pub(crate) fn matches(&self, key: &str) -> bool {
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
    fn only_the_same_key_matches() {
        let key = ApiKey::new(&"secret".into(), LOOPBACK.parse().expect("is an address"));
        let key = key.expect("is good");
        assert!(key.matches("secret"));
        for other in ["", "secre", "secret1", "Secret"] {
            assert!(!key.matches(other), "{other:?} matched");
        }
    }
}
