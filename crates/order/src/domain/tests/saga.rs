//! From placed to paid or cancelled.

use super::*;
use crate::domain::{Awaits, CancelAnswer, StartPaymentAnswer};

/// The histories up to each step of the saga, from placed to paid.
fn steps() -> [History; 5] {
    let placed = History::placed(ANN);
    let due = placed.clone().payment_due();
    let authorized = due.clone().authorized();
    let confirmed = authorized.clone().confirmed();
    [placed, due, authorized, confirmed, History::paid_order()]
}

#[test]
fn each_awaited_answer_leads_to_the_next_step() {
    let steps = steps();
    for (signal, pair) in happy_path().into_iter().zip(steps.windows(2)) {
        leads_to(&pair[0], &super::signal(ANN, signal), &pair[1]);
    }
}

#[test]
fn too_little_stock_cancels_and_names_what_was_short() {
    let [placed, _, authorized, ..] = steps();
    let shortages = vec![shortage("A", 2, 1)];
    let refused = signal(ANN, Signal::Refused { shortages: shortages.clone() });
    let after = placed.clone().cancelled(CancelReason::OutOfStock, "", &shortages);
    leads_to(&placed, &refused, &after);
    let lost = signal(ANN, Signal::Lost { shortages: shortages.clone() });
    let after = authorized.clone().cancelled(CancelReason::StockLost, "", &shortages);
    leads_to(&authorized, &lost, &after);
}

#[test]
fn an_answer_that_does_not_come_in_time_cancels() {
    let [placed, due, authorized, ..] = steps();
    for (given, deadline, reason) in [
        (placed, RESERVE_BY, CancelReason::StockTimeout),
        (due, DUE_BY, CancelReason::PaymentTimeout),
        (authorized, ALLOCATE_BY, CancelReason::StockTimeout),
    ] {
        let passed = signal(ANN, Signal::DeadlinePassed { deadline });
        leads_to(&given, &passed, &given.clone().cancelled(reason, "", &[]));
    }
}

#[test]
fn a_deadline_that_is_no_longer_in_place_changes_nothing() {
    let [_, due, ..] = steps();
    for deadline in [RESERVE_BY, NOW] {
        leads_to_nothing(&due, &signal(ANN, Signal::DeadlinePassed { deadline }));
    }
}

#[test]
fn a_declined_payment_may_be_made_anew_while_the_stock_is_held() {
    let due = History::placed(ANN).payment_due();
    let declined = due.clone().declined(1);
    let decline = |payment| signal(ANN, Signal::Declined { payment, code: "declined".into() });
    leads_to(&due, &decline(1), &declined);

    let again = declined.clone().payment_due_again(2, "other", DUE_BY);
    let answer = StartPaymentAnswer::Started {
        payment_id: PaymentId { order_id: ANN, number: 2 },
        amount: gbp(700),
        due_by: DUE_BY,
    };
    check(&declined.events, &pay(ANN, "other"), &answered(&[again.last()], answer));

    // What the first one says now does not concern the second.
    leads_to_nothing(&again, &decline(1));
    leads_to_nothing(&again, &signal(ANN, Signal::Authorized { payment: 1 }));
    leads_to(&again, &decline(2), &again.clone().declined(2));
    let fact = Fact::Authorized { payment: Some(2), allocate_by: ALLOCATE_BY, one_step: None };
    let authorized = again.clone().payment(fact, PaymentStatus::Authorized);
    leads_to(&again, &signal(ANN, Signal::Authorized { payment: 2 }), &authorized);
}

#[test]
fn a_payment_that_could_not_be_carried_out_may_be_made_anew() {
    let due = History::placed(ANN).payment_due();
    let failure = Failure { code: String::new(), detail: "no route".into() };
    let fact = Fact::PaymentFailed { payment: 1, failure, retry_until: Some(HELD_UNTIL) };
    let failed = due.clone().payment(fact, PaymentStatus::Failed);
    let signal = signal(ANN, Signal::Failed { payment: 1, detail: "no route".into() });
    leads_to(&due, &signal, &failed);
    let passed = super::signal(ANN, Signal::DeadlinePassed { deadline: HELD_UNTIL });
    let after = failed.clone().cancelled(CancelReason::PaymentFailed, "no route", &[]);
    leads_to(&failed, &passed, &after);
}

#[test]
fn an_order_whose_payment_failed_ends_with_the_hold() {
    let declined = History::placed(ANN).payment_due().declined(1);
    let passed = signal(ANN, Signal::DeadlinePassed { deadline: HELD_UNTIL });
    let after = declined.clone().cancelled(CancelReason::PaymentDeclined, "declined", &[]);
    leads_to(&declined, &passed, &after);

    // A decline that comes after the hold ended finds no stock.
    let due = History::placed(ANN).payment_due();
    let late = signal(ANN, Signal::Declined { payment: 1, code: "declined".into() });
    let decision = orders().decide(&fold(&due.events), &late, HELD_UNTIL);
    let after = due.cancelled(CancelReason::PaymentDeclined, "declined", &[]);
    assert_eq!(decision.events, [after.last()]);
}

#[test]
fn no_payment_is_started_that_is_not_due() {
    let given = steps();
    let not_due = |history: &History| {
        let statuses = history.summary.statuses;
        check(
            &history.events,
            &pay(ANN, "other"),
            &answered(&[], StartPaymentAnswer::NotDue { statuses }),
        );
    };
    given.iter().for_each(not_due);
    let declined = History::placed(ANN).payment_due().declined(1);
    not_due(&declined.clone().cancelled(CancelReason::Requested, "", &[]));
    let decision = orders().decide(&fold(&declined.events), &pay(ANN, "x"), HELD_UNTIL);
    assert!(decision.events.is_empty(), "the stock is no longer held");
    check(&declined.events, &pay(BOB, "x"), &answered(&[], StartPaymentAnswer::NotFound));
}

#[test]
fn what_the_customer_must_do_is_passed_on_and_the_payment_goes_on() {
    let due = History::placed(ANN).payment_due();
    let fact = Fact::ActionRequired { payment: 1, action: action() };
    let required = due.clone().payment(fact, PaymentStatus::ActionRequired);
    let signal = |signal| super::signal(ANN, signal);
    leads_to(&due, &signal(Signal::ActionRequired { payment: 1, action: action() }), &required);
    leads_to(&required, &signal(Signal::Authorized { payment: 1 }), &required.clone().authorized());
    let decline = Signal::Declined { payment: 1, code: "declined".into() };
    leads_to(&required, &signal(decline), &required.clone().declined(1));
    let passed = Signal::DeadlinePassed { deadline: DUE_BY };
    let after = required.clone().cancelled(CancelReason::PaymentTimeout, "", &[]);
    leads_to(&required, &signal(passed), &after);
}

#[test]
fn a_payment_that_waits_for_its_customer_may_be_replaced_while_the_stock_is_held() {
    let required = History::placed(ANN).payment_due().action_required(1);
    let again = required.clone().payment_due_again(2, "other", DUE_BY).abandoning(1);
    let answer = StartPaymentAnswer::Started {
        payment_id: PaymentId { order_id: ANN, number: 2 },
        amount: gbp(700),
        due_by: DUE_BY,
    };
    check(&required.events, &pay(ANN, "other"), &answered(&[again.last()], answer));
    let order = fold(&again.events).orders.get(&ANN).cloned().expect("is placed");
    let abandoned = &order.payments[0];
    assert_eq!((abandoned.status, &abandoned.action), (PaymentStatus::Failed, &None));
    // Whatever comes of the first one after all is payment's to give back, before and after the second is authorised.
    let fact = Fact::Authorized { payment: Some(2), allocate_by: ALLOCATE_BY, one_step: None };
    let authorized = again.clone().payment(fact, PaymentStatus::Authorized);
    leads_to(&again, &signal(ANN, Signal::Authorized { payment: 2 }), &authorized);
    let confirmed = Fact::Confirmed { payment: Some(2), capture: Some(gbp(700)) };
    let confirmed = authorized.clone().order(confirmed, OrderStatus::Confirmed);
    leads_to(&authorized, &signal(ANN, Signal::Allocated), &confirmed);
    for given in [&again, &authorized, &confirmed] {
        nothing_comes_of(1, given);
    }
    let paid = Fact::Paid { payment: Some(2), amount: gbp(700), listed: listed() };
    let paid = confirmed.clone().payment(paid, PaymentStatus::Paid);
    let captured = Signal::Captured { payment: 2, amount: gbp(700) };
    leads_to(&confirmed, &signal(ANN, captured), &paid);
    let decision = orders().decide(&fold(&required.events), &pay(ANN, "other"), HELD_UNTIL);
    assert!(decision.events.is_empty(), "the stock is no longer held");
}

#[test]
fn an_order_that_costs_nothing_needs_no_payment() {
    let placed = History::placed_for(ANN, 1, None, gbp(0), "card");
    let fact = Fact::Authorized { payment: None, allocate_by: ALLOCATE_BY, one_step: None };
    let authorized = placed.clone().payment(fact, PaymentStatus::Pending);
    let held = signal(ANN, Signal::Reserved { held_until: HELD_UNTIL });
    leads_to(&placed, &held, &authorized);
    let paid = authorized
        .clone()
        .order(Fact::Confirmed { payment: None, capture: None }, OrderStatus::Confirmed)
        .payment(
            Fact::Paid { payment: None, amount: gbp(0), listed: listed() },
            PaymentStatus::Paid,
        );
    leads_to(&authorized, &signal(ANN, Signal::Allocated), &paid);
}

#[test]
fn an_order_on_account_is_confirmed_without_a_payment() {
    let placed = History::placed_for(ANN, 1, None, gbp(700), "on_account");
    let fact = Fact::Authorized { payment: None, allocate_by: ALLOCATE_BY, one_step: None };
    let authorized = placed.clone().payment(fact, PaymentStatus::Pending);
    let held = signal(ANN, Signal::Reserved { held_until: HELD_UNTIL });
    leads_to(&placed, &held, &authorized);
    let fact = Fact::Confirmed { payment: None, capture: None };
    let confirmed = authorized.clone().order(fact, OrderStatus::Confirmed);
    leads_to(&authorized, &signal(ANN, Signal::Allocated), &confirmed);
}

#[test]
fn money_that_cannot_be_captured_cancels() {
    let [.., confirmed, _] = steps();
    let failed = signal(ANN, Signal::CaptureFailed { payment: 1, code: "expired".into() });
    let after = confirmed.clone().cancelled(CancelReason::CaptureFailed, "expired", &[]);
    leads_to(&confirmed, &failed, &after);
}

#[test]
fn an_order_of_which_nothing_has_shipped_is_cancelled_on_request() {
    let declined = History::placed(ANN).payment_due().declined(1);
    for given in steps().into_iter().chain([declined]) {
        let note = Some(sealed("changed my mind"));
        let after = given.clone().cancelled_with(note.clone());
        check(
            &given.events,
            &cancel(ANN, note),
            &answered(&[after.last()], CancelAnswer::Cancelled),
        );
    }
}

#[test]
fn cancelling_what_is_cancelled_or_unknown_changes_nothing() {
    let given = History::placed(ANN).cancelled(CancelReason::OutOfStock, "", &[]);
    check(
        &given.events,
        &cancel(ANN, Some(sealed("me too"))),
        &answered(&[], CancelAnswer::Cancelled),
    );
    check(&given.events, &cancel(BOB, None), &answered(&[], CancelAnswer::NotFound));
}

#[test]
fn refunds_move_the_payment_status_also_of_a_cancelled_order() {
    let refund = |amount| {
        let (refund_id, amount) = ("r".to_owned(), gbp(amount));
        signal(ANN, Signal::Refunded { payment: 1, refund_id, amount })
    };
    let fact = |amount, captured, refunded| Fact::Refunded {
        payment: 1,
        refund_id: "r".into(),
        amount: gbp(amount),
        captured: gbp(captured),
        refunded: gbp(refunded),
    };
    let paid = History::paid_order();
    let part = paid.clone().payment(fact(200, 700, 200), PaymentStatus::PartiallyRefunded);
    leads_to(&paid, &refund(200), &part);
    let all = part.clone().payment(fact(500, 700, 700), PaymentStatus::Refunded);
    leads_to(&part, &refund(500), &all);
    let cancelled = part.cancelled(CancelReason::Requested, "", &[]);
    let all = cancelled.clone().payment(fact(500, 700, 700), PaymentStatus::Refunded);
    leads_to(&cancelled, &refund(500), &all);
    // It was captured when the order was already cancelled.
    let [.., confirmed, _] = steps();
    let cancelled = confirmed.cancelled(CancelReason::Requested, "", &[]);
    let all = cancelled.clone().payment(fact(700, 700, 700), PaymentStatus::Refunded);
    leads_to(&cancelled, &refund(700), &all);
}

#[test]
fn an_answer_about_an_order_that_nobody_knows_changes_nothing() {
    for signal in every_signal(RESERVE_BY) {
        leads_to_nothing(&History::placed(ANN), &super::signal(BOB, signal));
    }
}

#[test]
fn every_way_through_the_saga_ends_once_whatever_comes_late_or_twice() {
    let mut ends = Vec::new();
    check_every_continuation(|_| {}, &History::placed(ANN).events, &mut ends);
    let paid = ends.iter().filter(|statuses| statuses.0 != OrderStatus::Cancelled).count();
    assert!(paid > 0 && ends.len() > 10, "{ends:?}");
}

/// Tries every input on every state that an order can reach, each of them twice. Each way must
/// end, after which nothing but a cancellation follows and no deadline is left.
#[track_caller]
pub(super) fn check_every_continuation(
    change: fn(&mut Settings),
    history: &[Event],
    ends: &mut Vec<Statuses>,
) {
    let state = || {
        let mut state = fold(history);
        Orders::replicate(&mut state, &settings(change));
        state
    };
    let before = state();
    let order = before.orders.get(&ANN).expect("is placed");
    assert_eq!(order.revision.version, history.len() as u64, "versions have a gap");
    assert_eq!(order.statuses, history.last().expect("is placed").summary.statuses);
    let awaited = matches!(order.awaits, Awaits::Hold | Awaits::Payment | Awaits::Allocation);
    assert_eq!(order.deadline.is_some(), awaited, "{history:?}");
    assert_eq!(order.is_settled(), order.awaits == Awaits::Nothing, "{history:?}");
    if order.is_settled() {
        ends.push(order.statuses);
    }

    let mut inputs = vec![Input::Place(request(ANN)), cancel(ANN, None), pay(ANN, "other")];
    let deadline = order.deadline.unwrap_or(RESERVE_BY);
    inputs.extend(every_signal(deadline).into_iter().map(|signal| super::signal(ANN, signal)));
    for input in inputs {
        let mut state = state();
        let mut log = history.to_vec();
        run(&mut state, &mut log, &input);
        let once = log.clone();
        run(&mut state, &mut log, &input);
        assert_eq!(log, once, "{input:?} had an effect twice");
        // A second payment goes the same way as the first.
        let payments = log.iter().filter(|it| matches!(it.fact, Fact::PaymentDue { .. })).count();
        if log.len() > history.len() && payments < 2 {
            assert!(
                !order.is_settled() || matches!(input, Input::Cancel { .. }),
                "{input:?} changed a settled order"
            );
            check_every_continuation(change, &log, ends);
        }
    }
}

#[test]
fn the_whole_saga_fed_twice_in_every_late_position_is_the_saga() {
    let mut inputs = vec![Input::Place(request(ANN))];
    inputs.extend(happy_path().map(|signal| super::signal(ANN, signal)));
    let once = History::paid_order().events;

    let mut state = fold(&[]);
    let mut log = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        run(&mut state, &mut log, input);
        // Everything that has come so far comes again.
        for late in &inputs[..=index] {
            run(&mut state, &mut log, late);
        }
        assert_eq!(log, once[..=index]);
    }
}
