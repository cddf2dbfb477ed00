//! Messages read and written.

use events::money::Currency;

use super::*;
use crate::domain::{Fact, Operation, OperationKind, Resolution, SettleAnswer, StuckReason};

const ORDER: &str = "018f4e6a-0000-7000-8000-000000000001";
const PAYMENT: &str = "018f4e6a-0000-7000-8000-000000000001-1";

fn pounds(minor: i64) -> Money {
    Money { minor, currency: Currency::parse("GBP").expect("valid") }
}

fn foreign(kind: order_event::Kind) -> Result<Input, WireError> {
    let event = proto::Event {
        aggregate_id: ORDER.into(),
        aggregate_version: 4,
        body: Some(Body::Order(proto::order::OrderEvent { kind: Some(kind), summary: None })),
        ..Default::default()
    };
    Payments::foreign(&event.encode_to_vec())
}

#[test]
fn every_event_survives_the_wire() {
    let operation = |kind, number| Operation { kind, number };
    let authorize = operation(OperationKind::Authorize, 1);
    let capture = operation(OperationKind::Capture, 4);
    let void = operation(OperationKind::Void, 1);
    let refund = operation(OperationKind::Refund, 2);
    let charge = operation(OperationKind::Charge, 1);
    let amount = pounds(500);
    let named = Refund { id: "R".into(), reason: "broken".into() };
    let stuck = |reason| {
        let since = Timestamp::from_millis(1);
        Fact::Stuck { operation: void, reason, detail: "no".into(), since }
    };
    let settled = |resolution| {
        let (reason, operator) = ("known".into(), "ann".into());
        Fact::SettledByOperator { operation: refund, amount, resolution, reason, operator }
    };
    for fact in [
        Fact::AuthorizationPending {
            operation: authorize,
            amount,
            payment_method: "card".into(),
            due_by: Timestamp::from_millis(7),
        },
        Fact::Authorized { operation: authorize, provider_reference: "reference".into(), amount },
        Fact::Declined { operation: authorize, code: "no".into() },
        Fact::Failed { operation: authorize, detail: "tried".into() },
        Fact::CapturePending { operation: capture, amount },
        Fact::Captured { operation: capture, amount, provider_reference: "reference".into() },
        Fact::Captured { operation: charge, amount, provider_reference: "reference".into() },
        Fact::ChargePending {
            operation: charge,
            amount,
            payment_method: "ideal".into(),
            due_by: Timestamp::from_millis(7),
        },
        Fact::CaptureFailed { operation: capture, code: "no".into() },
        Fact::VoidPending { operation: void, amount },
        Fact::Voided { operation: void, amount },
        Fact::RefundPending { operation: refund, amount, refund: named.clone() },
        Fact::Refunded { operation: refund, amount, refund_id: "R".into() },
        Fact::CaptureRequested { operation: capture, amount },
        Fact::TurnedUp { operation: capture, amount, provider_reference: "reference".into() },
        Fact::RefundRequested { amount, refund: named },
        Fact::ActionRequired {
            operation: authorize,
            url: "https://bank.example".into(),
            data: "token".into(),
            expires_at: Timestamp::from_millis(3),
        },
        Fact::CancelRequested,
        Fact::Uncertain { operation: authorize, since: Timestamp::from_millis(1) },
        stuck(StuckReason::NoAnswer),
        stuck(StuckReason::Refused),
        stuck(StuckReason::Conflict),
        settled(Resolution::DoneElsewhere),
        settled(Resolution::Retry),
        settled(Resolution::GiveUp),
    ] {
        let after = After {
            provider_reference: "reference".into(),
            authorized: pounds(500),
            captured: pounds(400),
            refunded: pounds(0),
        };
        let payment_id = PaymentId::parse(PAYMENT).expect("valid");
        let occurred_at = Some(Timestamp::from_millis(1_700_000_000_123));
        let event = Event { payment_id, fact, after, occurred_at };
        let encoded = Payments::encode(&event);
        let envelope = proto::Event {
            aggregate_id: PAYMENT.into(),
            occurred_at: encoded.occurred_at.map(Into::into),
            ..Default::default()
        };
        let payload = [envelope.encode_to_vec(), encoded.body].concat();
        assert_eq!(Payments::decode(&payload).expect("decodes"), event);
    }
}

#[test]
fn an_event_says_which_order_is_paid_and_by_whom() {
    let after = After {
        provider_reference: "reference".into(),
        authorized: pounds(500),
        captured: pounds(400),
        refunded: pounds(100),
    };
    let payment_id = PaymentId::parse(PAYMENT).expect("valid");
    let event = Event { payment_id, fact: Fact::CancelRequested, after, occurred_at: None };
    let event = proto::Event::decode(&*Payments::encode(&event).body).expect("decodes");
    let Some(Body::Payment(event)) = event.body else { panic!("is of a payment") };
    let expected = proto::payment::PaymentSummary {
        order_id: ORDER.into(),
        provider: "simulator".into(),
        provider_reference: "reference".into(),
        authorized: Some(pounds(500).into()),
        captured: Some(pounds(400).into()),
        refunded: Some(pounds(100).into()),
    };
    assert_eq!(event.summary, Some(expected));
}

#[test]
fn what_an_order_says_becomes_an_input() {
    let amount = Some(pounds(500).into());
    let payment_id = PaymentId::parse(PAYMENT).expect("valid");
    let due = proto::order::PaymentDue {
        amount,
        payment_method: "card".into(),
        due_by: Some(Timestamp::from_millis(7).into()),
        payment_id: PAYMENT.into(),
        ..Default::default()
    };
    let whole = Steps::AuthorizeAndCapture(pounds(500));
    let part = Steps::AuthorizeAndCapture(pounds(300));
    for (one_step, capture_at_once, capture, steps) in [
        (false, false, None, Steps::Authorize),
        (false, true, None, whole),
        (false, true, Some(pounds(300).into()), part),
        (true, false, None, Steps::Charge),
    ] {
        let due = proto::order::PaymentDue { one_step, capture_at_once, capture, ..due.clone() };
        let input = foreign(order_event::Kind::PaymentDue(due)).expect("is handled");
        let (amount, payment_method) = (pounds(500), "card".into());
        let due_by = Timestamp::from_millis(7);
        let expected = Input::PaymentDue {
            payment_id,
            amount,
            payment_method,
            due_by,
            steps,
            abandoned: None,
        };
        assert_eq!(input, expected);
    }
    let abandoned_payment_id = Some(PAYMENT.to_owned());
    let due = proto::order::PaymentDue { abandoned_payment_id, ..due };
    let input = foreign(order_event::Kind::PaymentDue(due)).expect("is handled");
    assert!(
        matches!(input, Input::PaymentDue { abandoned: Some(it), .. } if it == payment_id),
        "{input:?}"
    );

    let confirmed = proto::order::Confirmed {
        capture: Some(pounds(500).into()),
        payment_id: Some(PAYMENT.into()),
    };
    let input = foreign(order_event::Kind::Confirmed(confirmed)).expect("is handled");
    assert_eq!(input, Input::Capture { payment_id, number: 4, amount: pounds(500) });

    let shipped = proto::order::Shipped {
        payment_id: Some(PAYMENT.into()),
        capture: Some(pounds(500).into()),
        ..Default::default()
    };
    let input = foreign(order_event::Kind::Shipped(shipped)).expect("is handled");
    assert_eq!(input, Input::Capture { payment_id, number: 4, amount: pounds(500) });
    let nothing = order_event::Kind::Confirmed(proto::order::Confirmed::default());
    assert_eq!(foreign(nothing).expect("is handled"), Input::NothingToCapture);

    let cancelled = proto::order::Cancelled::default();
    let input = foreign(order_event::Kind::Cancelled(cancelled)).expect("is handled");
    assert_eq!(input, Input::OrderCancelled { order_id: payment_id.order_id });
}

#[test]
fn an_operator_is_answered_with_a_message_of_the_contract() {
    use events::{
        answers::CommandAnswer,
        proto::payment::{SettlePaymentAnswer, settle_payment_answer::Outcome},
    };
    let settle = proto::payment::SettlePayment {
        payment_id: PAYMENT.into(),
        resolution: proto::payment::Resolution::GiveUp.into(),
        reason: "written off\0".into(),
        operator: "ann".into(),
    };
    let body = Some(proto::command::Body::SettlePayment(settle));
    let command = proto::Command { body, ..Default::default() }.encode_to_vec();
    let payment_id = PaymentId::parse(PAYMENT).expect("valid");
    let (reason, operator) = ("written off ".into(), "ann".into());
    let resolution = Resolution::GiveUp;
    let expected = Input::SettledByOperator { payment_id, resolution, reason, operator };
    assert_eq!(Payments::command(&command).expect("is a command"), expected);

    let read = |answer: SettleAnswer| {
        let body = Payments::encode_answer(&answer.into());
        let answer = proto::AnswerBody::decode(&*body).expect("decodes").answer;
        SettlePaymentAnswer::take(answer.expect("is there")).and_then(|it| it.outcome)
    };
    let operation = Operation::parse("void").expect("valid");
    let settled = read(SettleAnswer::Settled { payment_id, operation });
    let Some(Outcome::Settled(settled)) = settled else { panic!("{settled:?}") };
    assert_eq!(settled.operation_id, format!("{PAYMENT}:void"));
    assert!(matches!(read(SettleAnswer::NotFound), Some(Outcome::NotFound(_))));
    assert!(matches!(read(SettleAnswer::NotStuck), Some(Outcome::NotStuck(_))));
    assert!(matches!(read(SettleAnswer::NotApplicable), Some(Outcome::NotApplicable(_))));
}

#[test]
fn a_refund_without_a_name_is_refused() {
    let refund = proto::payment::RefundPayment {
        order_id: ORDER.into(),
        payment_id: String::new(),
        refund_id: "R".into(),
        amount: Some(pounds(5).into()),
        reason: "broken".into(),
    };
    let read = |refund: proto::payment::RefundPayment| {
        let body = Some(proto::command::Body::RefundPayment(refund));
        Payments::command(&proto::Command { body, ..Default::default() }.encode_to_vec())
    };
    let expected = Input::Refund {
        order_id: OrderId::parse(ORDER).expect("valid"),
        payment_id: None,
        amount: pounds(5),
        refund: Refund { id: "R".into(), reason: "broken".into() },
    };
    assert_eq!(read(refund.clone()).expect("is a command"), expected);
    let nameless = proto::payment::RefundPayment { refund_id: String::new(), ..refund };
    assert!(matches!(read(nameless), Err(WireError::Parse(_))));
}

#[test]
fn what_is_not_for_payment_is_refused_by_name() {
    let placed = order_event::Kind::Placed(proto::order::Placed::default());
    let error = foreign(placed).expect_err("is not handled");
    assert_eq!(error.to_string(), "placed is not handled by this version of the service");

    let body = proto::command::Body::CancelOrder(proto::order::CancelOrder::default());
    let command = proto::Command { body: Some(body), ..Default::default() };
    let error = Payments::command(&command.encode_to_vec()).expect_err("is for the order service");
    assert_eq!(error.to_string(), "cancel_order is not handled by this version of the service");
}
