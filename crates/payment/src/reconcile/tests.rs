//! The provider's list beside payments.

use events::{id::PaymentId, money::Currency};

use super::*;
use crate::domain::{Refund, Status};

const FIRST: &str = "018f4e6a-0000-7000-8000-000000000001-1";
const SECOND: &str = "018f4e6a-0000-7000-8000-000000000001-2";
const FROM: Timestamp = Timestamp::from_millis(100);
const UNTIL: Timestamp = Timestamp::from_millis(200);

fn pounds(minor: i64) -> Money {
    Money { minor, currency: Currency::parse("GBP").expect("valid") }
}

fn theirs(payment: &str, operation: &str, minor: i64) -> Transaction {
    theirs_at(payment, operation, minor, FROM.millis())
}

fn theirs_at(payment: &str, operation: &str, minor: i64, at_ms: i64) -> Transaction {
    Transaction {
        operation_id: format!("{payment}:{operation}"),
        task: operation.to_owned(),
        amount: pounds(minor),
        provider_reference: "ref".to_owned(),
        at: Timestamp::from_millis(at_ms),
    }
}

/// A payment with these transactions: operation, what has become of it, how, and when that was known.
fn payment(id: &str, transactions: &[(&str, TransactionStatus, &str, i64)]) -> Payment {
    let id = PaymentId::parse(id).expect("valid");
    let transactions =
        transactions.iter().map(|(operation, status, detail, at_ms)| OurTransaction {
            operation: Operation::parse(operation).expect("valid"),
            amount: 500,
            status: *status,
            detail: (*detail).to_owned(),
            at_ms: 0,
            ended_at_ms: Some(*at_ms),
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
        surplus: 0,
        given_up_refund: 0,
        action: None,
        transactions: transactions.collect(),
        wanted: vec![],
        pending: None,
        differences: vec![],
        changed_at_ms: 0,
    }
}

/// Compares as much as fits, and yields what differs and until when was compared. `elsewhere` is what the
/// provider did at another time.
fn compare(
    limit: usize,
    ours: &[Payment],
    theirs: &[Transaction],
    elsewhere: &[Transaction],
) -> (Vec<(DifferenceKind, String)>, Timestamp) {
    let mut comparison = Comparison::new(FROM, UNTIL, limit);
    for transaction in theirs {
        if comparison.is_full() {
            break;
        }
        comparison.add_theirs(transaction.clone());
    }
    comparison.is_full();
    for payment in ours {
        comparison.add_ours(payment);
    }
    for id in comparison.unlisted() {
        let found = elsewhere.iter().find(|it| it.operation_id == id);
        if let Some(it) = found {
            comparison.add_listed(it.clone());
        }
    }
    let Reconciliation { differences, until, .. } = comparison.finish();
    (differences.into_iter().map(|it| (it.kind, it.operation_id)).collect(), until)
}

#[track_caller]
fn check(ours: &[Payment], theirs: &[Transaction], expected: &[(DifferenceKind, String)]) {
    assert_eq!(compare(100, ours, theirs, &[]), (expected.to_vec(), UNTIL));
}

#[test]
fn what_agrees_is_no_difference() {
    use TransactionStatus::{Done, Failed, Pending, Stuck, Uncertain};
    let ours = [
        payment(FIRST, &[("authorize", Done, "", 100), ("capture-4", Done, "", 150)]),
        payment(SECOND, &[("authorize", Failed, "", 100)]),
    ];
    check(&ours, &[theirs(FIRST, "authorize", 500), theirs(FIRST, "capture-4", 500)], &[]);
    for open in [Pending, Uncertain, Stuck] {
        let mut open = payment(FIRST, &[("authorize", open, "", 100)]);
        open.transactions[0].ended_at_ms = None;
        check(std::slice::from_ref(&open), &[theirs(FIRST, "authorize", 500)], &[]);
        check(&[open], &[], &[]);
    }
    let elsewhere = [payment(FIRST, &[("authorize", Done, DONE_ELSEWHERE, 100)])];
    check(&elsewhere, &[], &[]);
}

#[test]
fn what_only_one_side_has_done_is_a_difference() {
    use TransactionStatus::{Done, Failed};
    let unknown = |operation: &str| (DifferenceKind::UnknownToUs, format!("{SECOND}:{operation}"));
    let failed = [payment(SECOND, &[("authorize", Failed, "", 100)])];
    check(&failed, &[theirs(SECOND, "authorize", 500)], &[unknown("authorize")]);
    check(&[], &[theirs(SECOND, "capture-4", 500)], &[unknown("capture-4")]);
    let done = [payment(FIRST, &[("authorize", Done, "", 100)])];
    check(&done, &[], &[(DifferenceKind::UnknownToProvider, format!("{FIRST}:authorize"))]);
    for outside in [99, 200] {
        check(&[payment(FIRST, &[("authorize", Done, "", outside)])], &[], &[]);
    }
}

#[test]
fn what_the_provider_did_just_before_we_knew_is_no_difference() {
    let ours = [payment(FIRST, &[("authorize", TransactionStatus::Done, "", 100)])];
    let before = [theirs_at(FIRST, "authorize", 500, 99)];
    assert_eq!(compare(100, &ours, &[], &before), (vec![], UNTIL));
}

#[test]
fn what_an_operator_gave_up_and_the_provider_has_done_is_a_difference() {
    use TransactionStatus::{Failed, GivenUp, Refused};
    for (operation, status, detail) in
        [("void", GivenUp, ""), ("authorize", Failed, GIVEN_UP), ("capture-4", Refused, GIVEN_UP)]
    {
        let ours = [payment(FIRST, &[(operation, status, detail, 150)])];
        let found = (DifferenceKind::UnknownToUs, format!("{FIRST}:{operation}"));
        let done = [theirs_at(FIRST, operation, 500, 50)];
        assert_eq!(compare(100, &ours, &[], &done), (vec![found.clone()], UNTIL));
        let done = [theirs_at(FIRST, operation, 500, 120)];
        assert_eq!(compare(100, &ours, &done, &[]), (vec![found], UNTIL));
        check(&ours, &[], &[]);
    }
}

#[test]
fn another_amount_is_a_difference() {
    let ours = [payment(FIRST, &[("authorize", TransactionStatus::Done, "", 100)])];
    let differs = (DifferenceKind::AmountDiffers, format!("{FIRST}:authorize"));
    check(&ours, &[theirs(FIRST, "authorize", 499)], &[differs]);
}

#[test]
fn what_does_not_fit_is_left_to_the_next_comparison() {
    use TransactionStatus::Done;
    let ids: Vec<_> =
        (0..5).map(|it| format!("018f4e6a-0000-7000-8000-00000000000{it}-1")).collect();
    let at = [100, 110, 110, 110, 120];
    let listed: Vec<_> =
        ids.iter().zip(at).map(|(id, at)| theirs_at(id, "authorize", 500, at)).collect();
    let ours: Vec<_> =
        ids.iter().zip(at).map(|(id, at)| payment(id, &[("authorize", Done, "", at)])).collect();
    // It ends between two times.
    for (limit, until) in [(1, 110), (2, 110), (4, 120), (5, 200)] {
        let until = Timestamp::from_millis(until);
        assert_eq!(compare(limit, &ours, &listed, &[]), (vec![], until), "{limit}");
    }
    // As many at one time as fit, and more, are compared all the same.
    assert_eq!(compare(2, &ours[1..4], &listed[1..4], &[]), (vec![], UNTIL));

    // Of what only we know, the first are compared.
    let missing = |id: &String| (DifferenceKind::UnknownToProvider, format!("{id}:authorize"));
    let (found, until) = compare(1, &ours, &[], &[]);
    assert_eq!((found, until), (vec![missing(&ids[0])], Timestamp::from_millis(110)));
}

#[test]
fn what_the_provider_holds_and_we_do_not_know_of_can_be_given_back() {
    let difference = |kind, operation: &str| Difference {
        kind,
        operation_id: format!("{FIRST}:{operation}"),
        amount: pounds(500),
        provider_reference: "ref".into(),
        occurred_at: None,
    };
    let is_mendable = |kind, operation| difference(kind, operation).is_mendable();
    assert!(is_mendable(DifferenceKind::UnknownToUs, "authorize"));
    assert!(is_mendable(DifferenceKind::UnknownToUs, "capture-4"));
    assert!(!is_mendable(DifferenceKind::UnknownToUs, "void"));
    assert!(!is_mendable(DifferenceKind::AmountDiffers, "authorize"));
    let foreign = Difference {
        operation_id: "another system".into(),
        ..difference(DifferenceKind::UnknownToUs, "authorize")
    };
    assert!(!foreign.is_mendable());
}
