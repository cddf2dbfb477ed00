//! API keys and what happened to them, as JSON.

use events::{
    http::keys::{KeyEventView, KeyStatus, KeyView},
    names::event_name,
    proto::{
        self,
        event::Body,
        shop::{Key, key_event::Kind},
    },
};
use prost::Message;
use protocol::{
    id::{ParseError, Shop},
    time::Timestamp,
};

use crate::{key_text::PREFIX, problem::Problem};

/// What the shop service says of a key cannot be shown.
#[derive(Debug, thiserror::Error)]
enum ViewError {
    #[error("the event cannot be read")]
    Decode(#[from] prost::DecodeError),
    #[error("a value is not what it should be")]
    Value(#[from] ParseError),
    #[error("the event is not one of an API key")]
    OtherEvent,
}

impl From<ViewError> for Problem {
    fn from(error: ViewError) -> Self {
        Self::internal(&error)
    }
}

/// A key, as it is `now`.
pub(super) fn key(key: Key, now: Timestamp) -> Result<KeyView, Problem> {
    Ok(read(key, now)?)
}

fn read(key: Key, now: Timestamp) -> Result<KeyView, ViewError> {
    let settings = key.settings.unwrap_or_default();
    let expires_at = Timestamp::parse_optional(settings.expires_at.as_ref())?;
    let revoked_at = Timestamp::parse_optional(key.revoked_at.as_ref())?;
    let status = match (revoked_at, expires_at) {
        (Some(_), _) => KeyStatus::Revoked,
        (None, Some(at)) if at <= now => KeyStatus::Expired,
        (None, _) => KeyStatus::Active,
    };
    let shops = settings.shops.iter().map(|shop| Shop::parse(shop));
    let shops = shops.collect::<Result<Vec<_>, _>>()?;
    Ok(KeyView {
        prefix: format!("{PREFIX}{}", key.id),
        id: key.id,
        description: settings.description,
        all_shops: shops.is_empty(),
        shops,
        scopes: settings.scopes,
        status: status.into(),
        created_at: Timestamp::parse(key.created_at.as_ref())?,
        rotated_at: Timestamp::parse(key.rotated_at.as_ref())?,
        old_secret_valid_until: Timestamp::parse_optional(key.old_valid_until.as_ref())?
            .filter(|until| now < *until),
        expires_at,
        revoked_at,
        revocation_reason: key.revocation_reason,
        last_used_at: Timestamp::parse_optional(key.last_used_at.as_ref())?,
        version: key.version,
    })
}

/// An event of a key, given as it is in the log. What a secret is checked by is left out.
pub(super) fn event(bytes: &[u8]) -> Result<KeyEventView, Problem> {
    Ok(read_event(bytes)?)
}

fn read_event(bytes: &[u8]) -> Result<KeyEventView, ViewError> {
    let event = proto::Event::decode(bytes)?;
    let Some(body @ Body::Key(of_key)) = &event.body else { return Err(ViewError::OtherEvent) };
    let actor = event.actor.clone().unwrap_or_default();
    let is_asked = !actor.kind.is_empty();
    let mut view = KeyEventView {
        id: event.id,
        kind: event_name(body).ok_or(ViewError::OtherEvent)?.to_owned(),
        version: event.aggregate_version,
        time: Timestamp::parse(event.time.as_ref())?,
        actor_kind: if is_asked { actor.kind } else { "service".to_owned() },
        actor_id: if is_asked { actor.id } else { "shop".to_owned() },
        command_id: event.correlation_id,
        old_secret_valid_until: None,
        reason: None,
        used_at: None,
    };
    match of_key.kind.as_ref().ok_or(ViewError::OtherEvent)? {
        Kind::Added(_) => {}
        Kind::Rotated(rotated) => {
            view.old_secret_valid_until =
                Timestamp::parse_optional(rotated.old_valid_until.as_ref())?;
        }
        Kind::Revoked(revoked) => {
            view.reason.clone_from(&revoked.reason);
        }
        Kind::Used(used) => view.used_at = Timestamp::parse_optional(used.used_at.as_ref())?,
    }
    Ok(view)
}
