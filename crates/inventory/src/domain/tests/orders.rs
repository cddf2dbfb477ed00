//! Which orders have units of a stock, over many blocks of orders.

use super::{
    super::{orders::BLOCK_ORDERS, short::MAX_SHORT_ORDERS},
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

/// The orders that are named when nothing of `sku` is left, in all parts, and how often the rules ran at
/// most.
fn named(documents: &mut Documents, sku: &str, sequence: i64) -> (Vec<OrderId>, usize) {
    let line = count(sku, &format!("D{sequence}"), sequence, -sequence);
    let mut input = record(&[line]);
    let (mut order_ids, mut most) = (Vec::new(), 0);
    for expected in 1.. {
        let (decision, times) = documents.decide(&input, NOW);
        most = most.max(times);
        let Some(Event::Stock(_, StockFact::Short { orders, .. })) = decision.events.last() else {
            panic!("is not short: {decision:?}")
        };
        let ShortOrders { part, units_before, named, is_truncated } = orders;
        // Each of the orders has two units.
        assert_eq!((*part, *units_before), (expected, 2 * order_ids.len() as i64));
        assert!(named.iter().all(|(_, units)| *units == 2) && named.len() <= MAX_SHORT_ORDERS);
        order_ids.extend(named.iter().map(|(order_id, _)| *order_id));
        if !is_truncated {
            break;
        }
        input = Input::ShortDue { stock: stock(sku) };
    }
    (order_ids, most)
}

#[test]
fn all_orders_are_named_the_newest_first_in_parts_that_a_decision_takes() {
    let orders = 3 * BLOCK_ORDERS;
    let mut documents = held(orders, &[]);
    let (order_ids, times) = named(&mut documents, "B", 2);
    assert_eq!(order_ids, (1..=orders).rev().map(order).collect::<Vec<_>>());
    assert!(times <= 6, "it ran {times} times");
    assert_eq!(documents.count::<ShortList>(), 0, "nothing is left to be named");
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
    documents.decide(&Input::Placed { order_id: order(9_999), wanted: wanted(&[("A", 2)]) }, NOW);
    assert_eq!(named(&mut documents, "A", 2).0, [order(9_999)]);

    let mut documents = held(3 * BLOCK_ORDERS, &[1, BLOCK_ORDERS + 1]);
    documents.decide(&Input::HoldDue { order_id: first }, due);
    assert_eq!(named(&mut documents, "A", 2).0, [second]);
    documents.decide(&record(&[count("A", "more", 3, 50)]), NOW);
    documents.decide(&Input::Authorized { order_id: first }, NOW);
    documents.decide(&Input::Cancelled { order_id: second }, NOW);
    assert_eq!(named(&mut documents, "A", 4).0, [first], "in its own block, before the others");
}
