//! Payments in one step.

use super::*;

pub(super) const CHARGE: Operation = Operation::first(OperationKind::Charge);

/// What happened when the provider is being asked to charge.
pub(super) fn charging() -> Vec<Fact> {
    let payment_method = "card".into();
    vec![Fact::ChargePending {
        operation: CHARGE,
        amount: pounds(500),
        payment_method,
        due_by: DUE_BY,
    }]
}

/// What happened when it has.
pub(super) fn charged() -> Vec<Fact> {
    [charging(), vec![taken_by(CHARGE, 500)]].concat()
}

fn payment_due() -> Input {
    payment_due_in(Steps::Charge, first())
}

fn refused() -> Fact {
    Fact::Declined { operation: CHARGE, code: "insufficient_funds".into() }
}

fn never_charged() -> Fact {
    Fact::Failed { operation: CHARGE, detail: "8 attempts".into() }
}

#[test]
fn what_is_charged_is_captured_and_nothing_of_it_is_set_aside() {
    check(&[], &payment_due(), &charging());
    let payments = check(&charging(), &approves(CHARGE), &[taken_by(CHARGE, 500)]);
    let payment = payment_of(&payments, first());
    assert_eq!((payment.status, payment.provider_reference.as_str()), (Status::Captured, "p1"));
    assert_eq!((payment.authorized, payment.captured, payment.held()), (500, 500, 0));
    // It is taken once, whatever the order asks for later.
    check(&charged(), &payment_due(), &[]);
    check(&charged(), &confirmed(), &[]);
}

#[test]
fn a_charge_that_is_declined_or_fails_takes_nothing_and_another_payment_may_follow() {
    check(&charging(), &declines(CHARGE, "insufficient_funds"), &[refused()]);
    check(&charging(), &fails(CHARGE), &[never_charged()]);
    let mut payments = history(&[charging(), vec![refused()]].concat());
    let second = payment_due_in(Steps::Charge, first().next());
    assert_eq!(facts(&handle(&mut payments, &second)), charging());
    assert_eq!(payment_of(&payments, first()).kept(), 0);
}

#[test]
fn the_customer_may_have_to_act_before_a_charge() {
    let (url, expires_at) = ("https://bank.example/confirm".to_owned(), DUE_BY);
    let outcome = Outcome::ActionRequired { url: url.clone(), data: String::new(), expires_at };
    let required = Fact::ActionRequired { operation: CHARGE, url, data: String::new(), expires_at };
    check(&charging(), &settled(CHARGE, outcome), std::slice::from_ref(&required));
    let given = [charging(), vec![required]].concat();
    check(&given, &approves(CHARGE), &[taken_by(CHARGE, 500)]);
}

/// The customer is to act before the charge.
fn asking() -> Vec<Fact> {
    let (url, data, expires_at) = (String::new(), String::new(), DUE_BY);
    let required = Fact::ActionRequired { operation: CHARGE, url, data, expires_at };
    [charging(), vec![required]].concat()
}

#[test]
fn an_abandoned_charge_that_lands_is_refunded_beside_the_payment_in_its_place() {
    for steps in [Steps::Charge, Steps::Authorize] {
        for is_second_first in [true, false] {
            let mut payments = history(&asking());
            let events = handle(&mut payments, &replaced_in(steps));
            assert_eq!(facts(&events)[0], Fact::CancelRequested);
            let pay_second = |payments: &mut State| match steps {
                Steps::Charge => drop(handle(payments, &of_second(approves(CHARGE)))),
                _ => second_is_paid(payments),
            };
            if is_second_first {
                pay_second(&mut payments);
            }
            let late = facts(&handle(&mut payments, &approves(CHARGE)));
            assert_eq!(late, [taken_by(CHARGE, 500), refund_pending()]);
            handle(&mut payments, &approves(REFUND));
            if !is_second_first {
                pay_second(&mut payments);
            }
            assert_eq!(kept_and_held(&payments), (500, 0));
        }
    }
}

#[test]
fn an_abandoned_charge_that_landed_before_it_was_known_to_be_abandoned_is_refunded() {
    let mut payments = history(&[asking(), vec![taken_by(CHARGE, 500)]].concat());
    let events = handle(&mut payments, &replaced_in(Steps::Charge));
    let given_back = vec![Fact::CancelRequested, refund_pending()];
    assert_eq!(facts(&events), [given_back, charging()].concat());
    handle(&mut payments, &approves(REFUND));
    handle(&mut payments, &of_second(approves(CHARGE)));
    assert_eq!(kept_and_held(&payments), (500, 0));
}

#[test]
fn a_charge_of_which_nothing_is_heard_is_uncertain_and_counts_when_it_is() {
    check(&charging(), &silent(CHARGE, false), &[uncertain(CHARGE)]);
    let given = [charging(), vec![uncertain(CHARGE)]].concat();
    check(&given, &silent(CHARGE, true), &[stuck(CHARGE, StuckReason::NoAnswer, "")]);
    check(&given, &approves(CHARGE), &[taken_by(CHARGE, 500)]);
    check(&given, &fails(CHARGE), &[never_charged()]);
}

#[test]
fn a_charge_that_lands_after_the_cancel_is_refunded() {
    check(&charging(), &cancelled(), &[Fact::CancelRequested]);
    let given = [charging(), vec![Fact::CancelRequested]].concat();
    check(&given, &approves(CHARGE), &[taken_by(CHARGE, 500), refund_pending()]);
    check(&given, &declines(CHARGE, "insufficient_funds"), &[refused()]);
    check(&given, &fails(CHARGE), &[never_charged()]);
    check(&charged(), &cancelled(), &[Fact::CancelRequested, refund_pending()]);
    let given = [charged(), vec![Fact::CancelRequested, refund_pending()]].concat();
    let payments = check(&given, &approves(REFUND), &[refunded()]);
    assert_eq!(payment_of(&payments, first()).kept(), 0);
}

#[test]
fn an_order_that_is_over_is_not_charged_any_more_but_looked_up() {
    let from = |facts: &[Fact]| {
        payment_of(&history(facts), first()).look_up_only_from().map(Timestamp::millis)
    };
    assert_eq!(from(&charging()), Some(DUE_BY.millis()));
    assert_eq!(from(&[charging(), vec![Fact::CancelRequested]].concat()), Some(NOW.millis()));
}

#[test]
fn a_charge_that_the_provider_knows_otherwise_is_for_an_operator() {
    let conflict = stuck(CHARGE, StuckReason::Conflict, "");
    check(&charging(), &settled(CHARGE, Outcome::Conflict), std::slice::from_ref(&conflict));
    let given = [charging(), vec![conflict]].concat();
    let payments = history(&given);
    assert_eq!(payment_of(&payments, first()).pending_id(), None, "it is not asked for again");
}

#[test]
fn an_operator_settles_a_charge() {
    let given = [charging(), vec![stuck(CHARGE, StuckReason::NoAnswer, "")]].concat();
    let failed = Fact::Failed { operation: CHARGE, detail: GIVEN_UP.into() };
    let done = Fact::Captured {
        operation: CHARGE,
        amount: pounds(500),
        provider_reference: String::new(),
    };
    for (resolution, follows) in [
        (Resolution::Retry, vec![]),
        (Resolution::GiveUp, vec![failed.clone()]),
        (Resolution::DoneElsewhere, vec![done.clone()]),
    ] {
        let settled = vec![settled_by_operator(CHARGE, resolution)];
        let mut payments = history(&given);
        let events = handle(&mut payments, &settles(resolution));
        assert_eq!(facts(&events), [settled, follows].concat(), "{resolution:?}");
    }
    let given = [given, vec![Fact::CancelRequested]].concat();
    let mut payments = history(&given);
    let events = handle(&mut payments, &settles(Resolution::DoneElsewhere));
    let settled = settled_by_operator(CHARGE, Resolution::DoneElsewhere);
    assert_eq!(facts(&events), [settled, done, refund_pending()], "what is taken is paid back");
}

#[test]
fn a_charge_that_turns_up_is_refunded() {
    let listed = Listed {
        payment_id: first(),
        operation: CHARGE,
        amount: pounds(500),
        provider_reference: "p1".into(),
        occurred_at: Some(ANSWERED_AT),
    };
    let turned_up = || Fact::TurnedUp {
        operation: CHARGE,
        amount: pounds(500),
        provider_reference: "p1".into(),
    };
    let differs = Input::Differs { kind: DifferenceKind::UnknownToUs, listed };
    for given in [vec![], [charging(), vec![never_charged()]].concat()] {
        let payments = check(&given, &differs, &[turned_up(), refund_pending()]);
        let payment = payment_of(&payments, first());
        assert_eq!((payment.authorized, payment.captured, payment.held()), (500, 500, 0));
    }
    // Its outcome is looked up.
    check(&charging(), &differs, &[]);
    check(&charged(), &differs, &[]);
}

#[test]
fn what_was_charged_is_refunded_in_parts_when_it_is_asked_for() {
    check(&charged(), &refund_of("R1", 200), &[part_pending("R1", 1, 200)]);
    let given = [charged(), vec![part_pending("R1", 1, 200)]].concat();
    check(&given, &approves(REFUND), &[part_refunded("R1", 1, 200)]);
    let too_much = refund_of("R1", 501);
    let refundable = pounds(500);
    let answered = RefundAnswer::TooLarge { payment_id: first(), refundable };
    assert_eq!(answer(&charged(), &too_much), Some(answered.into()));
}
