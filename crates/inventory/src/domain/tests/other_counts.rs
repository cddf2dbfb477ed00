//! What the count of another connector contains: by the time as of which it was made.

use StockResult::{Applied, Stale};

use super::{
    goods_issues::{in_count, issue, paid, shipped},
    locations::code,
    stock::{adjustment, before_now, count, event, of_till, record},
    transfers::{into, opened, out, received, sent},
    *,
};

/// A count of the connector `erp`, as of 200 milliseconds ago.
fn counted_at(quantity: i64) -> Event {
    event(before_now(count("A", "C-9", 9, quantity), 200), quantity)
}

#[test]
fn a_sale_that_the_count_of_another_connector_contains_is_stale() {
    let sold =
        |id: &str, sequence, ago| of_till(before_now(adjustment("A", id, sequence, -1), ago));
    let (late, at_once) = (sold("T1", 1, 300), sold("T2", 2, 200));
    let (after, unsaid) = (sold("T3", 3, 199), of_till(adjustment("A", "T4", 4, -1)));
    // A time to come says nothing.
    let ahead = sold("T5", 5, -1);
    check(
        &[counted_at(10)],
        &record(&[late, at_once, after.clone(), unsaid.clone(), ahead.clone()]),
        &answered(
            &[Stale, Stale, Applied, Applied, Applied],
            &[event(after, 9), event(unsaid, 8), event(ahead, 7)],
        ),
    );
}

#[test]
fn a_sale_before_a_count_that_does_not_say_as_of_when_is_contained_in_it() {
    let given = [event(count("A", "C-9", 9, 10), 10)];
    let sold = of_till(before_now(adjustment("A", "T1", 1, -1), 1));
    check(&given, &record(&[sold]), &answered(&[Stale], &[]));
}

#[test]
fn the_times_of_its_own_connector_do_not_make_a_line_stale() {
    let late = before_now(adjustment("A", "D-10", 10, -1), 300);
    check(
        &[counted_at(10)],
        &record(std::slice::from_ref(&late)),
        &answered(&[Applied], &[event(late, 9)]),
    );
}

#[test]
fn goods_that_left_before_the_count_of_another_connector_leave_what_is_on_hand() {
    let given = [&paid()[..], &[counted_at(6)]].concat();
    let late = of_till(before_now(issue("A", "GI-1", 1, order(1), 3), 300));
    let later = of_till(before_now(issue("A", "GI-2", 2, order(1), 1), 100));
    let lines = [late.clone(), later.clone()];
    let events = [in_count(shipped(late, 3, [6, 0, 1])), shipped(later, 1, [5, 0, 0])];
    check(&given, &record(&lines), &answered(&[Applied; 2], &events));
}

#[test]
fn transfers_before_the_count_of_another_connector_leave_what_is_on_hand() {
    let at_berlin = |line: StockLine| {
        let stock = StockId { location: code("berlin"), ..line.stock };
        StockLine { stock, ..line }
    };
    let count_at_berlin = at_berlin(before_now(count("A", "C-10", 10, 4), 200));
    let given = [opened(), vec![counted_at(6), event(count_at_berlin, 4)]].concat();
    let lines = [
        of_till(before_now(out("S-1", 1, "berlin", 4), 400)),
        of_till(before_now(into("berlin", "R-1", 2, 4), 300)),
        of_till(before_now(out("S-2", 3, "berlin", 1), 100)),
    ];
    let [left, came, after] = lines.clone();
    let contained = |mut event: Event| {
        let Event::Stock(
            _,
            StockFact::Sent { in_count, .. } | StockFact::Received { in_count, .. },
        ) = &mut event
        else {
            panic!("is of a transfer")
        };
        *in_count = true;
        event
    };
    let events =
        [contained(sent(left, 6, 4)), contained(received(came, 0, 4, 0)), sent(after, 5, 1)];
    check(&given, &record(&lines), &answered(&[Applied; 3], &events));
}

#[test]
fn what_only_the_count_of_another_connector_contains_comes_off_a_late_count_of_its_own() {
    let late = of_till(before_now(issue("A", "GI-6", 6, order(1), 4), 300));
    let given = [&paid()[..], &[counted_at(6), in_count(shipped(late, 4, [6, 0, 0]))]].concat();
    // By its own sequence the till has counted before the goods left.
    let counted_before = of_till(count("A", "T-5", 5, 10));
    let lines = [counted_before.clone()];
    check(&given, &record(&lines), &answered(&[Applied], &[event(counted_before, 6)]));
    let counted_after = of_till(count("A", "T-7", 7, 6));
    let lines = [counted_after.clone()];
    check(&given, &record(&lines), &answered(&[Applied], &[event(counted_after, 6)]));
}
