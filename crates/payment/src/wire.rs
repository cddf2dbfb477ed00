//! Bytes to domain and back: the only file that sees protobuf.

use engine::WireError;
use events::{
    id::OrderId,
    money::Money,
    proto::{self, event::Body, order_event, payment_event::Kind},
    subject,
};

use crate::domain::{Event, Fact, Input, Signal};

/// Refuses a command: payments follow from orders alone.
pub(crate) fn command(command: &proto::Command) -> Result<Input, WireError> {
    let body = command.body.as_ref().ok_or(WireError::Missing("body"))?;
    Err(WireError::Unexpected(subject::command_kind(body).1))
}

/// Turns an event of an order into an input.
pub(crate) fn foreign(event: proto::Event) -> Result<Input, WireError> {
    let order_id = OrderId::parse(&event.aggregate_id)?;
    let order = match event.body.ok_or(WireError::Missing("body"))? {
        Body::Order(order) => order,
        other @ (Body::Engine(_) | Body::Catalog(_) | Body::Inventory(_) | Body::Payment(_)) => {
            return Err(unexpected(&other));
        }
    };
    let signal = match order.kind.ok_or(WireError::Missing("kind"))? {
        order_event::Kind::PaymentDue(due) => Signal::PaymentDue {
            amount: Money::parse(due.amount.as_ref())?,
            payment_method: due.payment_method,
        },
        order_event::Kind::Confirmed(confirmed) => {
            Signal::Confirmed { amount: Money::parse(confirmed.amount.as_ref())? }
        }
        order_event::Kind::Cancelled(_) => Signal::Cancelled,
        other @ (order_event::Kind::Placed(_)
        | order_event::Kind::Authorized(_)
        | order_event::Kind::Paid(_)) => {
            return Err(unexpected(&Body::Order(proto::OrderEvent { kind: Some(other) })));
        }
    };
    Ok(Input { order_id, signal })
}

fn unexpected(body: &Body) -> WireError {
    WireError::Unexpected(subject::event_kind(body).unwrap_or("an event without a kind"))
}

/// Turns an event into its wire form.
pub(crate) fn encode(event: &Event) -> Body {
    let kind = match event.fact.clone() {
        Fact::AuthorizationPending { operation_id, amount, payment_method } => {
            let amount = Some(amount.into());
            let pending = proto::AuthorizationPending { operation_id, amount, payment_method };
            Kind::AuthorizationPending(pending)
        }
        Fact::Authorized { operation_id, provider_reference, amount } => {
            let amount = Some(amount.into());
            Kind::Authorized(proto::PaymentAuthorized { operation_id, provider_reference, amount })
        }
        Fact::Declined { operation_id, code } => {
            Kind::Declined(proto::PaymentDeclined { operation_id, code })
        }
        Fact::Failed { operation_id, detail } => {
            Kind::Failed(proto::PaymentFailed { operation_id, detail })
        }
        Fact::CapturePending { operation_id, amount, provider_reference } => {
            let amount = Some(amount.into());
            Kind::CapturePending(proto::CapturePending { operation_id, amount, provider_reference })
        }
        Fact::Captured { operation_id, amount } => {
            Kind::Captured(proto::PaymentCaptured { operation_id, amount: Some(amount.into()) })
        }
        Fact::CaptureFailed { operation_id, code } => {
            Kind::CaptureFailed(proto::CaptureFailed { operation_id, code })
        }
        Fact::VoidPending { operation_id, provider_reference, amount } => {
            let amount = Some(amount.into());
            Kind::VoidPending(proto::VoidPending { operation_id, provider_reference, amount })
        }
        Fact::Voided { operation_id } => Kind::Voided(proto::PaymentVoided { operation_id }),
        Fact::RefundPending { operation_id, provider_reference, amount } => {
            let amount = Some(amount.into());
            Kind::RefundPending(proto::RefundPending { operation_id, provider_reference, amount })
        }
        Fact::Refunded { operation_id, amount } => {
            Kind::Refunded(proto::PaymentRefunded { operation_id, amount: Some(amount.into()) })
        }
        Fact::CancelRequested => Kind::CancelRequested(proto::CancelRequested {}),
        Fact::Abandoned => Kind::Abandoned(proto::PaymentAbandoned {}),
    };
    Body::Payment(proto::PaymentEvent { kind: Some(kind) })
}

/// Turns the wire form back into the event.
pub(crate) fn decode(aggregate: &str, body: Body) -> Result<Event, WireError> {
    let event = match body {
        Body::Payment(event) => event,
        other @ (Body::Engine(_) | Body::Catalog(_) | Body::Inventory(_) | Body::Order(_)) => {
            return Err(unexpected(&other));
        }
    };
    let fact = decode_kind(event.kind.ok_or(WireError::Missing("kind"))?)?;
    Ok(Event { order_id: OrderId::parse(aggregate)?, fact })
}

fn decode_kind(kind: Kind) -> Result<Fact, WireError> {
    let money = |amount: Option<proto::Money>| Money::parse(amount.as_ref());
    Ok(match kind {
        Kind::AuthorizationPending(pending) => Fact::AuthorizationPending {
            operation_id: pending.operation_id,
            amount: money(pending.amount)?,
            payment_method: pending.payment_method,
        },
        Kind::Authorized(authorized) => Fact::Authorized {
            operation_id: authorized.operation_id,
            provider_reference: authorized.provider_reference,
            amount: money(authorized.amount)?,
        },
        Kind::Declined(proto::PaymentDeclined { operation_id, code }) => {
            Fact::Declined { operation_id, code }
        }
        Kind::Failed(proto::PaymentFailed { operation_id, detail }) => {
            Fact::Failed { operation_id, detail }
        }
        Kind::CapturePending(pending) => Fact::CapturePending {
            operation_id: pending.operation_id,
            amount: money(pending.amount)?,
            provider_reference: pending.provider_reference,
        },
        Kind::Captured(proto::PaymentCaptured { operation_id, amount }) => {
            Fact::Captured { operation_id, amount: money(amount)? }
        }
        Kind::CaptureFailed(proto::CaptureFailed { operation_id, code }) => {
            Fact::CaptureFailed { operation_id, code }
        }
        Kind::VoidPending(pending) => Fact::VoidPending {
            operation_id: pending.operation_id,
            provider_reference: pending.provider_reference,
            amount: money(pending.amount)?,
        },
        Kind::Voided(proto::PaymentVoided { operation_id }) => Fact::Voided { operation_id },
        Kind::RefundPending(pending) => Fact::RefundPending {
            operation_id: pending.operation_id,
            provider_reference: pending.provider_reference,
            amount: money(pending.amount)?,
        },
        Kind::Refunded(proto::PaymentRefunded { operation_id, amount }) => {
            Fact::Refunded { operation_id, amount: money(amount)? }
        }
        Kind::CancelRequested(proto::CancelRequested {}) => Fact::CancelRequested,
        Kind::Abandoned(proto::PaymentAbandoned {}) => Fact::Abandoned,
    })
}

#[cfg(test)]
mod tests {
    use events::money::Currency;

    use super::*;

    const ORDER: &str = "018f4e6a-0000-7000-8000-000000000001";

    fn pounds(minor: i64) -> Money {
        Money { minor, currency: Currency::parse("GBP").expect("valid") }
    }

    fn of_order(kind: order_event::Kind) -> proto::Event {
        proto::Event {
            aggregate_id: ORDER.into(),
            body: Some(Body::Order(proto::OrderEvent { kind: Some(kind) })),
            ..Default::default()
        }
    }

    #[test]
    fn every_event_survives_the_wire() {
        let operation_id = || "operation".to_owned();
        let provider_reference = || "reference".to_owned();
        let amount = pounds(500);
        for fact in [
            Fact::AuthorizationPending {
                operation_id: operation_id(),
                amount,
                payment_method: "card".into(),
            },
            Fact::Authorized {
                operation_id: operation_id(),
                provider_reference: provider_reference(),
                amount,
            },
            Fact::Declined { operation_id: operation_id(), code: "no".into() },
            Fact::Failed { operation_id: operation_id(), detail: "tried".into() },
            Fact::CapturePending {
                operation_id: operation_id(),
                amount,
                provider_reference: provider_reference(),
            },
            Fact::Captured { operation_id: operation_id(), amount },
            Fact::CaptureFailed { operation_id: operation_id(), code: "no".into() },
            Fact::VoidPending {
                operation_id: operation_id(),
                provider_reference: provider_reference(),
                amount,
            },
            Fact::Voided { operation_id: operation_id() },
            Fact::RefundPending {
                operation_id: operation_id(),
                provider_reference: provider_reference(),
                amount,
            },
            Fact::Refunded { operation_id: operation_id(), amount },
            Fact::CancelRequested,
            Fact::Abandoned,
        ] {
            let event = Event { order_id: OrderId::parse(ORDER).expect("valid"), fact };
            assert_eq!(decode(ORDER, encode(&event)).expect("decodes"), event);
        }
    }

    #[test]
    fn what_an_order_says_becomes_a_signal() {
        let amount = Some(pounds(500).into());
        let due = proto::OrderPaymentDue { amount, payment_method: "card".into(), due_by: None };
        let input = foreign(of_order(order_event::Kind::PaymentDue(due))).expect("is handled");
        assert_eq!(input.order_id.to_string(), ORDER);
        let signal = Signal::PaymentDue { amount: pounds(500), payment_method: "card".into() };
        assert_eq!(input.signal, signal);

        let confirmed = proto::OrderConfirmed { amount: Some(pounds(500).into()) };
        let input = foreign(of_order(order_event::Kind::Confirmed(confirmed)));
        let signal = Signal::Confirmed { amount: pounds(500) };
        assert_eq!(input.expect("is handled").signal, signal);

        let cancelled = proto::OrderCancelled::default();
        let input = foreign(of_order(order_event::Kind::Cancelled(cancelled)));
        assert_eq!(input.expect("is handled").signal, Signal::Cancelled);
    }

    #[test]
    fn what_is_not_for_payment_is_refused_by_name() {
        let placed = order_event::Kind::Placed(proto::OrderPlaced::default());
        let error = foreign(of_order(placed)).expect_err("is not handled");
        assert_eq!(error.to_string(), "placed is not handled by this service");

        let confirmed = order_event::Kind::Confirmed(proto::OrderConfirmed::default());
        let error = foreign(of_order(confirmed)).expect_err("has no amount");
        assert_eq!(error.to_string(), "money must be present, got \"\"");

        let body = proto::command::Body::CancelOrder(proto::CancelOrder::default());
        let command = proto::Command { body: Some(body), ..Default::default() };
        let error = super::command(&command).expect_err("is for the order service");
        assert_eq!(error.to_string(), "cancel_order is not handled by this service");
    }
}
