//! API keys, as JSON. Nothing here shows a secret but the answer to the one who made it.

use protocol::{id::Shop, time::Timestamp};
use serde::{Deserialize, Serialize};

use super::{Open, open::displayed};

/// An API key that the installation has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyView {
    /// Its id: 16 lower-case letters and digits.
    pub id: String,
    /// What the key begins with, by which it is recognised.
    pub prefix: String,
    /// What it is for, in words.
    pub description: String,
    /// Whether it is for all shops.
    pub all_shops: bool,
    /// The shops that it is for; empty when it is for all.
    pub shops: Vec<Shop>,
    /// What it allows.
    pub scopes: Vec<String>,
    /// Whether it is accepted: `active`, `expired` or `revoked`.
    #[cfg_attr(feature = "openapi", schema(value_type = KeyStatus))]
    pub status: Open<KeyStatus>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it got the secret that it has.
    pub rotated_at: Timestamp,
    /// Until when the secret before is accepted as well; null when there is none.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub old_secret_valid_until: Option<Timestamp>,
    /// From when on it is refused; null: never.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked; null when it was not.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub revoked_at: Option<Timestamp>,
    /// Why it was revoked; null when that was not given.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub revocation_reason: Option<String>,
    /// When it was used last, to the hour; null when it was not.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub last_used_at: Option<Timestamp>,
    /// Counts its events, from 1.
    pub version: u64,
}

/// Whether a key is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl KeyStatus {
    /// The status as it is in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

displayed!(KeyStatus);

/// An API key that has got a secret.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewKeyView {
    /// The key.
    #[serde(flatten)]
    pub key: KeyView,
    /// The whole key, for the header `Authorization: Bearer`: in this answer alone. Null in the answer to a request that
    /// is repeated under its idempotency key.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub secret: Option<String>,
    /// What to do with the secret, or without it.
    pub notice: String,
}

impl std::fmt::Debug for NewKeyView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKeyView").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A page of the API keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyList {
    /// Those that the caller may manage, by their ids: as many as the page has, or fewer.
    pub keys: Vec<KeyView>,
    /// The `after` of the next page; null at the end.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next: Option<String>,
}

/// Something that happened to an API key. What its secret is checked by is not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyEventView {
    /// The event's id.
    pub id: String,
    /// What happened: `key_added`, `key_rotated`, `key_revoked` or `key_used`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version of the key after it.
    pub version: u64,
    /// When it happened.
    pub time: Timestamp,
    /// Who asked for it: `api_key`, `subject`, `operator`; or `service` when nobody did.
    pub actor_kind: String,
    /// The id of that one, such as the id of an API key.
    pub actor_id: String,
    /// The command that led to it.
    pub command_id: String,
    /// Of a rotation: until when the secret before is accepted as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_secret_valid_until: Option<Timestamp>,
    /// Of a revocation: why, when that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of a use: when a gateway saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
}

/// A page of what happened to an API key, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyHistory {
    /// The events.
    pub events: Vec<KeyEventView>,
    /// The `after` of the next page; null at the end.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next: Option<String>,
}
