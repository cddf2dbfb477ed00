//! The provider's list beside payments.

use events::money::Currency;

use super::*;
use crate::domain::{Refund, Status, Transaction as OurTransaction};

const FIRST: &str = "018f4e6a-0000-7000-8000-000000000001-1";
const SECOND: &str = "018f4e6a-0000-7000-8000-000000000001-2";
const FROM: Timestamp = Timestamp::from_millis(100);
const UNTIL: Timestamp = Timestamp::from_millis(200);

fn pounds(minor: i64) -> Money {
    Money { minor, currency: Currency::parse("GBP").expect("valid") }
}

fn theirs(payment: &str, operation: &str, minor: i64) -> Transaction {
    Transaction {
        operation_id: format!("{payment}:{operation}"),
        task: operation.to_owned(),
        amount: pounds(minor),
        provider_reference: "ref".to_owned(),
        at: FROM,
    }
}

fn payment(id: &str, transactions: &[(&str, TransactionStatus, i64)]) -> Payment {
    let id = PaymentId::parse(id).expect("valid");
    let transactions = transactions.iter().map(|(operation, status, at_ms)| OurTransaction {
        operation: Operation::parse(operation).expect("valid"),
        amount: 500,
        status: *status,
        detail: String::new(),
        at_ms: *at_ms,
        refund: Refund::default(),
    });
    Payment {
        id,
        status: Status::Authorized,
        amount: pounds(500),
        payment_method: "card".into(),
        provider_reference: "ref".into(),
        authorized: 500,
        captured: 0,
        refunded: 0,
        due_by_ms: 0,
        cancelled_at_ms: None,
        given_up_hold: 0,
        given_up_refund: 0,
        action: None,
        transactions: transactions.collect(),
        wanted: vec![],
        pending: None,
    }
}

#[track_caller]
fn check(ours: &[Payment], theirs: &[Transaction], expected: &[(DifferenceKind, String)]) {
    let mut known = Ours::default();
    for payment in ours {
        known.add(payment, FROM, UNTIL);
    }
    let Reconciliation { compared, differences } = known.compare(theirs);
    assert_eq!(compared, theirs.len() as u64);
    let found: Vec<_> = differences.into_iter().map(|it| (it.kind, it.operation_id)).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_agrees_is_no_difference() {
    use TransactionStatus::{Done, Failed, Pending, Stuck, Uncertain};
    let ours = [
        payment(FIRST, &[("authorize", Done, 100), ("capture-4", Done, 150)]),
        payment(SECOND, &[("authorize", Failed, 100)]),
    ];
    check(&ours, &[theirs(FIRST, "authorize", 500), theirs(FIRST, "capture-4", 500)], &[]);
    for open in [Pending, Uncertain, Stuck] {
        let ours = [payment(FIRST, &[("authorize", open, 100)])];
        check(&ours, &[theirs(FIRST, "authorize", 500)], &[]);
        check(&ours, &[], &[]);
    }
}

#[test]
fn what_only_one_side_has_done_is_a_difference() {
    use TransactionStatus::{Done, Failed};
    let unknown = |operation: &str| (DifferenceKind::UnknownToUs, format!("{SECOND}:{operation}"));
    let failed = [payment(SECOND, &[("authorize", Failed, 100)])];
    check(&failed, &[theirs(SECOND, "authorize", 500)], &[unknown("authorize")]);
    check(&[], &[theirs(SECOND, "capture-4", 500)], &[unknown("capture-4")]);
    let done = [payment(FIRST, &[("authorize", Done, 100)])];
    check(&done, &[], &[(DifferenceKind::UnknownToProvider, format!("{FIRST}:authorize"))]);
    let earlier = [payment(FIRST, &[("authorize", Done, 99)])];
    check(&earlier, &[], &[]);
}

#[test]
fn another_amount_is_a_difference() {
    let ours = [payment(FIRST, &[("authorize", TransactionStatus::Done, 100)])];
    let differs = (DifferenceKind::AmountDiffers, format!("{FIRST}:authorize"));
    check(&ours, &[theirs(FIRST, "authorize", 499)], &[differs]);
}

#[test]
fn what_the_provider_holds_and_we_do_not_know_of_can_be_given_back() {
    let difference = |kind, operation: &str| Difference {
        kind,
        operation_id: format!("{FIRST}:{operation}"),
        amount: pounds(500),
        provider_reference: "ref".into(),
    };
    let is_mendable = |kind, operation| difference(kind, operation).mendable().is_some();
    assert!(is_mendable(DifferenceKind::UnknownToUs, "authorize"));
    assert!(is_mendable(DifferenceKind::UnknownToUs, "capture-4"));
    assert!(!is_mendable(DifferenceKind::UnknownToUs, "void"));
    assert!(!is_mendable(DifferenceKind::AmountDiffers, "authorize"));
    let foreign = Difference {
        operation_id: "another system".into(),
        ..difference(DifferenceKind::UnknownToUs, "authorize")
    };
    assert_eq!(foreign.mendable(), None);
}
