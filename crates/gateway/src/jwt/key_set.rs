//! What an issuer publishes, and the keys of it that are of use.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// The most keys of an issuer; the others are ignored.
const MAX_KEYS: usize = 100;

/// A key of the issuer.
pub(super) struct IssuerKey {
    pub(super) id: Option<String>,
    /// The one that it is for.
    pub(super) algorithm: Algorithm,
    pub(super) verifying: DecodingKey,
}

/// What an issuer publishes (JWKS).
#[derive(Debug, Deserialize)]
pub(super) struct KeySet {
    keys: Vec<Value>,
}

impl KeySet {
    /// The keys that signatures can be verified with; there may be others, also of kinds that are not known.
    pub(super) fn usable(self) -> impl Iterator<Item = IssuerKey> {
        self.keys.into_iter().filter_map(usable).take(MAX_KEYS)
    }
}

fn usable(key: Value) -> Option<IssuerKey> {
    let key: Jwk = serde_json::from_value(key).ok()?;
    let (algorithm, named) = match &key.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(it) if it.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(it) if it.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        // A symmetric key in public, above all.
        _ => return None,
    };
    let signs = matches!(&key.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let is_for_it = key.common.key_algorithm.is_none_or(|it| it == named);
    let verifying = DecodingKey::from_jwk(&key).ok().filter(|_| signs && is_for_it)?;
    Some(IssuerKey { id: key.common.key_id, algorithm, verifying })
}
