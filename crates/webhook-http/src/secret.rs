//! Keys, and signatures by them.

use std::fmt;

use data_encoding::BASE64;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// The shortest key of a shared secret, in bytes.
pub const MIN_SECRET_BYTES: usize = 24;
/// The longest key of a shared secret, in bytes.
pub const MAX_SECRET_BYTES: usize = 64;
/// The key of a secret that is generated, in bytes.
const GENERATED_BYTES: usize = 32;

/// What a shared secret begins with.
const SHARED: &str = "whsec_";
/// What a private key begins with.
const PRIVATE: &str = "whsk_";
/// What a public key begins with.
const PUBLIC: &str = "whpk_";

/// What a webhook is signed with: a secret that is shared with the receiver (`whsec_…`, v1), or a
/// private key whose public key the receiver has (`whsk_…`, v1a).
///
/// Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret {
    text: SecretString,
    key: Key,
}

#[derive(Clone)]
enum Key {
    /// HMAC-SHA256, with the key taken in.
    Shared(Hmac<Sha256>),
    /// Ed25519.
    Private(Box<SigningKey>),
}

impl Secret {
    /// Reads a secret: `whsec_` and 24 to 64 bytes in base64, or `whsk_` and the 64 bytes of an
    /// Ed25519 key pair in base64.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let key = if let Some(encoded) = text.strip_prefix(SHARED) {
            Key::Shared(shared_key(&decode(encoded)?)?)
        } else if let Some(encoded) = text.strip_prefix(PRIVATE) {
            Key::Private(Box::new(private_key(&decode(encoded)?)?))
        } else {
            return Err(SecretError::Prefix);
        };
        Ok(Self { text: text.into(), key })
    }

    /// A new shared secret of 32 random bytes.
    pub fn generate() -> Result<Self, RandomnessError> {
        let bytes = random()?;
        let key = Key::Shared(shared_key(&bytes).expect("32 bytes are enough, and not too many"));
        Ok(Self { text: format!("{SHARED}{}", BASE64.encode(&bytes)).into(), key })
    }

    /// A new private key.
    pub fn generate_private() -> Result<Self, RandomnessError> {
        let key = SigningKey::from_bytes(&random()?);
        let text = format!("{PRIVATE}{}", BASE64.encode(&key.to_keypair_bytes()));
        Ok(Self { text: text.into(), key: Key::Private(Box::new(key)) })
    }

    /// The secret as text: for whoever owns the endpoint, once, and for sealing it.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// The public key of a private key (`whpk_…`), which is no secret; nothing for a shared secret.
    pub fn public_key(&self) -> Option<String> {
        match &self.key {
            Key::Shared(_) => None,
            Key::Private(key) => {
                Some(format!("{PUBLIC}{}", BASE64.encode(key.verifying_key().as_bytes())))
            }
        }
    }

    fn signature(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        match &self.key {
            Key::Shared(key) => {
                let mut mac = key.clone();
                for part in parts {
                    mac.update(part);
                }
                format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
            }
            Key::Private(key) => {
                format!("v1a,{}", BASE64.encode(&key.sign(&parts.concat()).to_bytes()))
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The value of the header `webhook-signature`: a signature of `{id}.{timestamp}.{body}` by each
/// secret, separated by spaces.
///
/// `timestamp` is in unix seconds. `id` must not contain a full stop, by which the parts of what is
/// signed are separated; [`Sender`](crate::Sender) refuses one that does.
pub fn sign(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let timestamp = timestamp.to_string();
    let signatures = secrets.iter().map(|secret| secret.signature(id, &timestamp, body));
    signatures.collect::<Vec<_>>().join(" ")
}

fn decode(encoded: &str) -> Result<Vec<u8>, SecretError> {
    BASE64.decode(encoded.as_bytes()).map_err(|_| SecretError::Encoding)
}

fn shared_key(bytes: &[u8]) -> Result<Hmac<Sha256>, SecretError> {
    if !(MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&bytes.len()) {
        return Err(SecretError::Length { bytes: bytes.len() });
    }
    Ok(Hmac::new_from_slice(bytes).expect("HMAC takes a key of any length"))
}

fn private_key(bytes: &[u8]) -> Result<SigningKey, SecretError> {
    let bytes = bytes.try_into().map_err(|_| SecretError::KeyPair)?;
    SigningKey::from_keypair_bytes(bytes).map_err(|_| SecretError::KeyPair)
}

fn random() -> Result<[u8; GENERATED_BYTES], RandomnessError> {
    let mut bytes = [0; GENERATED_BYTES];
    getrandom::fill(&mut bytes).map_err(RandomnessError)?;
    Ok(bytes)
}

/// Why a text is no secret. It says nothing of what the text holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It begins with something else.
    #[error("a secret begins with whsec_ (shared) or whsk_ (private key)")]
    Prefix,
    /// What follows is no base64.
    #[error("a secret is base64 with padding after its prefix")]
    Encoding,
    /// The key is too short or too long.
    #[error("a secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, and this one {bytes}")]
    Length {
        /// How long it is.
        bytes: usize,
    },
    /// The bytes are no key pair.
    #[error("a private key is the 64 bytes of an Ed25519 key pair: the seed, and the public key")]
    KeyPair,
}

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct RandomnessError(#[source] getrandom::Error);

#[cfg(test)]
mod tests {
    use super::*;

    /// A test vector of Standard Webhooks.
    struct Vector {
        secret: String,
        verified_with: String,
        id: String,
        timestamp: i64,
        body: String,
        signature: String,
    }

    fn vectors() -> Vec<Vector> {
        let all = include_str!("../../../tests/webhook-receivers/vectors.json");
        let all: serde_json::Value = serde_json::from_str(all).expect("is JSON");
        let vectors = all.as_array().expect("a list").iter().map(|vector| {
            let text = |name: &str| vector[name].as_str().expect("a text").to_owned();
            Vector {
                secret: text("secret"),
                verified_with: text("verified_with"),
                id: text("id"),
                timestamp: vector["timestamp"].as_i64().expect("a number"),
                body: text("body"),
                signature: text("signature"),
            }
        });
        vectors.collect()
    }

    fn parse(text: &str) -> Secret {
        Secret::parse(text).expect("it is a secret")
    }

    #[test]
    fn signs_as_the_test_vectors_of_standard_webhooks_say() {
        let vectors = vectors();
        assert!(vectors.iter().any(|vector| vector.signature.starts_with("v1,")));
        assert!(vectors.iter().any(|vector| vector.signature.starts_with("v1a,")));
        for Vector { secret, verified_with, id, timestamp, body, signature } in vectors {
            let secret = parse(&secret);
            let public_key = secret.public_key();
            let key = public_key.as_deref().unwrap_or(secret.expose());
            assert_eq!(key, verified_with);
            assert_eq!(sign(&[secret], &id, timestamp, body.as_bytes()), signature);
        }
    }

    #[test]
    fn each_secret_signs_in_its_turn() {
        let vectors = vectors();
        let secrets: Vec<_> = vectors.iter().map(|vector| parse(&vector.secret)).collect();
        let Vector { id, timestamp, body, signature, .. } = &vectors[0];
        let all = sign(&secrets, id, *timestamp, body.as_bytes());
        let others = sign(&secrets[1..], id, *timestamp, body.as_bytes());
        assert_eq!(all, format!("{signature} {others}"));
    }

    #[test]
    fn an_independent_verifier_accepts_what_a_generated_secret_signs() {
        let secret = Secret::generate().expect("there are random bytes");
        let independent = standardwebhooks::Webhook::new(secret.expose()).expect("a secret");
        let signed = independent.sign("msg_1", 1_700_000_000, b"{}").expect("it signs");
        assert_eq!(sign(&[secret], "msg_1", 1_700_000_000, b"{}"), signed);
    }

    #[test]
    fn what_is_generated_can_be_parsed_and_never_repeats() {
        let generated = [Secret::generate, Secret::generate_private].map(|generate| {
            let (secret, other) = (generate().expect("random"), generate().expect("random"));
            assert_ne!(secret.expose(), other.expose());
            secret
        });
        for secret in generated {
            let again = parse(secret.expose());
            assert_eq!(sign(&[again], "a", 1, b""), sign(&[secret], "a", 1, b""));
        }
    }

    #[test]
    fn a_private_key_has_a_public_key_and_a_shared_secret_none() {
        let private = Secret::generate_private().expect("random");
        assert!(private.public_key().is_some_and(|key| key.starts_with("whpk_")));
        assert_eq!(Secret::generate().expect("random").public_key(), None);
    }

    #[test]
    fn what_is_no_secret_is_refused_with_the_reason() {
        let of = |bytes: usize| format!("whsec_{}", BASE64.encode(&vec![7; bytes]));
        let cases = [
            (String::new(), SecretError::Prefix),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), SecretError::Prefix),
            ("whsec_not base64".to_owned(), SecretError::Encoding),
            (of(23), SecretError::Length { bytes: 23 }),
            (of(65), SecretError::Length { bytes: 65 }),
            (format!("whsk_{}", BASE64.encode(&[7; 32])), SecretError::KeyPair),
            (format!("whsk_{}", BASE64.encode(&[7; 64])), SecretError::KeyPair),
        ];
        for (text, expected) in cases {
            assert_eq!(Secret::parse(&text).expect_err("it is no secret"), expected);
        }
        for bytes in [24, 64] {
            Secret::parse(&of(bytes)).expect("it is long enough, and not too long");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", parse(&vectors()[0].secret));
        assert_eq!(shown, "Secret(..)");
    }
}
