//! API keys: added, given another secret, revoked, used. Of a secret only a digest is known here.

use engine::{Revision, Rows};
use protocol::{
    id::{ParseError, Shop},
    text_id,
    time::Timestamp,
};

use serde::{Deserialize, Serialize};

/// What the aggregate is.
pub(crate) const KIND: &str = "key";
/// How much later a key must be used for that to be an event again, in milliseconds.
const USE_INTERVAL_MS: i64 = 3_600_000;
/// The longest description, in characters.
const MAX_DESCRIPTION_LENGTH: usize = 200;
/// The most shops that a key is for, unless it is for all.
const MAX_SHOPS: usize = 100;
/// The most scopes of a key, and the longest name of one.
const MAX_SCOPES: usize = 32;
const MAX_SCOPE_LENGTH: usize = 32;

text_id!(
    /// An API key, as its id in the key's text names it.
    KeyId,
    "key_id",
    "must be 16 lower-case letters or digits",
    |s| s.len() == 16 && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
);

text_id!(
    /// What a secret is checked by: its HMAC-SHA-256, in hexadecimal.
    Digest,
    "digest",
    "must be 64 hexadecimal digits",
    |s| s.len() == 64 && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

/// What the service is asked to do with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The key.
    pub id: KeyId,
    /// What is to be done.
    pub request: Request,
}

/// What can be done with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Add it.
    Add {
        /// What it is for.
        settings: KeySettings,
        /// Of its secret.
        digest: Digest,
    },
    /// Give it another secret.
    Rotate {
        /// Of the new secret.
        digest: Digest,
        /// For how long the one that it has is still accepted, in milliseconds.
        keep_old_ms: i64,
    },
    /// Let it be refused.
    Revoke {
        /// Why, for people.
        reason: String,
    },
}

/// When a key was used last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The key.
    pub id: KeyId,
    /// When a gateway saw it.
    pub at: Timestamp,
}

/// What a key is for, and what it allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySettings {
    /// What it is for, in words.
    pub description: String,
    /// The shops that it is for; all when there are none.
    pub shops: Vec<Shop>,
    /// What it allows, by the names that gateways know.
    pub scopes: Vec<String>,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
}

/// Something happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The key.
    pub id: KeyId,
    /// What happened.
    pub fact: Fact,
}

/// What can happen to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// It came into being.
    Added {
        /// What it is for.
        settings: KeySettings,
        /// Of its secret.
        digest: Digest,
    },
    /// It has another secret.
    Rotated {
        /// Of the new secret.
        digest: Digest,
        /// Until when the one before is accepted as well.
        old_valid_until: Timestamp,
    },
    /// It is refused from now on.
    Revoked {
        /// Why, for people.
        reason: String,
    },
    /// It was used.
    Used {
        /// When, as far as it is known.
        at: Timestamp,
    },
}

/// What the sender of a command is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Which command it answers.
    pub to: Command,
    /// What became of it.
    pub outcome: Outcome,
    /// The key from then on; `None` when there is none.
    pub key: Option<(KeyId, KeyRow)>,
}

/// The kind of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// To add a key.
    Add,
    /// To give it another secret.
    Rotate,
    /// To let it be refused.
    Revoke,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The key is new.
    Added,
    /// It changed.
    Changed,
    /// It was so already.
    Unchanged,
    /// There is one with that id.
    Exists,
    /// There is none with that id.
    Unknown,
    /// It was revoked or has expired.
    Ended,
}

/// An API key as the last event about it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// What it is for, and what it allows.
    pub settings: KeySettings,
    /// Of its secret.
    pub digest: Digest,
    /// Of the secret before, if there was one.
    pub old: Option<OldDigest>,
    /// Whether it is refused for good, and why.
    pub revoked: Option<Revocation>,
    /// When it was used last, to the hour.
    pub last_used_at: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it got the secret that it has.
    pub rotated_at: Timestamp,
    /// Its version, and where its last event is.
    pub revision: Revision,
}

/// The secret before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldDigest {
    /// Of that secret.
    pub digest: Digest,
    /// Until when it is accepted.
    pub valid_until: Timestamp,
}

/// That a key is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Since when.
    pub at: Timestamp,
    /// Why, for people.
    pub reason: String,
}

impl KeySettings {
    /// Checks what a command says.
    pub(crate) fn check(self) -> Result<Self, ParseError> {
        let Self { description, shops, scopes, .. } = &self;
        let is_text = description.chars().count() <= MAX_DESCRIPTION_LENGTH
            && !description.chars().any(char::is_control);
        if !is_text {
            let rule = "must be at most 200 characters without control characters";
            return Err(ParseError::new("description", rule, description));
        }
        if shops.len() > MAX_SHOPS {
            return Err(ParseError::new("shops", "must be 100 at most", &shops.len().to_string()));
        }
        let is_scope = |scope: &String| {
            (1..=MAX_SCOPE_LENGTH).contains(&scope.len())
                && scope.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        };
        if !(1..=MAX_SCOPES).contains(&scopes.len()) || !scopes.iter().all(is_scope) {
            let rule = "must be 1 to 32 names of lower-case letters and hyphens";
            return Err(ParseError::new("scopes", rule, &scopes.join(" ")));
        }
        Ok(self)
    }
}

impl KeyRow {
    /// Whether it is refused, for good.
    fn has_ended(&self, now: Timestamp) -> bool {
        self.revoked.is_some() || self.settings.expires_at.is_some_and(|at| at <= now)
    }
}

/// What follows from a request, and what its sender is answered.
pub(super) fn decide(
    keys: &Rows<KeyId, KeyRow>,
    input: &Input,
    now: Timestamp,
) -> (Option<Event>, Answer) {
    let Input { id, request } = input;
    let known = keys.get(id);
    let (fact, outcome) = follow(known, request, now);
    let key = match &fact {
        Some(fact) => {
            let mut revision = known.map(|row| row.revision).unwrap_or_default();
            revision.version += 1;
            after(known, fact, revision, now)
        }
        None => known.cloned(),
    };
    let to = match request {
        Request::Add { .. } => Command::Add,
        Request::Rotate { .. } => Command::Rotate,
        Request::Revoke { .. } => Command::Revoke,
    };
    let answer = Answer { to, outcome, key: key.map(|row| (id.clone(), row)) };
    (fact.map(|fact| Event { id: id.clone(), fact }), answer)
}

/// The fact that follows from a request, and what became of it.
fn follow(known: Option<&KeyRow>, request: &Request, now: Timestamp) -> (Option<Fact>, Outcome) {
    match (request, known) {
        (Request::Add { settings, digest }, None) => {
            let (settings, digest) = (settings.clone(), digest.clone());
            (Some(Fact::Added { settings, digest }), Outcome::Added)
        }
        (Request::Add { .. }, Some(_)) => (None, Outcome::Exists),
        (Request::Rotate { .. } | Request::Revoke { .. }, None) => (None, Outcome::Unknown),
        (Request::Rotate { .. }, Some(key)) if key.has_ended(now) => (None, Outcome::Ended),
        (Request::Rotate { digest, keep_old_ms }, Some(_)) => {
            let old_valid_until = Timestamp::from_millis(now.millis() + keep_old_ms);
            let digest = digest.clone();
            (Some(Fact::Rotated { digest, old_valid_until }), Outcome::Changed)
        }
        (Request::Revoke { .. }, Some(key)) if key.revoked.is_some() => (None, Outcome::Unchanged),
        (Request::Revoke { reason }, Some(_)) => {
            (Some(Fact::Revoked { reason: reason.clone() }), Outcome::Changed)
        }
    }
}

/// Which uses are worth an event: the first of a key, and those an hour later than the one before.
pub(super) fn note_use(keys: &Rows<KeyId, KeyRow>, uses: &[Use]) -> Vec<Event> {
    let mut noted: Vec<Event> = Vec::new();
    for Use { id, at } in uses {
        let Some(key) = keys.get(id) else { continue };
        let is_due = key
            .last_used_at
            .is_none_or(|last| at.millis().saturating_sub(last.millis()) >= USE_INTERVAL_MS);
        // Each key once: the uses of a batch are of one interval.
        if is_due && !noted.iter().any(|event| event.id == *id) {
            noted.push(Event { id: id.clone(), fact: Fact::Used { at: *at } });
        }
    }
    noted
}

/// Folds what happened to a key.
pub(super) fn apply(
    keys: &mut Rows<KeyId, KeyRow>,
    event: &Event,
    revision: Revision,
    time: Timestamp,
) {
    if let Some(row) = after(keys.get(&event.id), &event.fact, revision, time) {
        keys.put(event.id.clone(), row);
    }
}

/// The key after a fact; `None` where a fact is about a key that was never added.
fn after(
    known: Option<&KeyRow>,
    fact: &Fact,
    revision: Revision,
    time: Timestamp,
) -> Option<KeyRow> {
    let mut row = match (fact, known) {
        (Fact::Added { settings, digest }, _) => KeyRow {
            settings: settings.clone(),
            digest: digest.clone(),
            old: None,
            revoked: None,
            last_used_at: None,
            created_at: time,
            rotated_at: time,
            revision,
        },
        (_, known) => known?.clone(),
    };
    match fact {
        Fact::Added { .. } => {}
        Fact::Rotated { digest, old_valid_until } => {
            let digest = std::mem::replace(&mut row.digest, digest.clone());
            // Two secrets at most: the one before the last is accepted no more.
            row.old = Some(OldDigest { digest, valid_until: *old_valid_until });
            row.rotated_at = time;
        }
        Fact::Revoked { reason } => {
            row.revoked = Some(Revocation { at: time, reason: reason.clone() });
        }
        Fact::Used { at } => row.last_used_at = Some(*at),
    }
    row.revision = revision;
    Some(row)
}
