//! What is of API keys.

use engine::{Encoded, WireError};
use events::{
    names,
    proto::{
        self, AnswerBody, answer_body,
        command::Body as Command,
        event::Body,
        shop::{self, key_event::Kind},
    },
};
use prost::Message;
use protocol::{
    id::{ParseError, Shop},
    time::Timestamp,
};

use super::{given, reason};
use crate::domain::{
    Input,
    keys::{
        Answer, Command as Kinds, Digest, Event, Fact, Input as KeyInput, KeyId, KeyRow,
        KeySettings, Outcome, Request, Use,
    },
};

/// The most keys of which a command says that they were used.
const MAX_USES: usize = 500;
/// The longest time for which an old secret is kept: 30 days, in seconds.
const MAX_KEEP_OLD_S: u32 = 30 * 86_400;

/// Reads a command; `None` when it is of none of these kinds.
pub(super) fn command(body: Command) -> Option<Result<Input, WireError>> {
    Some(match body {
        Command::AddKey(add) => added(add),
        Command::RotateKey(rotate) => rotated(rotate),
        Command::RevokeKey(revoke) => revoked(revoke),
        Command::NoteKeyUse(note) => used(note),
        _ => return None,
    })
}

fn added(shop::AddKey { key_id, settings, digest }: shop::AddKey) -> Result<Input, WireError> {
    let settings = settings_of(settings)?.check()?;
    let request = Request::Add { settings, digest: Digest::parse(&digest)? };
    Ok(Input::Key(KeyInput { id: KeyId::parse(&key_id)?, request }))
}

fn rotated(rotate: shop::RotateKey) -> Result<Input, WireError> {
    let shop::RotateKey { key_id, digest, keep_old_seconds } = rotate;
    if keep_old_seconds > MAX_KEEP_OLD_S {
        let rule = "must be 30 days at most";
        return Err(ParseError::new("keep_old_seconds", rule, &keep_old_seconds.to_string()).into());
    }
    let keep_old_ms = i64::from(keep_old_seconds) * 1_000;
    let request = Request::Rotate { digest: Digest::parse(&digest)?, keep_old_ms };
    Ok(Input::Key(KeyInput { id: KeyId::parse(&key_id)?, request }))
}

fn revoked(shop::RevokeKey { key_id, reason: why }: shop::RevokeKey) -> Result<Input, WireError> {
    let request = Request::Revoke { reason: reason(why)? };
    Ok(Input::Key(KeyInput { id: KeyId::parse(&key_id)?, request }))
}

fn used(shop::NoteKeyUse { uses }: shop::NoteKeyUse) -> Result<Input, WireError> {
    if uses.len() > MAX_USES {
        let rule = "must be 500 at most";
        return Err(ParseError::new("uses", rule, &uses.len().to_string()).into());
    }
    let uses = uses.into_iter().map(|shop::KeyUse { key_id, used_at }| {
        Ok(Use { id: KeyId::parse(&key_id)?, at: Timestamp::parse(used_at.as_ref())? })
    });
    Ok(Input::KeyUse(uses.collect::<Result<_, WireError>>()?))
}

fn settings_of(settings: Option<shop::KeySettings>) -> Result<KeySettings, WireError> {
    let settings = settings.ok_or(WireError::Missing("settings"))?;
    let shop::KeySettings { description, shops, scopes, expires_at } = settings;
    let shops = shops.iter().map(|shop| Shop::parse(shop)).collect::<Result<_, _>>()?;
    let expires_at = Timestamp::parse_optional(expires_at.as_ref())?;
    Ok(KeySettings { description, shops, scopes, expires_at })
}

fn written(settings: KeySettings) -> shop::KeySettings {
    let KeySettings { description, shops, scopes, expires_at } = settings;
    let shops = shops.into_iter().map(String::from).collect();
    shop::KeySettings { description, shops, scopes, expires_at: expires_at.map(Into::into) }
}

pub(super) fn encode(event: &Event) -> Encoded {
    let kind = match event.fact.clone() {
        Fact::Added { settings, digest } => {
            Kind::Added(shop::KeyAdded { settings: Some(written(settings)), digest: digest.into() })
        }
        Fact::Rotated { digest, old_valid_until } => Kind::Rotated(shop::KeyRotated {
            digest: digest.into(),
            old_valid_until: Some(old_valid_until.into()),
        }),
        Fact::Revoked { reason } => Kind::Revoked(shop::KeyRevoked { reason: given(reason) }),
        Fact::Used { at } => Kind::Used(shop::KeyUsed { used_at: Some(at.into()) }),
    };
    let body = Body::Key(shop::KeyEvent { kind: Some(kind) });
    let name = names::event_name(&body).unwrap_or_default();
    let envelope = proto::Event { body: Some(body), ..Default::default() };
    Encoded::internal(name, envelope.encode_to_vec())
}

pub(super) fn decode(id: &str, kind: Kind) -> Result<Event, WireError> {
    let fact = match kind {
        Kind::Added(it) => {
            let settings = settings_of(it.settings)?;
            Fact::Added { settings, digest: Digest::parse(&it.digest)? }
        }
        Kind::Rotated(it) => Fact::Rotated {
            digest: Digest::parse(&it.digest)?,
            old_valid_until: Timestamp::parse(it.old_valid_until.as_ref())?,
        },
        Kind::Revoked(it) => Fact::Revoked { reason: it.reason.unwrap_or_default() },
        Kind::Used(it) => Fact::Used { at: Timestamp::parse(it.used_at.as_ref())? },
    };
    Ok(Event { id: KeyId::parse(id)?, fact })
}

pub(super) fn encode_answer(answer: &Answer) -> Vec<u8> {
    use answer_body::Answer as Body;
    let result = match answer.outcome {
        Outcome::Added => shop::KeyResult::Added,
        Outcome::Changed => shop::KeyResult::Changed,
        Outcome::Unchanged => shop::KeyResult::Unchanged,
        Outcome::Exists => shop::KeyResult::Exists,
        Outcome::Unknown => shop::KeyResult::Unknown,
        Outcome::Ended => shop::KeyResult::Ended,
    };
    let result = result.into();
    let key = answer.key.clone().map(|(id, row)| stored(id.into(), row));
    let answer = match answer.to {
        Kinds::Add => Body::AddKey(shop::AddKeyAnswer { result, key }),
        Kinds::Rotate => Body::RotateKey(shop::RotateKeyAnswer { result, key }),
        Kinds::Revoke => Body::RevokeKey(shop::RevokeKeyAnswer { result, key }),
    };
    AnswerBody { answer: Some(answer) }.encode_to_vec()
}

pub(super) fn credentials(id: String, row: KeyRow) -> shop::KeyCredentials {
    let digest = row.digest.to_string();
    let old_digest = row.old.as_ref().map(|old| old.digest.to_string()).unwrap_or_default();
    shop::KeyCredentials { key: Some(stored(id, row)), digest, old_digest }
}

/// A key without what its secret is checked by.
pub(super) fn stored(id: String, row: KeyRow) -> shop::Key {
    let KeyRow {
        settings,
        digest: _,
        old,
        revoked,
        last_used_at,
        created_at,
        rotated_at,
        revision,
    } = row;
    let (revoked_at, revocation_reason) = match revoked {
        Some(revoked) => (Some(revoked.at.into()), given(revoked.reason)),
        None => (None, None),
    };
    shop::Key {
        id,
        settings: Some(written(settings)),
        created_at: Some(created_at.into()),
        rotated_at: Some(rotated_at.into()),
        old_valid_until: old.map(|old| old.valid_until.into()),
        revoked_at,
        revocation_reason,
        last_used_at: last_used_at.map(Into::into),
        version: revision.version,
    }
}
