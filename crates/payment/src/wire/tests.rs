//! Messages read and written.

use events::money::Currency;

use super::*;

const ORDER: &str = "018f4e6a-0000-7000-8000-000000000001";

fn pounds(minor: i64) -> Money {
    Money { minor, currency: Currency::parse("GBP").expect("valid") }
}

fn foreign(kind: order_event::Kind) -> Result<Input, WireError> {
    let event = proto::Event {
        aggregate_id: ORDER.into(),
        body: Some(Body::Order(proto::order::OrderEvent { kind: Some(kind) })),
        ..Default::default()
    };
    Payments::foreign(&event.encode_to_vec())
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
        let envelope = proto::Event { aggregate_id: ORDER.into(), ..Default::default() };
        let payload = [envelope.encode_to_vec(), Payments::encode(&event).body].concat();
        assert_eq!(Payments::decode(&payload).expect("decodes"), event);
    }
}

#[test]
fn what_an_order_says_becomes_a_signal() {
    let amount = Some(pounds(500).into());
    let due = proto::order::PaymentDue { amount, payment_method: "card".into(), due_by: None };
    let input = foreign(order_event::Kind::PaymentDue(due)).expect("is handled");
    assert_eq!(input.order_id.to_string(), ORDER);
    let signal = Signal::PaymentDue { amount: pounds(500), payment_method: "card".into() };
    assert_eq!(input.signal, signal);

    let confirmed = proto::order::Confirmed { amount: Some(pounds(500).into()) };
    let input = foreign(order_event::Kind::Confirmed(confirmed));
    let signal = Signal::Confirmed { amount: pounds(500) };
    assert_eq!(input.expect("is handled").signal, signal);

    let cancelled = proto::order::Cancelled::default();
    let input = foreign(order_event::Kind::Cancelled(cancelled));
    assert_eq!(input.expect("is handled").signal, Signal::Cancelled);
}

#[test]
fn what_is_not_for_payment_is_refused_by_name() {
    let placed = order_event::Kind::Placed(proto::order::Placed::default());
    let error = foreign(placed).expect_err("is not handled");
    assert_eq!(error.to_string(), "placed is not handled by this version of the service");

    let confirmed = order_event::Kind::Confirmed(proto::order::Confirmed::default());
    let error = foreign(confirmed).expect_err("has no amount");
    assert_eq!(error.to_string(), "money must be present, got \"\"");

    let body = proto::command::Body::CancelOrder(proto::order::CancelOrder::default());
    let command = proto::Command { body: Some(body), ..Default::default() };
    let error = Payments::command(&command.encode_to_vec()).expect_err("is for the order service");
    assert_eq!(error.to_string(), "cancel_order is not handled by this version of the service");
}
