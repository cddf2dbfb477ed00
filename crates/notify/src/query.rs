//! The questions that the service answers from its projection.

pub(crate) mod rows;

use std::time::Duration;

use engine::{Queries, QueryError, Revision, StoreError, documents};
use events::{questions::first, type_filter::TypeFilter, webhooks::is_mail_endpoint};
use metrics::Gauge;
use protocol::{id::Shop, time::Timestamp};
use sqlx::AnyPool;
use tokio::time::timeout;

use self::rows::{count_failures, failures, run_with};
use crate::{
    Notify,
    attempts::{self, Attempt},
    count,
    domain::{Endpoint, SealedValue},
    metrics::{LANES, UNUSABLE, of_partition},
    store::{EndpointRow, FailureRow, FailureState, RunRow, SCHEDULE, Schedule},
};

/// The most deliveries of a page.
const MAX_PAGE: u32 = 1_000;
/// The deliveries of a page, unless somebody says otherwise.
const DEFAULT_PAGE: u32 = 100;
/// The most deliveries that are looked at for one page of those that match a filter.
const MAX_SCANNED: u64 = 20_000;
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
    /// An endpoint, with its id.
    Endpoint(Box<(String, Endpoint)>),
    /// Endpoints, by id.
    Endpoints {
        /// Each with its id.
        endpoints: Vec<(String, Endpoint)>,
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
                Ok(row.map(|endpoint| Found::Endpoint(Box::new((id, endpoint)))))
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
                    endpoints.extend(endpoint(db, shop, &id).await?.map(|endpoint| (id, endpoint)));
                }
                Ok(Some(Found::Endpoints { endpoints, has_more }))
            }
            Question::Deliveries { range, state, filter, limit } => {
                let Some(endpoint) = endpoint(db, shop, &range.id).await? else { return Ok(None) };
                let limit = if limit == 0 { DEFAULT_PAGE } else { limit.min(MAX_PAGE) };
                let wanted = Wanted { state: state.as_deref(), filter: filter.as_ref(), limit };
                let found = deliveries(db, shop, &endpoint, &range, wanted).await?;
                let (deliveries, next) = found;
                Ok(Some(Found::Deliveries { deliveries, next }))
            }
            Question::Delivery { id, seq } => {
                let Some(endpoint) = endpoint(db, shop, &id).await? else { return Ok(None) };
                let Some(row) = run_with(db, shop, &id, seq).await? else { return Ok(None) };
                let failures = failures(db, shop, &id, seq, seq).await?;
                let found = delivery(&endpoint, &row, seq, failures.first());
                let Some(found) = found else { return Ok(None) };
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
                Ok(Some(Found::Proof(proof(db, shop, &endpoint, range).await?)))
            }
        }
    }
}

impl Notify {
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

/// Which deliveries are listed.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    state: Option<&'a str>,
    filter: Option<&'a TypeFilter>,
    limit: u32,
}

/// A page of deliveries, and from where the list goes on.
async fn deliveries(
    db: &AnyPool,
    shop: &Shop,
    endpoint: &Endpoint,
    range: &Range,
    wanted: Wanted<'_>,
) -> Result<(Vec<Delivery>, u64), StoreError> {
    let last = endpoint.ledger.last_seq;
    let to = if range.to == 0 { last } else { range.to.min(last) };
    let (mut next, mut found) = (range.from.max(1), Vec::new());
    let first = next;
    while next <= to {
        if found.len() >= wanted.limit as usize || next - first >= MAX_SCANNED {
            return Ok((found, next));
        }
        let Some(row) = run_with(db, shop, &range.id, next).await? else { break };
        let until = row.run.last().min(to).min(next + u64::from(MAX_PAGE) - 1);
        let failures = failures(db, shop, &range.id, next, until).await?;
        for seq in next..=until {
            let failure = failures.iter().find(|failure| failure.seq == seq);
            let Some(delivery) = delivery(endpoint, &row, seq, failure) else { continue };
            let is_wanted = wanted.state.is_none_or(|state| state == delivery.state)
                && wanted.filter.is_none_or(|filter| filter.matches(&delivery.event_type));
            if is_wanted && found.len() < wanted.limit as usize {
                found.push(delivery);
            } else if is_wanted {
                return Ok((found, seq));
            }
        }
        next = until + 1;
    }
    Ok((found, 0))
}

fn delivery(
    endpoint: &Endpoint,
    row: &RunRow,
    seq: u64,
    failure: Option<&FailureRow>,
) -> Option<Delivery> {
    let ledger = &endpoint.ledger;
    let state = match failure {
        Some(failure) => failure.state.as_str(),
        None if ledger.attempted.contains(seq) => "delivered",
        None if ledger.held.contains(seq) || endpoint.disabled.is_some() => "held",
        None => "pending",
    };
    let mut index = seq - row.run.first;
    let event_type = row.types.iter().find(|(_, len)| {
        let is_here = index < u64::from(*len);
        index = index.saturating_sub(u64::from(*len));
        is_here
    });
    Some(Delivery {
        seq,
        event_type: event_type?.0.clone(),
        service: row.run.service.clone(),
        position: row.run.position(seq)?,
        state,
        failed_attempts: failure.map_or(0, |failure| failure.attempts),
        due_at: failure.and_then(|failure| match failure.state {
            FailureState::Retry { due } => Some(due),
            FailureState::Behind | FailureState::Exhausted | FailureState::Aborted => None,
        }),
        error_class: failure.map_or_else(String::new, |failure| failure.error_class.clone()),
        status: failure.map_or(0, |failure| failure.status),
        scheduled_at: row.at,
    })
}

async fn proof(
    db: &AnyPool,
    shop: &Shop,
    endpoint: &Endpoint,
    range: Range,
) -> Result<Proof, StoreError> {
    let ledger = &endpoint.ledger;
    let to = if range.to == 0 { ledger.last_seq } else { range.to.min(ledger.last_seq) };
    let from = range.from.max(1);
    if from > to {
        let (open, has_more) = (Vec::new(), false);
        return Ok(Proof { from, to, matched: 0, sent: 0, delivered: 0, open, has_more });
    }
    let attempted = ledger.attempted.len_within(from, to);
    let (unsent, failed) = count_failures(db, shop, &range.id, from, to).await?;
    let gaps = ledger.attempted.gaps(from, to);
    // At most a page of what is open is looked at: failures, and what was not attempted.
    let mut open = Vec::new();
    let mut waiting: Vec<u64> =
        failures(db, shop, &range.id, from, to).await?.iter().map(|failure| failure.seq).collect();
    let most = MAX_PAGE as usize + 1;
    waiting.extend(gaps.iter().flat_map(|(first, last)| *first..=*last).take(most));
    waiting.sort_unstable();
    let has_more = waiting.len() > MAX_PAGE as usize;
    waiting.truncate(MAX_PAGE as usize);
    let mut row: Option<RunRow> = None;
    for seq in waiting {
        if row.as_ref().is_none_or(|row| row.run.last() < seq || seq < row.run.first) {
            row = run_with(db, shop, &range.id, seq).await?;
        }
        let failure = failures(db, shop, &range.id, seq, seq).await?;
        let found = row.as_ref().and_then(|row| delivery(endpoint, row, seq, failure.first()));
        open.extend(found);
    }
    Ok(Proof {
        from,
        to,
        matched: to - from + 1,
        sent: attempted.saturating_sub(unsent),
        delivered: attempted.saturating_sub(failed),
        open,
        has_more,
    })
}
