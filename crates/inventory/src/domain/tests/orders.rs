//! Which orders have units of a stock, over many blocks of orders.

use super::{
    super::orders::{BLOCK_ORDERS, MAX_SHORT_ORDERS},
    rows::Documents,
    stock::{count, record},
    *,
};

/// The stock has that many orders of `B`, except those of `A` that are named; nothing in memory.
fn held(orders: u64, of_a: &[u64]) -> Documents {
    let mut state = catalogue();
    for sku in ["A", "B"] {
        fold(&mut state, &on_hand(sku, 100_000));
    }
    for number in 1..=orders {
        let sku = if of_a.contains(&number) { "A" } else { "B" };
        fold(&mut state, &reserved(order(number), &[(sku, 2)]));
    }
    let mut documents = Documents::default();
    documents.save(&mut state);
    documents
}

/// The orders that are named when nothing of `sku` is left, and how often the rules ran.
fn named(documents: &mut Documents, sku: &str, sequence: i64) -> (Vec<OrderId>, usize) {
    let line = count(sku, &format!("D{sequence}"), sequence, -sequence);
    let (decision, times) = documents.decide(&record(&[line]), NOW);
    match decision.events.last() {
        Some(Event::Stock(_, StockFact::Short { order_ids, is_truncated, promised, .. })) => {
            // Each of the orders has two units.
            assert_eq!(*is_truncated, *promised > 2 * order_ids.len() as i64);
            (order_ids.clone(), times)
        }
        other => panic!("is not short: {other:?}"),
    }
}

#[test]
fn the_newest_orders_are_named_first_and_no_more_than_a_message_can_carry() {
    let orders = 3 * BLOCK_ORDERS;
    let mut documents = held(orders, &[]);
    let newest = orders - MAX_SHORT_ORDERS as u64 + 1..=orders;
    assert_eq!(named(&mut documents, "B", 2).0, newest.rev().map(order).collect::<Vec<_>>());
}

#[test]
fn orders_are_found_however_far_back_and_many_blocks_are_fetched_at_once() {
    let of_a: Vec<u64> = (0..20).map(|block| block * BLOCK_ORDERS + 1).collect();
    let mut documents = held(20 * BLOCK_ORDERS, &of_a);
    let (order_ids, times) = named(&mut documents, "A", 2);
    assert_eq!(order_ids, of_a.iter().rev().map(|number| order(*number)).collect::<Vec<_>>());
    assert!(times <= 5, "it ran {times} times");
}

#[test]
fn only_orders_that_have_units_are_named_and_those_that_take_them_again() {
    let (first, second) = (order(1), order(BLOCK_ORDERS + 1));
    let mut documents = held(3 * BLOCK_ORDERS, &[1, BLOCK_ORDERS + 1]);
    let due = NOW + Policy::default().hold_ttl;
    for order_id in [first, second] {
        documents.decide(&Input::HoldDue { order_id }, due);
    }
    documents.decide(&Input::Placed { order_id: order(9_999), wanted: wanted(&[("A", 1)]) }, NOW);
    assert_eq!(named(&mut documents, "A", 2).0, [order(9_999)]);

    let mut documents = held(3 * BLOCK_ORDERS, &[1, BLOCK_ORDERS + 1]);
    documents.decide(&Input::HoldDue { order_id: first }, due);
    assert_eq!(named(&mut documents, "A", 2).0, [second]);
    documents.decide(&record(&[count("A", "more", 3, 50)]), NOW);
    documents.decide(&Input::Authorized { order_id: first }, NOW);
    documents.decide(&Input::Cancelled { order_id: second }, NOW);
    assert_eq!(named(&mut documents, "A", 4).0, [first], "in its own block, before the others");
}
