//! The order service: the process manager of the saga that brings every order to paid or cancelled, and what follows.
//!
//! How an order flows: the gateway's `PlaceOrder` becomes `placed`; from there on each answer of
//! inventory or payment is turned into the next event of the order, which the two read in turn.
//!
//! | event of the order | awaited | by | next |
//! |---|---|---|---|
//! | `placed` | inventory `reserved`, `refused` | `reserve_by` | `payment_due`, `authorized`, `cancelled` |
//! | `payment_due` | payment `authorized`, `declined`, `failed` | `due_by` | `authorized`, `payment_failed`, `cancelled` |
//! | `payment_failed` | the command `StartPayment` | `retry_until` | `payment_due`, `cancelled` |
//! | `authorized` | inventory `allocated`, `lost` | `allocate_by` | `confirmed`, `cancelled`; in one step `payment_due` |
//! | `payment_due` in one step | payment `captured`, `declined`, `failed` | `due_by` | `confirmed` with `paid`, `payment_failed`, `cancelled` |
//! | `confirmed` | payment `captured`, `capture_failed` | – | `paid`, `cancelled` |
//!
//! An order that costs nothing, or is on account, goes from `placed` straight to `authorized`. Where money
//! is captured by shipment, `shipped` asks for it rather than `confirmed`.
//!
//! A payment method that is taken in one step is not authorised, and no money is taken without an allocation. So
//! such an order goes from `placed` to `authorized` as well, and its payment is due once the stock is allocated. It
//! stays placed until the money is taken. When the payment fails, the stock stays allocated as long as it would have
//! been held (`retry_until`), for another payment, in one step or not; then the order is cancelled.
//!
//! Until something of it has shipped, an order can also be cancelled on request. An answer that comes when
//! the order has moved on changes nothing here: inventory and payment give back what they hold as soon as
//! they read `cancelled`. After `confirmed` there is no deadline, since money may have moved.
//!
//! How a shop works, such as when money is captured, it says in its settings, of which a replica is kept here.
//! A shop of which none is known works as [`events::shop::Settings`] are by default.
//!
//! Every event says what the three statuses of the order are after it. They are decided once, by
//! `Fact::statuses`, and `apply` takes them from the event.
//!
//! Where to find what: `wire` parses messages, `domain` holds the rules and the rows on which they decide, `store`
//! how these are stored and when deadlines pass, `query` the questions. To add a step: a message in `proto/`, a `Fact`, an arm in
//! `domain::saga::proceed` and in `Order::fold`; what is missing then fails to compile.

mod domain;
pub mod metrics;
mod query;
mod store;
mod wire;

use std::time::Duration;

use engine::{Definition, Service, Source, Table, Timer, metrics::Metric};

/// How long an order waits for each answer before it is cancelled, unless its shop says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// For inventory to hold the stock.
    pub reservation_timeout: Duration,
    /// For payment to authorise the total, or to take it in one step.
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
            events: &["reserved", "refused", "allocated", "lost", "short", "shipped"],
            replica: false,
        },
        Source {
            service: "payment",
            events: &[
                "action_required",
                "authorized",
                "declined",
                "failed",
                "captured",
                "capture_failed",
                "refunded",
            ],
            replica: false,
        },
        Source { service: "catalog", events: &["created", "updated", "archived"], replica: true },
        Source { service: "shop", events: &["created", "changed"], replica: true },
    ];
    const TABLES: &'static [Table] = store::TABLES;
    const FORMAT: u32 = 10;
    const METRICS: &'static [Metric] = &metrics::ALL;
    const TIMERS: &'static [Timer<domain::Input>] = &[store::DEADLINE];
}
