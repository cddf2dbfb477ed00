//! OAuth 2.0 bearer tokens of an external issuer: JSON Web Tokens (RFC 7519), verified with the keys that the
//! issuer publishes (RFC 7517).
//!
//! ```text
//! token ─► header: kid, alg ─► keys ──────────────► signature, exp, nbf, iss, aud ─► claims ─► Caller
//!                               │ unknown kid             (jsonwebtoken, ring)       sub, scopes, shops
//!                               ▼
//!                         fetch: JWKS of the issuer
//! ```
//!
//! A key is for one algorithm, which follows from its kind; what the token says about that changes nothing.
//! Symmetric keys and algorithms are not taken at all.

mod fetch;
mod key_set;
mod keys;
mod signature;

use std::{fmt, path::PathBuf, sync::Arc};

use axum::http::Uri;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use protocol::{id::Shop, time::Timestamp};
use serde_json::{Map, Value};
use tokio::time::Instant;

pub use self::fetch::JwtSetupError;
use self::{
    fetch::Fetcher,
    keys::{IssuerKeys, NoKey},
};
use crate::{
    api_key::{Caller, Scope},
    problem::{Code, Problem},
};

/// The longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest subject, in characters: it is in every event that follows.
const MAX_SUBJECT_LENGTH: usize = 255;
/// How far the clocks of the issuer and of the gateway may be apart, in seconds.
const LEEWAY_S: u64 = 30;
/// What a token names instead of shops when it is for all of them.
const ALL_SHOPS: &str = "*";

/// Whose tokens are taken, and what in them says what they allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtSettings {
    /// The issuer, as the claim `iss` has it.
    pub issuer: String,
    /// Who the token must be for: the claim `aud` has it.
    pub audience: String,
    /// Where the issuer publishes its keys; without it, its `/.well-known/openid-configuration` says where. By
    /// HTTPS, or from this machine.
    pub jwks_url: Option<Uri>,
    /// Certificates (PEM) of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// The claim with the scopes: text with blanks between them, or a list.
    pub scope_claim: String,
    /// The claim with the shop, or a list of shops; `*` for all.
    pub shop_claim: String,
}

/// What verifies the tokens of the issuer.
pub(crate) struct Jwt {
    settings: JwtSettings,
    keys: Arc<IssuerKeys>,
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Whether this may be a token, and not an API key.
pub(crate) fn is_token(text: &str) -> bool {
    text.len() <= MAX_TOKEN_BYTES && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl Jwt {
    /// What verifies tokens so. The keys are fetched later.
    ///
    /// # Errors
    ///
    /// When the settings cannot be used.
    pub(crate) fn new(settings: &JwtSettings) -> Result<Self, JwtSetupError> {
        signature::install();
        let fetcher = Fetcher::new(settings)?;
        Ok(Self { settings: settings.clone(), keys: Arc::new(IssuerKeys::new(fetcher)) })
    }

    /// Fetches the keys now and then, so that those that the issuer took back are forgotten.
    pub(crate) async fn keep_fetching(self: Arc<Self>) {
        self.keys.keep_fetching().await;
    }

    /// Who has this token.
    pub(crate) async fn verify(&self, token: &str) -> Result<Caller, Problem> {
        self.verify_at(token, Instant::now()).await
    }

    async fn verify_at(&self, token: &str, now: Instant) -> Result<Caller, Problem> {
        let not_taken = "the token is no JSON Web Token, or has an algorithm that is not taken: RS256, \
                         ES256 or EdDSA";
        let header = decode_header(token).map_err(|_| unauthorized(not_taken))?;
        if ![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].contains(&header.alg) {
            return Err(unauthorized(not_taken));
        }
        let key = self.keys.find(header.kid.as_deref(), header.alg, now).await;
        let key = key.map_err(|missing| match missing {
            NoKey::Unknown => unauthorized("the issuer has no such key: get a new token"),
            NoKey::Unreachable => Problem::unavailable(&missing),
        })?;
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let decoded = decode::<Map<String, Value>>(token, &key.verifying, &validation);
        let claims = decoded.map_err(|error| unauthorized(refusal(error.kind())))?.claims;
        self.caller(&claims)
    }

    /// Who has a token with these claims, and what it allows.
    fn caller(&self, claims: &Map<String, Value>) -> Result<Caller, Problem> {
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let is_good = (1..=MAX_SUBJECT_LENGTH).contains(&subject.chars().count())
            && !subject.chars().any(char::is_control);
        if !is_good {
            return Err(unauthorized("the subject of the token must be 1 to 255 characters"));
        }
        // Scopes that are not ours, such as `openid`, say nothing here.
        let scopes =
            texts(claims.get(&self.settings.scope_claim)).filter_map(Scope::parse).collect();
        let named: Vec<_> = texts(claims.get(&self.settings.shop_claim)).collect();
        let shops = match named.as_slice() {
            // No shop means all of them elsewhere; a token must say so.
            [] => {
                let claim = &self.settings.shop_claim;
                let detail = format!(
                    "the token is for no shop: its claim {claim} must name one, or {ALL_SHOPS} for all"
                );
                return Err(Problem::new(Code::Forbidden, detail));
            }
            [ALL_SHOPS] => Vec::new(),
            named => {
                let parsed: Result<_, _> = named.iter().map(|name| Shop::parse(name)).collect();
                parsed.map_err(|error| Problem::new(Code::Forbidden, error.to_string()))?
            }
        };
        // The library has checked that it is a number.
        let expires_s = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
        let until_s = expires_s + LEEWAY_S as f64;
        let expires_at = Timestamp::from_millis((until_s * 1_000.0) as i64);
        Ok(Caller::of_token(subject, scopes, shops, expires_at))
    }
}

/// The texts of a claim: one with blanks between them, or a list.
fn texts(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let (text, list) = match claim {
        Some(Value::String(text)) => (text.as_str(), &[][..]),
        Some(Value::Array(list)) => ("", list.as_slice()),
        _ => ("", &[][..]),
    };
    text.split_ascii_whitespace().chain(list.iter().filter_map(Value::as_str))
}

fn refusal(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired: get a new one".to_owned(),
        ErrorKind::ImmatureSignature => "the token is not valid yet: send it later".to_owned(),
        ErrorKind::InvalidIssuer => "the token is of another issuer".to_owned(),
        ErrorKind::InvalidAudience => "the token is for another audience".to_owned(),
        ErrorKind::InvalidSignature => "the signature of the token is wrong".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("the token has no claim {claim}"),
        _ => "the token is malformed".to_owned(),
    }
}

fn unauthorized(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(Code::Unauthorized, detail)
}

#[cfg(test)]
mod tests;
