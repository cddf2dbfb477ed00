//! Webhooks: which endpoints a shop has, what is due to each, and how it is delivered.
//!
//! - `wire`: bytes to domain and back; the only file that sees protobuf;
//! - `domain`: the rules, without I/O, clock or async; `domain/schedule.rs` when a failed delivery is
//!   tried again, `domain/health.rs` when an endpoint is left alone, `domain/sequence.rs` sets of numbers;
//! - `store`: the rows that it keeps;
//! - `query`: the questions that it answers.
//!
//! How an event becomes a delivery: the service reads the public events of all others. Those of one
//! log that come at once are one input, from which one event follows, `scheduled`: it names the
//! endpoints of the shop that want some of them, and gives each of these the next numbers of the
//! endpoint, its `endpoint_seq`, dense from 1. An endpoint for which something is due announces an
//! operation to the engine. What comes of many attempts is one event again, `attempted`. So the state
//! of an endpoint is: attempted through a number, except some; and a row for each delivery that failed.
//!
//! No body of a delivery is stored. It follows from the event, which is in the log of its service for
//! ever, the number, and the version of the rendering.

mod domain;
mod query;
mod store;
mod wire;

use engine::{Definition, Service, Source, Table};

/// The service, to be run by an engine.
pub fn service() -> Definition<Notify> {
    Definition::new(Notify)
}

/// Webhooks, as the engine sees them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Notify;

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
    const FORMAT: u32 = 1;
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
