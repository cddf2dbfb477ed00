//! What is fetched besides the rows themselves, and what is not.

use super::{
    stock::{adjustment, count, event, record},
    *,
};

/// What is late and what may fall short, when these inputs come after those events.
fn asked(given: &[Event], batch: &[Input]) -> (usize, usize) {
    let mut state = catalogue();
    for event in given {
        fold(&mut state, event);
    }
    let mut keys = Keys::default();
    for input in batch {
        keys.add_input(input);
    }
    keys.watch(&mut state);
    (keys.late_counts(&state).len(), keys.perhaps_short(&state).len())
}

#[test]
fn nothing_more_is_fetched_for_counts_in_order_and_stock_that_suffices() {
    let given = [on_hand("A", 9), reserved(order(1), &[("A", 2)])];
    let lines = [count("A", "D1", 2, 9), adjustment("A", "D2", 3, -7)];
    assert_eq!(asked(&given, &[record(&lines)]), (0, 0));
    assert_eq!(asked(&given, &[Input::Authorized { order_id: order(1) }]), (0, 0));
}

#[test]
fn nothing_more_is_fetched_for_an_adjustment_that_adds_to_what_is_short() {
    let given =
        [on_hand("A", 9), reserved(order(1), &[("A", 2)]), event(count("A", "D1", 2, 1), 1)];
    assert_eq!(asked(&given, &[record(&[adjustment("A", "D2", 3, 1)])]), (0, 0));
}

#[test]
fn a_count_older_than_an_adjustment_is_late() {
    let given = [event(adjustment("A", "D4", 4, 1), 1), event(adjustment("A", "D2", 2, 1), 2)];
    let lines = [count("A", "D3", 3, 9), count("A", "D4b", 4, 9), count("B", "D2", 2, 9)];
    assert_eq!(asked(&given, &[record(&lines)]).0, 1);
}

#[test]
fn stock_may_fall_short_by_all_that_a_batch_takes() {
    let given = [on_hand("A", 9), reserved(order(1), &[("A", 2)])];
    let lines = [adjustment("A", "D2", 2, -4), adjustment("A", "D3", 3, -4)];
    assert_eq!(asked(&given, &[record(&lines)]).1, 1);
    assert_eq!(asked(&given, &[record(&[count("A", "D2", 2, 1)])]).1, 1);
}

#[test]
fn stock_may_fall_short_by_all_that_a_batch_orders() {
    let given = [on_hand("A", 9)];
    let taken = record(&[adjustment("A", "D2", 2, -4)]);
    let placed = Input::Placed { order_id: order(1), lines: lines(&[("A", 6)]) };
    assert_eq!(asked(&given, std::slice::from_ref(&taken)).1, 0);
    assert_eq!(asked(&given, &[placed, taken]).1, 1);
}

#[test]
fn stock_may_fall_short_by_what_an_expired_hold_takes_again() {
    let given = [
        on_hand("A", 9),
        reserved(order(1), &[("A", 6)]),
        released(order(1), &[("A", 6)], ReleaseReason::Expired),
    ];
    let authorized = Input::Authorized { order_id: order(1) };
    let taken = record(&[adjustment("A", "D2", 2, -4)]);
    assert_eq!(asked(&given, &[authorized, taken]).1, 1);
}

#[test]
fn extreme_lines_do_not_overflow() {
    let lines = [
        adjustment("A", "D2", 2, i64::MIN),
        adjustment("A", "D3", 3, i64::MIN),
        count("A", "D4", 4, i64::MIN),
    ];
    let given = [on_hand("A", 9), reserved(order(1), &[("A", 2)])];
    assert_eq!(asked(&given, &[record(&lines)]).1, 1);
}
