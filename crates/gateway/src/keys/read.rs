//! What a client says of a key.

use std::collections::BTreeSet;

use events::proto::shop::KeySettings;
use protocol::{
    id::{ParseError, Shop},
    time::Timestamp,
};

use crate::{
    api_key::Scope,
    fields::{Fields, flag, list, text, within, words},
};

/// The longest description of a key, in characters.
const MAX_DESCRIPTION_LENGTH: usize = 200;
/// The most shops that a key names.
const MAX_SHOPS: usize = 100;
/// The longest time for which the old secret of a key is accepted: 30 days.
const MAX_KEEP_OLD_S: i64 = 30 * 86_400;

/// Reads what a new key is for, and what it allows.
pub(super) fn new_key(fields: &mut Fields<'_, '_>, now: Timestamp) -> Option<KeySettings> {
    let rule = "must be 1 to 200 characters without control characters";
    let description = fields.required(
        "description",
        text(|text| words("description", rule, MAX_DESCRIPTION_LENGTH, text)),
    );
    let scopes = fields.required(
        "scopes",
        list(Scope::ALL.len(), |node, path, errors| text(scope)(node, path, errors)),
    );
    let shops = fields.optional(
        "shops",
        list(MAX_SHOPS, |node, path, errors| text(Shop::parse)(node, path, errors)),
    );
    let all_shops = fields.optional("all_shops", flag).unwrap_or_default();
    let expires_at = fields.optional("expires_at", text(Timestamp::parse_rfc3339));
    if scopes.is_some() && fields.is_empty("scopes") {
        fields.wrong("scopes", "scopes must name at least one: a key without any allows nothing");
    }
    let shops: BTreeSet<_> = shops.unwrap_or_default().into_iter().collect();
    if shops.is_empty() != all_shops {
        // Nobody gets a key for all shops by leaving something out.
        fields.wrong("shops", "name the shops that the key is for, or say all_shops: true");
    }
    if expires_at.is_some_and(|at| at <= now) {
        fields.wrong("expires_at", "expires_at must be in the future");
    }
    let scopes: BTreeSet<_> = scopes?.into_iter().map(Scope::as_str).collect();
    Some(KeySettings {
        description: description?,
        shops: shops.into_iter().map(String::from).collect(),
        scopes: scopes.into_iter().map(str::to_owned).collect(),
        expires_at: expires_at.map(Into::into),
    })
}

fn scope(text: &str) -> Result<Scope, ParseError> {
    let rule = "must be read, orders, prices-as-sold, erp, fulfilment, webhooks or admin";
    Scope::parse(text).ok_or_else(|| ParseError::new("a scope", rule, text))
}

pub(super) fn keep_old_s(seconds: i64) -> Result<u32, ParseError> {
    let rule = "must be 0 to 2592000 seconds; 0 ends the old secret now";
    within("keep_old_s", rule, 0..=MAX_KEEP_OLD_S, seconds).map(|it| it as u32)
}
