//! What ships, what is captured for it, and what cannot be shipped.

use super::*;
use engine::Wire as _;

use crate::{
    domain::{CancelAnswer, MAX_PAYMENTS, ReleaseAnswer, StartPaymentAnswer},
    metrics::Outcome,
};

fn shipment(name: &str, units: i64, line_id: Option<&str>) -> Input {
    let line_id = line_id.map(|id| LineId::parse(id).unwrap());
    let units = vec![ShippedUnits { line_id, sku: sku(name), quantity: units, excess: 0 }];
    Input::Shipped(Shipment { order_id: ANN, location: main_location(), units, occurred_at: None })
}

/// Merges the later inputs into the first; the ones that were not.
fn merge(first: &mut Input, later: &[Input]) -> usize {
    later.iter().filter(|input| !Orders::merge(first, input)).count()
}

/// So many units of `A` are missing, and each of these orders has two of them.
fn short(missing: i64, order_ids: &[OrderId]) -> Input {
    let orders: Vec<_> = order_ids.iter().map(|order_id| (*order_id, 2)).collect();
    short_of(missing, &orders)
}

fn short_of(missing: i64, orders: &[(OrderId, i64)]) -> Input {
    let (sku, location) = (sku("A"), main_location());
    Input::Short { sku, location, missing, orders: orders.to_vec() }
}

impl History {
    pub(crate) fn shipped(self, units: &[(&str, i64)], fulfilment: FulfilmentStatus) -> Self {
        self.shipped_and_captured(units, None, fulfilment)
    }

    fn shipped_and_captured(
        self,
        units: &[(&str, i64)],
        capture: Option<i64>,
        fulfilment: FulfilmentStatus,
    ) -> Self {
        let line = |(name, quantity): &(&str, i64)| ShippedLine {
            line_id: LineId::parse(name).unwrap(),
            sku: sku(name),
            quantity: *quantity,
        };
        let fact = Fact::Shipped {
            lines: units.iter().map(line).collect(),
            location: main_location(),
            capture: capture.map(|amount| (1, gbp(amount))),
            fulfilment,
            occurred_at: None,
        };
        let statuses = self.summary.statuses.with_fulfilment(fulfilment);
        self.then(fact, statuses)
    }

    fn completed(self) -> Self {
        self.order(Fact::Completed, OrderStatus::Completed)
    }
}

#[test]
fn a_paid_order_is_completed_when_all_of_it_has_shipped() {
    let paid = History::paid_order();
    let part = paid.clone().shipped(&[("A", 1)], FulfilmentStatus::Partial);
    leads_to(&paid, &shipment("A", 1, None), &part);
    let more = part.clone().shipped(&[("B", 2)], FulfilmentStatus::Partial);
    leads_to(&part, &shipment("B", 2, Some("B")), &more);
    let all = more.clone().shipped(&[("A", 1)], FulfilmentStatus::Fulfilled).completed();
    // What is more than the line wants is not of this order.
    leads_to(&more, &shipment("A", 7, Some("A")), &all);
    leads_to_nothing(&all, &shipment("A", 1, None));
    leads_to_nothing(&paid, &shipment("C", 1, None));
}

#[test]
fn a_shipment_says_when_the_units_left() {
    let paid = History::paid_order();
    let Input::Shipped(left) = shipment("A", 1, None) else { panic!("is a shipment") };
    let left = Input::Shipped(Shipment { occurred_at: Some(NOW), ..left });
    let fact = Fact::Shipped {
        lines: vec![ShippedLine {
            line_id: LineId::parse("A").unwrap(),
            sku: sku("A"),
            quantity: 1,
        }],
        location: main_location(),
        capture: None,
        fulfilment: FulfilmentStatus::Partial,
        occurred_at: Some(NOW),
    };
    let statuses = paid.summary.statuses.with_fulfilment(FulfilmentStatus::Partial);
    leads_to(&paid, &left, &paid.clone().then(fact, statuses));
}

#[test]
fn what_ships_at_once_from_one_location_is_said_once() {
    let paid = History::paid_order();
    let mut at_once = shipment("A", 1, None);
    let later = [shipment("B", 2, Some("B")), shipment("A", 7, None), shipment("C", 1, None)];
    assert_eq!(merge(&mut at_once, &later), 0);
    let all = paid.clone().shipped(&[("A", 2), ("B", 2)], FulfilmentStatus::Fulfilled).completed();
    leads_to(&paid, &at_once, &all);
}

#[test]
fn shipments_of_other_orders_and_from_other_locations_are_not_merged() {
    let of = |order_id, location: &str| {
        let Input::Shipped(shipment) = shipment("B", 1, None) else { panic!("is a shipment") };
        let location = Location::parse(location).unwrap();
        Input::Shipped(Shipment { order_id, location, ..shipment })
    };
    let Input::Shipped(later) = of(ANN, "main") else { panic!("is a shipment") };
    let later = Input::Shipped(Shipment { occurred_at: Some(NOW), ..later });
    let others = [of(BOB, "main"), of(ANN, "store"), later, signal(ANN, Signal::Allocated)];
    assert_eq!(merge(&mut of(ANN, "main"), &others), others.len());
    assert_eq!(merge(&mut signal(ANN, Signal::Allocated), &[of(ANN, "main")]), 1);
}

#[test]
fn what_has_shipped_is_not_cancelled_any_more() {
    let given = History::paid_order().shipped(&[("A", 1)], FulfilmentStatus::Partial);
    let statuses = given.summary.statuses;
    check(&given.events, &cancel(ANN, None), &answered(&[], CancelAnswer::TooLate { statuses }));
    let given = given.shipped(&[("A", 1), ("B", 2)], FulfilmentStatus::Fulfilled).completed();
    let statuses = given.summary.statuses;
    check(&given.events, &cancel(ANN, None), &answered(&[], CancelAnswer::TooLate { statuses }));
}

#[test]
fn an_order_that_is_not_confirmed_ends_whatever_has_left_and_says_what_has() {
    let given = History::placed(ANN).payment_due().shipped(&[("A", 1)], FulfilmentStatus::Partial);
    let passed = signal(ANN, Signal::DeadlinePassed { deadline: DUE_BY });
    let after = given.clone().cancelled(CancelReason::PaymentTimeout, "", &[]);
    assert_eq!(after.summary.statuses.2, FulfilmentStatus::Partial);
    leads_to(&given, &passed, &after);
}

#[test]
fn what_is_issued_for_a_cancelled_order_is_noted_whether_inventory_has_freed_its_units_or_not() {
    let given = History::paid_order().cancelled(CancelReason::Requested, "", &[]);
    let issue = |quantity, excess| {
        let Input::Shipped(shipment) = shipment("A", quantity, None) else { panic!("is one") };
        let units = vec![ShippedUnits { excess, ..shipment.units[0].clone() }];
        Input::Shipped(Shipment { units, ..shipment })
    };
    // No money moves for it, and it stays cancelled.
    let after = given.clone().shipped(&[("A", 2)], FulfilmentStatus::Partial);
    assert_eq!(after.summary.statuses.0, OrderStatus::Cancelled);
    for (of_the_order, in_excess) in [(2, 0), (0, 2), (1, 1), (0, 9)] {
        leads_to(&given, &issue(of_the_order, in_excess), &after);
    }
    // Of an order that stands, what is in excess is not.
    leads_to_nothing(&History::paid_order(), &issue(0, 2));
}

#[test]
fn an_order_on_account_is_completed_when_all_of_it_has_shipped() {
    let authorized = Fact::Authorized { payment: None, allocate_by: ALLOCATE_BY, one_step: None };
    let confirmed = Fact::Confirmed { payment: None, capture: None };
    let given = History::placed_for(ANN, 1, None, gbp(700), "on_account")
        .payment(authorized, PaymentStatus::Pending)
        .order(confirmed, OrderStatus::Confirmed)
        .shipped(&[("A", 2)], FulfilmentStatus::Partial);
    let after = given.clone().shipped(&[("B", 2)], FulfilmentStatus::Fulfilled).completed();
    leads_to(&given, &shipment("B", 2, None), &after);
}

#[test]
fn money_is_captured_by_shipment_where_the_shop_wants_that() {
    let mut state = fold(&[]);
    Orders::replicate(&mut state, &settings(|it| it.capture = Capture::OnShipment));
    let mut log = Vec::new();
    let charges = vec![Charge { code: "POST".into(), amount: 99, tax: None }];
    let input = Input::Place(Request { charges, ..request(ANN) });
    run(&mut state, &mut log, &input);
    let [held, authorized, allocated, _] = happy_path();
    for it in [held, authorized, allocated] {
        run(&mut state, &mut log, &signal(ANN, it));
    }
    let last = |log: &[Event]| log.last().expect("is placed").clone();
    assert_eq!(last(&log).fact, Fact::Confirmed { payment: Some(1), capture: None });

    // What has begun goes on as it began, whatever the shop wants from now on.
    Orders::replicate(&mut state, &settings(|_| ()));
    // The charges go with the first shipment; what is left, with the last.
    let captured = |amount| signal(ANN, Signal::Captured { payment: 1, amount: gbp(amount) });
    let requested = |log: &[Event]| match last(log).fact {
        Fact::Shipped { capture: Some((1, amount)), .. } => amount.minor,
        other => panic!("captures nothing: {other:?}"),
    };
    run(&mut state, &mut log, &shipment("A", 1, None));
    assert_eq!(requested(&log), 349);
    run(&mut state, &mut log, &captured(349));
    let part = Fact::PartCaptured { payment: 1, amount: gbp(349), captured: gbp(349) };
    assert_eq!(last(&log).fact, part);
    run(&mut state, &mut log, &shipment("A", 1, None));
    run(&mut state, &mut log, &shipment("B", 2, None));
    assert_eq!(requested(&log), 200);
    run(&mut state, &mut log, &captured(250));
    assert_eq!(last(&log).summary.statuses.1, PaymentStatus::Authorized);
    run(&mut state, &mut log, &captured(200));
    let names: Vec<_> = log.iter().map(|event| Orders::encode(event).name).collect();
    assert_eq!(names[names.len() - 2..], ["paid", "completed"]);
    let order = state.orders.get(&ANN).expect("is placed");
    assert_eq!((order.captured(), order.capture_requested), (799, 799));
}

#[test]
fn what_has_left_before_the_confirmation_is_captured_with_it() {
    let mut state = fold(&[]);
    Orders::replicate(&mut state, &settings(|it| it.capture = Capture::OnShipment));
    let mut log = Vec::new();
    let [held, authorized, allocated, _] = happy_path().map(|it| signal(ANN, it));
    let begun = [Input::Place(request(ANN)), held, authorized, shipment("A", 1, None), allocated];
    for input in begun {
        run(&mut state, &mut log, &input);
    }
    let confirmed = Fact::Confirmed { payment: Some(1), capture: Some(gbp(250)) };
    assert_eq!(log.last().expect("is placed").fact, confirmed);
    let captured = |amount| signal(ANN, Signal::Captured { payment: 1, amount: gbp(amount) });
    let rest = [captured(250), shipment("A", 1, None), shipment("B", 2, None)];
    for input in rest.into_iter().chain([captured(250), captured(200)]) {
        run(&mut state, &mut log, &input);
    }
    let order = state.orders.get(&ANN).expect("is placed");
    assert_eq!((order.captured(), order.capture_requested), (700, 700));
    assert_eq!(order.statuses.0, OrderStatus::Completed);
}

#[test]
fn what_left_while_the_payment_was_awaited_is_captured_with_the_rest() {
    let mut state = fold(&[]);
    Orders::replicate(&mut state, &settings(|it| it.capture = Capture::OnShipment));
    let mut log = Vec::new();
    let [held, authorized, allocated, _] = happy_path().map(|it| signal(ANN, it));
    let captured = |amount| signal(ANN, Signal::Captured { payment: 1, amount: gbp(amount) });
    // The hold runs out, of which this service hears nothing, before the units of `A` leave.
    for input in [
        Input::Place(request(ANN)),
        held,
        shipment("A", 2, None),
        authorized,
        allocated,
        captured(500),
        shipment("B", 2, None),
        captured(200),
    ] {
        run(&mut state, &mut log, &input);
    }
    let order = state.orders.get(&ANN).expect("is placed");
    let all = Statuses(OrderStatus::Completed, PaymentStatus::Paid, FulfilmentStatus::Fulfilled);
    assert_eq!((order.statuses, order.captured()), (all, 700));
}

/// An order of which a part has shipped, and whose money could not be taken for it.
fn unpaid() -> History {
    let confirmed = Fact::Confirmed { payment: Some(1), capture: None };
    let failure = Failure { code: "expired".into(), detail: String::new() };
    let failed = Fact::PaymentFailed { payment: 1, failure, retry_until: None };
    History::placed(ANN)
        .payment_due()
        .authorized()
        .order(confirmed, OrderStatus::Confirmed)
        .shipped_and_captured(&[("A", 1)], Some(250), FulfilmentStatus::Partial)
        .payment(failed, PaymentStatus::Failed)
}

/// Another payment for what could not be captured.
fn replacement(payment: u32, amount: i64) -> Fact {
    Fact::PaymentDue {
        payment,
        amount: gbp(amount),
        payment_method: "other".into(),
        due_by: DUE_BY,
        held_until: None,
        capture: Capture::OnConfirmation,
        capture_at_once: Some(gbp(amount)),
        one_step: false,
        abandons: None,
    }
}

#[test]
fn what_could_not_be_captured_with_a_shipment_is_paid_by_another_payment() {
    let given = unpaid();
    let due = given.clone().payment(replacement(2, 700), PaymentStatus::Pending);
    let payment_id = PaymentId { order_id: ANN, number: 2 };
    let started = StartPaymentAnswer::Started { payment_id, amount: gbp(700), due_by: DUE_BY };
    check(&given.events, &pay(ANN, "other"), &answered(&[due.last()], started));
    // One at a time.
    let statuses = due.summary.statuses;
    let not_due = StartPaymentAnswer::NotDue { statuses };
    check(&due.events, &pay(ANN, "other"), &answered(&[], not_due));

    // It is captured when it is authorised, and what ships later is paid by then.
    leads_to_nothing(&due, &signal(ANN, Signal::Authorized { payment: 2 }));
    let paid = Fact::Paid { payment: Some(2), amount: gbp(700), listed: listed() };
    let paid = due.clone().payment(paid, PaymentStatus::Paid);
    leads_to(&due, &signal(ANN, Signal::Captured { payment: 2, amount: gbp(700) }), &paid);
    let rest = Input::Shipped(Shipment {
        order_id: ANN,
        location: main_location(),
        units: [("A", 1), ("B", 2)]
            .map(|(name, quantity)| ShippedUnits {
                line_id: None,
                sku: sku(name),
                quantity,
                excess: 0,
            })
            .to_vec(),
        occurred_at: None,
    });
    let completed =
        paid.clone().shipped(&[("A", 1), ("B", 2)], FulfilmentStatus::Fulfilled).completed();
    leads_to(&paid, &rest, &completed);
}

#[test]
fn another_payment_captures_what_has_shipped_and_the_rest_with_what_ships_later() {
    let mut state = fold(&[]);
    Orders::replicate(&mut state, &settings(|it| it.capture = Capture::OnShipment));
    let mut log = Vec::new();
    let [held, authorized, allocated, _] = happy_path().map(|it| signal(ANN, it));
    let failed = Signal::CaptureFailed { payment: 1, code: "expired".into() };
    let begun = [Input::Place(request(ANN)), held, authorized, allocated, shipment("A", 1, None)];
    for input in begun.into_iter().chain([signal(ANN, failed), pay(ANN, "other")]) {
        run(&mut state, &mut log, &input);
    }
    let last = |log: &[Event]| log.last().expect("is placed").clone();
    let Fact::PaymentDue { payment: 2, amount, capture_at_once, .. } = last(&log).fact else {
        panic!("{:?}", last(&log));
    };
    assert_eq!((amount, capture_at_once), (gbp(700), Some(gbp(250))));

    // What ships before it is authorised is asked of it as well.
    run(&mut state, &mut log, &shipment("A", 1, None));
    let Fact::Shipped { capture, .. } = last(&log).fact else { panic!("{:?}", last(&log)) };
    assert_eq!(capture, Some((2, gbp(250))));
    let captured = |amount| signal(ANN, Signal::Captured { payment: 2, amount: gbp(amount) });
    run(&mut state, &mut log, &captured(250));
    let part = Fact::PartCaptured { payment: 2, amount: gbp(250), captured: gbp(250) };
    assert_eq!((last(&log).fact, last(&log).summary.statuses.1), (part, PaymentStatus::Authorized));
    run(&mut state, &mut log, &captured(250));
    run(&mut state, &mut log, &shipment("B", 2, None));
    let Fact::Shipped { capture, .. } = last(&log).fact else { panic!("{:?}", last(&log)) };
    assert_eq!(capture, Some((2, gbp(200))));
    run(&mut state, &mut log, &captured(200));
    let all = Statuses(OrderStatus::Completed, PaymentStatus::Paid, FulfilmentStatus::Fulfilled);
    let order = state.orders.get(&ANN).expect("is placed");
    assert_eq!((order.statuses, order.captured(), order.capture_requested), (all, 700, 700));
    assert_eq!(order.payments[1].status, PaymentStatus::Paid);
}

#[test]
fn another_payment_of_a_confirmed_order_may_fail_and_be_followed_by_yet_another() {
    let due = unpaid().payment(replacement(2, 700), PaymentStatus::Pending);
    let failed = |code: &str, detail: &str| {
        let failure = Failure { code: code.into(), detail: detail.into() };
        let fact = Fact::PaymentFailed { payment: 2, failure, retry_until: None };
        due.clone().payment(fact, PaymentStatus::Failed)
    };
    let decline = Signal::Declined { payment: 2, code: "declined".into() };
    leads_to(&due, &signal(ANN, decline), &failed("declined", ""));
    let fail = Signal::Failed { payment: 2, detail: "8 attempts".into() };
    leads_to(&due, &signal(ANN, fail), &failed("", "8 attempts"));
    // What comes late of the first payment is not about this one.
    let late = Signal::CaptureFailed { payment: 1, code: "expired".into() };
    leads_to_nothing(&due, &signal(ANN, late));
    let again = failed("declined", "");
    let third = again.clone().payment(replacement(3, 700), PaymentStatus::Pending);
    let decision = orders().decide(&fold(&again.events), &pay(ANN, "other"), NOW);
    assert_eq!(decision.events, [third.last()]);
}

#[test]
fn another_payment_of_a_confirmed_order_that_waits_for_its_customer_may_be_replaced_as_well() {
    let required = unpaid().payment(replacement(2, 700), PaymentStatus::Pending).action_required(2);
    let third = required.clone().payment(replacement(3, 700), PaymentStatus::Pending).abandoning(2);
    let decision = orders().decide(&fold(&required.events), &pay(ANN, "other"), NOW);
    assert_eq!(decision.events, [third.last()]);
    // What the second one takes after all is paid back: it is not counted beside the third.
    nothing_comes_of(2, &third);
    let paid = Fact::Paid { payment: Some(3), amount: gbp(700), listed: listed() };
    let paid = third.clone().payment(paid, PaymentStatus::Paid);
    leads_to(&third, &signal(ANN, Signal::Captured { payment: 3, amount: gbp(700) }), &paid);
    nothing_comes_of(2, &paid);
}

#[test]
fn no_payment_is_started_on_account() {
    for given in [unpaid(), History::placed(ANN).payment_due().declined(1)] {
        let not_due = StartPaymentAnswer::NotDue { statuses: given.summary.statuses };
        check(&given.events, &pay(ANN, "on_account"), &answered(&[], not_due));
    }
}

#[test]
fn an_order_has_no_more_payments_than_the_maximum() {
    let failed = |history: History, payment| {
        let failure = Failure { code: "declined".into(), detail: String::new() };
        let fact = Fact::PaymentFailed { payment, failure, retry_until: None };
        history
            .payment(replacement(payment, 700), PaymentStatus::Pending)
            .payment(fact, PaymentStatus::Failed)
    };
    let given = (2..MAX_PAYMENTS).fold(unpaid(), failed);
    let last = decide(&fold(&given.events), &pay(ANN, "other"));
    assert_eq!(last.events[0].fact, replacement(MAX_PAYMENTS, 700));
    let given = failed(given, MAX_PAYMENTS);
    let not_due = StartPaymentAnswer::NotDue { statuses: given.summary.statuses };
    check(&given.events, &pay(ANN, "other"), &answered(&[], not_due));
}

#[test]
fn an_order_is_completed_once() {
    // It was completed while a payment of it was pending.
    let given = unpaid()
        .payment(replacement(2, 700), PaymentStatus::Pending)
        .shipped(&[("A", 1), ("B", 2)], FulfilmentStatus::Fulfilled)
        .completed();
    let paid = Fact::Paid { payment: Some(2), amount: gbp(700), listed: listed() };
    let after = given.clone().payment(paid, PaymentStatus::Paid);
    leads_to(&given, &signal(ANN, Signal::Captured { payment: 2, amount: gbp(700) }), &after);
}

/// An order of which a part has shipped and is captured, and another part could not be captured.
fn paid_in_part() -> History {
    let part = Fact::PartCaptured { payment: 1, amount: gbp(250), captured: gbp(250) };
    let failure = Failure { code: "expired".into(), detail: String::new() };
    let failed = Fact::PaymentFailed { payment: 1, failure, retry_until: None };
    let mut events = unpaid().events;
    events.pop();
    History { events, ..unpaid() }
        .payment(part, PaymentStatus::Authorized)
        .shipped_and_captured(&[("A", 1)], Some(250), FulfilmentStatus::Partial)
        .payment(failed, PaymentStatus::Failed)
}

#[test]
fn another_payment_is_for_what_is_not_captured_yet() {
    let given = paid_in_part();
    let decision = orders().decide(&fold(&given.events), &pay(ANN, "other"), NOW);
    let facts: Vec<_> = decision.events.into_iter().map(|event| event.fact).collect();
    assert_eq!(facts, [replacement(2, 450)]);
}

fn refund(payment: u32, refund_id: &str, amount: i64) -> Input {
    let (refund_id, amount) = (refund_id.to_owned(), gbp(amount));
    signal(ANN, Signal::Refunded { payment, refund_id, amount })
}

#[test]
fn what_is_refunded_before_all_is_captured_leaves_the_rest_to_be_captured() {
    let captured = |amount| signal(ANN, Signal::Captured { payment: 1, amount: gbp(amount) });
    let (part, rest) = (shipment("A", 2, None), shipment("B", 2, None));
    for after_part in [
        // Before the rest ships, and before the answer of its capture.
        [refund(1, "r", 100), rest.clone(), captured(200)],
        [rest.clone(), refund(1, "r", 100), captured(200)],
    ] {
        let mut state = fold(&[]);
        Orders::replicate(&mut state, &settings(|it| it.capture = Capture::OnShipment));
        let mut log = Vec::new();
        let [held, authorized, allocated, _] = happy_path().map(|it| signal(ANN, it));
        let begun = [Input::Place(request(ANN)), held, authorized, allocated];
        for input in begun.into_iter().chain([part.clone(), captured(500)]).chain(after_part) {
            run(&mut state, &mut log, &input);
        }
        let refunded = log.iter().find(|it| matches!(it.fact, Fact::Refunded { .. }));
        let statuses = refunded.expect("is refunded").summary.statuses;
        assert_eq!(statuses.1, PaymentStatus::Authorized);
        let names: Vec<_> = log.iter().map(|event| Orders::encode(event).name).collect();
        assert_eq!(names[names.len() - 2..], ["paid", "completed"], "{names:?}");
        let order = state.orders.get(&ANN).expect("is placed");
        assert_eq!(order.statuses.1, PaymentStatus::PartiallyRefunded);
        assert_eq!(order.payments[0].status, PaymentStatus::PartiallyRefunded);
        assert_eq!((order.captured(), order.refunded()), (700, 100));
    }
}

#[test]
fn what_is_paid_back_unasked_is_not_of_an_order_that_stands() {
    let given = paid_in_part();
    leads_to_nothing(&given, &refund(1, "", 100));
    let cancelled = History::paid_order().cancelled(CancelReason::Requested, "", &[]);
    let fact = Fact::Refunded {
        payment: 1,
        refund_id: String::new(),
        amount: gbp(700),
        captured: gbp(700),
        refunded: gbp(700),
    };
    let refunded = cancelled.clone().payment(fact, PaymentStatus::Refunded);
    leads_to(&cancelled, &refund(1, "", 700), &refunded);
}

#[test]
fn what_is_owed_stays_owed_when_a_part_of_what_was_paid_is_refunded() {
    let given = paid_in_part();
    let fact = |payment, captured| Fact::Refunded {
        payment,
        refund_id: "r".into(),
        amount: gbp(100),
        captured: gbp(captured),
        refunded: gbp(100),
    };
    let refunded = given.clone().payment(fact(1, 250), PaymentStatus::Failed);
    leads_to(&given, &refund(1, "r", 100), &refunded);
    // It is not completed by what ships, and another payment may be started for the rest.
    let shipped = refunded.clone().shipped(&[("B", 2)], FulfilmentStatus::Fulfilled);
    leads_to(&refunded, &shipment("B", 2, None), &shipped);
    let due = refunded.payment(replacement(2, 450), PaymentStatus::Pending);
    let paid = Fact::Paid { payment: Some(2), amount: gbp(700), listed: listed() };
    let paid = due.clone().payment(paid, PaymentStatus::PartiallyRefunded);
    leads_to(&due, &signal(ANN, Signal::Captured { payment: 2, amount: gbp(450) }), &paid);
    // A refund while the other payment is pending leaves it so.
    let due = given.payment(replacement(2, 450), PaymentStatus::Pending);
    let refunded = due.clone().payment(fact(1, 250), PaymentStatus::Pending);
    leads_to(&due, &refund(1, "r", 100), &refunded);
}

#[test]
fn the_newest_orders_that_cannot_be_served_are_put_on_hold() {
    let histories = [(ANN, 1), (BOB, 2), (CID, 3)].map(|(id, number)| {
        History::placed_as(id, number, None).payment_due().authorized().confirmed().paid()
    });
    let given: Vec<_> = histories.iter().flat_map(|it| it.events.clone()).collect();
    let [ann, bob, cid] = histories;
    let newest_first = [CID, BOB, ANN];
    let held = [cid.clone().on_hold().last(), bob.clone().on_hold().last()];
    check(&given, &short(3, &newest_first), &Decision::events(held.to_vec()));
    check(&given, &short(2, &newest_first), &Decision::events(vec![held[0].clone()]));
    check(&given, &short(0, &newest_first), &Decision::nothing());
    // What is on hold already counts.
    let given = [given, vec![held[0].clone()]].concat();
    check(&given, &short(2, &newest_first), &Decision::nothing());
    check(&given, &short(3, &newest_first), &Decision::events(vec![held[1].clone()]));
    // What is cancelled gives its units back, and counts too.
    let cancelled = bob.cancelled(CancelReason::Requested, "", &[]);
    let given = [given, vec![cancelled.last()]].concat();
    check(&given, &short(4, &newest_first), &Decision::nothing());
    let ann = ann.on_hold().last();
    check(&given, &short(5, &newest_first), &Decision::events(vec![ann]));
}

#[test]
fn an_order_counts_with_the_units_that_it_has_at_the_location() {
    let histories = [(ANN, 1), (BOB, 2)].map(|(id, number)| {
        History::placed_as(id, number, None).payment_due().authorized().confirmed().paid()
    });
    let given: Vec<_> = histories.iter().flat_map(|it| it.events.clone()).collect();
    let [ann, bob] = histories.map(|it| it.on_hold().last());
    // Both want two units, and each has one of them elsewhere.
    let orders = [(BOB, 1), (ANN, 1)];
    check(&given, &short_of(2, &orders), &Decision::events(vec![bob.clone(), ann]));
    check(&given, &short_of(1, &orders), &Decision::events(vec![bob]));
}

#[test]
fn the_shop_may_cancel_what_cannot_be_served_or_do_nothing() {
    let paid = History::paid_order();
    let with =
        |rule| decide_with(|it| it.short_rule = rule, &paid.events, &short(1, &[ANN])).events;
    let shortages = [shortage("A", 2, 0)];
    let cancelled = paid.clone().cancelled(CancelReason::StockShort, "", &shortages);
    assert_eq!(with(ShortRule::Cancel), [cancelled.last()]);
    assert_eq!(with(ShortRule::Hold), [paid.clone().on_hold().last()]);
    assert_eq!(with(ShortRule::Nothing), []);
}

#[test]
fn the_merchant_takes_an_order_off_hold() {
    let release = |order_id| Input::Release { order_id, note: Some(sealed("found")) };
    let given = History::paid_order().on_hold();
    let statuses = given.summary.statuses;
    let after = given.clone().then(Fact::TakenOffHold { note: Some(sealed("found")) }, statuses);
    check(&given.events, &release(ANN), &answered(&[after.last()], ReleaseAnswer::Released));
    check(&after.events, &release(ANN), &answered(&[], ReleaseAnswer::Released));
    check(&after.events, &release(BOB), &answered(&[], ReleaseAnswer::NotFound));
}

#[test]
fn the_saga_of_an_order_ends_once_however_it_is_captured() {
    let outcomes = |change: fn(&mut Settings), inputs: &[Input]| {
        let mut state = fold(&[]);
        Orders::replicate(&mut state, &settings(change));
        let mut outcomes = Vec::new();
        for input in [&[Input::Place(request(ANN))], inputs].concat() {
            for event in decide(&state, &input).events {
                let order = state.orders.get(&ANN);
                outcomes.extend(order.and_then(|order| event.fact.outcome(order)));
                let version = Orders::revision(&state, &event).version + 1;
                Orders::apply(&mut state, &recorded(event, version));
            }
        }
        outcomes
    };
    let captured = |amount| signal(ANN, Signal::Captured { payment: 1, amount: gbp(amount) });
    let [held, authorized, allocated, paid] = happy_path().map(|it| signal(ANN, it));
    let confirmed = [held.clone(), authorized.clone(), allocated.clone()];
    let at_once = [&confirmed[..], &[paid, shipment("A", 2, None), shipment("B", 2, None)]];
    assert_eq!(outcomes(|_| (), &at_once.concat()), [Outcome::Paid]);

    let by_shipment = |it: &mut Settings| it.capture = Capture::OnShipment;
    let parts = [shipment("A", 2, None), captured(500), shipment("B", 2, None), captured(200)];
    let inputs = [&confirmed[..], &parts].concat();
    assert_eq!(outcomes(by_shipment, &inputs), [Outcome::Confirmed]);
    // It has shipped before it is confirmed, and is captured at once.
    let shipped = [shipment("A", 2, None), shipment("B", 2, None)];
    let inputs = [&[held, authorized], &shipped[..], &[allocated, captured(700)]].concat();
    assert_eq!(outcomes(by_shipment, &inputs), [Outcome::Confirmed]);
    let cancelled = [&confirmed[..], &[cancel(ANN, None)]].concat();
    assert_eq!(outcomes(by_shipment, &cancelled), [Outcome::Confirmed]);
}
