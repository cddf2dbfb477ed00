//! The events of orders.

use engine::WireError;
use events::{
    id::{CustomerId, LineId, Location, OrderId, PaymentId, Reference, Sku},
    money::{Currency, Money},
    proto::{
        self,
        order::{self, order_event::Kind},
    },
    sealed::Sealed,
    shop::Capture,
};
use protocol::{id::ParseError, time::Timestamp};

use super::{
    fulfilment_status, fulfilment_status_to_wire, given,
    lines::{Terms, basis_of, charge, charges_to_wire, lines, lines_to_wire, listed},
    parsed, payment_status, payment_status_to_wire, reason, reason_to_wire, shortage, status,
    status_to_wire,
};
use crate::domain::{
    Action, Cancellation, Event, Fact, Failure, Hold, OneStep, ShippedLine, Shortage, Statuses,
    Summary,
};

pub(super) fn encode(event: &Event) -> order::OrderEvent {
    let kind = Some(encode_fact(event));
    order::OrderEvent { summary: Some(summary_to_wire(&event.summary)), kind }
}

fn encode_fact(Event { order_id, summary, fact }: &Event) -> Kind {
    let currency = summary.total.currency;
    let id = |number: u32| PaymentId { order_id: *order_id, number }.to_string();
    let id_if_any = |number: Option<u32>| number.map(id);
    match fact {
        Fact::Placed { .. } => Kind::Placed(encode_placed(currency, fact)),
        Fact::PaymentDue {
            payment,
            amount,
            payment_method,
            due_by,
            held_until,
            capture,
            capture_at_once,
            one_step,
            abandons,
        } => Kind::PaymentDue(order::PaymentDue {
            payment_id: id(*payment),
            amount: Some((*amount).into()),
            payment_method: payment_method.clone(),
            due_by: Some((*due_by).into()),
            held_until: held_until.map(Into::into),
            capture_policy: capture_policy_to_wire(*capture).into(),
            capture_at_once: capture_at_once.is_some(),
            one_step: *one_step,
            capture: capture_at_once.map(Into::into),
            abandoned_payment_id: id_if_any(*abandons),
        }),
        Fact::PaymentFailed { payment, failure, retry_until } => {
            Kind::PaymentFailed(payment_failed(id(*payment), failure, *retry_until))
        }
        Fact::ActionRequired { payment, action } => {
            Kind::ActionRequired(action_required(id(*payment), action))
        }
        Fact::Authorized { payment, allocate_by, one_step } => {
            Kind::Authorized(order::Authorized {
                payment_id: id_if_any(*payment),
                allocate_by: Some((*allocate_by).into()),
                one_step: one_step.as_ref().map(one_step_to_wire),
            })
        }
        Fact::Confirmed { payment, capture } => Kind::Confirmed(order::Confirmed {
            payment_id: id_if_any(*payment),
            capture: capture.map(Into::into),
        }),
        Fact::PartCaptured { payment, amount, captured } => {
            Kind::PartCaptured(order::PartCaptured {
                payment_id: id(*payment),
                amount: Some((*amount).into()),
                captured: Some((*captured).into()),
            })
        }
        Fact::Paid { payment, amount, listed } => Kind::Paid(order::Paid {
            payment_id: id_if_any(*payment),
            amount: Some((*amount).into()),
            lines: lines_to_wire(&listed.lines, Terms { currency, basis: listed.basis }),
            line_count: listed.count,
            placed_position: listed.placed_position,
        }),
        Fact::Shipped { lines, location, capture, occurred_at, .. } => {
            Kind::Shipped(order::Shipped {
                occurred_at: occurred_at.map(Into::into),
                lines: lines.iter().map(shipped_line_to_wire).collect(),
                location: location.to_string(),
                payment_id: id_if_any(capture.map(|(payment, _)| payment)),
                capture: capture.map(|(_, amount)| amount.into()),
            })
        }
        Fact::Completed => Kind::Completed(order::Completed {}),
        Fact::Refunded { payment, refund_id, amount, captured, refunded } => {
            Kind::Refunded(order::Refunded {
                payment_id: id(*payment),
                refund_id: given(refund_id),
                amount: Some((*amount).into()),
                captured: Some((*captured).into()),
                refunded: Some((*refunded).into()),
            })
        }
        Fact::PutOnHold(hold) => Kind::PutOnHold(hold_to_wire(hold)),
        Fact::TakenOffHold { note } => {
            Kind::TakenOffHold(order::TakenOffHold { note: note.clone().map(Into::into) })
        }
        Fact::Cancelled { cancellation, listed, payments } => Kind::Cancelled(order::Cancelled {
            reason: reason_to_wire(cancellation.reason).into(),
            detail: given(&cancellation.detail),
            shortages: cancellation.shortages.iter().map(shortage_to_wire).collect(),
            lines: lines_to_wire(&listed.lines, Terms { currency, basis: listed.basis }),
            line_count: listed.count,
            placed_position: listed.placed_position,
            payment_ids: (1..=*payments).map(id).collect(),
            note: cancellation.note.clone().map(Into::into),
        }),
    }
}

fn encode_placed(currency: Currency, fact: &Fact) -> order::Placed {
    let Fact::Placed {
        country,
        billing_country,
        tax_basis,
        lines,
        charges,
        payment_method,
        reserve_by,
        personal,
    } = fact
    else {
        return order::Placed::default();
    };
    let terms = Terms { currency, basis: *tax_basis };
    order::Placed {
        country: given(country),
        billing_country: given(billing_country),
        lines: lines_to_wire(lines, terms),
        charges: charges_to_wire(charges, terms),
        payment_method: payment_method.clone(),
        reserve_by: Some((*reserve_by).into()),
        personal: personal.clone().map(Into::into),
    }
}

pub(super) fn decode(order_id: OrderId, event: order::OrderEvent) -> Result<Event, WireError> {
    let summary = summary(event.summary.as_ref().ok_or(WireError::Missing("summary"))?)?;
    let fact = decode_fact(&summary, event.kind.ok_or(WireError::Missing("kind"))?)?;
    Ok(Event { order_id, summary, fact })
}

fn decode_fact(summary: &Summary, kind: Kind) -> Result<Fact, WireError> {
    Ok(match kind {
        Kind::Placed(placed) => decode_placed(placed)?,
        Kind::PaymentDue(due) => decode_payment_due(due)?,
        Kind::PaymentFailed(failed) => Fact::PaymentFailed {
            payment: number(&failed.payment_id)?,
            failure: Failure {
                code: failed.code.unwrap_or_default(),
                detail: failed.detail.unwrap_or_default(),
            },
            retry_until: Timestamp::parse_optional(failed.retry_until.as_ref())?,
        },
        Kind::ActionRequired(required) => {
            let expires_at = Timestamp::parse_optional(required.expires_at.as_ref())?;
            let (url, data) = (required.url.unwrap_or_default(), required.data.unwrap_or_default());
            let action = Action { url, data, expires_at };
            Fact::ActionRequired { payment: number(&required.payment_id)?, action }
        }
        Kind::Authorized(authorized) => Fact::Authorized {
            payment: number_if_any(authorized.payment_id())?,
            allocate_by: Timestamp::parse(authorized.allocate_by.as_ref())?,
            one_step: authorized.one_step.map(one_step).transpose()?,
        },
        Kind::Confirmed(confirmed) => Fact::Confirmed {
            payment: number_if_any(confirmed.payment_id())?,
            capture: money_if_any(confirmed.capture.as_ref())?,
        },
        Kind::PartCaptured(captured) => Fact::PartCaptured {
            payment: number(&captured.payment_id)?,
            amount: Money::parse(captured.amount.as_ref())?,
            captured: Money::parse(captured.captured.as_ref())?,
        },
        Kind::Paid(paid) => Fact::Paid {
            payment: number_if_any(paid.payment_id())?,
            amount: Money::parse(paid.amount.as_ref())?,
            listed: listed(paid.lines, paid.line_count, paid.placed_position)?,
        },
        Kind::Shipped(shipped) => decode_shipped(summary, &shipped)?,
        Kind::Completed(order::Completed {}) => Fact::Completed,
        Kind::Refunded(refunded) => Fact::Refunded {
            payment: number(&refunded.payment_id)?,
            amount: Money::parse(refunded.amount.as_ref())?,
            captured: Money::parse(refunded.captured.as_ref())?,
            refunded: Money::parse(refunded.refunded.as_ref())?,
            refund_id: refunded.refund_id.unwrap_or_default(),
        },
        Kind::PutOnHold(hold) => Fact::PutOnHold(Hold {
            sku: Sku::parse(&hold.sku)?,
            location: Location::parse(&hold.location)?,
        }),
        Kind::TakenOffHold(taken) => Fact::TakenOffHold { note: Sealed::parse(taken.note)? },
        Kind::Cancelled(cancelled) => Fact::Cancelled {
            cancellation: Cancellation {
                reason: reason(cancelled.reason)?,
                detail: cancelled.detail.unwrap_or_default(),
                shortages: shortages(&cancelled.shortages)?,
                note: Sealed::parse(cancelled.note)?,
            },
            listed: listed(cancelled.lines, cancelled.line_count, cancelled.placed_position)?,
            payments: cancelled.payment_ids.len() as u32,
        },
    })
}

fn decode_placed(placed: order::Placed) -> Result<Fact, WireError> {
    let prices = placed.lines.iter().map(|it| it.unit_price.as_ref());
    let prices = prices.chain(placed.charges.iter().map(|it| it.price.as_ref()));
    Ok(Fact::Placed {
        country: placed.country.unwrap_or_default(),
        billing_country: placed.billing_country.unwrap_or_default(),
        // All prices of an order are on one basis.
        tax_basis: basis_of(prices)?,
        lines: lines(placed.lines)?,
        charges: placed.charges.into_iter().map(charge).collect::<Result<_, _>>()?,
        payment_method: placed.payment_method,
        reserve_by: Timestamp::parse(placed.reserve_by.as_ref())?,
        personal: Sealed::parse(placed.personal)?,
    })
}

fn decode_shipped(summary: &Summary, shipped: &order::Shipped) -> Result<Fact, WireError> {
    let amount = money_if_any(shipped.capture.as_ref())?;
    let payment = number_if_any(shipped.payment_id())?;
    Ok(Fact::Shipped {
        lines: shipped.lines.iter().map(shipped_line).collect::<Result<_, _>>()?,
        location: Location::parse(&shipped.location)?,
        capture: payment.zip(amount),
        fulfilment: summary.statuses.2,
        occurred_at: Timestamp::parse_optional(shipped.occurred_at.as_ref())?,
    })
}

fn summary(summary: &order::Summary) -> Result<Summary, ParseError> {
    Ok(Summary {
        number: summary.number,
        reference: parsed(summary.reference(), Reference::parse)?,
        customer_id: parsed(summary.customer_id(), CustomerId::parse)?,
        total: Money::parse(summary.total.as_ref())?,
        statuses: Statuses(
            status(summary.status)?,
            payment_status(summary.payment_status)?,
            fulfilment_status(summary.fulfilment_status)?,
        ),
    })
}

pub(super) fn summary_to_wire(summary: &Summary) -> order::Summary {
    let Statuses(status, payment_status, fulfilment_status) = summary.statuses;
    order::Summary {
        number: summary.number,
        reference: summary.reference.as_ref().map(Reference::to_string),
        customer_id: summary.customer_id.as_ref().map(CustomerId::to_string),
        total: Some(summary.total.into()),
        status: status_to_wire(status).into(),
        payment_status: payment_status_to_wire(payment_status).into(),
        fulfilment_status: fulfilment_status_to_wire(fulfilment_status).into(),
    }
}

fn shipped_line(line: &order::ShippedLine) -> Result<ShippedLine, ParseError> {
    let (line_id, sku) = (LineId::parse(&line.line_id)?, Sku::parse(&line.sku)?);
    Ok(ShippedLine { line_id, sku, quantity: line.quantity })
}

fn shipped_line_to_wire(line: &ShippedLine) -> order::ShippedLine {
    let (line_id, sku) = (line.line_id.to_string(), line.sku.to_string());
    order::ShippedLine { line_id, sku, quantity: line.quantity }
}

pub(super) fn payment_failed(
    payment_id: String,
    failure: &Failure,
    retry_until: Option<Timestamp>,
) -> order::PaymentFailed {
    let (code, detail) = (given(&failure.code), given(&failure.detail));
    order::PaymentFailed { payment_id, code, detail, retry_until: retry_until.map(Into::into) }
}

pub(super) fn action_required(payment_id: String, action: &Action) -> order::ActionRequired {
    let (url, data) = (given(&action.url), given(&action.data));
    order::ActionRequired { payment_id, url, data, expires_at: action.expires_at.map(Into::into) }
}

pub(super) fn hold_to_wire(hold: &Hold) -> order::PutOnHold {
    let (sku, location) = (hold.sku.to_string(), hold.location.to_string());
    order::PutOnHold { reason: order::HoldReason::StockShort.into(), sku, location }
}

fn shortages(shortages: &[order::Shortage]) -> Result<Vec<Shortage>, ParseError> {
    shortages.iter().map(|it| shortage(&it.sku, it.requested, it.available)).collect()
}

pub(super) fn shortage_to_wire(shortage: &Shortage) -> order::Shortage {
    order::Shortage {
        sku: shortage.sku.to_string(),
        requested: shortage.requested,
        available: shortage.available,
    }
}

fn decode_payment_due(due: order::PaymentDue) -> Result<Fact, ParseError> {
    // One that does not say how much is captured at once is about all of it.
    let at_once = due.capture.as_ref().or(due.amount.as_ref()).filter(|_| due.capture_at_once);
    Ok(Fact::PaymentDue {
        payment: number(&due.payment_id)?,
        abandons: number_if_any(due.abandoned_payment_id())?,
        amount: Money::parse(due.amount.as_ref())?,
        due_by: Timestamp::parse(due.due_by.as_ref())?,
        held_until: Timestamp::parse_optional(due.held_until.as_ref())?,
        capture: capture_policy(due.capture_policy),
        capture_at_once: money_if_any(at_once)?,
        payment_method: due.payment_method,
        one_step: due.one_step,
    })
}

fn one_step(due: order::OneStep) -> Result<OneStep, ParseError> {
    let held_until = Timestamp::parse(due.held_until.as_ref())?;
    Ok(OneStep { payment_method: due.payment_method, held_until })
}

fn one_step_to_wire(due: &OneStep) -> order::OneStep {
    let held_until = Some(due.held_until.into());
    order::OneStep { payment_method: due.payment_method.clone(), held_until }
}

/// The number of a payment in its order, which is that of the event.
fn number(payment_id: &str) -> Result<u32, ParseError> {
    PaymentId::parse(payment_id).map(|id| id.number)
}

fn number_if_any(payment_id: &str) -> Result<Option<u32>, ParseError> {
    parsed(payment_id, PaymentId::parse).map(|id| id.map(|id| id.number))
}

fn money_if_any(amount: Option<&proto::Money>) -> Result<Option<Money>, ParseError> {
    amount.map(|amount| Money::parse(Some(amount))).transpose()
}

/// A policy that this version does not know is read as the default one: it is information only.
fn capture_policy(policy: i32) -> Capture {
    match proto::CapturePolicy::try_from(policy) {
        Ok(proto::CapturePolicy::OnShipment) => Capture::OnShipment,
        Ok(proto::CapturePolicy::OnConfirmation | proto::CapturePolicy::Unspecified) | Err(_) => {
            Capture::OnConfirmation
        }
    }
}

fn capture_policy_to_wire(policy: Capture) -> proto::CapturePolicy {
    match policy {
        Capture::OnConfirmation => proto::CapturePolicy::OnConfirmation,
        Capture::OnShipment => proto::CapturePolicy::OnShipment,
    }
}
