//! Who sent a delivery: signatures by Standard Webhooks.

use std::{
    fmt,
    ops::RangeInclusive,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use data_encoding::BASE64;
use ed25519_dalek::{Signature, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;

/// How far the time of an attempt may be from the receiver's own.
pub const TOLERANCE: Duration = Duration::from_mins(5);
/// What a shared secret begins with.
const SHARED: &str = "whsec_";
/// How many bytes a shared secret has, by Standard Webhooks.
const SECRET_BYTES: RangeInclusive<usize> = 24..=64;
/// What a public key begins with.
const PUBLIC: &str = "whpk_";

/// Verifies the deliveries of one endpoint.
#[derive(Clone)]
pub struct Verifier {
    keys: Vec<Key>,
}

#[derive(Clone)]
enum Key {
    Shared(Hmac<Sha256>),
    Public(Box<VerifyingKey>),
}

/// A delivery that was verified.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Delivery {
    /// The id of the event: the same whenever it is sent, to whichever endpoint.
    pub id: String,
    /// The type of the event, such as `order.paid`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When it happened, by RFC 3339.
    pub timestamp: String,
    /// What happened; null where the delivery is thin: the endpoint wants it so, or it would be larger than 256 KiB.
    #[serde(default)]
    pub data: Value,
    /// Where the event can be read whose data is not here: a path at the gateway, such as
    /// `/v1/shops/acme/orders/…/history`.
    #[serde(default)]
    pub link: Option<String>,
    /// Where it belongs.
    pub meta: Meta,
}

/// Where an event belongs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Meta {
    /// The log that it is in.
    pub stream: String,
    /// Its position in that log.
    pub position: u64,
    /// What it happened to.
    pub aggregate: Aggregate,
    /// The number of the delivery among those of the endpoint: from 1, without gaps.
    pub endpoint_seq: u64,
    /// The shop.
    pub tenant: String,
}

/// What an event happened to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Aggregate {
    /// What it is, such as `order`.
    #[serde(rename = "type")]
    pub aggregate_type: String,
    /// Its id.
    pub id: String,
    /// The number of the event among those of the aggregate: from 1, without gaps. What has a lower
    /// one than what you know of the aggregate is older.
    pub version: u64,
}

impl Verifier {
    /// Verifies by a secret (`whsec_…`) or a public key (`whpk_…`).
    ///
    /// # Errors
    ///
    /// When it is neither: a secret is `whsec_` and 24 to 64 bytes in base64.
    pub fn new(key: &str) -> Result<Self, SecretError> {
        Ok(Self { keys: vec![Key::parse(key)?] })
    }

    /// Verifies by another one as well: for a rotation that has not reached the sender yet.
    pub fn or(mut self, key: &str) -> Result<Self, SecretError> {
        self.keys.push(Key::parse(key)?);
        Ok(self)
    }

    /// The delivery, if it was signed by who has the secret, within [`TOLERANCE`] of now.
    ///
    /// `body` is what came, byte for byte: JSON that was parsed and written again has another
    /// signature.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<Delivery, VerifyError> {
        #[expect(clippy::disallowed_methods, reason = "a receiver's time of day enters here")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.verify_at(headers, body, now as i64)
    }

    /// The same at a given time, in unix seconds.
    pub fn verify_at(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: i64,
    ) -> Result<Delivery, VerifyError> {
        let id = header(headers, "webhook-id")?;
        let timestamp = header(headers, "webhook-timestamp")?;
        let signatures = header(headers, "webhook-signature")?;
        let sent: i64 = timestamp.parse().map_err(|_| VerifyError::Header("webhook-timestamp"))?;
        if now.abs_diff(sent) > TOLERANCE.as_secs() {
            return Err(VerifyError::Timestamp);
        }
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        let is_valid = |text: &str| self.keys.iter().any(|key| key.verifies(&signed, text));
        if !signatures.split(' ').any(is_valid) {
            return Err(VerifyError::Signature);
        }
        serde_json::from_slice(body).map_err(VerifyError::Body)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

impl Key {
    fn parse(text: &str) -> Result<Self, SecretError> {
        if let Some(public) = text.strip_prefix(PUBLIC) {
            let bytes = BASE64.decode(public.as_bytes()).map_err(|_| SecretError)?;
            let key = VerifyingKey::try_from(bytes.as_slice()).map_err(|_| SecretError)?;
            return Ok(Self::Public(Box::new(key)));
        }
        let encoded = text.strip_prefix(SHARED).ok_or(SecretError)?;
        let bytes = BASE64.decode(encoded.as_bytes()).map_err(|_| SecretError)?;
        // Whoever leaves out the rest of the secret would take what anybody signs with nothing.
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err(SecretError);
        }
        Hmac::new_from_slice(&bytes).map(Self::Shared).map_err(|_| SecretError)
    }

    /// Whether a signature such as `v1,…` is by this key; in a time that does not depend on how much
    /// of it is right.
    fn verifies(&self, signed: &[u8], signature: &str) -> bool {
        let Some((version, encoded)) = signature.split_once(',') else { return false };
        let Ok(bytes) = BASE64.decode(encoded.as_bytes()) else { return false };
        match (self, version) {
            (Self::Shared(key), "v1") => {
                key.clone().chain_update(signed).verify_slice(&bytes).is_ok()
            }
            (Self::Public(key), "v1a") => Signature::from_slice(&bytes)
                .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok()),
            _ => false,
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, VerifyError> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.ok_or(VerifyError::Header(name))
}

/// A text is neither a secret nor a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is neither a secret (whsec_ and 24 to 64 bytes in base64) nor a public key (whpk_…)")]
pub struct SecretError;

/// Why a delivery must not be believed. Answer it with 400.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A header is missing or malformed.
    #[error("the header {0} is missing or malformed")]
    Header(&'static str),
    /// It was sent too long ago, or by another time of day: check your clock.
    #[error("it was sent more than {} minutes from now", TOLERANCE.as_secs() / 60)]
    Timestamp,
    /// None of its signatures is by the secret.
    #[error("no signature is by the secret of this endpoint")]
    Signature,
    /// It was signed by who has the secret, and yet is no delivery.
    #[error("the body is no delivery")]
    Body(#[source] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "0190b3a1-0000-7000-8000-000000000001";
    const NOW: i64 = 1_795_262_400;
    const BODY: &str = r#"{
        "id": "0190b3a1-0000-7000-8000-000000000001",
        "type": "order.paid",
        "timestamp": "2026-11-21T12:00:00Z",
        "data": {"order": 7},
        "meta": {
            "stream": "order",
            "position": 9007199254740993,
            "aggregate": {"type": "order", "id": "7", "version": 3},
            "endpoint_seq": 12,
            "tenant": "acme"
        }
    }"#;

    fn sign(secret: &str, timestamp: i64, body: &str) -> String {
        let independent = standardwebhooks::Webhook::new(secret).expect("a secret");
        independent.sign(ID, timestamp, body.as_bytes()).expect("it signs")
    }

    fn headers(timestamp: &str, signature: &str) -> HeaderMap {
        let pairs = [
            ("webhook-id", ID),
            ("webhook-timestamp", timestamp),
            ("webhook-signature", signature),
        ];
        pairs
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .into_iter()
            .collect()
    }

    fn verify(verifier: &Verifier, signature: &str, body: &str) -> Result<Delivery, VerifyError> {
        verifier.verify_at(&headers(&NOW.to_string(), signature), body.as_bytes(), NOW)
    }

    fn verifier() -> Verifier {
        Verifier::new(SECRET).expect("a secret")
    }

    #[test]
    fn what_an_independent_signer_signs_is_a_delivery() {
        let delivery = verify(&verifier(), &sign(SECRET, NOW, BODY), BODY).expect("it is signed");
        assert_eq!((delivery.id.as_str(), delivery.event_type.as_str()), (ID, "order.paid"));
        assert_eq!(delivery.data["order"], 7);
        assert_eq!(delivery.meta.position, 9_007_199_254_740_993);
        assert_eq!((delivery.meta.endpoint_seq, delivery.meta.tenant.as_str()), (12, "acme"));
        assert_eq!(
            (delivery.meta.aggregate.id.as_str(), delivery.meta.aggregate.version),
            ("7", 3)
        );
    }

    #[test]
    fn a_thin_delivery_has_a_link_in_place_of_its_data() {
        let link = "/v1/shops/acme/orders/7/history";
        let thin = BODY.replace(r#""data": {"order": 7}"#, &format!(r#""link": "{link}""#));
        let delivery = verify(&verifier(), &sign(SECRET, NOW, &thin), &thin).expect("is signed");
        assert_eq!((delivery.data, delivery.link.as_deref()), (Value::Null, Some(link)));
        let full = verify(&verifier(), &sign(SECRET, NOW, BODY), BODY).expect("it is signed");
        assert_eq!(full.link, None);
    }

    #[test]
    fn one_good_signature_among_several_is_enough() {
        let (good, other) = (sign(SECRET, NOW, BODY), sign(OTHER, NOW, BODY));
        for list in [format!("{other} {good}"), format!("v2,x v1a,AAAA nonsense {good}")] {
            verify(&verifier(), &list, BODY).expect("one of them is ours");
        }
        let both = verifier().or(OTHER).expect("a secret");
        verify(&both, &other, BODY).expect("it knows both");
    }

    #[test]
    fn what_somebody_else_signed_or_changed_is_refused() {
        let good = sign(SECRET, NOW, BODY);
        let unsigned = good.strip_prefix("v1,").expect("it is v1");
        for signature in [
            sign(OTHER, NOW, BODY),
            sign(SECRET, NOW - 1, BODY),
            good[..good.len() - 4].to_owned(),
            "v1,".to_owned(),
            String::new(),
            unsigned.to_owned(),
            format!("v1a,{unsigned}"),
        ] {
            let error = verify(&verifier(), &signature, BODY).expect_err(&signature);
            assert!(matches!(error, VerifyError::Signature), "{error}");
        }
        let changed = BODY.replace("12", "13");
        let error = verify(&verifier(), &good, &changed).expect_err("it was changed");
        assert!(matches!(error, VerifyError::Signature), "{error}");
    }

    #[test]
    fn a_delivery_of_another_time_is_refused() {
        let tolerance = TOLERANCE.as_secs() as i64;
        let at = |offset: i64| {
            let signature = sign(SECRET, NOW, BODY);
            let headers = headers(&NOW.to_string(), &signature);
            verifier().verify_at(&headers, BODY.as_bytes(), NOW + offset)
        };
        for offset in [-tolerance, 0, tolerance] {
            at(offset).expect("it is in time");
        }
        for offset in [-tolerance - 1, tolerance + 1, i64::MAX - NOW] {
            assert!(matches!(at(offset), Err(VerifyError::Timestamp)), "{offset}");
        }
    }

    #[test]
    fn a_header_that_is_missing_or_malformed_is_named() {
        let good = sign(SECRET, NOW, BODY);
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut headers = headers(&NOW.to_string(), &good);
            headers.remove(name);
            let error = verifier().verify_at(&headers, BODY.as_bytes(), NOW).expect_err(name);
            assert!(error.to_string().contains(name), "{error}");
        }
        let headers = headers("yesterday", &good);
        let error = verifier().verify_at(&headers, BODY.as_bytes(), NOW).expect_err("no number");
        assert!(matches!(error, VerifyError::Header("webhook-timestamp")), "{error}");
    }

    #[test]
    fn what_is_signed_and_yet_no_delivery_is_an_error_of_its_own() {
        let error = verify(&verifier(), &sign(SECRET, NOW, "{}"), "{}").expect_err("no delivery");
        assert!(matches!(error, VerifyError::Body(_)), "{error}");
    }

    #[test]
    fn a_public_key_verifies_what_the_private_one_signs() {
        use ed25519_dalek::{Signer, SigningKey};
        let private = SigningKey::from_bytes(&[7; 32]);
        let public = format!("whpk_{}", BASE64.encode(private.verifying_key().as_bytes()));
        let signed = format!("{ID}.{NOW}.{BODY}");
        let encoded = BASE64.encode(&private.sign(signed.as_bytes()).to_bytes());
        let verifier = Verifier::new(&public).expect("a public key");
        verify(&verifier, &format!("v1a,{encoded}"), BODY).expect("it is signed");
        verify(&verifier, &format!("v1,{encoded}"), BODY).expect_err("another version");
        verify(&verifier, &sign(SECRET, NOW, BODY), BODY).expect_err("no signature by it");
    }

    #[test]
    fn the_test_vectors_of_standard_webhooks_verify() {
        let all = include_str!("../../../../tests/webhook-receivers/vectors.json");
        let all: Vec<Value> = serde_json::from_str(all).expect("is JSON");
        assert!(!all.is_empty());
        for vector in &all {
            let text = |name: &str| vector[name].as_str().expect("a text");
            let timestamp = vector["timestamp"].as_i64().expect("a number");
            let pairs = [
                ("webhook-id", text("id").to_owned()),
                ("webhook-timestamp", timestamp.to_string()),
                ("webhook-signature", text("signature").to_owned()),
            ];
            let headers: HeaderMap = pairs
                .map(|(name, value)| {
                    (name.parse().expect("a name"), value.parse().expect("a value"))
                })
                .into_iter()
                .collect();
            let verifier = Verifier::new(text("verified_with")).expect("a key");
            // Their bodies are no deliveries, which is only found out of what is signed.
            let signed = verifier.verify_at(&headers, text("body").as_bytes(), timestamp);
            assert!(matches!(signed, Err(VerifyError::Body(_))), "{vector}: {signed:?}");
            let other = verifier.verify_at(&headers, b"{}", timestamp);
            assert!(matches!(other, Err(VerifyError::Signature)), "{vector}: {other:?}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_and_a_secret_is_not_shown() {
        for text in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_ not base64", "whpk_AAAA"] {
            assert_eq!(Verifier::new(text).expect_err(text), SecretError);
        }
        let of = |bytes: usize| format!("whsec_{}", BASE64.encode(&vec![7; bytes]));
        for bytes in [0, 1, 23, 65] {
            assert_eq!(Verifier::new(&of(bytes)).expect_err("has another length"), SecretError);
        }
        for bytes in [24, 32, 64] {
            Verifier::new(&of(bytes)).expect("is a secret");
        }
        assert_eq!(format!("{:?}", verifier()), "Verifier(..)");
    }
}
