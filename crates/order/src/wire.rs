//! Bytes to domain and back: the only file that sees protobuf.

mod answers;
mod questions;
#[cfg(test)]
mod tests;

use engine::{Encoded, Wire, WireError};
use events::{
    id::{CustomerId, OrderId, PaymentId, Quantity, Reference, Sku},
    money::{Currency, MAX_UNIT_PRICE, Money},
    names,
    proto::{
        self, catalog::catalog_event::Kind as Catalog, command::Body as Command, event::Body,
        inventory::inventory_event::Kind as Inventory, order::order_event::Kind,
        payment::payment_event::Kind as Payment,
    },
};
use prost::Message;
use protocol::{id::ParseError, time::Timestamp};

use crate::{
    Orders,
    domain::{
        Answer, CancelReason, Cancellation, Charge, Event, Fact, Input, OrderLine, OrderStatus,
        Request, RequestedLine, Shortage, Signal,
    },
    query::{Found, Question},
    store::{OrderContent, Price},
};

/// The most characters of a free text that are kept.
const MAX_TEXT_CHARS: usize = 1_000;

impl Wire for Orders {
    type Input = Input;
    type Event = Event;
    type Answer = Answer;
    type Question = Question;
    type Found = Found;

    fn command(payload: &[u8]) -> Result<Input, WireError> {
        match proto::Command::decode(payload)?.body.ok_or(WireError::Missing("body"))? {
            Command::PlaceOrder(order) => Ok(Input::Place(request(order)?)),
            Command::CancelOrder(order) => Ok(Input::Cancel {
                order_id: OrderId::parse(&order.order_id)?,
                note: text(&order.note),
            }),
            other => Err(WireError::Unexpected(names::command_name(&other).1)),
        }
    }

    fn foreign(payload: &[u8]) -> Result<Input, WireError> {
        let event = proto::EventFact::decode(payload)?;
        match event.body.ok_or(WireError::Missing("body"))? {
            Body::Inventory(fact) => stock(fact.kind.ok_or(WireError::Missing("kind"))?),
            Body::Payment(fact) => {
                let PaymentId { order_id, .. } = PaymentId::parse(&event.aggregate_id)?;
                let signal = payment(fact.kind.ok_or(WireError::Missing("kind"))?)?;
                Ok(Input::Signal { order_id, signal })
            }
            Body::Catalog(fact) => product(fact.kind.ok_or(WireError::Missing("kind"))?),
            other => Err(unexpected(&other)),
        }
    }

    fn encode(event: &Event) -> Encoded {
        let body = Body::Order(proto::order::OrderEvent { kind: Some(encode_fact(event)) });
        let name = names::event_name(&body).unwrap_or_default();
        let envelope = proto::Event { body: Some(body), ..Default::default() };
        Encoded::new(name, envelope.encode_to_vec())
    }

    fn decode(payload: &[u8]) -> Result<Event, WireError> {
        let event = proto::EventFact::decode(payload)?;
        let fact = match event.body.ok_or(WireError::Missing("body"))? {
            Body::Order(fact) => decode_fact(fact.kind.ok_or(WireError::Missing("kind"))?)?,
            other => return Err(unexpected(&other)),
        };
        Ok(Event { order_id: OrderId::parse(&event.aggregate_id)?, fact })
    }

    fn encode_answer(answer: &Answer) -> Vec<u8> {
        answers::encode(answer)
    }

    fn question(payload: &[u8]) -> Result<Question, WireError> {
        questions::decode(payload)
    }

    fn encode_found(found: Found) -> Vec<u8> {
        questions::encode(found)
    }
}

fn unexpected(body: &Body) -> WireError {
    WireError::Unexpected(names::event_name(body).unwrap_or("an event without a kind"))
}

fn encode_fact(Event { order_id, fact }: &Event) -> Kind {
    // An order has one payment.
    let payment_id = || PaymentId::first(*order_id).to_string();
    match fact {
        Fact::Placed { content, total, payment_method, reserve_by } => {
            Kind::Placed(proto::order::Placed {
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
            Kind::PaymentDue(proto::order::PaymentDue {
                amount: Some((*amount).into()),
                payment_method: payment_method.clone(),
                due_by: Some((*due_by).into()),
                payment_id: payment_id(),
            })
        }
        Fact::Authorized { allocate_by } => {
            Kind::Authorized(proto::order::Authorized { allocate_by: Some((*allocate_by).into()) })
        }
        Fact::Confirmed { amount } => {
            let (amount, payment_id) = (Some((*amount).into()), payment_id());
            Kind::Confirmed(proto::order::Confirmed { amount, payment_id })
        }
        Fact::Paid { amount } => Kind::Paid(proto::order::Paid { amount: Some((*amount).into()) }),
        Fact::Cancelled(cancellation) => Kind::Cancelled(cancellation_to_wire(cancellation)),
    }
}

fn decode_fact(kind: Kind) -> Result<Fact, WireError> {
    Ok(match kind {
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
    })
}

fn decode_placed(placed: proto::order::Placed) -> Result<Fact, WireError> {
    let lines = placed.lines.iter().map(line).collect::<Result<_, _>>()?;
    let content = OrderContent {
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

fn request(order: proto::order::PlaceOrder) -> Result<Request, WireError> {
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

fn requested_line(line: &proto::order::RequestedLine) -> Result<RequestedLine, ParseError> {
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
            let shortages = shortages_of_stock(&refused.shortages)?;
            (refused.order_id, Signal::Refused { shortages })
        }
        Inventory::Allocated(allocated) => (allocated.order_id, Signal::Allocated),
        Inventory::Lost(lost) => {
            let shortages = shortages_of_stock(&lost.shortages)?;
            (lost.order_id, Signal::Lost { shortages })
        }
        Inventory::Counted(_) => return Err(WireError::Unexpected("inventory.counted")),
        Inventory::Adjusted(_) => return Err(WireError::Unexpected("inventory.adjusted")),
        Inventory::Short(_) => return Err(WireError::Unexpected("inventory.short")),
        Inventory::Released(_) => return Err(WireError::Unexpected("inventory.released")),
        Inventory::Shipped(_) => return Err(WireError::Unexpected("inventory.shipped")),
        Inventory::LocationCreated(_) => {
            return Err(WireError::Unexpected("inventory.location_created"));
        }
        Inventory::LocationChanged(_) => {
            return Err(WireError::Unexpected("inventory.location_changed"));
        }
        Inventory::LimitsChanged(_) => {
            return Err(WireError::Unexpected("inventory.limits_changed"));
        }
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
        Payment::CancelRequested(_) => "payment.cancel_requested",
        Payment::Uncertain(_) => "payment.uncertain",
        Payment::Stuck(_) => "payment.stuck",
        Payment::SettledByOperator(_) => "payment.settled_by_operator",
    };
    Err(WireError::Unexpected(unexpected))
}

fn product(kind: Catalog) -> Result<Input, WireError> {
    let product = match kind {
        Catalog::Created(created) => created.product,
        Catalog::Updated(updated) => updated.after,
        Catalog::Archived(archived) => archived.after,
    };
    let product = product.ok_or(WireError::Missing("product"))?;
    let price = product.price.ok_or(WireError::Missing("price"))?;
    let price = Price { price: Money::parse(price.money.as_ref())?, active: product.active };
    Ok(Input::Priced { sku: Sku::parse(&product.sku)?, price })
}

fn line(line: &proto::order::Line) -> Result<OrderLine, ParseError> {
    Ok(OrderLine {
        sku: Sku::parse(&line.sku)?,
        quantity: Quantity::parse(line.quantity)?,
        unit_price: line.unit_price,
    })
}

fn line_to_wire(line: &OrderLine) -> proto::order::Line {
    proto::order::Line {
        sku: line.sku.to_string(),
        quantity: line.quantity.get(),
        unit_price: line.unit_price,
    }
}

fn charge(charge: proto::order::Charge) -> Charge {
    Charge { code: charge.code, amount: charge.amount }
}

fn charge_to_wire(charge: &Charge) -> proto::order::Charge {
    proto::order::Charge { code: charge.code.clone(), amount: charge.amount }
}

fn shortages(shortages: &[proto::order::Shortage]) -> Result<Vec<Shortage>, ParseError> {
    shortages.iter().map(|it| shortage(&it.sku, it.requested, it.available)).collect()
}

fn shortages_of_stock(
    shortages: &[proto::inventory::Shortage],
) -> Result<Vec<Shortage>, ParseError> {
    shortages.iter().map(|it| shortage(&it.sku, it.requested, it.available)).collect()
}

fn shortage(sku: &str, requested: i64, available: i64) -> Result<Shortage, ParseError> {
    Ok(Shortage { sku: Sku::parse(sku)?, requested, available })
}

fn cancellation_to_wire(cancellation: &Cancellation) -> proto::order::Cancelled {
    proto::order::Cancelled {
        reason: reason_to_wire(cancellation.reason).into(),
        detail: cancellation.detail.clone(),
        shortages: cancellation.shortages.iter().map(shortage_to_wire).collect(),
    }
}

fn shortage_to_wire(shortage: &Shortage) -> proto::order::Shortage {
    proto::order::Shortage {
        sku: shortage.sku.to_string(),
        requested: shortage.requested,
        available: shortage.available,
    }
}

fn reason(cancelled: &proto::order::Cancelled) -> Result<CancelReason, ParseError> {
    match cancelled.reason() {
        proto::order::CancelReason::Requested => Ok(CancelReason::Requested),
        proto::order::CancelReason::OutOfStock => Ok(CancelReason::OutOfStock),
        proto::order::CancelReason::StockTimeout => Ok(CancelReason::StockTimeout),
        proto::order::CancelReason::PaymentDeclined => Ok(CancelReason::PaymentDeclined),
        proto::order::CancelReason::PaymentFailed => Ok(CancelReason::PaymentFailed),
        proto::order::CancelReason::PaymentTimeout => Ok(CancelReason::PaymentTimeout),
        proto::order::CancelReason::StockLost => Ok(CancelReason::StockLost),
        proto::order::CancelReason::CaptureFailed => Ok(CancelReason::CaptureFailed),
        proto::order::CancelReason::Unspecified => {
            let value = cancelled.reason.to_string();
            Err(ParseError::new("reason", "must be one that this version knows", &value))
        }
    }
}

fn reason_to_wire(reason: CancelReason) -> proto::order::CancelReason {
    match reason {
        CancelReason::Requested => proto::order::CancelReason::Requested,
        CancelReason::OutOfStock => proto::order::CancelReason::OutOfStock,
        CancelReason::StockTimeout => proto::order::CancelReason::StockTimeout,
        CancelReason::PaymentDeclined => proto::order::CancelReason::PaymentDeclined,
        CancelReason::PaymentFailed => proto::order::CancelReason::PaymentFailed,
        CancelReason::PaymentTimeout => proto::order::CancelReason::PaymentTimeout,
        CancelReason::StockLost => proto::order::CancelReason::StockLost,
        CancelReason::CaptureFailed => proto::order::CancelReason::CaptureFailed,
    }
}

fn status_to_wire(status: OrderStatus) -> proto::order::OrderStatus {
    match status {
        OrderStatus::Placed => proto::order::OrderStatus::Placed,
        OrderStatus::PaymentDue => proto::order::OrderStatus::PaymentDue,
        OrderStatus::Authorized => proto::order::OrderStatus::Authorized,
        OrderStatus::Confirmed => proto::order::OrderStatus::Confirmed,
        OrderStatus::Paid => proto::order::OrderStatus::Paid,
        OrderStatus::Cancelled => proto::order::OrderStatus::Cancelled,
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
