//! The rules of the order service, given, when, then.

use engine::{Cause, Context, Decision, Recorded, Rules};
use events::{
    id::{OrderId, Quantity, Reference, Sku},
    money::{Currency, MAX_ORDER_TOTAL, MAX_UNIT_PRICE, Money},
};
use protocol::{
    id::{EventId, Shop},
    time::Timestamp,
};

use super::{
    Answer, CancelAnswer, CancelReason, Cancellation, Charge, Event, Fact, Input, LineProblem,
    LineProblemCode, OrderLine, OrderStatus, PlaceAnswer, Request, RequestedLine, Shortage, Signal,
};
use crate::{
    Orders, Policy,
    store::{OrderContent, Price, Shop as State},
};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_300_000_000_000);
pub(crate) const RESERVE_BY: Timestamp = Timestamp::from_millis(1_300_000_300_000);
pub(crate) const DUE_BY: Timestamp = Timestamp::from_millis(1_300_000_600_000);
pub(crate) const ALLOCATE_BY: Timestamp = RESERVE_BY;

#[test]
fn an_order_is_placed_at_the_prices_of_the_catalogue() {
    check(
        &[],
        &Input::Place(request(ANN)),
        &answered(&[placed(ANN)], placed_answer(700, &[250, 100])),
    );
}

fn placed_answer(total: i64, unit_prices: &[i64]) -> PlaceAnswer {
    PlaceAnswer::Placed {
        order_id: ANN,
        total: gbp(total),
        unit_prices: unit_prices.to_vec(),
        placed_at: NOW,
    }
}

#[test]
fn a_price_as_sold_replaces_the_catalogues_whatever_its_currency() {
    let mut wanted = request(ANN);
    wanted.lines = vec![line("A", 2, Some(199)), line("EURO", 1, Some(0))];
    wanted.charges = vec![Charge { code: "POST".into(), amount: 300 }];
    let content = OrderContent {
        lines: vec![sold("A", 2, 199), sold("EURO", 1, 0)],
        charges: wanted.charges.clone(),
        ..content()
    };
    let fact = Fact::Placed {
        content,
        total: gbp(698),
        payment_method: "card".into(),
        reserve_by: RESERVE_BY,
    };
    check(
        &[],
        &Input::Place(wanted),
        &answered(&[Event { order_id: ANN, fact }], placed_answer(698, &[199, 0])),
    );
}

#[test]
fn everything_that_is_wrong_with_the_lines_is_answered_at_once() {
    let mut wanted = request(ANN);
    wanted.lines = vec![
        line("NEW", 1, Some(5)),
        line("A", 1, None),
        line("GONE", 1, Some(5)),
        line("EURO", 1, None),
    ];
    let problem = |line, sku, code| LineProblem { line, sku: self::sku(sku), code };
    let problems = vec![
        problem(0, "NEW", LineProblemCode::UnknownSku),
        problem(2, "GONE", LineProblemCode::Discontinued),
        problem(3, "EURO", LineProblemCode::OtherCurrency),
    ];
    let refused = answered(&[], PlaceAnswer::Refused { problems });
    check(&[], &Input::Place(wanted), &refused);
}

#[test]
fn a_reference_is_used_once_in_a_shop_for_good() {
    let taken = answered(&[], PlaceAnswer::ReferenceTaken { order_id: ANN });
    let mut history = vec![referenced(ANN, "PO 1")];
    let mut wanted = request(BOB);
    wanted.reference = Some(Reference::parse("PO 1").unwrap());
    check(&history, &Input::Place(wanted.clone()), &taken);
    history.push(cancelled(ANN, CancelReason::Requested, "", &[]));
    check(&history, &Input::Place(wanted), &taken);
}

#[test]
fn an_order_that_is_placed_again_stays_as_it_is() {
    let before = answered(&[], PlaceAnswer::PlacedBefore { order_id: ANN });
    let mut wanted = request(ANN);
    check(&[placed(ANN)], &Input::Place(wanted.clone()), &before);
    wanted.reference = Some(Reference::parse("PO 1").unwrap());
    check(&[referenced(ANN, "PO 1")], &Input::Place(wanted), &before);
}

#[test]
fn a_total_below_zero_or_beyond_reason_is_refused() {
    let refused = answered(&[], PlaceAnswer::TotalOutOfRange);
    let discount = |amount| {
        let charges = vec![Charge { code: "D".into(), amount }];
        Input::Place(Request { charges, ..request(ANN) })
    };
    check(&[], &discount(-701), &refused);
    check(&[], &discount(i64::MAX), &refused);
    check(&[], &discount(MAX_ORDER_TOTAL - 699), &refused);
    let lines = vec![line("A", 1_000_000_000, Some(MAX_UNIT_PRICE)); 2_000];
    check(&[], &Input::Place(Request { lines, ..request(ANN) }), &refused);

    let state = fold(&[]);
    for amount in [-700, MAX_ORDER_TOTAL - 700] {
        let decision = decide(&state, &discount(amount));
        assert_eq!(decision.events.len(), 1, "a charge of {amount} was refused");
    }
}

#[test]
fn an_order_of_nothing_but_free_lines_goes_the_same_way() {
    let lines = vec![line("A", 1, Some(0))];
    let mut state = fold(&[]);
    let mut log = Vec::new();
    run(&mut state, &mut log, &Input::Place(Request { lines, ..request(ANN) }));
    for signal in happy_path() {
        run(&mut state, &mut log, &Input::Signal { order_id: ANN, signal });
    }
    assert_eq!(log.last().map(|event| event.fact.status()), Some(OrderStatus::Paid));
}

#[test]
fn payment_is_due_when_the_stock_is_held() {
    check(&[placed(ANN)], &signal(ANN, Signal::Reserved), &events(&[payment_due(ANN)]));
}

#[test]
fn too_little_stock_cancels_and_names_what_was_short() {
    let shortages = vec![shortage("A", 2, 1)];
    check(
        &[placed(ANN)],
        &signal(ANN, Signal::Refused { shortages: shortages.clone() }),
        &events(&[cancelled(ANN, CancelReason::OutOfStock, "", &shortages)]),
    );
}

#[test]
fn stock_that_does_not_answer_in_time_cancels() {
    let deadline = RESERVE_BY;
    check(
        &[placed(ANN)],
        &signal(ANN, Signal::DeadlinePassed { deadline }),
        &events(&[cancelled(ANN, CancelReason::StockTimeout, "", &[])]),
    );
}

#[test]
fn an_authorised_payment_has_the_stock_allocated() {
    check(
        &[placed(ANN), payment_due(ANN)],
        &signal(ANN, Signal::Authorized),
        &events(&[authorized(ANN)]),
    );
}

#[test]
fn a_declined_payment_cancels_with_the_providers_code() {
    check(
        &[placed(ANN), payment_due(ANN)],
        &signal(ANN, Signal::Declined { code: "insufficient_funds".into() }),
        &events(&[cancelled(ANN, CancelReason::PaymentDeclined, "insufficient_funds", &[])]),
    );
}

#[test]
fn a_payment_that_cannot_be_carried_out_cancels() {
    check(
        &[placed(ANN), payment_due(ANN)],
        &signal(ANN, Signal::Failed { detail: "no route".into() }),
        &events(&[cancelled(ANN, CancelReason::PaymentFailed, "no route", &[])]),
    );
}

#[test]
fn a_payment_that_does_not_answer_in_time_cancels() {
    check(
        &[placed(ANN), payment_due(ANN)],
        &signal(ANN, Signal::DeadlinePassed { deadline: DUE_BY }),
        &events(&[cancelled(ANN, CancelReason::PaymentTimeout, "", &[])]),
    );
}

#[test]
fn allocated_stock_confirms() {
    check(
        &[placed(ANN), payment_due(ANN), authorized(ANN)],
        &signal(ANN, Signal::Allocated),
        &events(&[confirmed(ANN)]),
    );
}

#[test]
fn lost_stock_cancels_and_names_what_was_short() {
    let shortages = vec![shortage("A", 2, 0)];
    check(
        &[placed(ANN), payment_due(ANN), authorized(ANN)],
        &signal(ANN, Signal::Lost { shortages: shortages.clone() }),
        &events(&[cancelled(ANN, CancelReason::StockLost, "", &shortages)]),
    );
}

#[test]
fn stock_that_is_not_allocated_in_time_cancels() {
    check(
        &[placed(ANN), payment_due(ANN), authorized(ANN)],
        &signal(ANN, Signal::DeadlinePassed { deadline: ALLOCATE_BY }),
        &events(&[cancelled(ANN, CancelReason::StockTimeout, "", &[])]),
    );
}

#[test]
fn captured_money_pays() {
    check(
        &[placed(ANN), payment_due(ANN), authorized(ANN), confirmed(ANN)],
        &signal(ANN, Signal::Captured { amount: gbp(700) }),
        &events(&[paid(ANN)]),
    );
}

#[test]
fn money_that_cannot_be_captured_cancels() {
    check(
        &[placed(ANN), payment_due(ANN), authorized(ANN), confirmed(ANN)],
        &signal(ANN, Signal::CaptureFailed { code: "expired".into() }),
        &events(&[cancelled(ANN, CancelReason::CaptureFailed, "expired", &[])]),
    );
}

#[test]
fn an_order_is_cancelled_on_request_until_it_is_confirmed() {
    let saga = [placed(ANN), payment_due(ANN), authorized(ANN), confirmed(ANN), paid(ANN)];
    for steps in 1..=3 {
        check(
            &saga[..steps],
            &cancel(ANN, "changed my mind"),
            &answered(
                &[cancelled(ANN, CancelReason::Requested, "changed my mind", &[])],
                CancelAnswer::Cancelled,
            ),
        );
    }
    for (steps, status) in [(4, OrderStatus::Confirmed), (5, OrderStatus::Paid)] {
        let too_late = CancelAnswer::TooLate { status };
        check(&saga[..steps], &cancel(ANN, ""), &answered(&[], too_late));
    }
}

#[test]
fn cancelling_what_is_cancelled_or_unknown_changes_nothing() {
    check(
        &[placed(ANN), cancelled(ANN, CancelReason::OutOfStock, "", &[])],
        &cancel(ANN, "me too"),
        &answered(&[], CancelAnswer::Cancelled),
    );
    check(&[placed(ANN)], &cancel(BOB, ""), &answered(&[], CancelAnswer::NotFound));
}

#[test]
fn an_answer_about_an_order_that_nobody_knows_changes_nothing() {
    for signal in every_signal(RESERVE_BY) {
        check(&[placed(ANN)], &self::signal(BOB, signal), &Decision::nothing());
    }
}

#[test]
fn a_deadline_that_is_no_longer_in_place_changes_nothing() {
    for deadline in [RESERVE_BY, NOW] {
        check(
            &[placed(ANN), payment_due(ANN)],
            &signal(ANN, Signal::DeadlinePassed { deadline }),
            &Decision::nothing(),
        );
    }
}

#[test]
fn the_price_list_follows_the_catalogue() {
    let mut state = fold(&[]);
    let mut put = |minor, active| {
        let price = Price { price: gbp(minor), active };
        Orders::replicate(&mut state, &Input::Priced { sku: sku("NEW"), price: price.clone() });
        assert_eq!(state.prices.get(&sku("NEW")), Some(&price));
    };
    put(5, true);
    put(6, false);
}

#[test]
fn every_way_through_the_saga_ends_once_whatever_comes_late_or_twice() {
    let mut finals = Vec::new();
    check_every_continuation(&[placed(ANN)], &mut finals);
    finals.sort_by_key(|event| format!("{event:?}"));
    // Three cancelled steps of three reasons each and a request, a capture that fails, and paid.
    let paid = finals.iter().filter(|event| event.fact.status() == OrderStatus::Paid).count();
    assert_eq!((paid, finals.len()), (1, 3 + 4 + 3 + 1 + 1));
}

#[test]
fn the_whole_saga_fed_twice_in_every_late_position_is_the_saga() {
    let mut inputs = vec![Input::Place(request(ANN))];
    inputs.extend(happy_path().map(|signal| Input::Signal { order_id: ANN, signal }));
    let once = [placed(ANN), payment_due(ANN), authorized(ANN), confirmed(ANN), paid(ANN)];

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

/// Tries every input on every state that an order can reach, each of them twice. Each way must
/// end in one final event, after which nothing follows and no deadline is left.
#[track_caller]
fn check_every_continuation(history: &[Event], finals: &mut Vec<Event>) {
    let state = fold(history);
    let order = state.orders.get(&ANN).expect("is placed");
    assert_eq!(order.version, history.len() as u64, "versions have a gap");
    let terminal = history.iter().filter(|event| event.fact.status().is_final()).count();
    assert_eq!(terminal, usize::from(order.status.is_final()), "{history:?}");
    let awaited = !order.status.is_final() && order.status != OrderStatus::Confirmed;
    assert_eq!(order.deadline.is_some(), awaited, "{history:?}");
    if order.status.is_final() {
        finals.extend(history.last().cloned());
    }

    let mut inputs = vec![Input::Place(request(ANN)), cancel(ANN, "")];
    let deadline = order.deadline.unwrap_or(RESERVE_BY);
    inputs.extend(every_signal(deadline).into_iter().map(|signal| self::signal(ANN, signal)));
    for input in inputs {
        let mut state = fold(history);
        let mut log = history.to_vec();
        run(&mut state, &mut log, &input);
        let once = log.clone();
        run(&mut state, &mut log, &input);
        assert_eq!(log, once, "{input:?} had an effect twice");
        if log.len() > history.len() {
            assert!(!order.status.is_final(), "{input:?} changed a final order");
            assert_eq!(log.len(), history.len() + 1, "{input:?}");
            check_every_continuation(&log, finals);
        }
    }
}

fn decide(state: &State, input: &Input) -> Decision<Event, Answer> {
    Orders { policy: Policy::default() }.decide(state, input, NOW)
}

/// Decides on an input and folds what follows.
fn run(state: &mut State, log: &mut Vec<Event>, input: &Input) {
    for event in decide(state, input).events {
        log.push(event.clone());
        Orders::apply(state, &recorded(event, log.len() as u64));
    }
}

#[track_caller]
fn check(given: &[Event], when: &Input, then: &Decision<Event, Answer>) {
    assert_eq!(&decide(&fold(given), when), then);
}

/// The state after a history of one order, in a shop whose price list has `A` and `B` in pounds,
/// `EURO` in euros, and `GONE`, which is no longer sold.
fn fold(history: &[Event]) -> State {
    let mut state = State::default();
    for (name, minor, currency, active) in [
        ("A", 250, "GBP", true),
        ("B", 100, "GBP", true),
        ("EURO", 5, "EUR", true),
        ("GONE", 1, "GBP", false),
    ] {
        let price = Money { minor, currency: Currency::parse(currency).unwrap() };
        Orders::replicate(
            &mut state,
            &Input::Priced { sku: sku(name), price: Price { price, active } },
        );
    }
    for (index, event) in history.iter().enumerate() {
        Orders::apply(&mut state, &recorded(event.clone(), index as u64 + 1));
    }
    state
}

/// An event as it is in the log.
pub(crate) fn recorded(event: Event, version: u64) -> Recorded<Event> {
    Recorded {
        id: EventId::parse("018f0000-0000-7000-8000-0000000000ff").unwrap(),
        shop: Shop::parse("acme").unwrap(),
        version,
        position: 1,
        actor: None,
        time: Timestamp::from_millis(NOW.millis() + version as i64),
        cause: Cause { id: format!("cause-{version}"), kind: "test.cause".into() },
        context: Context {
            correlation_id: "request".into(),
            traceparent: "trace".into(),
            tracestate: String::new(),
        },
        event,
    }
}

pub(crate) const ANN: OrderId = id(1);
pub(crate) const BOB: OrderId = id(2);

const fn id(number: u128) -> OrderId {
    OrderId(uuid::Uuid::from_u128(number))
}

pub(crate) fn sku(name: &str) -> Sku {
    Sku::parse(name).unwrap()
}

pub(crate) fn gbp(minor: i64) -> Money {
    Money { minor, currency: Currency::parse("GBP").unwrap() }
}

pub(crate) fn line(name: &str, units: i64, unit_price: Option<i64>) -> RequestedLine {
    RequestedLine { sku: sku(name), quantity: Quantity::parse(units).unwrap(), unit_price }
}

fn sold(name: &str, units: i64, unit_price: i64) -> OrderLine {
    OrderLine { sku: sku(name), quantity: Quantity::parse(units).unwrap(), unit_price }
}

pub(crate) fn shortage(name: &str, requested: i64, available: i64) -> Shortage {
    Shortage { sku: sku(name), requested, available }
}

/// An order of 2 `A` and 2 `B`, £7.00 by the price list.
pub(crate) fn request(order_id: OrderId) -> Request {
    Request {
        order_id,
        reference: None,
        customer_id: None,
        country: "France".into(),
        currency: Currency::parse("GBP").unwrap(),
        lines: vec![line("A", 2, None), line("B", 2, None)],
        charges: vec![],
        payment_method: "card".into(),
    }
}

fn content() -> OrderContent {
    OrderContent {
        reference: None,
        customer_id: None,
        country: "France".into(),
        lines: vec![sold("A", 2, 250), sold("B", 2, 100)],
        charges: vec![],
    }
}

fn placed_with(order_id: OrderId, content: OrderContent) -> Event {
    let payment_method = "card".into();
    let fact = Fact::Placed { content, total: gbp(700), payment_method, reserve_by: RESERVE_BY };
    Event { order_id, fact }
}

pub(crate) fn placed(order_id: OrderId) -> Event {
    placed_with(order_id, content())
}

pub(crate) fn referenced(order_id: OrderId, reference: &str) -> Event {
    let reference = Some(Reference::parse(reference).unwrap());
    placed_with(order_id, OrderContent { reference, ..content() })
}

pub(crate) fn payment_due(order_id: OrderId) -> Event {
    let payment_method = "card".into();
    let fact = Fact::PaymentDue { amount: gbp(700), payment_method, due_by: DUE_BY };
    Event { order_id, fact }
}

pub(crate) fn authorized(order_id: OrderId) -> Event {
    Event { order_id, fact: Fact::Authorized { allocate_by: ALLOCATE_BY } }
}

pub(crate) fn confirmed(order_id: OrderId) -> Event {
    Event { order_id, fact: Fact::Confirmed { amount: gbp(700) } }
}

pub(crate) fn paid(order_id: OrderId) -> Event {
    Event { order_id, fact: Fact::Paid { amount: gbp(700) } }
}

pub(crate) fn cancelled(
    order_id: OrderId,
    reason: CancelReason,
    detail: &str,
    shortages: &[Shortage],
) -> Event {
    let cancellation =
        Cancellation { reason, detail: detail.into(), shortages: shortages.to_vec() };
    Event { order_id, fact: Fact::Cancelled(cancellation) }
}

fn signal(order_id: OrderId, signal: Signal) -> Input {
    Input::Signal { order_id, signal }
}

fn cancel(order_id: OrderId, note: &str) -> Input {
    Input::Cancel { order_id, note: note.into() }
}

/// The answers that bring an order to paid.
pub(crate) fn happy_path() -> [Signal; 4] {
    let amount = gbp(700);
    [Signal::Reserved, Signal::Authorized, Signal::Allocated, Signal::Captured { amount }]
}

pub(crate) fn every_signal(deadline: Timestamp) -> Vec<Signal> {
    let shortages = vec![shortage("A", 2, 1)];
    let mut signals = happy_path().to_vec();
    signals.extend([
        Signal::Refused { shortages: shortages.clone() },
        Signal::Declined { code: "declined".into() },
        Signal::Failed { detail: "failed".into() },
        Signal::Lost { shortages },
        Signal::CaptureFailed { code: "expired".into() },
        Signal::DeadlinePassed { deadline },
    ]);
    signals
}

fn events(events: &[Event]) -> Decision<Event, Answer> {
    Decision::events(events.to_vec())
}

fn answered(events: &[Event], answer: impl Into<Answer>) -> Decision<Event, Answer> {
    Decision::answered(events.to_vec(), answer.into())
}
