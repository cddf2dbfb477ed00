//! Payments in one step: allocated first, then taken, then confirmed and paid.

use events::shop::Settings;

use super::{saga::check_every_continuation, *};
use crate::domain::{CancelAnswer, OneStep, StartPaymentAnswer};

/// Every method but `card-2`, with which a customer pays in two steps.
fn one_step(settings: &mut Settings) {
    settings.one_step_methods = vec!["card-1".into(), "ideal".into()];
}

impl History {
    /// Placed, to be paid in one step.
    fn placed_in_one_step() -> Self {
        Self::placed_for(ANN, 1, None, gbp(700), "ideal")
    }

    /// Its stock is to be allocated, for a payment in one step.
    fn waiting_for_allocation(self, method: &str) -> Self {
        let one_step = Some(OneStep { payment_method: method.into(), held_until: HELD_UNTIL });
        let fact = Fact::Authorized { payment: None, allocate_by: ALLOCATE_BY, one_step };
        self.payment(fact, PaymentStatus::Pending)
    }

    fn due_in_one_step(self, payment: u32, method: &str) -> Self {
        let fact = Fact::PaymentDue {
            payment,
            amount: gbp(700),
            payment_method: method.into(),
            due_by: DUE_BY,
            held_until: Some(HELD_UNTIL),
            capture: Capture::OnConfirmation,
            capture_at_once: None,
            one_step: true,
            abandons: None,
        };
        self.payment(fact, PaymentStatus::Pending)
    }

    fn taken(self, payment: u32) -> Self {
        let fact = Fact::Confirmed { payment: Some(payment), capture: None };
        let paid = Fact::Paid { payment: Some(payment), amount: gbp(700), listed: listed() };
        self.order(fact, OrderStatus::Confirmed).payment(paid, PaymentStatus::Paid)
    }

    /// Due, with its stock allocated.
    fn charged() -> Self {
        Self::placed_in_one_step().waiting_for_allocation("ideal").due_in_one_step(1, "ideal")
    }

    fn declined_in_one_step() -> Self {
        Self::charged().declined(1)
    }
}

/// Given this history in a shop with methods in one step, the input leads to the events by which `after` is longer.
#[track_caller]
fn leads_to(given: &History, when: &Input, after: &History) {
    assert_eq!(after.events[..given.events.len()], given.events);
    let decision = decide_with(one_step, &given.events, when);
    assert_eq!(decision.events, after.events[given.events.len()..]);
}

#[track_caller]
fn leads_to_nothing(given: &History, when: &Input) {
    assert_eq!(decide_with(one_step, &given.events, when), Decision::nothing());
}

fn captured(payment: u32) -> Input {
    signal(ANN, Signal::Captured { payment, amount: gbp(700) })
}

fn decline(payment: u32) -> Input {
    signal(ANN, Signal::Declined { payment, code: "declined".into() })
}

fn passed(deadline: Timestamp) -> Input {
    signal(ANN, Signal::DeadlinePassed { deadline })
}

#[test]
fn the_stock_is_allocated_before_the_money_is_taken_and_confirmed_after_it() {
    let placed = History::placed_in_one_step();
    let allocating = placed.clone().waiting_for_allocation("ideal");
    let due = allocating.clone().due_in_one_step(1, "ideal");
    leads_to(&placed, &signal(ANN, Signal::Reserved { held_until: HELD_UNTIL }), &allocating);
    leads_to(&allocating, &signal(ANN, Signal::Allocated), &due);
    leads_to(&due, &captured(1), &due.clone().taken(1));
    // It is taken once.
    leads_to_nothing(&due.clone().taken(1), &captured(1));
    leads_to_nothing(&due, &signal(ANN, Signal::Allocated));
}

#[test]
fn how_a_payment_began_it_goes_on_whatever_the_settings_are_then() {
    let allocating = History::placed_in_one_step().waiting_for_allocation("ideal");
    let due = allocating.clone().due_in_one_step(1, "ideal");
    super::leads_to(&allocating, &signal(ANN, Signal::Allocated), &due);
    super::leads_to(&due, &captured(1), &due.clone().taken(1));
    let two_steps = History::placed(ANN).payment_due().authorized();
    leads_to(&two_steps, &signal(ANN, Signal::Allocated), &two_steps.clone().confirmed());
}

#[test]
fn stock_that_is_lost_or_does_not_answer_cancels_before_any_money_is_taken() {
    let allocating = History::placed_in_one_step().waiting_for_allocation("ideal");
    let shortages = vec![shortage("A", 2, 1)];
    let lost = signal(ANN, Signal::Lost { shortages: shortages.clone() });
    let after = allocating.clone().cancelled(CancelReason::StockLost, "", &shortages);
    leads_to(&allocating, &lost, &after);
    let after = allocating.clone().cancelled(CancelReason::StockTimeout, "", &[]);
    leads_to(&allocating, &passed(ALLOCATE_BY), &after);
}

#[test]
fn a_payment_that_does_not_answer_in_time_gives_the_stock_back() {
    let due = History::charged();
    let after = due.clone().cancelled(CancelReason::PaymentTimeout, "", &[]);
    leads_to(&due, &passed(DUE_BY), &after);
    // What is taken after that is not the order's: payment pays it back, as it reads `cancelled`.
    leads_to_nothing(&after, &captured(1));
    let refunded = Signal::Refunded { payment: 1, refund_id: String::new(), amount: gbp(700) };
    let fact = Fact::Refunded {
        payment: 1,
        refund_id: String::new(),
        amount: gbp(700),
        captured: gbp(700),
        refunded: gbp(700),
    };
    let refunds = after.clone().payment(fact, PaymentStatus::Refunded);
    leads_to(&after, &signal(ANN, refunded), &refunds);
}

#[test]
fn a_declined_order_keeps_its_stock_until_the_hold_would_have_ended() {
    let due = History::charged();
    let declined = due.clone().declined(1);
    leads_to(&due, &decline(1), &declined);
    let after = declined.clone().cancelled(CancelReason::PaymentDeclined, "declined", &[]);
    leads_to(&declined, &passed(HELD_UNTIL), &after);
    // A decline that comes later than that ends it at once.
    let decision = orders().decide(&fold(&due.events), &decline(1), HELD_UNTIL);
    let after = due.cancelled(CancelReason::PaymentDeclined, "declined", &[]);
    assert_eq!(decision.events, [after.last()]);
}

#[test]
fn another_payment_in_one_step_is_due_at_once_since_the_stock_is_allocated() {
    let declined = History::declined_in_one_step();
    let again = declined.clone().due_in_one_step(2, "card-1");
    let started = StartPaymentAnswer::Started {
        payment_id: PaymentId { order_id: ANN, number: 2 },
        amount: gbp(700),
        due_by: DUE_BY,
    };
    let decision = decide_with(one_step, &declined.events, &pay(ANN, "card-1"));
    assert_eq!(decision, answered(&[again.last()], started));
    leads_to_nothing(&again, &captured(1));
    leads_to_nothing(&again, &decline(1));
    leads_to(&again, &captured(2), &again.clone().taken(2));
    leads_to(&again, &decline(2), &again.clone().declined(2));
}

#[test]
fn another_payment_in_two_steps_confirms_when_it_is_authorised_since_the_stock_is_allocated() {
    let declined = History::declined_in_one_step();
    let again = declined.clone().payment_due_again(2, "card-2", DUE_BY);
    leads_to(&declined, &pay(ANN, "card-2"), &again);
    let fact = Fact::Authorized { payment: Some(2), allocate_by: ALLOCATE_BY, one_step: None };
    let confirmed = again.clone().payment(fact, PaymentStatus::Authorized).order(
        Fact::Confirmed { payment: Some(2), capture: Some(gbp(700)) },
        OrderStatus::Confirmed,
    );
    leads_to(&again, &signal(ANN, Signal::Authorized { payment: 2 }), &confirmed);
}

#[test]
fn another_payment_in_one_step_waits_for_the_allocation_of_what_is_held() {
    let declined = History::placed(ANN).payment_due().declined(1);
    let allocating = declined.clone().waiting_for_allocation("ideal");
    let started = StartPaymentAnswer::Started {
        payment_id: PaymentId { order_id: ANN, number: 2 },
        amount: gbp(700),
        due_by: DUE_BY,
    };
    let decision = decide_with(one_step, &declined.events, &pay(ANN, "ideal"));
    assert_eq!(decision, answered(&[allocating.last()], started));
    let due = allocating.clone().due_in_one_step(2, "ideal");
    leads_to(&allocating, &signal(ANN, Signal::Allocated), &due);
    leads_to(&due, &captured(2), &due.clone().taken(2));
    // None beside it.
    let decision = decide_with(one_step, &allocating.events, &pay(ANN, "ideal"));
    let statuses = allocating.last().summary.statuses;
    assert_eq!(decision, answered(&[], StartPaymentAnswer::NotDue { statuses }));
}

#[test]
fn what_could_not_be_captured_after_a_shipment_may_be_taken_in_one_step() {
    let failure = Failure { code: "expired".into(), detail: String::new() };
    let fact = Fact::PaymentFailed { payment: 1, failure, retry_until: None };
    let shipped = Fact::Shipped {
        lines: vec![],
        location: main_location(),
        capture: None,
        fulfilment: FulfilmentStatus::Partial,
        occurred_at: None,
    };
    let statuses =
        Statuses(OrderStatus::Confirmed, PaymentStatus::Authorized, FulfilmentStatus::Partial);
    let failed = History::placed(ANN).payment_due().authorized().confirmed();
    let failed = failed.then(shipped, statuses).payment(fact, PaymentStatus::Failed);
    let due = Fact::PaymentDue {
        payment: 2,
        amount: gbp(700),
        payment_method: "ideal".into(),
        due_by: DUE_BY,
        held_until: None,
        capture: Capture::OnConfirmation,
        capture_at_once: None,
        one_step: true,
        abandons: None,
    };
    let again = failed.clone().payment(due, PaymentStatus::Pending);
    leads_to(&failed, &pay(ANN, "ideal"), &again);
    let paid = Fact::Paid { payment: Some(2), amount: gbp(700), listed: listed() };
    leads_to(&again, &captured(2), &again.clone().payment(paid, PaymentStatus::Paid));
}

#[test]
fn what_the_customer_must_do_is_passed_on_and_the_money_is_taken_then() {
    let due = History::charged();
    let required = due.clone().action_required(1);
    let asks = Signal::ActionRequired { payment: 1, action: action() };
    leads_to(&due, &signal(ANN, asks), &required);
    leads_to(&required, &captured(1), &required.clone().taken(1));
    let after = required.clone().cancelled(CancelReason::PaymentTimeout, "", &[]);
    leads_to(&required, &passed(DUE_BY), &after);
}

#[test]
fn a_payment_in_one_step_that_waits_for_its_customer_is_replaced_and_takes_nothing_for_the_order() {
    let required = History::charged().action_required(1);
    let again = required.clone().due_in_one_step(2, "card-1").abandoning(1);
    leads_to(&required, &pay(ANN, "card-1"), &again);
    nothing_comes_of(1, &again);
    leads_to(&again, &captured(2), &again.clone().taken(2));
    nothing_comes_of(1, &again.clone().taken(2));

    // In two steps, too, since its stock is allocated.
    let again = required.clone().payment_due_again(2, "card-2", DUE_BY).abandoning(1);
    leads_to(&required, &pay(ANN, "card-2"), &again);
    nothing_comes_of(1, &again);
}

#[test]
fn a_payment_in_two_steps_that_waits_for_its_customer_is_abandoned_once_the_stock_is_allocated() {
    let required = History::placed(ANN).payment_due().action_required(1);
    let allocating = required.clone().waiting_for_allocation("ideal");
    leads_to(&required, &pay(ANN, "ideal"), &allocating);
    nothing_comes_of(1, &allocating);
    let due = allocating.clone().due_in_one_step(2, "ideal").abandoning(1);
    leads_to(&allocating, &signal(ANN, Signal::Allocated), &due);
    nothing_comes_of(1, &due);
    leads_to(&due, &captured(2), &due.clone().taken(2));
}

#[test]
fn an_order_is_cancelled_on_request_while_its_money_is_being_taken() {
    let due = History::charged();
    for given in [due.clone(), due.declined(1)] {
        let after = given.clone().cancelled_with(None);
        let decision = decide_with(one_step, &given.events, &cancel(ANN, None));
        assert_eq!(decision, answered(&[after.last()], CancelAnswer::Cancelled));
        leads_to_nothing(&after, &captured(1));
    }
}

#[test]
fn money_that_is_taken_without_an_allocation_confirms_nothing() {
    super::leads_to_nothing(&History::placed(ANN).payment_due(), &captured(1));
}

#[test]
fn an_order_paid_in_one_step_is_captured_no_more_when_it_ships() {
    let change = |settings: &mut Settings| {
        one_step(settings);
        settings.capture = Capture::OnShipment;
    };
    let allocating = History::placed_in_one_step().waiting_for_allocation("ideal");
    let decision = decide_with(change, &allocating.events, &signal(ANN, Signal::Allocated));
    let [Event { fact: Fact::PaymentDue { one_step: true, capture, .. }, .. }] =
        &decision.events[..]
    else {
        panic!("no payment in one step is due: {decision:?}")
    };
    assert_eq!(*capture, Capture::OnShipment, "a payment in two steps may follow");
    let paid = History::charged().taken(1);
    let units = ShippedUnits { line_id: None, sku: sku("A"), quantity: 2, excess: 0 };
    let shipment = Shipment {
        order_id: ANN,
        location: main_location(),
        units: vec![units],
        occurred_at: None,
    };
    let decision = decide_with(change, &paid.events, &Input::Shipped(shipment));
    assert!(
        matches!(decision.events[..], [Event { fact: Fact::Shipped { capture: None, .. }, .. }]),
        "{decision:?}"
    );
}

#[test]
fn every_way_through_the_saga_in_one_step_ends_once_whatever_comes_late_or_twice() {
    // `card` begins in one step, and `other` follows in two; and the other way round.
    for method in ["card", "other"] {
        let change = if method == "card" {
            |settings: &mut Settings| settings.one_step_methods = vec!["card".into()]
        } else {
            |settings: &mut Settings| settings.one_step_methods = vec!["other".into()]
        };
        let mut ends = Vec::new();
        check_every_continuation(change, &History::placed(ANN).events, &mut ends);
        let paid = ends.iter().filter(|statuses| statuses.0 != OrderStatus::Cancelled).count();
        assert!(paid > 0 && ends.len() > 10, "{method}: {ends:?}");
    }
}
