//! The rows: their columns, the deadline, and that their documents hold all that the rules need.

use engine::{Rules, State as _, Value};
use events::{
    id::{OrderId, Reference},
    money::{Currency, Money},
};
use foldkit::{Projections, Random};

use super::*;
use crate::{
    Orders, Policy,
    domain::{
        CancelReason, Event, OrderStatus, Request,
        tests::{
            ALLOCATE_BY, ANN, BOB, DUE_BY, NOW, RESERVE_BY, authorized, cancelled, confirmed,
            every_signal, line, payment_due, placed, recorded, request, sku,
        },
    },
};

fn order_after(history: &[Event]) -> Order {
    let mut state = Shop::default();
    for (event, version) in history.iter().zip(1..) {
        Orders::apply(&mut state, &recorded(event.clone(), version));
    }
    state.orders.get(&ANN).expect("is placed").clone()
}

#[test]
fn an_order_is_found_by_its_deadline_and_counted_by_status_and_reason() {
    let columns = |history: &[Event]| order_after(history).columns();
    let values = |deadline: Option<Timestamp>, status: &str, reason: Option<&str>| {
        let reason = Value::Text(reason.map(str::to_owned));
        vec![deadline.into(), status.into(), reason, 700.into()]
    };
    let saga = [placed(ANN), payment_due(ANN), authorized(ANN), confirmed(ANN)];
    assert_eq!(columns(&saga[..1]), values(Some(RESERVE_BY), "placed", None));
    assert_eq!(columns(&saga[..2]), values(Some(DUE_BY), "payment_due", None));
    assert_eq!(columns(&saga[..3]), values(Some(ALLOCATE_BY), "authorized", None));
    assert_eq!(columns(&saga), values(None, "confirmed", None));
    let lost = cancelled(ANN, CancelReason::StockLost, "", &[]);
    let history = [&saga[..3], &[lost]].concat();
    assert_eq!(columns(&history), values(None, "cancelled", Some("stock_lost")));
}

#[test]
fn a_passed_deadline_becomes_an_input_that_continues_the_order() {
    for (history, deadline, kind) in [
        (&[placed(ANN)][..], RESERVE_BY, "timer.stock_deadline"),
        (&[placed(ANN), payment_due(ANN)], DUE_BY, "timer.payment_deadline"),
        (&[placed(ANN), payment_due(ANN), authorized(ANN)], ALLOCATE_BY, "timer.stock_deadline"),
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
    let order = order_after(&[placed(ANN), payment_due(ANN), authorized(ANN), confirmed(ANN)]);
    let document = serde_json::to_string(&order).unwrap();
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
    let mut finished = Vec::new();
    for seed in 0..100 {
        finished.extend(random_history(seed));
    }
    for status in [OrderStatus::Paid, OrderStatus::Cancelled] {
        assert!(finished.contains(&status), "no order is {status:?}");
    }
}

/// Folds a random history of four orders; yields the final statuses that they reached.
fn random_history(seed: u64) -> Vec<OrderStatus> {
    let mut random = Random::new(seed);
    let mut projections = Projections::new(Orders { policy: Policy::default() });
    let mut finished = Vec::new();
    for _ in 0..120 {
        if random.below(8) == 0 {
            projections.replicate(&priced(&mut random));
            continue;
        }
        let input = random_input(&mut random);
        let events = projections.handle(&input, NOW);
        let statuses = events.iter().map(|event| event.fact.status());
        finished.extend(statuses.filter(|status| status.is_final()));
    }
    projections.finish();
    finished
}

fn random_input(random: &mut Random) -> Input {
    let third = OrderId(uuid::Uuid::from_u128(3));
    let order_id = random.one_of(&[ANN, BOB, third, OrderId(uuid::Uuid::from_u128(4))]);
    match random.below(12) {
        0..3 => Input::Place(random_request(random, order_id)),
        3 => Input::Cancel { order_id, note: "a \"note\"".into() },
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
    Request {
        reference: (!reference.is_empty()).then(|| Reference::parse(reference).unwrap()),
        lines: vec![line(random.one_of(&["A", "B", "C"]), 2, price)],
        ..request(order_id)
    }
}

fn priced(random: &mut Random) -> Input {
    let currency = Currency::parse(random.one_of(&["GBP", "EUR"])).unwrap();
    let price = Money { minor: random.below(500) as i64, currency };
    let price = Price { price, active: random.below(6) > 0 };
    Input::Priced { sku: sku(random.one_of(&["A", "B", "C"])), price }
}
