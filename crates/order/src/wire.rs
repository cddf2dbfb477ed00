//! Bytes ⇄ domain: the only file that sees protobuf.

use engine::WireError;
use events::{
    id::{CustomerId, OrderId, ParseError, Quantity, Reference, Sku},
    money::{Currency, MAX_UNIT_PRICE, Money},
    proto::{
        self, catalog_event::Kind as Catalog, command::Body as Command, event::Body,
        inventory_event::Kind as Inventory, order_event::Kind, payment_event::Kind as Payment,
    },
    time::Timestamp,
    view::{CancelReason, Cancellation, Charge, OrderLine, Shortage},
};

use crate::domain::{Content, Event, Fact, Input, Price, Request, RequestedLine, Signal};

/// The most characters of a free text that are kept.
const MAX_TEXT_CHARS: usize = 1_000;

/// Turns a command into an input.
pub(crate) fn command(command: proto::Command) -> Result<Input, WireError> {
    match command.body.ok_or(WireError::Missing("body"))? {
        Command::PlaceOrder(order) => Ok(Input::Place(request(order)?)),
        Command::CancelOrder(order) => Ok(Input::Cancel {
            order_id: OrderId::parse(&order.order_id)?,
            note: text(&order.note),
        }),
        Command::PutProducts(_) => Err(WireError::Unexpected("put_products")),
        Command::RecordStock(_) => Err(WireError::Unexpected("record_stock")),
    }
}

/// Turns an event of another service into an input.
pub(crate) fn foreign(event: proto::Event) -> Result<Input, WireError> {
    match event.body.ok_or(WireError::Missing("body"))? {
        Body::Inventory(fact) => stock(fact.kind.ok_or(WireError::Missing("inventory.kind"))?),
        Body::Payment(fact) => {
            let order_id = OrderId::parse(&event.aggregate_id)?;
            let signal = payment(fact.kind.ok_or(WireError::Missing("payment.kind"))?)?;
            Ok(Input::Signal { order_id, signal })
        }
        Body::Catalog(fact) => product(fact.kind.ok_or(WireError::Missing("catalog.kind"))?),
        Body::Order(_) => Err(WireError::Unexpected("order")),
        Body::Engine(_) => Err(WireError::Unexpected("engine")),
    }
}

/// Turns an event into its wire form.
pub(crate) fn encode(event: &Event) -> Body {
    let kind = match &event.fact {
        Fact::Placed { content, total, payment_method, reserve_by } => {
            Kind::Placed(proto::OrderPlaced {
                reference: optional(content.reference.as_ref()),
                customer_id: optional(content.customer_id.as_ref()),
                country: content.country.clone(),
                lines: content.lines.iter().map(line_to_wire).collect(),
                charges: content.charges.iter().map(charge_to_wire).collect(),
                total: Some((*total).into()),
                payment_method: payment_method.clone(),
                reserve_by: Some((*reserve_by).into()),
            })
        }
        Fact::PaymentDue { amount, payment_method, due_by } => {
            Kind::PaymentDue(proto::OrderPaymentDue {
                amount: Some((*amount).into()),
                payment_method: payment_method.clone(),
                due_by: Some((*due_by).into()),
            })
        }
        Fact::Authorized { allocate_by } => {
            Kind::Authorized(proto::OrderAuthorized { allocate_by: Some((*allocate_by).into()) })
        }
        Fact::Confirmed { amount } => {
            Kind::Confirmed(proto::OrderConfirmed { amount: Some((*amount).into()) })
        }
        Fact::Paid { amount } => Kind::Paid(proto::OrderPaid { amount: Some((*amount).into()) }),
        Fact::Cancelled(cancellation) => Kind::Cancelled(proto::OrderCancelled {
            reason: reason_to_wire(cancellation.reason).into(),
            detail: cancellation.detail.clone(),
            shortages: cancellation.shortages.iter().map(shortage_to_wire).collect(),
        }),
    };
    Body::Order(proto::OrderEvent { kind: Some(kind) })
}

/// Turns the wire form of an event of an order back into it.
pub(crate) fn decode(aggregate: &str, body: Body) -> Result<Event, WireError> {
    let Body::Order(event) = body else {
        return Err(WireError::Unexpected("another service's event"));
    };
    let fact = match event.kind.ok_or(WireError::Missing("order.kind"))? {
        Kind::Placed(placed) => decode_placed(placed)?,
        Kind::PaymentDue(due) => Fact::PaymentDue {
            amount: Money::parse(due.amount.as_ref())?,
            payment_method: due.payment_method,
            due_by: Timestamp::parse(due.due_by.as_ref())?,
        },
        Kind::Authorized(authorized) => {
            Fact::Authorized { allocate_by: Timestamp::parse(authorized.allocate_by.as_ref())? }
        }
        Kind::Confirmed(confirmed) => {
            Fact::Confirmed { amount: Money::parse(confirmed.amount.as_ref())? }
        }
        Kind::Paid(paid) => Fact::Paid { amount: Money::parse(paid.amount.as_ref())? },
        Kind::Cancelled(cancelled) => Fact::Cancelled(Cancellation {
            reason: reason(&cancelled)?,
            detail: cancelled.detail,
            shortages: shortages(&cancelled.shortages)?,
        }),
    };
    Ok(Event { order_id: OrderId::parse(aggregate)?, fact })
}

fn decode_placed(placed: proto::OrderPlaced) -> Result<Fact, WireError> {
    let lines = placed.lines.iter().map(line).collect::<Result<_, _>>()?;
    let content = Content {
        reference: parsed(&placed.reference, Reference::parse)?,
        customer_id: parsed(&placed.customer_id, CustomerId::parse)?,
        country: placed.country,
        lines,
        charges: placed.charges.into_iter().map(charge).collect(),
    };
    Ok(Fact::Placed {
        content,
        total: Money::parse(placed.total.as_ref())?,
        payment_method: placed.payment_method,
        reserve_by: Timestamp::parse(placed.reserve_by.as_ref())?,
    })
}

fn request(order: proto::PlaceOrder) -> Result<Request, WireError> {
    let charges = order.charges.into_iter().map(charge);
    Ok(Request {
        order_id: OrderId::parse(&order.order_id)?,
        reference: parsed(&order.reference, Reference::parse)?,
        customer_id: parsed(&order.customer_id, CustomerId::parse)?,
        country: text(&order.country),
        currency: Currency::parse(&order.currency)?,
        lines: order.lines.iter().map(requested_line).collect::<Result<_, _>>()?,
        charges: charges.map(|it| Charge { code: text(&it.code), ..it }).collect(),
        payment_method: text(&order.payment_method),
    })
}

fn requested_line(line: &proto::RequestedLine) -> Result<RequestedLine, ParseError> {
    let unit_price = line.unit_price.map(|price| match price {
        0..=MAX_UNIT_PRICE => Ok(price),
        _ => Err(ParseError::new("unit_price", "must be 0 to 1000000000000", &price.to_string())),
    });
    Ok(RequestedLine {
        sku: Sku::parse(&line.sku)?,
        quantity: Quantity::parse(line.quantity)?,
        unit_price: unit_price.transpose()?,
    })
}

fn stock(kind: Inventory) -> Result<Input, WireError> {
    let (order_id, signal) = match kind {
        Inventory::Reserved(reserved) => (reserved.order_id, Signal::Reserved),
        Inventory::Refused(refused) => {
            let shortages = shortages(&refused.shortages)?;
            (refused.order_id, Signal::Refused { shortages })
        }
        Inventory::Allocated(allocated) => (allocated.order_id, Signal::Allocated),
        Inventory::Lost(lost) => {
            let shortages = shortages(&lost.shortages)?;
            (lost.order_id, Signal::Lost { shortages })
        }
        Inventory::Counted(_) => return Err(WireError::Unexpected("inventory.counted")),
        Inventory::Adjusted(_) => return Err(WireError::Unexpected("inventory.adjusted")),
        Inventory::Short(_) => return Err(WireError::Unexpected("inventory.short")),
        Inventory::Released(_) => return Err(WireError::Unexpected("inventory.released")),
    };
    Ok(Input::Signal { order_id: OrderId::parse(&order_id)?, signal })
}

fn payment(kind: Payment) -> Result<Signal, WireError> {
    let unexpected = match kind {
        Payment::Authorized(_) => return Ok(Signal::Authorized),
        Payment::Declined(declined) => return Ok(Signal::Declined { code: text(&declined.code) }),
        Payment::Failed(failed) => return Ok(Signal::Failed { detail: text(&failed.detail) }),
        Payment::Captured(captured) => {
            return Ok(Signal::Captured { amount: Money::parse(captured.amount.as_ref())? });
        }
        Payment::CaptureFailed(failed) => {
            return Ok(Signal::CaptureFailed { code: text(&failed.code) });
        }
        Payment::AuthorizationPending(_) => "payment.authorization_pending",
        Payment::CapturePending(_) => "payment.capture_pending",
        Payment::VoidPending(_) => "payment.void_pending",
        Payment::Voided(_) => "payment.voided",
        Payment::RefundPending(_) => "payment.refund_pending",
        Payment::Refunded(_) => "payment.refunded",
        Payment::Abandoned(_) => "payment.abandoned",
        Payment::CancelRequested(_) => "payment.cancel_requested",
    };
    Err(WireError::Unexpected(unexpected))
}

fn product(kind: Catalog) -> Result<Input, WireError> {
    let (sku, price, active) = match kind {
        Catalog::Created(created) => (created.sku, created.price, created.active),
        Catalog::Updated(updated) => (updated.sku, updated.price, true),
        Catalog::Discontinued(discontinued) => (discontinued.sku, discontinued.price, false),
    };
    let price = Price { price: Money::parse(price.as_ref())?, active };
    Ok(Input::Priced { sku: Sku::parse(&sku)?, price })
}

fn line(line: &proto::OrderLine) -> Result<OrderLine, ParseError> {
    Ok(OrderLine {
        sku: Sku::parse(&line.sku)?,
        quantity: Quantity::parse(line.quantity)?,
        unit_price: line.unit_price,
    })
}

fn line_to_wire(line: &OrderLine) -> proto::OrderLine {
    proto::OrderLine {
        sku: line.sku.to_string(),
        quantity: line.quantity.get(),
        unit_price: line.unit_price,
    }
}

fn charge(charge: proto::OrderCharge) -> Charge {
    Charge { code: charge.code, amount: charge.amount }
}

fn charge_to_wire(charge: &Charge) -> proto::OrderCharge {
    proto::OrderCharge { code: charge.code.clone(), amount: charge.amount }
}

fn shortages(shortages: &[proto::Shortage]) -> Result<Vec<Shortage>, ParseError> {
    let parse = |it: &proto::Shortage| {
        let sku = Sku::parse(&it.sku)?;
        Ok(Shortage { sku, requested: it.requested, available: it.available })
    };
    shortages.iter().map(parse).collect()
}

fn shortage_to_wire(shortage: &Shortage) -> proto::Shortage {
    proto::Shortage {
        sku: shortage.sku.to_string(),
        requested: shortage.requested,
        available: shortage.available,
    }
}

fn reason(cancelled: &proto::OrderCancelled) -> Result<CancelReason, ParseError> {
    match cancelled.reason() {
        proto::CancelReason::Requested => Ok(CancelReason::Requested),
        proto::CancelReason::OutOfStock => Ok(CancelReason::OutOfStock),
        proto::CancelReason::StockTimeout => Ok(CancelReason::StockTimeout),
        proto::CancelReason::PaymentDeclined => Ok(CancelReason::PaymentDeclined),
        proto::CancelReason::PaymentFailed => Ok(CancelReason::PaymentFailed),
        proto::CancelReason::PaymentTimeout => Ok(CancelReason::PaymentTimeout),
        proto::CancelReason::StockLost => Ok(CancelReason::StockLost),
        proto::CancelReason::CaptureFailed => Ok(CancelReason::CaptureFailed),
        proto::CancelReason::Unspecified => {
            let value = cancelled.reason.to_string();
            Err(ParseError::new("reason", "must be one that this version knows", &value))
        }
    }
}

fn reason_to_wire(reason: CancelReason) -> proto::CancelReason {
    match reason {
        CancelReason::Requested => proto::CancelReason::Requested,
        CancelReason::OutOfStock => proto::CancelReason::OutOfStock,
        CancelReason::StockTimeout => proto::CancelReason::StockTimeout,
        CancelReason::PaymentDeclined => proto::CancelReason::PaymentDeclined,
        CancelReason::PaymentFailed => proto::CancelReason::PaymentFailed,
        CancelReason::PaymentTimeout => proto::CancelReason::PaymentTimeout,
        CancelReason::StockLost => proto::CancelReason::StockLost,
        CancelReason::CaptureFailed => proto::CancelReason::CaptureFailed,
    }
}

/// A text that is absent when it is empty.
fn parsed<T>(
    value: &str,
    parse: fn(&str) -> Result<T, ParseError>,
) -> Result<Option<T>, ParseError> {
    if value.is_empty() { Ok(None) } else { parse(value).map(Some) }
}

/// An absent text is empty on the wire.
fn optional<T: ToString>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
}

/// A free text as it can be stored: Postgres takes no NUL, and a text without an end would not fit
/// into an event.
fn text(value: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    value.chars().take(MAX_TEXT_CHARS).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "018f0000-0000-7000-8000-000000000001";

    fn wire_request() -> proto::PlaceOrder {
        proto::PlaceOrder {
            order_id: ID.into(),
            reference: "PO 1".into(),
            currency: "GBP".into(),
            lines: vec![proto::RequestedLine {
                sku: "A".into(),
                quantity: 2,
                unit_price: Some(250),
            }],
            payment_method: "card".into(),
            ..Default::default()
        }
    }

    fn place(order: proto::PlaceOrder) -> Result<Input, WireError> {
        command(proto::Command { body: Some(Command::PlaceOrder(order)), ..Default::default() })
    }

    #[test]
    fn every_event_survives_the_way_through_the_wire() {
        let money = Money { minor: 500, currency: Currency::parse("GBP").unwrap() };
        let at = Timestamp::from_millis(1_300_000_000_123);
        let content = Content {
            reference: Some(Reference::parse("PO 1").unwrap()),
            customer_id: None,
            country: "France".into(),
            lines: vec![OrderLine {
                sku: Sku::parse("A").unwrap(),
                quantity: Quantity::parse(2).unwrap(),
                unit_price: 250,
            }],
            charges: vec![Charge { code: "POST".into(), amount: -3 }],
        };
        let cancelled = |reason| {
            Fact::Cancelled(Cancellation {
                reason,
                detail: "why".into(),
                shortages: vec![Shortage {
                    sku: Sku::parse("A").unwrap(),
                    requested: 2,
                    available: 1,
                }],
            })
        };
        let method = "card".to_owned();
        let facts = [
            Fact::Placed { content, total: money, payment_method: method.clone(), reserve_by: at },
            Fact::PaymentDue { amount: money, payment_method: method, due_by: at },
            Fact::Authorized { allocate_by: at },
            Fact::Confirmed { amount: money },
            Fact::Paid { amount: money },
            cancelled(CancelReason::Requested),
            cancelled(CancelReason::OutOfStock),
            cancelled(CancelReason::StockTimeout),
            cancelled(CancelReason::PaymentDeclined),
            cancelled(CancelReason::PaymentFailed),
            cancelled(CancelReason::PaymentTimeout),
            cancelled(CancelReason::StockLost),
            cancelled(CancelReason::CaptureFailed),
        ];
        for fact in facts {
            let event = Event { order_id: OrderId::parse(ID).unwrap(), fact };
            assert_eq!(decode(ID, encode(&event)).unwrap(), event);
        }
    }

    #[test]
    fn a_price_that_could_overflow_a_total_is_refused_by_name() {
        for price in [-1, MAX_UNIT_PRICE + 1, i64::MAX] {
            let mut order = wire_request();
            order.lines[0].unit_price = Some(price);
            let error = place(order).expect_err("is out of range").to_string();
            assert_eq!(error, format!("unit_price must be 0 to 1000000000000, got \"{price}\""));
        }
        assert!(place(wire_request()).is_ok());
    }

    #[test]
    fn a_text_that_no_database_takes_is_made_harmless() {
        let mut order = wire_request();
        order.country = "\0France\n".into();
        order.payment_method = "x".repeat(MAX_TEXT_CHARS + 1);
        let Ok(Input::Place(request)) = place(order) else { panic!("is a valid order") };
        assert_eq!(request.country, " France ");
        assert_eq!(request.payment_method.len(), MAX_TEXT_CHARS);
    }

    #[test]
    fn an_answer_of_payment_concerns_the_order_that_its_envelope_names() {
        let captured = proto::PaymentCaptured {
            operation_id: "o".into(),
            amount: Some(proto::Money { minor: 5, currency: "GBP".into() }),
        };
        let event = proto::Event {
            aggregate_id: ID.into(),
            body: Some(Body::Payment(proto::PaymentEvent {
                kind: Some(Payment::Captured(captured)),
            })),
            ..Default::default()
        };
        let Ok(Input::Signal { order_id, signal: Signal::Captured { amount } }) = foreign(event)
        else {
            panic!("is a signal")
        };
        assert_eq!((order_id.to_string().as_str(), amount.minor), (ID, 5));
    }

    #[test]
    fn what_this_service_does_not_read_is_refused_by_name() {
        let released = Inventory::Released(proto::StockReleased::default());
        let event = proto::Event {
            body: Some(Body::Inventory(proto::InventoryEvent { kind: Some(released) })),
            ..Default::default()
        };
        let error = foreign(event).expect_err("is not read").to_string();
        assert_eq!(error, "inventory.released is not handled by this service");
        assert!(command(proto::Command::default()).is_err());
    }
}
