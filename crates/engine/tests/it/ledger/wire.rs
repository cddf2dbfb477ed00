//! The ledger's inputs and events in the carriers that it borrows from the order service.

use engine::WireError;
use events::{
    proto::{
        self, CancelReason, OrderCancelled, OrderConfirmed, OrderEvent, OrderPaid, OrderPaymentDue,
        OrderPlaced, catalog_event, inventory_event, order_event::Kind,
    },
    time::Timestamp,
};

use super::{Event, Fact, HUGE_AMOUNT, Input, Line, Then};

pub(super) fn command(command: proto::Command) -> Result<Input, WireError> {
    match command.body.ok_or(WireError::Missing("body"))? {
        proto::command::Body::PlaceOrder(deposit) => Ok(Input::Deposit {
            account: deposit.order_id,
            then: match deposit.payment_method.as_str() {
                "promise" => Then::Promise,
                "charge" => Then::Charge,
                _ => Then::Nothing,
            },
            lines: deposit
                .lines
                .into_iter()
                .map(|line| Line {
                    sku: line.sku,
                    quantity: line.quantity,
                    unit_price: line.unit_price,
                })
                .collect(),
        }),
        proto::command::Body::CancelOrder(close) => Ok(Input::Close { account: close.order_id }),
        proto::command::Body::PutProducts(_) => Err(WireError::Unexpected("PutProducts")),
        proto::command::Body::RecordStock(_) => Err(WireError::Unexpected("RecordStock")),
    }
}

pub(super) fn foreign(event: proto::Event) -> Result<Input, WireError> {
    match event.body {
        Some(proto::event::Body::Inventory(proto::InventoryEvent {
            kind: Some(inventory_event::Kind::Counted(counted)),
        })) => Ok(Input::Counted {
            account: event.aggregate_id,
            units: counted.quantity,
            times: counted.on_hand as usize,
        }),
        Some(proto::event::Body::Catalog(proto::CatalogEvent {
            kind: Some(catalog_event::Kind::Created(created)),
        })) => priced(created.sku, created.price),
        Some(proto::event::Body::Catalog(proto::CatalogEvent {
            kind: Some(catalog_event::Kind::Updated(updated)),
        })) => priced(updated.sku, updated.price),
        _ => Err(WireError::Unexpected("the event")),
    }
}

fn priced(sku: String, price: Option<proto::Money>) -> Result<Input, WireError> {
    Ok(Input::Priced { sku, price: price.ok_or(WireError::Missing("price"))?.minor })
}

pub(super) fn encode(event: &Event) -> proto::event::Body {
    let money = |minor| {
        let currency = if minor == HUGE_AMOUNT { "G".repeat(1_100_000) } else { "GBP".to_owned() };
        Some(proto::Money { minor, currency })
    };
    let cancelled = |reason: CancelReason| {
        Kind::Cancelled(OrderCancelled { reason: reason.into(), ..Default::default() })
    };
    let kind = match event.fact {
        Fact::Deposited { amount } => {
            Kind::Placed(OrderPlaced { total: money(amount), ..Default::default() })
        }
        Fact::Promised { until } => {
            Kind::PaymentDue(OrderPaymentDue { due_by: Some(until.into()), ..Default::default() })
        }
        Fact::Lapsed => cancelled(CancelReason::PaymentTimeout),
        Fact::ChargePending { amount } => Kind::Confirmed(OrderConfirmed { amount: money(amount) }),
        Fact::Charged { amount } => Kind::Paid(OrderPaid { amount: money(amount) }),
        Fact::Closed => cancelled(CancelReason::Requested),
    };
    proto::event::Body::Order(OrderEvent { kind: Some(kind) })
}

pub(super) fn decode(aggregate: &str, body: proto::event::Body) -> Result<Event, WireError> {
    let proto::event::Body::Order(OrderEvent { kind: Some(kind) }) = body else {
        return Err(WireError::Unexpected("the event"));
    };
    let minor = |money: Option<proto::Money>| {
        money.map(|money| money.minor).ok_or(WireError::Missing("amount"))
    };
    let fact = match kind {
        Kind::Placed(placed) => Fact::Deposited { amount: minor(placed.total)? },
        Kind::PaymentDue(due) => Fact::Promised { until: Timestamp::parse(due.due_by.as_ref())? },
        Kind::Confirmed(confirmed) => Fact::ChargePending { amount: minor(confirmed.amount)? },
        Kind::Paid(paid) => Fact::Charged { amount: minor(paid.amount)? },
        Kind::Cancelled(cancelled) if cancelled.reason() == CancelReason::Requested => Fact::Closed,
        Kind::Cancelled(_) => Fact::Lapsed,
        Kind::Authorized(_) => return Err(WireError::Unexpected("authorized")),
    };
    Ok(Event { account: aggregate.to_owned(), fact })
}
