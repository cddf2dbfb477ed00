//! The rows: their columns, the deadline, and that their documents hold all that the rules need.

use engine::{Rules, State as _, Value, Wire as _};
use events::{
    id::{Location, OrderId, Reference},
    money::{Currency, Money, TaxBasis},
    shop::Capture,
};
use foldkit::{Projections, Random};
use protocol::time::Timestamp;

use super::*;
use crate::{
    Orders,
    domain::{
        CancelReason, Event, Request, Shipment, ShippedUnits, Statuses,
        rows::Shop,
        tests::{
            ALLOCATE_BY, ANN, BOB, DUE_BY, HELD_UNTIL, History, NOW, RESERVE_BY, every_signal,
            line, orders, recorded, request, sealed, settings, sku,
        },
    },
};

fn order_after(history: &History) -> Order {
    let mut state = Shop::default();
    for (event, version) in history.events.iter().zip(1..) {
        Orders::apply(&mut state, &recorded(event.clone(), version));
    }
    state.orders.get(&ANN).expect("is placed").clone()
}

#[test]
fn an_order_is_found_by_its_deadline_and_counted_by_statuses_and_reason() {
    let columns = |history: &History| order_after(history).columns();
    let text = |text: Option<&str>| Value::Text(text.map(str::to_owned));
    let values = |deadline: Option<Timestamp>, awaits, statuses: &str, reason| {
        let on_hold = Value::Integer(None);
        let found = vec![deadline.into(), text(awaits), text(Some(statuses)), text(reason)];
        let placed_at = Value::from(NOW.millis() + 1);
        [found, vec![700.into(), on_hold, placed_at, 1.into(), "GBP".into()]].concat()
    };
    let placed = History::placed(ANN);
    let due = placed.clone().payment_due();
    let authorized = due.clone().authorized();
    let confirmed = authorized.clone().confirmed();
    let pending = "placed pending unfulfilled";
    assert_eq!(columns(&placed), values(Some(RESERVE_BY), Some("hold"), pending, None));
    assert_eq!(columns(&due), values(Some(DUE_BY), Some("payment"), pending, None));
    assert_eq!(
        columns(&due.declined(1)),
        values(Some(HELD_UNTIL), Some("payment"), "placed failed unfulfilled", None)
    );
    assert_eq!(
        columns(&authorized),
        values(Some(ALLOCATE_BY), Some("allocation"), "placed authorized unfulfilled", None)
    );
    assert_eq!(
        columns(&confirmed),
        values(None, Some("capture"), "confirmed authorized unfulfilled", None)
    );
    assert_eq!(columns(&confirmed.paid()), values(None, None, "confirmed paid unfulfilled", None));
    let lost = authorized.cancelled(CancelReason::StockLost, "", &[]);
    assert_eq!(
        columns(&lost),
        values(None, None, "cancelled authorized unfulfilled", Some("stock_lost"))
    );
}

#[test]
fn statuses_read_back_from_their_text() {
    for history in [History::placed(ANN), History::paid_order()] {
        let statuses = order_after(&history).statuses;
        assert_eq!(Statuses::parse(&statuses.to_string()), Some(statuses));
    }
    for wrong in ["", "placed", "placed pending", "placed pending unfulfilled more", "a b c"] {
        assert_eq!(Statuses::parse(wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_passed_deadline_becomes_an_input_that_continues_the_order() {
    let placed = History::placed(ANN);
    let due = placed.clone().payment_due();
    for (history, deadline, kind) in [
        (&placed, RESERVE_BY, "timer.stock_deadline"),
        (&due, DUE_BY, "timer.payment_deadline"),
        (&due.clone().declined(1), HELD_UNTIL, "timer.payment_deadline"),
        (&due.clone().authorized(), ALLOCATE_BY, "timer.stock_deadline"),
    ] {
        let document = serde_json::to_string(&order_after(history)).unwrap();
        let timer = (DEADLINE.input)(&ANN.to_string(), &document).unwrap();
        assert_eq!(timer.kind, kind);
        assert_eq!(timer.context.correlation_id, "request");
        assert_eq!(timer.context.traceparent, "trace");
        let Input::Signal { order_id, signal: Signal::DeadlinePassed { deadline: passed } } =
            timer.input
        else {
            panic!("{:?} is no deadline", timer.input)
        };
        assert_eq!((order_id, passed), (ANN, deadline));
    }
}

#[test]
fn a_row_without_a_deadline_is_an_error_and_no_input() {
    let document = serde_json::to_string(&order_after(&History::paid_order())).unwrap();
    assert!((DEADLINE.input)(&ANN.to_string(), &document).is_err());
    assert!((DEADLINE.input)("no order", &document).is_err());
    assert!((DEADLINE.input)(&ANN.to_string(), "{}").is_err());
}

#[test]
fn every_table_of_the_state_is_created() {
    let mut state = Shop::default();
    let tables: Vec<_> = state.tables().iter().map(|rows| rows.table().name).collect();
    let created: Vec<_> = TABLES.iter().map(|table| table.name).collect();
    assert_eq!(tables, created);
}

#[test]
fn rows_read_back_from_their_documents_lead_to_the_same_decisions() {
    let mut reached = Vec::new();
    for seed in 0..100 {
        reached.extend(random_history(seed));
    }
    for name in [
        "placed",
        "payment_due",
        "payment_failed",
        "action_required",
        "authorized",
        "confirmed",
        "part_captured",
        "paid",
        "shipped",
        "completed",
        "refunded",
        "put_on_hold",
        "taken_off_hold",
        "cancelled",
    ] {
        assert!(reached.contains(&name), "no order was {name}");
    }
}

/// Folds a random history of four orders; yields the events that it had.
fn random_history(seed: u64) -> Vec<&'static str> {
    let mut random = Random::new(seed);
    let is_by_shipment = random.below(2) == 0;
    let mut projections = Projections::new(orders());
    projections.replicate(&settings(|it| {
        it.on_account = true;
        if is_by_shipment {
            it.capture = Capture::OnShipment;
        }
    }));
    for name in ["A", "B", "C"] {
        projections.replicate(&changed(name, 100, "GBP", true));
    }
    let mut reached = Vec::new();
    for _ in 0..160 {
        if random.below(12) == 0 {
            let minor = random.below(500) as i64;
            let (currency, active) = (random.one_of(&["GBP", "EUR"]), random.below(6) > 0);
            let name = random.one_of(&["A", "B", "C"]);
            projections.replicate(&changed(name, minor, currency, active));
            continue;
        }
        let input = random_input(&mut random);
        let events = projections.handle(&input, NOW);
        reached.extend(events.iter().map(|event: &Event| Orders::encode(event).name));
    }
    projections.finish();
    reached
}

fn random_input(random: &mut Random) -> Input {
    let third = OrderId(uuid::Uuid::from_u128(3));
    let order_id = random.one_of(&[ANN, BOB, third, OrderId(uuid::Uuid::from_u128(4))]);
    let note = random.one_of(&[None, Some(sealed("note"))]);
    match random.below(24) {
        0..4 => Input::Place(random_request(random, order_id)),
        4 => Input::Cancel { order_id, note },
        5 => Input::StartPayment { order_id, payment_method: "other".into() },
        6 => Input::Release { order_id, note },
        7..10 => Input::Shipped(Shipment {
            order_id,
            location: Location::main(),
            units: vec![ShippedUnits {
                line_id: None,
                sku: sku(random.one_of(&["A", "B", "C"])),
                quantity: 1 + random.below(2) as i64,
                excess: random.below(2) as i64,
            }],
            occurred_at: random.one_of(&[None, Some(Timestamp::from_millis(1_795_179_849_123))]),
        }),
        10 => Input::Short {
            sku: sku(random.one_of(&["A", "B", "C"])),
            location: Location::main(),
            missing: random.below(4) as i64,
            orders: [third, BOB, ANN].map(|it| (it, 1 + random.below(2) as i64)).to_vec(),
        },
        11..13 => {
            let (payment, refund_id) = (1 + random.below(2) as u32, "r".to_owned());
            let currency = Currency::parse("GBP").unwrap();
            let amount = Money { minor: 1 + random.below(100) as i64, currency };
            let signal = match random.below(2) {
                0 => Signal::Captured { payment, amount },
                _ => Signal::Refunded { payment, refund_id, amount },
            };
            Input::Signal { order_id, signal }
        }
        _ => {
            let deadline = random.one_of(&[RESERVE_BY, DUE_BY]);
            let signals = every_signal(deadline);
            // The first four are those that lead to paid.
            let known = if random.below(3) > 0 { 4 } else { signals.len() };
            Input::Signal { order_id, signal: random.one_of(&signals[..known]) }
        }
    }
}

fn random_request(random: &mut Random, order_id: OrderId) -> Request {
    let reference = random.one_of(&["", "PO \"1\" ü", "PO 2"]);
    let price = random.one_of(&[None, Some(0), Some(199)]);
    let method = random.one_of(&["card", "card", "card", "on_account"]);
    Request {
        reference: (!reference.is_empty()).then(|| Reference::parse(reference).unwrap()),
        lines: vec![line(random.one_of(&["A", "B", "C"]), 2, price)],
        payment_method: method.into(),
        billing_country: random.one_of(&["", "B"]).to_owned(),
        personal: random.one_of(&[None, Some(sealed("personal"))]),
        ..request(order_id)
    }
}

fn changed(name: &str, minor: i64, currency: &str, active: bool) -> Input {
    let price = Money { minor, currency: Currency::parse(currency).unwrap() };
    let tax_basis = TaxBasis::Included;
    let product = Product { title: "A \"title\"".into(), price, tax_basis, active };
    Input::ProductChanged { sku: sku(name), product }
}
