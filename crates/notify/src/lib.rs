//! Webhooks and mails: which endpoints a shop has, what is due to each, and how it is delivered.
//!
//! - `wire`: bytes to domain and back; the only file that sees protobuf;
//! - `domain`: the rules, without I/O, clock or async; `domain/schedule.rs` when a failed delivery is
//!   tried again, `domain/health.rs` when an endpoint is left alone, `domain/sequence.rs` sets of numbers;
//! - `store`: how its rows are stored;
//! - `query`: the questions that it answers; `count`: what is counted of its rows;
//! - `recent`: the events that were read lately;
//! - `delivery`: sends what is due, and says what came of it;
//! - `attempts`: how each attempt went, beside the log;
//! - `metrics`: what is measured.
//!
//! How an event becomes a delivery: the service reads the public events of all others. Those of one
//! log that come at once are one input, from which one event follows, `scheduled`: it names the
//! endpoints of the shop that want some of them, and gives each of these the next numbers of the
//! endpoint, its `endpoint_seq`, dense from 1. An endpoint for which something is due announces an
//! operation to the engine. What comes of many attempts is one event again, `attempted`. So the state
//! of an endpoint is: attempted through a number, except some; and a row for each delivery that failed.
//!
//! The mails of a shop are deliveries to an endpoint of its own: scheduled, retried, recorded and rebuilt
//! as webhooks are. Where a webhook has a URL and a secret, it has a sender and templates (`delivery/target.rs`).
//!
//! No body of a delivery is stored. It follows from the event, which is in the log of its service for
//! ever, the number, and the version of the rendering.

mod attempts;
mod count;
mod delivery;
mod domain;
pub mod metrics;
mod query;
mod recent;
mod store;
mod wire;

use std::sync::Arc;

use engine::{Client, Clock, Definition, Service, Source, Table, metrics::Metric};
use person_keys::PersonKeys;
use webhook_http::Policy;

use self::{delivery::DeliveryContext, domain::Published, recent::Recent};

/// What an installation chooses.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What may be sent where.
    pub policy: Policy,
    /// The keys of persons, which the addresses of mails are sealed with, and their master keys, which seal
    /// secrets; without them nothing is sent.
    pub keys: Option<PersonKeys>,
    /// The mail server; without one no mails are sent.
    pub mail_server: Option<mail::Server>,
    /// The pauses before the second attempt and each further one at an endpoint that has none of its own, in seconds;
    /// empty: the documented ones, of 75.6 hours together.
    pub retry_pauses_s: Vec<u32>,
}

/// Why nothing can be sent with some settings.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The HTTP client cannot be made, such as with a wrong user agent.
    #[error("set up the sender of webhooks")]
    Webhooks(#[from] webhook_http::SetupError),
    /// The mail server cannot be used as it is configured.
    #[error("set up the sender of mails")]
    Mails(#[from] mail::SetupError),
}

/// The service, to be run by an engine. It reads the events that it sends with `client`.
///
/// # Errors
///
/// When what sends cannot be made of the settings.
pub fn service(
    settings: Settings,
    client: Client,
    clock: Clock,
) -> Result<Definition<Notify>, SetupError> {
    let retry_pauses_s = settings.retry_pauses_s.as_slice().into();
    let outside = Some(DeliveryContext::new(settings, client, clock)?);
    Ok(Definition::new(Notify { recent: Arc::default(), outside, retry_pauses_s }).with_effects())
}

/// Webhooks, as the engine sees them.
#[derive(Debug, Clone, Default)]
pub struct Notify {
    recent: Arc<Recent>,
    /// What is sent with; absent where only the log is folded.
    outside: Option<DeliveryContext>,
    /// The pauses of an endpoint that has none of its own; empty: the documented ones.
    retry_pauses_s: Arc<[u32]>,
}

impl Notify {
    /// Keeps the bytes of events that are going to be sent in a moment.
    fn remember(&self, published: &Published) {
        for event in &published.events {
            self.recent.put(published.service, event);
        }
    }
}

/// All public events of a service.
const fn all_of(service: &'static str) -> Source {
    Source { service, events: &[], replica: false }
}

impl Service for Notify {
    const NAME: &'static str = "notify";
    const SOURCES: &'static [Source] = &[
        all_of("catalog"),
        all_of("inventory"),
        all_of("order"),
        all_of("payment"),
        all_of("shop"),
    ];
    const TABLES: &'static [Table] = store::TABLES;
    const FORMAT: u32 = 9;
    const METRICS: &'static [Metric] = &metrics::ALL;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use events::catalogue::public_events;

    use super::*;

    #[test]
    fn every_service_with_public_events_is_read() {
        let read: BTreeSet<_> = Notify::SOURCES.iter().map(|source| source.service).collect();
        let public: BTreeSet<_> = public_events().iter().map(|event| &*event.service).collect();
        assert_eq!(read, public);
    }
}
