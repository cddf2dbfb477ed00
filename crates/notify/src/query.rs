//! The questions that the service answers from its projection.

mod deliveries;
mod ids;
pub(crate) mod rows;

use std::{collections::BTreeSet, time::Duration};

use engine::{Queries, QueryError, Revision, StoreError, documents};
use events::{questions::first, type_filter::TypeFilter, webhooks::is_mail_endpoint};
use metrics::Gauge;
use protocol::{id::Shop, time::Timestamp};
use sqlx::AnyPool;
use tokio::time::timeout;

use self::{
    deliveries::{Wanted, delivery, page, proof},
    rows::{failures, run_with},
};
use crate::{
    Notify, attempts, count,
    domain::{
        Endpoint, SealedValue,
        attempt::Attempt,
        rows::{EndpointRow, SCHEDULE, Schedule},
    },
    metrics::{LANES, UNUSABLE, of_partition},
};

/// The most deliveries of a page.
const MAX_PAGE: u32 = 1_000;
/// The deliveries of a page, unless somebody says otherwise.
const DEFAULT_PAGE: u32 = 100;
/// How long the attempts at a delivery may take to be read: less than who asks for them waits.
const READ_ATTEMPTS_TIMEOUT: Duration = Duration::from_secs(4);

/// What the service can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// An endpoint.
    Endpoint {
        /// Its id.
        id: String,
    },
    /// At most `limit` endpoints of the shop behind one, by id.
    Endpoints {
        /// Its id; empty: from the first.
        after: String,
        /// 1,000 at most; 0: as many as that.
        limit: u32,
    },
    /// Deliveries to an endpoint.
    Deliveries {
        /// Which.
        range: Range,
        /// The state that they have.
        state: Option<String>,
        /// The types of their events.
        filter: Option<TypeFilter>,
        /// The service that wrote their events.
        stream: Option<String>,
        /// 1,000 at most; 0: 100.
        limit: u32,
    },
    /// A delivery with its attempts.
    Delivery {
        /// The endpoint.
        id: String,
        /// Its `endpoint_seq`.
        seq: u64,
    },
    /// What is encrypted of an endpoint.
    SealedValues {
        /// Its id.
        id: String,
    },
    /// How many events matched an endpoint, and what became of them.
    Proof(Range),
}

/// Deliveries to an endpoint, by `endpoint_seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The endpoint.
    pub id: String,
    /// The first; 0: the first that there is.
    pub from: u64,
    /// The last; 0: the last that there is.
    pub to: u64,
}

/// What a question finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// An endpoint, with its id, and how fast it is sent to.
    Endpoint(Box<(String, Endpoint, Pace)>),
    /// Endpoints, by id.
    Endpoints {
        /// Each with its id, and how fast it is sent to.
        endpoints: Vec<(String, Endpoint, Pace)>,
        /// Whether others follow.
        has_more: bool,
    },
    /// Deliveries.
    Deliveries {
        /// By `endpoint_seq`.
        deliveries: Vec<Delivery>,
        /// From where the list goes on; 0 at the end.
        next: u64,
    },
    /// A delivery, and its attempts in the order in which they were made.
    Delivery(Box<Delivery>, Vec<Attempt>),
    /// What is encrypted of an endpoint.
    SealedValues(Vec<SealedValue>),
    /// How many events matched an endpoint, and what became of them.
    Proof(Proof),
}

/// How fast an endpoint is sent to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// How many attempts of the last hour it has accepted.
    pub accepted: u64,
    /// How many of them failed.
    pub failed: u64,
    /// Since when the oldest of the deliveries waits that wait for their first attempt; `None` when none does.
    pub lag: Option<Duration>,
}

/// A delivery as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its `endpoint_seq`.
    pub seq: u64,
    /// The type of its event.
    pub event_type: String,
    /// The service that wrote the event.
    pub service: String,
    /// The position of the event in its log.
    pub position: u64,
    /// Its state, by name.
    pub state: &'static str,
    /// How many attempts have failed.
    pub failed_attempts: u32,
    /// When it is tried again.
    pub due_at: Option<Timestamp>,
    /// What went wrong last.
    pub error_class: String,
    /// The HTTP status of the last failure.
    pub status: u16,
    /// When it was scheduled.
    pub scheduled_at: Timestamp,
    /// The id of the event; empty when its log does not have it.
    pub event_id: String,
}

/// See [`Question::Proof`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The first `endpoint_seq`.
    pub from: u64,
    /// The last `endpoint_seq`.
    pub to: u64,
    /// How many events matched.
    pub matched: u64,
    /// How many of them were sent at least once.
    pub sent: u64,
    /// How many of them the endpoint has accepted.
    pub delivered: u64,
    /// Some of those that it has not accepted.
    pub open: Vec<Delivery>,
    /// Whether there are more of those.
    pub has_more: bool,
}

impl Queries for Notify {
    async fn revision_of(
        &self,
        db: &AnyPool,
        shop: &Shop,
        kind: &str,
        id: &str,
    ) -> Result<Option<Revision>, QueryError> {
        if kind == "schedule" {
            let schedule = documents::get::<Schedule>(db, shop, SCHEDULE).await?;
            return Ok(schedule.map(|schedule| schedule.revision));
        }
        let row = documents::get::<EndpointRow>(db, shop, id).await?;
        Ok(row.map(|row| row.endpoint.revision))
    }

    async fn count(&self, db: &AnyPool, partition: u32) -> Result<Vec<(Gauge, u64)>, QueryError> {
        let Some(outside) = &self.outside else { return Ok(Vec::new()) };
        let mut counts = count::count(db, partition, outside.clock.now()).await?;
        let (lanes, unusable) = outside.count(partition);
        counts.push((of_partition(&LANES, partition), lanes));
        counts.push((of_partition(&UNUSABLE, partition), unusable));
        Ok(counts)
    }

    fn problems(&self, partition: u32) -> Vec<String> {
        self.outside.as_ref().map_or_else(Vec::new, |outside| outside.problems(partition))
    }

    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        question: Question,
    ) -> Result<Option<Found>, QueryError> {
        match question {
            Question::Endpoint { id } => {
                let row = endpoint(db, shop, &id).await?;
                let Some(endpoint) = row.map(|row| self.shown(row)) else { return Ok(None) };
                let pace = self.pace(db, shop, &id, &endpoint).await?;
                Ok(Some(Found::Endpoint(Box::new((id, endpoint, pace)))))
            }
            Question::Endpoints { after, limit } => {
                let limit = if limit == 0 { MAX_PAGE } else { limit.min(MAX_PAGE) };
                let schedule = documents::get::<Schedule>(db, shop, SCHEDULE).await?;
                let mut ids = schedule.unwrap_or_default().endpoint_ids;
                ids.retain(|id| *id > after && !is_mail_endpoint(id));
                ids.sort_unstable();
                let (ids, has_more) = first(ids, limit);
                let mut endpoints = Vec::with_capacity(ids.len());
                for id in ids {
                    let Some(endpoint) = endpoint(db, shop, &id).await? else { continue };
                    let endpoint = self.shown(endpoint);
                    let pace = self.pace(db, shop, &id, &endpoint).await?;
                    endpoints.push((id, endpoint, pace));
                }
                Ok(Some(Found::Endpoints { endpoints, has_more }))
            }
            Question::Deliveries { range, state, filter, stream, limit } => {
                let Some(endpoint) = endpoint(db, shop, &range.id).await? else { return Ok(None) };
                let limit = if limit == 0 { DEFAULT_PAGE } else { limit.min(MAX_PAGE) };
                let (state, filter) = (state.as_deref(), filter.as_ref());
                let stream = stream.as_deref();
                let in_flight = &self.in_flight(shop, &range.id);
                let wanted = Wanted { state, filter, stream, limit, in_flight };
                let found = page(db, shop, &endpoint, &range, wanted).await?;
                let (mut deliveries, next) = found;
                self.add_event_ids(shop, &mut deliveries).await?;
                Ok(Some(Found::Deliveries { deliveries, next }))
            }
            Question::Delivery { id, seq } => {
                let Some(endpoint) = endpoint(db, shop, &id).await? else { return Ok(None) };
                let Some(row) = run_with(db, shop, &id, seq).await? else { return Ok(None) };
                let failures = failures(db, shop, &id, seq, seq).await?;
                let in_flight = self.in_flight(shop, &id);
                let found = delivery(&endpoint, &row, seq, failures.first(), &in_flight);
                let Some(mut found) = found else { return Ok(None) };
                self.add_event_ids(shop, std::slice::from_mut(&mut found)).await?;
                let attempts = self.attempts(shop, &id, seq).await?;
                Ok(Some(Found::Delivery(Box::new(found), attempts)))
            }
            Question::SealedValues { id } => {
                let found = endpoint(db, shop, &id).await?;
                let values =
                    |it: Endpoint| Found::SealedValues(it.sealed_values().cloned().collect());
                Ok(found.map(values))
            }
            Question::Proof(range) => {
                let Some(endpoint) = endpoint(db, shop, &range.id).await? else { return Ok(None) };
                let in_flight = self.in_flight(shop, &range.id);
                let mut proof = proof(db, shop, &endpoint, range, &in_flight).await?;
                self.add_event_ids(shop, &mut proof.open).await?;
                Ok(Some(Found::Proof(proof)))
            }
        }
    }
}

impl Notify {
    /// An endpoint without the secrets that have expired: they stay in its row until the next rotation.
    fn shown(&self, mut endpoint: Endpoint) -> Endpoint {
        if let Some(outside) = &self.outside {
            let now = outside.clock.now();
            endpoint.secrets.retain(|it| it.expires_at.is_none_or(|expires| now < expires));
        }
        endpoint
    }

    /// The deliveries of an endpoint that have a request under way: who answers is who sends.
    fn in_flight(&self, shop: &Shop, id: &str) -> BTreeSet<u64> {
        self.outside.as_ref().map_or_else(BTreeSet::new, |outside| outside.under_way.of(shop, id))
    }

    async fn pace(
        &self,
        db: &AnyPool,
        shop: &Shop,
        id: &str,
        endpoint: &Endpoint,
    ) -> Result<Pace, StoreError> {
        let Some(outside) = &self.outside else { return Ok(Pace::default()) };
        let (now, ledger) = (outside.clock.now(), &endpoint.ledger);
        let (accepted, failed) = ledger.health.recent(now);
        let oldest = if endpoint.is_active() { ledger.next_fresh() } else { None };
        let run = match oldest {
            Some(seq) => run_with(db, shop, id, seq).await?,
            None => None,
        };
        let waited = |at: Timestamp| (now.millis() - at.millis()).max(0) as u64;
        let lag = run.map(|run| Duration::from_millis(waited(run.at)));
        Ok(Pace { accepted, failed, lag })
    }

    async fn attempts(&self, shop: &Shop, id: &str, seq: u64) -> Result<Vec<Attempt>, QueryError> {
        let Some(outside) = &self.outside else { return Ok(Vec::new()) };
        let reading = attempts::read(&outside.client, shop, id, seq);
        let read = timeout(READ_ATTEMPTS_TIMEOUT, reading).await;
        read.map_err(|error| QueryError::Outside(error.into()))?
            .map_err(|error| QueryError::Outside(error.into()))
    }
}

async fn endpoint(db: &AnyPool, shop: &Shop, id: &str) -> Result<Option<Endpoint>, StoreError> {
    let row = documents::get::<EndpointRow>(db, shop, id).await?;
    Ok(row.map(|row| row.endpoint).filter(|endpoint| !endpoint.is_deleted))
}
