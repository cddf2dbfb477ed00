//! A small day of trade, as it is in the logs: Ann buys, Bob wants too much, Cid changes his
//! mind.

use std::collections::BTreeMap;

use engine::Verified;
use events::{
    http::LevelView,
    id::{Location, OrderId, Sku},
    names::event_name,
    proto::{
        self,
        catalog::catalog_event,
        event::Body,
        inventory::{self, inventory_event::Kind as Inventory},
        order::{self, order_event::Kind as Order},
        payment::payment_event::Kind as Payment,
    },
};

use super::super::{Audit, Audited, Observations};

pub(super) type Logged = engine::Logged<proto::Event>;

pub(super) const ANN: &str = "00000000-0000-0000-0000-00000000000a";
pub(super) const BOB: &str = "00000000-0000-0000-0000-00000000000b";
pub(super) const CID: &str = "00000000-0000-0000-0000-00000000000c";
pub(super) const DAN: &str = "00000000-0000-0000-0000-00000000000d";

/// The logs, and what was seen from outside.
pub(super) struct Day {
    logs: BTreeMap<&'static str, Vec<Logged>>,
    /// By order: what its last event says of it.
    summaries: BTreeMap<String, order::Summary>,
    pub(super) commands: Vec<String>,
    pub(super) outside: Observations,
}

impl Day {
    /// A day on which everything is as it should be.
    pub(super) fn in_order() -> Self {
        let mut day = Self {
            logs: BTreeMap::new(),
            summaries: BTreeMap::new(),
            commands: vec![],
            outside: outside(),
        };
        day.open_the_shop();
        day.ann_buys();
        day.bob_wants_too_much();
        day.cid_changes_his_mind();
        let paid = day.event("order", "paid", ANN);
        paid.positions =
            BTreeMap::from([("inbox.live".to_owned(), 1.into()), ("payment".to_owned(), 3.into())]);
        let placed = day.event("order", "placed", ANN);
        placed.positions = BTreeMap::from([("payment".to_owned(), 2.into())]);
        day
    }

    fn open_the_shop(&mut self) {
        for sku in ["A", "B"] {
            let product = Some(proto::catalog::Product { sku: sku.into(), ..Default::default() });
            let created = proto::catalog::Created { product, ..Default::default() };
            let kind = Some(catalog_event::Kind::Created(created));
            let body = Body::Catalog(proto::catalog::CatalogEvent { kind });
            self.add("catalog", sku, "command.put_products", "products", body);
        }
        self.answer("catalog", "products");
        let opening = |sku, units, sequence| count(sku, (units, units), (0, 0), sequence);
        self.add("inventory", "A@main", "command.record_stock", "stock", opening("A", 5, 3));
        self.add("inventory", "A@main", "command.record_stock", "stock", adjust("A", 5, 10, 4));
        self.add("inventory", "B@main", "command.record_stock", "stock", opening("B", 1, 5));
        self.answer("inventory", "stock");
    }

    fn ann_buys(&mut self) {
        let placed = self.place(ANN, "R-1", &[("A", 4, 100)]);
        let reserved = self.add("inventory", ANN, "order.placed", &placed, held(ANN, &[("A", 4)]));
        let due = self.step(ANN, "inventory.reserved", &reserved, payment_due(400));
        let pending = Payment::AuthorizationPending(proto::payment::AuthorizationPending {
            operation_id: "ann:authorize".into(),
            ..Default::default()
        });
        self.pay(ANN, "order.payment_due", &due, pending);
        let granted =
            self.pay(ANN, "operation.authorize", "ann:authorize", granted("ann:authorize", 400));
        let authorized = self.step(
            ANN,
            "payment.authorized",
            &granted,
            Order::Authorized(proto::order::Authorized {
                payment_id: Some(format!("{ANN}-1")),
                ..Default::default()
            }),
        );
        let allocated = Inventory::Allocated(proto::inventory::Allocated {
            order_id: ANN.into(),
            lines: lines(&[("A", 4)]),
        });
        let allocated =
            self.add("inventory", ANN, "order.authorized", &authorized, fact(allocated));
        let confirmed =
            Order::Confirmed(proto::order::Confirmed { capture: money(400), ..Default::default() });
        let confirmed = self.step(ANN, "inventory.allocated", &allocated, confirmed);
        let pending = Payment::CapturePending(proto::payment::CapturePending {
            operation_id: "ann:capture".into(),
            ..Default::default()
        });
        self.pay(ANN, "order.confirmed", &confirmed, pending);
        let captured = Payment::Captured(proto::payment::Captured {
            operation_id: "ann:capture".into(),
            amount: money(400),
        });
        let captured = self.pay(ANN, "operation.capture", "ann:capture", captured);
        let paid = Order::Paid(proto::order::Paid { amount: money(400), ..Default::default() });
        self.step(ANN, "payment.captured", &captured, paid);
    }

    fn bob_wants_too_much(&mut self) {
        let placed = self.place(BOB, "R-2", &[("A", 9, 100)]);
        let shortages = vec![proto::inventory::Shortage {
            sku: "A".into(),
            requested: 9,
            available: 6,
            location: "main".into(),
        }];
        let refused =
            fact(Inventory::Refused(proto::inventory::Refused { order_id: BOB.into(), shortages }));
        let refused = self.add("inventory", BOB, "order.placed", &placed, refused);
        let off = cancelled(order::CancelReason::OutOfStock);
        self.step(BOB, "inventory.refused", &refused, off);
    }

    fn cid_changes_his_mind(&mut self) {
        let placed = self.place(CID, "R-3", &[("B", 1, 100)]);
        let reserved = self.add("inventory", CID, "order.placed", &placed, held(CID, &[("B", 1)]));
        let due = self.step(CID, "inventory.reserved", &reserved, payment_due(100));
        let pending = Payment::AuthorizationPending(proto::payment::AuthorizationPending {
            operation_id: "cid:authorize".into(),
            ..Default::default()
        });
        self.pay(CID, "order.payment_due", &due, pending);
        let off = cancelled(order::CancelReason::Requested);
        let off = self.step(CID, "command.cancel_order", "cancel-cid", off);
        self.answer("order", "cancel-cid");
        self.add("inventory", CID, "order.cancelled", &off, fact(released(CID, &[("B", 1)])));
        self.pay(
            CID,
            "order.cancelled",
            &off,
            Payment::CancelRequested(proto::payment::CancelRequested {}),
        );
        self.pay(CID, "operation.authorize", "cid:authorize", granted("cid:authorize", 100));
        let pending = Payment::VoidPending(proto::payment::VoidPending {
            operation_id: "cid:void".into(),
            ..Default::default()
        });
        self.pay(CID, "operation.authorize", "cid:authorize", pending);
        let (operation_id, amount) = ("cid:void".into(), money(100));
        let voided = Payment::Voided(proto::payment::Voided { operation_id, amount });
        self.pay(CID, "operation.void", "cid:void", voided);
    }

    pub(super) fn place(
        &mut self,
        order: &str,
        reference: &str,
        wanted: &[(&str, i64, i64)],
    ) -> String {
        let lines = wanted.iter().map(|(sku, quantity, unit_price)| proto::order::Line {
            sku: (*sku).into(),
            quantity: *quantity,
            unit_price: Some(proto::Price {
                money: money(*unit_price),
                tax_basis: proto::TaxBasis::Included.into(),
            }),
            ..Default::default()
        });
        let placed = proto::order::Placed { lines: lines.collect(), ..Default::default() };
        let total = wanted.iter().map(|(_, quantity, price)| quantity * price).sum();
        let summary = order::Summary {
            number: self.summaries.len() as u64 + 1,
            reference: Some(reference.into()),
            total: money(total),
            status: order::OrderStatus::Placed.into(),
            payment_status: order::PaymentStatus::Pending.into(),
            fulfilment_status: order::FulfilmentStatus::Unfulfilled.into(),
            ..Default::default()
        };
        self.summaries.insert(order.to_owned(), summary);
        let command = format!("place-{order}");
        let id = self.step(order, "command.place_order", &command, Order::Placed(placed));
        self.answer("order", &command);
        id
    }

    pub(super) fn step(&mut self, order: &str, kind: &str, cause: &str, step: Order) -> String {
        let summary = self.summaries.get_mut(order).expect("is placed");
        match &step {
            Order::Authorized(_) => {
                summary.payment_status = order::PaymentStatus::Authorized.into();
            }
            Order::Confirmed(_) => summary.status = order::OrderStatus::Confirmed.into(),
            Order::Paid(_) => summary.payment_status = order::PaymentStatus::Paid.into(),
            Order::Cancelled(_) => summary.status = order::OrderStatus::Cancelled.into(),
            _ => {}
        }
        let summary = Some(summary.clone());
        let body = Body::Order(proto::order::OrderEvent { summary, kind: Some(step) });
        self.add("order", order, kind, cause, body)
    }

    fn pay(&mut self, order: &str, kind: &str, cause: &str, step: Payment) -> String {
        let body = Body::Payment(proto::payment::PaymentEvent { kind: Some(step), summary: None });
        self.add("payment", &first_payment(order), kind, cause, body)
    }

    fn add(
        &mut self,
        service: &'static str,
        aggregate: &str,
        kind: &str,
        cause: &str,
        body: Body,
    ) -> String {
        let mut logged = logged(aggregate, body);
        let (id, kind) = (cause.into(), kind.into());
        logged.event.cause = Some(protocol::proto::Cause { id, kind, ..Default::default() });
        self.append(service, logged)
    }

    /// Appends an event, with the sequence, the version and the id that come next.
    pub(super) fn append(&mut self, service: &'static str, mut logged: Logged) -> String {
        let log = self.logs.entry(service).or_default();
        let of_it = |known: &&Logged| known.event.aggregate_id == logged.event.aggregate_id;
        logged.event.aggregate_version = log.iter().filter(of_it).count() as u64 + 1;
        logged.sequence = log.len() as u64 + 1;
        logged.event.id = format!("{service}-{}", logged.sequence);
        let id = logged.event.id.clone();
        log.push(logged);
        id
    }

    /// The last event of a service answers a command.
    pub(super) fn answer(&mut self, service: &'static str, command: &str) {
        let last = self.log(service).last_mut().expect("has events");
        let cause = last.event.cause.get_or_insert_default();
        (cause.id, cause.fingerprint) = (command.into(), "a fingerprint".into());
        self.commands.push(command.into());
    }

    /// The events of an order, with their services, as they would have come about.
    pub(super) fn of_an_order(&self, order: &str) -> Vec<(&'static str, Logged)> {
        let all = self.logs.iter();
        let all =
            all.flat_map(|(service, log)| log.iter().map(|logged| (*service, logged.clone())));
        let ids = [order.to_owned(), first_payment(order)];
        all.filter(|(_, logged)| ids.contains(&logged.event.aggregate_id)).collect()
    }

    pub(super) fn log(&mut self, service: &'static str) -> &mut Vec<Logged> {
        self.logs.get_mut(service).expect("has a log")
    }

    /// The first event of that kind of an aggregate.
    pub(super) fn event(&mut self, service: &'static str, kind: &str, of: &str) -> &mut Logged {
        let of = aggregate(service, of);
        let found = self.log(service).iter_mut().find(|it| is(it, kind, &of));
        found.unwrap_or_else(|| panic!("{service} has a {kind} of {of}"))
    }

    /// Takes an event out, as if it had never been.
    pub(super) fn remove(&mut self, service: &'static str, kind: &str, of: &str) {
        self.event(service, kind, of);
        let of = aggregate(service, of);
        let log = self.log(service);
        log.retain(|it| !is(it, kind, &of));
        renumber(log);
    }

    /// Puts an event in before another.
    pub(super) fn insert(&mut self, service: &'static str, kind: &str, of: &str, new: Logged) {
        let log = self.log(service);
        let at = log.iter().position(|it| is(it, kind, of)).expect("has such an event");
        log.insert(at, new);
        log[at].event.id = format!("{service}-inserted-{}", log.len());
        renumber(log);
    }

    pub(super) fn order(&mut self, kind: &str, of: &str) -> &mut Order {
        match &mut self.event("order", kind, of).event.body {
            Some(Body::Order(body)) => body.kind.as_mut().expect("has a fact"),
            other => panic!("is of an order: {other:?}"),
        }
    }

    pub(super) fn summary(&mut self, kind: &str, of: &str) -> &mut order::Summary {
        match &mut self.event("order", kind, of).event.body {
            Some(Body::Order(body)) => body.summary.as_mut().expect("has one"),
            other => panic!("is of an order: {other:?}"),
        }
    }

    pub(super) fn inventory(&mut self, kind: &str, of: &str) -> &mut Inventory {
        match &mut self.event("inventory", kind, of).event.body {
            Some(Body::Inventory(body)) => body.kind.as_mut().expect("has a fact"),
            other => panic!("is of the inventory: {other:?}"),
        }
    }

    pub(super) fn payment(&mut self, kind: &str, of: &str) -> &mut Payment {
        match &mut self.event("payment", kind, of).event.body {
            Some(Body::Payment(body)) => body.kind.as_mut().expect("has a fact"),
            other => panic!("is of a payment: {other:?}"),
        }
    }

    pub(super) fn audit(&self) -> Audited {
        let mut audit = Audit::default();
        for (sequence, command) in (1..).zip(&self.commands) {
            audit.observe_command(0, sequence, "acme", command);
        }
        for (service, log) in &self.logs {
            for logged in log {
                audit.observe(service, 0, logged);
            }
        }
        audit.finish(&self.outside)
    }
}

/// The aggregate that a service has of an order, or of what is named.
fn aggregate(service: &str, of: &str) -> String {
    if service == "payment" { first_payment(of) } else { of.to_owned() }
}

/// The first payment of an order.
pub(super) fn first_payment(order: &str) -> String {
    format!("{order}-1")
}

/// Numbers the events of a log as they would have been written.
fn renumber(log: &mut [Logged]) {
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    for (sequence, logged) in (1..).zip(log) {
        let version = versions.entry(logged.event.aggregate_id.clone()).or_default();
        *version += 1;
        logged.sequence = sequence;
        logged.event.aggregate_version = *version;
    }
}

fn is(logged: &Logged, kind: &str, of: &str) -> bool {
    logged.event.aggregate_id == of && logged.event.body.as_ref().and_then(event_name) == Some(kind)
}

fn outside() -> Observations {
    let order = |id| OrderId::parse(id).expect("a UUID");
    let level = |sku, on_hand, allocated| LevelView {
        sku: Sku::parse(sku).expect("valid"),
        location: Location::main(),
        on_hand,
        held: 0,
        allocated,
        available: on_hand - allocated,
        version: 1,
        incoming: 0,
        safety_stock: 0,
        backorder_limit: 0,
    };
    Observations {
        placed: vec![order(ANN), order(BOB), order(CID)],
        cancelled: vec![order(CID)],
        levels: vec![level("A", 10, 4), level("B", 1, 0)],
        provider_net: 400,
        provider_held: 0,
        verified: vec![("inventory", Verified { events: 9, rows: 3, ..Default::default() })],
    }
}

pub(super) fn logged(aggregate: &str, body: Body) -> Logged {
    let event = proto::Event {
        shop: "acme".into(),
        aggregate_id: aggregate.into(),
        body: Some(body),
        ..Default::default()
    };
    Logged { sequence: 0, positions: BTreeMap::new(), event, stored_at_ms: None, is_voided: false }
}

#[expect(clippy::unnecessary_wraps, reason = "as it is in the messages")]
pub(super) fn money(minor: i64) -> Option<proto::Money> {
    Some(proto::Money { minor, currency: "GBP".into() })
}

#[expect(clippy::unnecessary_wraps, reason = "as it is in the messages")]
fn document(id: &str, sequence: u64) -> Option<proto::inventory::Document> {
    let (connector, id) = ("erp".into(), id.into());
    Some(proto::inventory::Document { connector, id, sequence, ..Default::default() })
}

/// So many are counted, so many are on hand then; before were so many, and so many are allocated.
fn count(
    sku: &str,
    (quantity, on_hand): (i64, i64),
    (on_hand_before, allocated): (i64, i64),
    sequence: u64,
) -> Body {
    fact(Inventory::Counted(proto::inventory::Counted {
        sku: sku.into(),
        location: "main".into(),
        document: document(&format!("D{sequence}"), sequence).map(|document| match sequence {
            3 => proto::inventory::Document { id: "D1".into(), ..document },
            _ => document,
        }),
        quantity,
        on_hand,
        on_hand_before,
        allocated,
        ..Default::default()
    }))
}

/// A document of its own, with units that have come; it leaves them on hand and allocated.
pub(super) fn received(delta: i64, [on_hand, allocated]: [i64; 2], sequence: u64) -> Inventory {
    Inventory::Adjusted(proto::inventory::Adjusted {
        sku: "A".into(),
        location: "main".into(),
        document: document(&format!("D{sequence}"), sequence),
        delta,
        reason: "received".into(),
        on_hand,
        allocated,
        ..Default::default()
    })
}

fn adjust(sku: &str, delta: i64, on_hand: i64, sequence: u64) -> Body {
    fact(Inventory::Adjusted(proto::inventory::Adjusted {
        sku: sku.into(),
        location: "main".into(),
        document: document("D2", sequence),
        delta,
        reason: "received".into(),
        on_hand,
        ..Default::default()
    }))
}

/// A count of `A` that somebody pushed later: so many are counted, so many are on hand then; before were so
/// many, and so many are allocated.
pub(super) fn counted(units: (i64, i64), before: (i64, i64), sequence: u64) -> Logged {
    logged("A@main", count("A", units, before, sequence))
}

/// The orders that cannot be served of `A`, with their units.
pub(super) fn short(on_hand: i64, promised: i64, orders: &[(&str, i64)]) -> Logged {
    let order = |(order, quantity): &(&str, i64)| proto::inventory::ShortOrder {
        order_id: (*order).to_owned(),
        quantity: *quantity,
    };
    let short = Inventory::Short(proto::inventory::Short {
        sku: "A".into(),
        location: "main".into(),
        on_hand,
        promised,
        missing: promised - on_hand,
        orders: orders.iter().map(order).collect(),
        part: 1,
        ..Default::default()
    });
    logged("A@main", fact(short))
}

/// Units of `A` leave for an order by the document with that sequence; it leaves them on hand, held and
/// allocated.
pub(super) fn shipped(
    order: &str,
    sequence: u64,
    (from_allocation, excess): (i64, i64),
    [on_hand, held, allocated]: [i64; 3],
) -> Logged {
    let shipped = Inventory::Shipped(proto::inventory::Shipped {
        sku: "A".into(),
        location: "main".into(),
        document: document(&format!("GI-{sequence}"), sequence),
        order_id: order.into(),
        quantity: from_allocation + excess,
        from_allocation,
        excess,
        on_hand,
        held,
        allocated,
        ..Default::default()
    });
    logged("A@main", fact(shipped))
}

pub(super) fn lines(lines: &[(&str, i64)]) -> Vec<proto::inventory::StockLine> {
    let line = |(sku, quantity): &(&str, i64)| proto::inventory::StockLine {
        sku: (*sku).into(),
        location: "main".into(),
        quantity: *quantity,
        ..Default::default()
    };
    lines.iter().map(line).collect()
}

fn held(order: &str, wanted: &[(&str, i64)]) -> Body {
    fact(reserved(order, wanted))
}

pub(super) fn reserved(order: &str, wanted: &[(&str, i64)]) -> Inventory {
    let (order_id, lines) = (order.into(), lines(wanted));
    Inventory::Reserved(proto::inventory::Reserved { order_id, lines, expires_at: None })
}

pub(super) fn released(order: &str, wanted: &[(&str, i64)]) -> Inventory {
    freed(order, wanted, inventory::ReleaseReason::Cancelled)
}

pub(super) fn expired(order: &str, wanted: &[(&str, i64)]) -> Logged {
    logged(order, fact(freed(order, wanted, inventory::ReleaseReason::Expired)))
}

fn freed(order: &str, wanted: &[(&str, i64)], reason: inventory::ReleaseReason) -> Inventory {
    let (order_id, lines) = (order.into(), lines(wanted));
    let reason = reason.into();
    Inventory::Released(proto::inventory::Released { order_id, lines, reason })
}

fn payment_due(minor: i64) -> Order {
    Order::PaymentDue(proto::order::PaymentDue { amount: money(minor), ..Default::default() })
}

pub(super) fn cancelled(reason: order::CancelReason) -> Order {
    Order::Cancelled(proto::order::Cancelled { reason: reason.into(), ..Default::default() })
}

fn granted(operation: &str, minor: i64) -> Payment {
    Payment::Authorized(proto::payment::Authorized {
        operation_id: operation.into(),
        amount: money(minor),
    })
}

/// Something that is a fact of a service.
pub(super) trait Fact {
    fn body(self) -> Body;
}

impl Fact for Inventory {
    fn body(self) -> Body {
        Body::Inventory(proto::inventory::InventoryEvent { kind: Some(self) })
    }
}

impl Fact for Order {
    fn body(self) -> Body {
        Body::Order(proto::order::OrderEvent { kind: Some(self), summary: None })
    }
}

impl Fact for Payment {
    fn body(self) -> Body {
        Body::Payment(proto::payment::PaymentEvent { kind: Some(self), summary: None })
    }
}

pub(super) fn fact(fact: impl Fact) -> Body {
    fact.body()
}
