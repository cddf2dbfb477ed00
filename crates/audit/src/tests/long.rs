//! A log that is as long as is wanted, and in order: the same order again and again, with the units that
//! it takes delivered before.

use std::collections::HashMap;

use engine::Verified;
use events::{
    http::LevelView,
    id::{Location, OrderId, Sku},
    proto::{
        event::Body,
        inventory::{InventoryEvent, inventory_event::Kind as Inventory},
        order::OrderEvent,
    },
};

use super::{
    super::{Audit, Observations},
    day::{Logged, fact, first_payment, logged, received},
};

/// The units that an order takes of the one SKU, and what they cost.
const UNITS: i64 = 4;
const TOTAL: i64 = 400;

/// What was handed to the auditor so far.
#[derive(Debug, Default)]
pub(super) struct LongLog {
    pub(super) events: u64,
    sequences: HashMap<&'static str, u64>,
}

impl LongLog {
    /// Hands the auditor a delivery, and then the events of an order as `template` has them.
    pub(super) fn add_order(
        &mut self,
        audit: &mut Audit,
        template: &[(&'static str, Logged)],
        order: usize,
    ) {
        audit.observe_command(0, order as u64 + 1, "acme", &command(order));
        let number = order as u64 + 1;
        let allocated = UNITS * order as i64;
        let units = [allocated + UNITS, allocated];
        let mut delivery = logged("A@main", fact(received(UNITS, units, number)));
        delivery.event.aggregate_version = number;
        delivery.event.id = format!("delivery-{number:027}");
        self.observe(audit, "inventory", delivery);
        for (service, template) in template {
            self.observe(audit, service, of_another_order(template, order));
        }
    }

    fn observe(&mut self, audit: &mut Audit, service: &'static str, logged: Logged) {
        let sequence = self.sequences.entry(service).or_default();
        *sequence += 1;
        self.events += 1;
        audit.observe(service, 0, &Logged { sequence: *sequence, ..logged });
    }

    /// What is seen of so many orders from outside.
    pub(super) fn outside(&self, orders: usize) -> Observations {
        let units = UNITS * orders as i64;
        let level = LevelView {
            sku: Sku::parse("A").expect("valid"),
            location: Location::main(),
            on_hand: units,
            held: 0,
            allocated: units,
            available: 0,
            version: 1,
            incoming: 0,
            safety_stock: 0,
            backorder_limit: 0,
        };
        let id = |order| OrderId::parse(&id(order)).expect("a UUID");
        Observations {
            placed: (0..orders).map(id).collect(),
            cancelled: vec![],
            levels: vec![level],
            provider_net: TOTAL * orders as i64,
            provider_held: 0,
            verified: vec![("order", Verified { events: self.events, ..Default::default() })],
        }
    }
}

fn id(order: usize) -> String {
    format!("{order:08x}-0000-7000-8000-00000000000a")
}

fn command(order: usize) -> String {
    format!("place-R-{order:027}")
}

/// The same event of another order, with ids that are as long as real ones.
fn of_another_order(template: &Logged, order: usize) -> Logged {
    let mut logged = template.clone();
    logged.positions.clear();
    let renamed = |id: &str| format!("{order:08x}-{id:0>27}");
    let event = &mut logged.event;
    event.aggregate_id = match &event.body {
        Some(Body::Payment(_)) => first_payment(&id(order)),
        _ => id(order),
    };
    event.id = renamed(&event.id);
    if let Some(cause) = &mut event.cause {
        cause.id = renamed(&cause.id);
    }
    if let Some(cause) = event.cause.as_mut().filter(|cause| !cause.fingerprint.is_empty()) {
        cause.id = command(order);
    }
    match &mut event.body {
        Some(Body::Order(OrderEvent { summary: Some(summary), .. })) => {
            summary.number = order as u64 + 1;
            summary.reference = Some(format!("R-{order}"));
        }
        Some(Body::Inventory(InventoryEvent { kind: Some(kind) })) => match kind {
            Inventory::Reserved(reserved) => reserved.order_id = id(order),
            Inventory::Allocated(allocated) => allocated.order_id = id(order),
            _ => {}
        },
        _ => {}
    }
    logged
}
