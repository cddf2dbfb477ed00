//! The rules of payment, given, when, then.

use engine::{Cause, Context, Recorded};
use events::{
    id::OrderId,
    money::{Currency, Money},
};
use protocol::{
    id::{EventId, Shop},
    time::Timestamp,
};

use super::*;
use crate::store::Payments as State;

const ORDER: &str = "018f4e6a-0000-7000-8000-000000000001";
const AUTHORIZE: &str = "018f4e6a-0000-7000-8000-000000000001:authorize";
const CAPTURE: &str = "018f4e6a-0000-7000-8000-000000000001:capture";
const VOID: &str = "018f4e6a-0000-7000-8000-000000000001:void";
const REFUND: &str = "018f4e6a-0000-7000-8000-000000000001:refund";

fn order_id() -> OrderId {
    OrderId::parse(ORDER).expect("valid")
}

fn pounds(minor: i64) -> Money {
    Money { minor, currency: Currency::parse("GBP").expect("valid") }
}

// What happens.

fn authorization_pending() -> Fact {
    Fact::AuthorizationPending {
        operation_id: AUTHORIZE.into(),
        amount: pounds(500),
        payment_method: "card".into(),
    }
}

fn authorized() -> Fact {
    Fact::Authorized {
        operation_id: AUTHORIZE.into(),
        provider_reference: "p1".into(),
        amount: pounds(500),
    }
}

fn declined() -> Fact {
    Fact::Declined { operation_id: AUTHORIZE.into(), code: "insufficient_funds".into() }
}

fn failed() -> Fact {
    Fact::Failed { operation_id: AUTHORIZE.into(), detail: "8 attempts".into() }
}

fn capture_pending() -> Fact {
    Fact::CapturePending {
        operation_id: CAPTURE.into(),
        amount: pounds(500),
        provider_reference: "p1".into(),
    }
}

fn captured() -> Fact {
    Fact::Captured { operation_id: CAPTURE.into(), amount: pounds(500) }
}

fn capture_failed() -> Fact {
    Fact::CaptureFailed { operation_id: CAPTURE.into(), code: "expired".into() }
}

fn void_pending() -> Fact {
    Fact::VoidPending {
        operation_id: VOID.into(),
        provider_reference: "p1".into(),
        amount: pounds(500),
    }
}

fn voided() -> Fact {
    Fact::Voided { operation_id: VOID.into() }
}

fn refund_pending() -> Fact {
    Fact::RefundPending {
        operation_id: REFUND.into(),
        provider_reference: "p1".into(),
        amount: pounds(500),
    }
}

fn refunded() -> Fact {
    Fact::Refunded { operation_id: REFUND.into(), amount: pounds(500) }
}

// What comes.

fn payment_due() -> Signal {
    Signal::PaymentDue { amount: pounds(500), payment_method: "card".into() }
}

fn confirmed() -> Signal {
    Signal::Confirmed { amount: pounds(500) }
}

fn settled(operation_id: &str, outcome: Outcome) -> Signal {
    Signal::Settled { operation_id: operation_id.into(), outcome }
}

fn approves(operation_id: &str) -> Signal {
    settled(operation_id, Outcome::Approved { provider_reference: "p1".into() })
}

fn declines(operation_id: &str, code: &str) -> Signal {
    settled(operation_id, Outcome::Declined { code: code.into() })
}

fn fails(operation_id: &str) -> Signal {
    settled(operation_id, Outcome::Failed { detail: "8 attempts".into() })
}

fn fold(payments: &mut State, fact: Fact) {
    let version = payments.get(&order_id()).map_or(0, |row| row.version) + 1;
    let recorded = Recorded {
        id: EventId::parse("018f0000-0000-7000-8000-000000000000").expect("valid"),
        shop: Shop::parse("acme").expect("valid"),
        version,
        position: 1,
        actor: None,
        time: Timestamp::from_millis(0),
        cause: Cause::default(),
        context: Context {
            correlation_id: format!("c{version}"),
            traceparent: String::new(),
            ..Context::default()
        },
        event: Event { order_id: order_id(), fact },
    };
    apply(payments, &recorded);
}

fn history(facts: &[Fact]) -> State {
    let mut payments = State::default();
    for fact in facts {
        fold(&mut payments, fact.clone());
    }
    payments
}

fn facts(payments: &State, signal: &Signal) -> Vec<Fact> {
    let input = Input { order_id: order_id(), signal: signal.clone() };
    decide(payments, &input).into_iter().map(|event| event.fact).collect()
}

fn pending(payments: &State) -> Option<Pending> {
    match &payments.get(&order_id())?.payment {
        Payment::Begun(charge) => charge.pending.clone(),
        Payment::Abandoned => None,
    }
}

/// Given what happened, when the signal comes, then these facts follow; and when it comes again,
/// nothing does. Yields the payments as they are then.
#[track_caller]
fn check(given: &[Fact], when: &Signal, then: &[Fact]) -> State {
    let mut payments = history(given);
    assert_eq!(facts(&payments, when), then);
    for fact in then {
        fold(&mut payments, fact.clone());
    }
    assert_eq!(facts(&payments, when), [], "the same again");
    payments
}

/// Every history that a payment can have, by the facts that lead there.
fn histories() -> Vec<Vec<Fact>> {
    let pending = vec![authorization_pending()];
    let granted = [&pending[..], &[authorized()]].concat();
    let taking = [&granted[..], &[capture_pending()]].concat();
    let taken = [&taking[..], &[captured()]].concat();
    let not_taken = [&taking[..], &[capture_failed()]].concat();
    let letting_go = [&granted[..], &[void_pending()]].concat();
    let paying_back = [&taken[..], &[refund_pending()]].concat();
    vec![
        vec![],
        vec![Fact::Abandoned],
        pending.clone(),
        [&pending[..], &[Fact::CancelRequested]].concat(),
        [&pending[..], &[declined()]].concat(),
        [&pending[..], &[failed()]].concat(),
        granted,
        [&taking[..], &[Fact::CancelRequested]].concat(),
        taking,
        taken,
        not_taken,
        [&letting_go[..], &[voided()]].concat(),
        letting_go,
        [&paying_back[..], &[refunded()]].concat(),
        paying_back,
    ]
}

#[test]
fn payment_due_begins_the_authorisation() {
    check(&[], &payment_due(), &[authorization_pending()]);
}

#[test]
fn an_approval_authorises() {
    check(&[authorization_pending()], &approves(AUTHORIZE), &[authorized()]);
}

#[test]
fn a_refusal_declines() {
    check(&[authorization_pending()], &declines(AUTHORIZE, "insufficient_funds"), &[declined()]);
}

#[test]
fn an_authorisation_that_certainly_did_not_happen_has_failed() {
    check(&[authorization_pending()], &fails(AUTHORIZE), &[failed()]);
}

#[test]
fn confirmed_begins_the_capture() {
    check(&[authorization_pending(), authorized()], &confirmed(), &[capture_pending()]);
}

#[test]
fn an_approved_capture_is_captured() {
    let given = [authorization_pending(), authorized(), capture_pending()];
    let payments = check(&given, &approves(CAPTURE), &[captured()]);
    let row = payments.get(&order_id()).expect("has a payment");
    let Payment::Begun(charge) = &row.payment else { panic!("has begun") };
    assert_eq!((charge.captured, charge.refunded, row.version), (500, 0, 4));
    assert_eq!(charge.pending, None);
}

#[test]
fn a_refused_capture_has_failed() {
    let given = [authorization_pending(), authorized(), capture_pending()];
    check(&given, &declines(CAPTURE, "expired"), &[capture_failed()]);
}

#[test]
fn cancelled_before_its_payment_a_payment_never_begins() {
    check(&[], &Signal::Cancelled, &[Fact::Abandoned]);
    check(&[Fact::Abandoned], &payment_due(), &[]);
}

#[test]
fn what_is_authorised_is_voided_when_the_order_is_cancelled() {
    check(&[authorization_pending(), authorized()], &Signal::Cancelled, &[void_pending()]);
}

#[test]
fn a_cancellation_during_the_authorisation_is_remembered() {
    check(&[authorization_pending()], &Signal::Cancelled, &[Fact::CancelRequested]);
}

#[test]
fn an_authorisation_that_arrives_after_the_cancel_is_voided() {
    check(
        &[authorization_pending(), Fact::CancelRequested],
        &approves(AUTHORIZE),
        &[authorized(), void_pending()],
    );
}

#[test]
fn a_refusal_that_arrives_after_the_cancel_leaves_nothing_to_do() {
    let given = [authorization_pending(), Fact::CancelRequested];
    check(&given, &declines(AUTHORIZE, "insufficient_funds"), &[declined()]);
    check(&given, &fails(AUTHORIZE), &[failed()]);
}

#[test]
fn a_cancellation_during_the_capture_is_remembered() {
    let given = [authorization_pending(), authorized(), capture_pending()];
    check(&given, &Signal::Cancelled, &[Fact::CancelRequested]);
}

#[test]
fn a_capture_that_arrives_after_the_cancel_is_refunded() {
    let given = [authorization_pending(), authorized(), capture_pending(), Fact::CancelRequested];
    check(&given, &approves(CAPTURE), &[captured(), refund_pending()]);
}

#[test]
fn a_capture_that_is_refused_after_the_cancel_is_voided() {
    let given = [authorization_pending(), authorized(), capture_pending(), Fact::CancelRequested];
    check(&given, &declines(CAPTURE, "expired"), &[capture_failed(), void_pending()]);
}

#[test]
fn what_is_captured_is_refunded_when_the_order_is_cancelled() {
    let given = [authorization_pending(), authorized(), capture_pending(), captured()];
    check(&given, &Signal::Cancelled, &[refund_pending()]);
}

#[test]
fn what_could_not_be_captured_is_voided_when_the_order_is_cancelled() {
    let given = [authorization_pending(), authorized(), capture_pending(), capture_failed()];
    check(&given, &Signal::Cancelled, &[void_pending()]);
}

#[test]
fn where_nothing_is_taken_or_set_aside_cancelling_does_nothing() {
    check(&[authorization_pending(), declined()], &Signal::Cancelled, &[]);
    check(&[authorization_pending(), failed()], &Signal::Cancelled, &[]);
    check(&[Fact::Abandoned], &Signal::Cancelled, &[]);
}

#[test]
fn an_approved_void_is_voided() {
    let given = [authorization_pending(), authorized(), void_pending()];
    check(&given, &approves(VOID), &[voided()]);
    let after_a_late_authorisation =
        [authorization_pending(), Fact::CancelRequested, authorized(), void_pending()];
    check(&after_a_late_authorisation, &approves(VOID), &[voided()]);
}

#[test]
fn an_approved_refund_is_refunded() {
    let given =
        [authorization_pending(), authorized(), capture_pending(), captured(), refund_pending()];
    let payments = check(&given, &approves(REFUND), &[refunded()]);
    let row = payments.get(&order_id()).expect("has a payment");
    let Payment::Begun(charge) = &row.payment else { panic!("has begun") };
    assert_eq!((charge.captured, charge.refunded), (500, 500));
}

#[test]
fn the_amount_captured_is_the_one_that_the_order_confirms() {
    let confirmed = Signal::Confirmed { amount: pounds(450) };
    let pending = Fact::CapturePending {
        operation_id: CAPTURE.into(),
        amount: pounds(450),
        provider_reference: "p1".into(),
    };
    let captured = Fact::Captured { operation_id: CAPTURE.into(), amount: pounds(450) };
    let refund = Fact::RefundPending {
        operation_id: REFUND.into(),
        provider_reference: "p1".into(),
        amount: pounds(450),
    };
    let given = [authorization_pending(), authorized()];
    check(&given, &confirmed, std::slice::from_ref(&pending));
    let given = [&given[..], &[pending]].concat();
    check(&given, &approves(CAPTURE), std::slice::from_ref(&captured));
    check(&[&given[..], &[captured]].concat(), &Signal::Cancelled, &[refund]);
}

#[test]
fn the_outcome_of_an_operation_that_is_not_pending_changes_nothing() {
    for given in histories() {
        let payments = history(&given);
        let pending = pending(&payments);
        for id in [AUTHORIZE, CAPTURE, VOID, REFUND] {
            if pending.as_ref().is_some_and(|pending| pending.operation_id == id) {
                continue;
            }
            for signal in [approves(id), declines(id, "expired"), fails(id)] {
                assert_eq!(facts(&payments, &signal), [], "{signal:?} after {given:?}");
            }
        }
    }
}

#[test]
fn every_signal_twice_has_the_effect_of_one_whatever_the_status() {
    let signals = [
        payment_due(),
        confirmed(),
        Signal::Cancelled,
        approves(AUTHORIZE),
        declines(AUTHORIZE, "insufficient_funds"),
        fails(AUTHORIZE),
        approves(CAPTURE),
        declines(CAPTURE, "expired"),
        approves(VOID),
        approves(REFUND),
    ];
    for given in histories() {
        for signal in &signals {
            let mut payments = history(&given);
            for fact in facts(&payments, signal) {
                fold(&mut payments, fact);
            }
            assert_eq!(facts(&payments, signal), [], "{signal:?} twice after {given:?}");
        }
    }
}

#[test]
fn after_a_cancellation_no_money_stays_whatever_the_provider_answers() {
    for given in histories() {
        let mut payments = history(&given);
        for fact in facts(&payments, &Signal::Cancelled) {
            fold(&mut payments, fact);
        }
        // The provider approves whatever it is asked: what was pending, and what that leads to.
        for _ in 0..2 {
            let Some(pending) = pending(&payments) else { break };
            for fact in facts(&payments, &approves(&pending.operation_id)) {
                fold(&mut payments, fact);
            }
        }
        match &payments.get(&order_id()).expect("is known").payment {
            Payment::Abandoned => {}
            Payment::Begun(charge) => {
                let over = [Status::Declined, Status::Failed, Status::Voided, Status::Refunded];
                assert!(over.contains(&charge.status), "{:?} after {given:?}", charge.status);
                assert_eq!(charge.captured, charge.refunded, "after {given:?}");
            }
        }
    }
}

#[test]
fn a_pending_operation_keeps_what_it_continues() {
    let payments = history(&[authorization_pending(), authorized(), capture_pending()]);
    let row = payments.get(&order_id()).expect("has a payment");
    let Payment::Begun(charge) = &row.payment else { panic!("has begun") };
    let pending = charge.pending.as_ref().expect("is pending");
    assert_eq!(pending.operation_id, CAPTURE);
    assert_eq!(pending.context.correlation_id, "c3", "of the event that announced it");
}

#[test]
fn a_status_reads_alike_in_the_document_and_in_its_column() {
    for given in histories() {
        let payments = history(&given);
        let Some(row) = payments.get(&order_id()) else { continue };
        let Payment::Begun(charge) = &row.payment else { continue };
        let status = serde_json::to_value(charge.status).expect("serialises");
        assert_eq!(status, row.payment.status());
    }
}
