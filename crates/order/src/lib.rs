//! The order service: the process manager of the saga that brings every order to paid or cancelled.
//!
//! How an order flows: the gateway's `PlaceOrder` becomes `placed`; from there on each answer of
//! inventory or payment is turned into the next event of the order, which the two read in turn.
//!
//! | event of the order | awaited | by | next |
//! |---|---|---|---|
//! | `placed` | inventory `reserved`, `refused` | `reserve_by` | `payment_due`, `cancelled` |
//! | `payment_due` | payment `authorized`, `declined`, `failed` | `due_by` | `authorized`, `cancelled` |
//! | `authorized` | inventory `allocated`, `lost` | `allocate_by` | `confirmed`, `cancelled` |
//! | `confirmed` | payment `captured`, `capture_failed` | – | `paid`, `cancelled` |
//!
//! Until it is confirmed, the order can also be cancelled on request. An answer that comes when
//! the order has moved on changes nothing here: inventory and payment give back what they hold as
//! soon as they read `cancelled`. After `confirmed` there is no deadline, since money may have moved.
//!
//! Where to find what: `wire` parses messages, `domain` holds the rules, `store` the rows and the
//! deadlines, `query` the questions. To add a step: a message in `proto/`, a `Fact`, an arm in
//! `domain::proceed` and in `apply`; what is missing then fails to compile.

mod domain;
pub mod metrics;
mod query;
mod store;
mod wire;

use std::time::Duration;

use engine::{Definition, Service, Source, Table, Timer};

/// How long an order waits for each answer before it is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// For inventory to hold the stock.
    pub reservation_timeout: Duration,
    /// For payment to authorise the total.
    pub payment_timeout: Duration,
    /// For inventory to allocate what it held.
    pub allocation_timeout: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            reservation_timeout: Duration::from_mins(5),
            payment_timeout: Duration::from_mins(10),
            allocation_timeout: Duration::from_mins(5),
        }
    }
}

/// The order service, to be run by an engine.
pub fn service(policy: Policy) -> Definition<Orders> {
    Definition::new(Orders { policy })
}

/// The service, as the engine sees it.
#[derive(Debug, Clone, Copy)]
pub struct Orders {
    /// What this installation chose.
    pub policy: Policy,
}

impl Service for Orders {
    const NAME: &'static str = "order";
    const SOURCES: &'static [Source] = &[
        Source {
            service: "inventory",
            events: &["reserved", "refused", "allocated", "lost"],
            replica: false,
        },
        Source {
            service: "payment",
            events: &["authorized", "declined", "failed", "captured", "capture_failed"],
            replica: false,
        },
        Source { service: "catalog", events: &["created", "updated", "archived"], replica: true },
    ];
    const TABLES: &'static [Table] = store::TABLES;
    const FORMAT: u32 = 1;
    const TIMERS: &'static [Timer<domain::Input>] = &[store::DEADLINE];
}
