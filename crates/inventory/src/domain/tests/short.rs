//! Which orders cannot be served when a stock is short, and in how many parts they are named.

use super::{
    super::short::MAX_SHORT_ORDERS,
    locations::code,
    stock::{count, event, record},
    *,
};

/// A shop in which each of so many orders has one unit of `A`.
fn sold(orders: u64) -> State {
    let mut state = catalogue();
    fold(&mut state, &on_hand("A", orders as i64));
    for number in 1..=orders {
        fold(&mut state, &reserved(order(number), &[("A", 1)]));
    }
    state
}

/// A part of the orders that cannot be served.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    units_before: i64,
    /// The numbers of the first and of the last order, with what is between them; none when it names none.
    named: Option<(u64, u64)>,
    is_truncated: bool,
}

/// Decides and folds; the part that is named then.
#[track_caller]
fn part(state: &mut State, input: &Input, number: u32) -> Part {
    let decision = decide(Policy::default(), state, input, NOW);
    for event in &decision.events {
        fold(state, event);
    }
    let Some(Event::Stock(_, StockFact::Short { orders, .. })) = decision.events.last() else {
        panic!("is not short: {decision:?}")
    };
    assert_eq!(orders.part, number);
    let ShortOrders { units_before, named, is_truncated, .. } = orders;
    let numbers: Vec<u64> = named.iter().map(|(order_id, _)| number_of(*order_id)).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] == pair[1] + 1), "{numbers:?}");
    let ends = numbers.first().copied().zip(numbers.last().copied());
    Part { units_before: *units_before, named: ends, is_truncated: *is_truncated }
}

fn number_of(order_id: OrderId) -> u64 {
    order_id.to_string()[24..].parse().expect("was numbered")
}

fn counted_down_to(units: i64) -> Input {
    record(&[count("A", "D2", 2, units)])
}

fn due() -> Input {
    Input::ShortDue { stock: stock("A") }
}

fn named(first: u64, last: u64, units_before: i64, is_truncated: bool) -> Part {
    Part { units_before, named: Some((first, last)), is_truncated }
}

#[test]
fn only_the_orders_that_cannot_be_served_are_named() {
    assert_eq!(part(&mut sold(100), &counted_down_to(90), 1), named(100, 91, 0, false));
}

#[test]
fn as_many_orders_as_an_event_takes_are_one_part_and_one_more_makes_two() {
    let most = MAX_SHORT_ORDERS as u64;
    let mut state = sold(most);
    assert_eq!(part(&mut state, &counted_down_to(0), 1), named(most, 1, 0, false));
    assert_eq!(decide(Policy::default(), &state, &due(), NOW), Decision::nothing());

    let mut state = sold(most + 1);
    assert_eq!(part(&mut state, &counted_down_to(0), 1), named(most + 1, 2, 0, true));
    assert_eq!(part(&mut state, &due(), 2), named(1, 1, most as i64, false));
    assert_eq!(decide(Policy::default(), &state, &due(), NOW), Decision::nothing());
}

#[test]
fn what_is_cancelled_between_two_parts_is_not_missing_any_more() {
    let mut state = sold(600);
    assert_eq!(part(&mut state, &counted_down_to(100), 1), named(600, 351, 0, true));
    for number in 361..=600 {
        fold(&mut state, &released(order(number), &[("A", 1)], ReleaseReason::Cancelled));
    }
    // Ten of the first part are left, and 260 are missing.
    assert_eq!(part(&mut state, &due(), 2), named(350, 101, 10, false));
}

#[test]
fn no_order_is_left_out_when_older_ones_of_its_block_are_cancelled() {
    let mut state = sold(600);
    assert_eq!(part(&mut state, &counted_down_to(0), 1), named(600, 351, 0, true));
    for number in 1..=10 {
        fold(&mut state, &released(order(number), &[("A", 1)], ReleaseReason::Cancelled));
    }
    // Ten orders are named once more.
    assert_eq!(part(&mut state, &due(), 2), named(360, 111, 240, true));
    assert_eq!(part(&mut state, &due(), 3), named(110, 11, 490, false));
}

#[test]
fn the_last_part_names_no_order_when_enough_has_come() {
    let mut state = sold(600);
    assert_eq!(part(&mut state, &counted_down_to(0), 1), named(600, 351, 0, true));
    fold(&mut state, &event(count("A", "D3", 3, 700), 700));
    let none = Part { units_before: 0, named: None, is_truncated: false };
    assert_eq!(part(&mut state, &due(), 2), none);
    assert_eq!(decide(Policy::default(), &state, &due(), NOW), Decision::nothing());
}

#[test]
fn a_stock_that_falls_further_is_named_from_the_newest_order_on() {
    let mut state = sold(600);
    assert_eq!(part(&mut state, &counted_down_to(100), 1), named(600, 351, 0, true));
    let fallen = record(&[count("A", "D3", 3, 50)]);
    assert_eq!(part(&mut state, &fallen, 1), named(600, 351, 0, true));
    assert_eq!(part(&mut state, &due(), 2), named(350, 101, 250, true));
    assert_eq!(part(&mut state, &due(), 3), named(100, 51, 500, false));
}

#[test]
fn an_order_is_named_with_the_units_that_it_has_at_that_location() {
    let at_berlin = StockId { location: code("berlin"), ..stock("A") };
    let held = |order_id, at_main, at_berlin_too| {
        let lines = [(stock("A"), at_main), (at_berlin.clone(), at_berlin_too)];
        let lines: Lines = lines.into_iter().map(|(stock, units)| Line { stock, units }).collect();
        let (after, expires_at) = (Levels::default(), NOW + Policy::default().hold_ttl);
        reservation(order_id, ReservationFact::Reserved { lines, after, expires_at })
    };
    let given = [
        Event::Location(code("berlin"), LocationFact::Created(LocationDetails::main())),
        on_hand("A", 9),
        counted(at_berlin.clone(), document("opening", 1), 5, 5),
        held(order(1), 4, 2),
        held(order(2), 5, 1),
        held(order(3), 1, 2),
    ];
    let line = StockLine { stock: at_berlin.clone(), ..count("A", "D2", 2, 2) };
    let orders = ShortOrders {
        part: 1,
        units_before: 0,
        named: vec![(order(3), 2), (order(2), 1)],
        is_truncated: false,
    };
    let fact = StockFact::Short { on_hand: 2, promised: 5, backorder_limit: 0, orders };
    check(
        &given,
        &record(std::slice::from_ref(&line)),
        &answered(
            &[StockResult::Applied],
            &[event(line, 2), Event::Stock(at_berlin.clone(), fact)],
        ),
    );
}
