//! An endpoint: how it works, with which secrets, and whether deliveries are sent to it.

use engine::Revision;
use events::type_filter::TypeFilter;
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ledger::Ledger,
    rendering::{Payload, Rendering},
};

/// The most deliveries of an endpoint that are under way at the same time, unless it says otherwise.
pub(crate) const MAX_IN_FLIGHT: u32 = 8;
/// The most mails of a shop that are under way at the same time.
pub(crate) const MAX_MAILS_IN_FLIGHT: u32 = 4;
/// The most secrets that sign the deliveries of an endpoint.
pub(crate) const MAX_SECRETS: usize = 10;
/// The version of the rules by which the bodies are written of what is scheduled now. What was scheduled by an older
/// one is written by that one for ever (`wire/rendering.rs`).
const RENDERING_VERSION: u32 = 1;

/// How an endpoint works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Where its deliveries are sent.
    pub url: String,
    /// The types of events that it wants.
    pub event_types: Vec<TypeFilter>,
    /// What it is for.
    pub description: String,
    /// In which order its deliveries are sent.
    pub ordering: Ordering,
    /// What a delivery holds.
    pub payload: Payload,
    /// The most deliveries in a second.
    pub max_per_second: Option<u32>,
    /// The most deliveries that are under way at the same time.
    pub max_in_flight: Option<u32>,
    /// Headers of its own.
    pub headers: Vec<Header>,
    /// The pauses between attempts, in seconds; empty: the usual ones.
    pub retry_pauses_s: Vec<u32>,
    /// What its deliveries look like as mails to the customers of orders; `None`: they are webhooks.
    pub mail: Option<MailSettings>,
}

/// What the mails of a shop look like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailSettings {
    /// The name of the sender.
    pub sender_name: String,
    /// The address of the sender.
    pub sender_address: String,
    /// The language: a BCP 47 tag.
    pub language: String,
    /// Templates that take the place of the built-in ones.
    pub templates: Vec<MailTemplate>,
}

/// What the mail of an event looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailTemplate {
    /// The type of the event.
    pub event_type: String,
    /// The template of its subject.
    pub subject: String,
    /// The template of its text.
    pub text: String,
    /// The template of its HTML.
    pub html: String,
}

impl Settings {
    /// Those of the mails of a shop.
    pub fn of_mail(event_types: Vec<TypeFilter>, mail: MailSettings) -> Self {
        Self {
            url: String::new(),
            event_types,
            description: String::new(),
            ordering: Ordering::Parallel,
            payload: Payload::Full,
            max_per_second: None,
            max_in_flight: Some(MAX_MAILS_IN_FLIGHT),
            headers: Vec::new(),
            retry_pauses_s: Vec::new(),
            mail: Some(mail),
        }
    }

    /// The most deliveries that are under way at the same time.
    pub fn max_in_flight(&self) -> u32 {
        match self.ordering {
            Ordering::Fifo => 1,
            Ordering::Parallel | Ordering::PerKey => {
                self.max_in_flight.unwrap_or(MAX_IN_FLIGHT).max(1)
            }
        }
    }

    /// How the bodies are made of what is scheduled now.
    pub fn rendering(&self) -> Rendering {
        Rendering { payload: self.payload, version: RENDERING_VERSION }
    }

    /// Whether it wants events of that type.
    pub fn wants(&self, event_type: &str) -> bool {
        self.event_types.iter().any(|filter| filter.matches(event_type))
    }
}

/// In which order deliveries are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// Several at a time.
    Parallel,
    /// Those of one aggregate one after the other.
    PerKey,
    /// All one after the other.
    Fifo,
}

/// A header of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: SealedValue,
}

/// A value that is encrypted with a key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedValue {
    /// The name of the key.
    pub key_name: String,
    /// The nonce, and what was encrypted.
    pub ciphertext: Vec<u8>,
}

/// A secret that an endpoint is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSecret {
    /// The secret.
    pub value: SealedValue,
    /// The public key of a private key.
    pub public_key: Option<String>,
}

impl NewSecret {
    /// It signs until then; `None`: until it is replaced.
    pub fn until(self, expires_at: Option<Timestamp>) -> Secret {
        Secret { value: self.value, public_key: self.public_key, expires_at }
    }
}

/// A secret with which deliveries are signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The secret.
    pub value: SealedValue,
    /// The public key of a private key.
    pub public_key: Option<String>,
    /// Until when it signs; `None`: until it is replaced.
    pub expires_at: Option<Timestamp>,
}

/// Why an endpoint is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisabledReason {
    /// Somebody asked for it.
    Requested,
    /// It answered 410 Gone.
    Gone,
    /// It asked for it in an answer.
    Instructed,
    /// Every attempt of 120 hours failed.
    Failing,
}

/// An endpoint, as the last event about it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its version, and where its last event is.
    pub revision: Revision,
    /// Counts the changes of its settings, secrets and status, from 1.
    pub settings_version: u64,
    /// How it works.
    pub settings: Settings,
    /// Why it is disabled; `None` when it is not.
    pub disabled: Option<DisabledReason>,
    /// Whether it was deleted.
    pub is_deleted: bool,
    /// The secrets, the newest first.
    pub secrets: Vec<Secret>,
    /// How far its deliveries are.
    pub ledger: Ledger,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its settings, secrets or status last changed.
    pub updated_at: Timestamp,
}

impl Endpoint {
    /// Whether anything is sent to it.
    pub fn is_active(&self) -> bool {
        self.disabled.is_none() && !self.is_deleted
    }

    /// How it is, as metrics have it.
    pub fn status(&self) -> &'static str {
        match &self.ledger.health {
            _ if self.is_deleted => "deleted",
            _ if self.disabled.is_some() => "disabled",
            health if health.paused_until.is_some() => "paused",
            health if health.failing.is_some() => "failing",
            _ => "active",
        }
    }

    /// The operation that it announces: to send what is due; none when nothing waits.
    pub fn operation(&self, id: &str) -> Option<String> {
        self.due().map(|_| format!("{id}/{}", self.ledger.round))
    }

    /// When something is to be sent; `None` when nothing waits.
    pub fn due(&self) -> Option<Timestamp> {
        if !self.is_active() {
            return None;
        }
        let Ledger { retries, health, .. } = &self.ledger;
        let retry = self.ledger.next_retry();
        // The next one waits until the one before is delivered or given up.
        let is_blocked = self.settings.ordering == Ordering::Fifo && !retries.is_empty();
        let has_fresh = self.ledger.fresh() > 0 && !is_blocked;
        let at_once = has_fresh || self.ledger.running_replays().next().is_some();
        let due = if at_once { Some(0) } else { retry }?;
        let paused = health.paused_until.map_or(0, Timestamp::millis);
        Some(Timestamp::from_millis(due.max(paused)))
    }

    /// The secrets that sign at that time, the newest first.
    pub fn signing(&self, now: Timestamp) -> impl Iterator<Item = &SealedValue> {
        let signs = move |secret: &&Secret| secret.expires_at.is_none_or(|expires| now < expires);
        self.secrets.iter().filter(signs).map(|secret| &secret.value)
    }

    /// What is encrypted of it: its secrets and the values of its headers.
    pub fn sealed_values(&self) -> impl Iterator<Item = &SealedValue> {
        let headers = self.settings.headers.iter().map(|header| &header.value);
        self.secrets.iter().map(|secret| &secret.value).chain(headers)
    }

    /// Replaces values by the same ones, encrypted with another key: each as it was, and as it is.
    pub fn rewrap(&mut self, values: &[(SealedValue, SealedValue)]) {
        let headers = self.settings.headers.iter_mut().map(|header| &mut header.value);
        let secrets = self.secrets.iter_mut().map(|secret| &mut secret.value);
        for value in secrets.chain(headers) {
            if let Some((_, after)) = values.iter().find(|(before, _)| before == value) {
                value.clone_from(after);
            }
        }
    }

    /// The secrets after a rotation.
    pub fn rotated(
        &self,
        new: &NewSecret,
        old_expire_at: Timestamp,
        now: Timestamp,
    ) -> Vec<Secret> {
        let mut secrets = vec![new.clone().until(None)];
        for old in &self.secrets {
            let expires =
                old.expires_at.map_or(old_expire_at, |expires| expires.min(old_expire_at));
            if now < expires {
                secrets.push(Secret { expires_at: Some(expires), ..old.clone() });
            }
        }
        secrets
    }
}
