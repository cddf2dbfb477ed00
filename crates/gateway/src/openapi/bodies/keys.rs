//! What clients send about API keys.

use protocol::{id::Shop, time::Timestamp};
use utoipa::ToSchema;

/// An API key. It is for the shops that it names, or for all: one of the two is said.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// What it is for, in words.
    #[schema(min_length = 1, max_length = 200)]
    description: String,
    /// What it allows: `read`, `orders`, `prices-as-sold`, `erp`, `fulfilment`, `webhooks`, `admin`.
    #[schema(min_items = 1, max_items = 6, example = json!(["read"]))]
    scopes: Vec<String>,
    /// The shops that it is for.
    #[schema(max_items = 100)]
    shops: Option<Vec<Shop>>,
    /// Whether it is for all shops.
    #[schema(default = false)]
    all_shops: Option<bool>,
    /// From when on it is refused: a time in the future; never unless it is given.
    expires_at: Option<Timestamp>,
}

/// How an API key gets another secret.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRotation {
    /// For how long the secret that it has is accepted as well, in seconds; 0: no longer.
    #[schema(minimum = 0, maximum = 2_592_000, default = 86_400)]
    keep_old_s: Option<u32>,
}

/// Why an API key is revoked.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRevocation {
    /// Why, for those who read its history later.
    #[schema(min_length = 1, max_length = 500)]
    reason: Option<String>,
}
