//! An endpoint: how it works, and how far its deliveries are.

use std::collections::{BTreeMap, VecDeque};

use engine::Revision;
use events::type_filter::TypeFilter;
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{health::Health, sequence::SeqSet};

/// The most deliveries of an endpoint that are under way at the same time, unless it says otherwise.
pub(crate) const MAX_IN_FLIGHT: u32 = 8;
/// The most mails of a shop that are under way at the same time.
pub(crate) const MAX_MAILS_IN_FLIGHT: u32 = 4;
/// The most secrets that sign the deliveries of an endpoint.
pub(crate) const MAX_SECRETS: usize = 10;
/// The most deliveries whose events are named in the row of an endpoint, so that they are sent without
/// a look into the database.
const MAX_WINDOW: u64 = 2_000;

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

/// What a delivery holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// The whole event.
    Full,
    /// What identifies it.
    Thin,
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

/// A secret with which deliveries are signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The secret.
    pub value: SealedValue,
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

/// How far the deliveries of an endpoint are: delivered through a number, except some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The last `endpoint_seq` that was given out.
    pub last_seq: u64,
    /// What was attempted. What of it is not delivered has a row of its own, as has what waits behind
    /// another delivery without an attempt.
    pub attempted: SeqSet,
    /// What is not sent until it is replayed.
    pub held: SeqSet,
    /// By due time, in milliseconds: how many deliveries are tried again then.
    pub retries: BTreeMap<i64, u64>,
    /// How many wait behind an earlier delivery of their aggregate.
    pub behind: u64,
    /// How many failed for good.
    pub exhausted: u64,
    /// How many were given up on request.
    pub aborted: u64,
    /// The events of the newest deliveries that were not attempted, as far as they are few.
    pub window: VecDeque<Run>,
    /// Counts the events that say what was attempted.
    pub round: u64,
    /// How the endpoint has answered of late.
    pub health: Health,
    /// The replays that are under way, and the last ones that have ended.
    pub replays: Vec<Replay>,
}

/// Deliveries whose numbers follow each other, of events of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The `endpoint_seq` of the first.
    pub first: u64,
    /// The service that wrote the events.
    pub service: String,
    /// Where the events are in its log: the first position and the number of each run of positions.
    pub positions: Vec<(u64, u32)>,
}

impl Run {
    /// How many deliveries it has.
    pub fn len(&self) -> u64 {
        self.positions.iter().map(|(_, len)| u64::from(*len)).sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The `endpoint_seq` of the last.
    pub fn last(&self) -> u64 {
        self.first + self.len() - 1
    }

    /// The position of the event of a delivery.
    pub fn position(&self, seq: u64) -> Option<u64> {
        let mut index = seq.checked_sub(self.first)?;
        for (position, len) in &self.positions {
            if index < u64::from(*len) {
                return Some(position + index);
            }
            index -= u64::from(*len);
        }
        None
    }
}

/// Deliveries that are sent once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Identifies it.
    pub id: String,
    /// The first `endpoint_seq`.
    pub from: u64,
    /// The last `endpoint_seq`.
    pub to: u64,
    /// Which deliveries between them.
    pub selection: Selection,
    /// The last `endpoint_seq` that it has handled.
    pub through: u64,
    /// How many it has sent.
    pub sent: u64,
    /// Whether it goes on.
    pub state: ReplayState,
    /// When it was started.
    pub started_at: Timestamp,
}

/// Which deliveries are replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Those that are held.
    Missing,
    /// Those that failed for good.
    Failed,
    /// All that were attempted or held.
    All,
}

/// Whether a replay goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// It goes on.
    Running,
    /// It has come to its end.
    Done,
    /// Somebody stopped it.
    Cancelled,
}

impl Ledger {
    /// Of an endpoint that is sent nothing yet.
    pub fn new(max_in_flight: u32) -> Self {
        Self {
            last_seq: 0,
            attempted: SeqSet::default(),
            held: SeqSet::default(),
            retries: BTreeMap::new(),
            behind: 0,
            exhausted: 0,
            aborted: 0,
            window: VecDeque::new(),
            round: 0,
            health: Health::new(max_in_flight),
            replays: Vec::new(),
        }
    }

    /// Gives the next numbers to these events.
    pub fn schedule(&mut self, run: Run) {
        self.last_seq += run.len();
        let in_window = self.window.iter().map(Run::len).sum::<u64>();
        if in_window + run.len() <= MAX_WINDOW {
            self.window.push_back(run);
        }
    }

    /// Forgets the events of what was attempted.
    pub fn trim(&mut self) {
        let Self { window, attempted, .. } = self;
        window.retain(|run| attempted.len_within(run.first, run.last()) < run.len());
    }

    /// How many were scheduled and neither attempted nor held back by an earlier decision.
    pub fn fresh(&self) -> u64 {
        self.last_seq - self.attempted.len() - self.held.len()
    }

    /// The first that waits for its first attempt.
    pub fn next_fresh(&self) -> Option<u64> {
        self.fresh_within(1, self.last_seq).first().map(|(first, _)| *first)
    }

    /// How many failed and are tried again.
    pub fn retrying(&self) -> u64 {
        self.retries.values().sum()
    }

    /// How many were delivered.
    pub fn delivered(&self) -> u64 {
        let open = self.retrying() + self.behind + self.exhausted + self.aborted;
        self.attempted.len().saturating_sub(open)
    }

    /// Notes that a delivery is tried again then.
    pub fn add_retry(&mut self, due: Timestamp) {
        *self.retries.entry(due.millis()).or_default() += 1;
    }

    /// Notes that a delivery that was to be tried again then is not.
    pub fn remove_retry(&mut self, due: Timestamp) {
        if let Some(count) = self.retries.get_mut(&due.millis()) {
            *count -= 1;
            if *count == 0 {
                self.retries.remove(&due.millis());
            }
        }
    }

    /// The runs of numbers between two that wait for their first attempt.
    pub fn fresh_within(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let gaps = self.attempted.gaps(from, to.min(self.last_seq));
        gaps.into_iter().flat_map(|(first, last)| self.held.gaps(first, last)).collect()
    }

    /// The replays that have to be sent.
    pub fn running_replays(&self) -> impl Iterator<Item = &Replay> {
        self.replays.iter().filter(|replay| {
            replay.state == ReplayState::Running && replay.selection != Selection::Missing
        })
    }
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
        let retry = retries.keys().next().copied();
        // The next one waits until the one before is delivered or given up.
        let is_blocked = self.settings.ordering == Ordering::Fifo && retry.is_some();
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
        new: &SealedValue,
        old_expire_at: Timestamp,
        now: Timestamp,
    ) -> Vec<Secret> {
        let mut secrets = vec![Secret { value: new.clone(), expires_at: None }];
        for old in &self.secrets {
            let expires =
                old.expires_at.map_or(old_expire_at, |expires| expires.min(old_expire_at));
            if now < expires {
                secrets.push(Secret { value: old.value.clone(), expires_at: Some(expires) });
            }
        }
        secrets
    }
}
