//! Units that leave for orders.

use StockResult::{
    Applied, AppliedElsewhere, AppliedInExcess, DocumentReused, Duplicate, OutOfRange,
    UnknownOrder, UnknownSku,
};

use super::{
    stock::{adjustment, count, event, line, record, short},
    *,
};

pub(super) fn issue(
    sku: &str,
    id: &str,
    sequence: i64,
    order_id: OrderId,
    quantity: i64,
) -> StockLine {
    line(sku, id, sequence, Units::Issued(order_id, quantity))
}

/// The event of a goods issue: what of it was the order's own, and the units on hand, held and
/// allocated after it.
pub(super) fn shipped(line: StockLine, from_allocation: i64, after: [i64; 3]) -> Event {
    let Units::Issued(order_id, quantity) = line.units else { panic!("is no goods issue") };
    let [on_hand, held, allocated] = after;
    let StockLine { stock, document, line_id, .. } = line;
    let fact = StockFact::Shipped {
        document,
        order_id,
        line_id,
        quantity,
        from_allocation,
        from_expired: 0,
        freed: vec![],
        in_count: false,
        after: Level { on_hand, held, allocated },
    };
    Event::Stock(stock, fact)
}

/// The same, of which so many units were held for the order until its hold ran out.
fn expired_of(mut event: Event, units: i64) -> Event {
    let Event::Stock(_, StockFact::Shipped { from_expired, .. }) = &mut event else {
        panic!("is shipped")
    };
    *from_expired = units;
    event
}

/// The same, of units that a newer count was made without.
pub(super) fn in_count(mut event: Event) -> Event {
    let Event::Stock(_, StockFact::Shipped { in_count, .. }) = &mut event else {
        panic!("is shipped")
    };
    *in_count = true;
    event
}

/// 10 of `A` are on hand, and an order has 4 of them.
pub(super) fn paid() -> [Event; 3] {
    let of = [("A", 4)];
    [on_hand("A", 10), reserved(order(1), &of), allocated(order(1), &of)]
}

/// What follows from stock lines after these events.
fn after(given: &[Event], lines: &[StockLine]) -> (State, Decision<Event, Answer>) {
    let mut state = catalogue();
    for event in given {
        fold(&mut state, event);
    }
    let decision = decide(Policy::default(), &state, &record(lines), NOW);
    for event in &decision.events {
        fold(&mut state, event);
    }
    (state, decision)
}

#[test]
fn what_is_shipped_is_neither_on_hand_nor_promised() {
    let line = issue("A", "GI-1", 2, order(1), 4);
    check(
        &paid(),
        &record(std::slice::from_ref(&line)),
        &answered(&[Applied], &[shipped(line.clone(), 4, [6, 0, 0])]),
    );
    let (state, _) = after(&paid(), &[line]);
    let row = state.stocks.get(&stock("A")).expect("exists");
    assert_eq!((row.available(), row.revision.version), (6, 2));
    let order = state.reservations.get(&order(1)).expect("exists");
    assert_eq!(
        (order.status, order.lines.len(), order.revision.version),
        (Status::Allocated, 0, 2)
    );
}

#[test]
fn an_erp_that_counts_after_a_shipment_is_not_short() {
    let lines = [issue("A", "GI-1", 2, order(1), 4), count("A", "C-1", 3, 6)];
    let [issued, counted] = lines.clone();
    check(
        &paid(),
        &record(&lines),
        &answered(&[Applied; 2], &[shipped(issued, 4, [6, 0, 0]), event(counted, 6)]),
    );
}

#[test]
fn an_order_ships_in_parts() {
    let lines = [issue("A", "GI-1", 2, order(1), 1), issue("A", "GI-2", 3, order(1), 3)];
    let [first, second] = lines.clone();
    check(
        &paid(),
        &record(&lines),
        &answered(&[Applied; 2], &[shipped(first, 1, [9, 0, 3]), shipped(second, 3, [6, 0, 0])]),
    );
}

#[test]
fn the_same_goods_issue_twice_has_one_effect_and_its_name_no_other() {
    let first = issue("A", "GI-1", 2, order(1), 2);
    let mut given = paid().to_vec();
    given.extend([reserved(order(2), &[("B", 0)]), shipped(first.clone(), 2, [8, 0, 2])]);
    check(
        &given,
        &record(&[
            first,
            issue("A", "GI-1", 2, order(1), 1),
            issue("A", "GI-1", 2, order(2), 2),
            adjustment("A", "GI-1", 2, -2),
        ]),
        &answered(&[Duplicate, DocumentReused, DocumentReused, DocumentReused], &[]),
    );
}

#[test]
fn what_leaves_at_another_location_is_free_where_the_order_had_it() {
    let berlin = Location::parse("berlin").expect("valid");
    let mut given = paid().to_vec();
    let created = LocationFact::Created(LocationDetails::main());
    given.push(Event::Location(berlin.clone(), created));
    let at_berlin = |line: StockLine| StockLine {
        stock: StockId { location: berlin.clone(), ..line.stock },
        ..line
    };
    given.push(event(at_berlin(count("A", "opening", 1, 2)), 2));
    let lines = [at_berlin(issue("A", "GI-1", 2, order(1), 3)), issue("A", "GI-2", 3, order(1), 2)];
    let [first, second] = lines.clone();
    let mut instead = shipped(first, 3, [-1, 0, 0]);
    if let Event::Stock(_, StockFact::Shipped { freed, .. }) = &mut instead {
        let line = Line { stock: stock("A"), units: 3 };
        freed.push((line, Level { on_hand: 10, held: 0, allocated: 1 }));
    }
    let short = match short("A", -1, 0, &[]) {
        Event::Stock(id, fact) => Event::Stock(StockId { location: berlin.clone(), ..id }, fact),
        other => other,
    };
    check(
        &given,
        &record(&lines),
        &answered(
            &[AppliedElsewhere, AppliedInExcess],
            &[instead, short, shipped(second, 1, [8, 0, 0])],
        ),
    );
}

#[test]
fn what_leaves_beyond_the_allocation_comes_from_what_is_free() {
    let lines = [issue("A", "GI-1", 2, order(1), 5), issue("A", "GI-2", 3, order(1), 1)];
    let [first, second] = lines.clone();
    check(
        &paid(),
        &record(&lines),
        &answered(
            &[AppliedInExcess; 2],
            &[shipped(first, 4, [5, 0, 0]), shipped(second, 0, [4, 0, 0])],
        ),
    );
}

#[test]
fn an_excess_that_takes_what_others_were_promised_is_short_for_them() {
    let mut given = paid().to_vec();
    given.extend([reserved(order(2), &[("A", 6)]), reserved(order(3), &[("B", 0)])]);
    let line = issue("A", "GI-1", 2, order(1), 5);
    check(
        &given,
        &record(std::slice::from_ref(&line)),
        &answered(
            &[AppliedInExcess],
            &[shipped(line, 4, [5, 6, 0]), short("A", 5, 6, &[(order(2), 6)])],
        ),
    );
}

#[test]
fn what_earlier_lines_shipped_is_not_named_short() {
    let mut given = paid().to_vec();
    given.extend([reserved(order(2), &[("A", 6)])]);
    let lines = [
        issue("A", "GI-1", 2, order(2), 2),
        issue("A", "GI-2", 3, order(1), 4),
        adjustment("A", "D-1", 4, -1),
    ];
    let [first, second, taken] = lines.clone();
    check(
        &given,
        &record(&lines),
        &answered(
            &[Applied; 3],
            &[
                shipped(first, 2, [8, 4, 4]),
                shipped(second, 4, [4, 4, 0]),
                event(taken, 3),
                short("A", 3, 4, &[(order(2), 4)]),
            ],
        ),
    );
}

#[test]
fn what_a_cancelled_order_ships_is_excess() {
    let mut given = paid().to_vec();
    given.push(released(order(1), &[("A", 4)], ReleaseReason::Cancelled));
    let line = issue("A", "GI-1", 2, order(1), 4);
    check(
        &given,
        &record(std::slice::from_ref(&line)),
        &answered(&[AppliedInExcess], &[shipped(line, 0, [6, 0, 0])]),
    );
}

#[test]
fn what_is_shipped_for_a_hold_is_held_no_longer_and_not_allocated_again() {
    let of = [("A", 4), ("B", 1)];
    let line = issue("A", "GI-1", 2, order(1), 3);
    let mut given = vec![on_hand("A", 10), on_hand("B", 1), reserved(order(1), &of)];
    check(
        &given,
        &record(std::slice::from_ref(&line)),
        &answered(&[Applied], &[shipped(line.clone(), 3, [7, 1, 0])]),
    );
    given.push(shipped(line, 3, [7, 1, 0]));
    let authorized = Input::Authorized { order_id: order(1) };
    check(&given, &authorized, &facts(&[allocated(order(1), &[("A", 1), ("B", 1)])]));
}

#[test]
fn what_leaves_after_the_hold_ran_out_is_the_orders_and_not_allocated_again() {
    let of = [("A", 4)];
    let line = issue("A", "GI-1", 2, order(1), 3);
    let mut given = vec![
        on_hand("A", 10),
        reserved(order(1), &of),
        released(order(1), &of, ReleaseReason::Expired),
    ];
    let left = expired_of(shipped(line.clone(), 0, [7, 0, 0]), 3);
    check(
        &given,
        &record(std::slice::from_ref(&line)),
        &answered(&[AppliedInExcess], std::slice::from_ref(&left)),
    );
    given.push(left);
    let authorized = Input::Authorized { order_id: order(1) };
    let rest = allocated(order(1), &[("A", 1)]);
    check(&given, &authorized, &facts(std::slice::from_ref(&rest)));
    // No more than the order had is its own.
    let more = issue("A", "GI-2", 3, order(1), 2);
    let left = expired_of(shipped(more.clone(), 0, [5, 0, 0]), 1);
    check(
        &given,
        &record(std::slice::from_ref(&more)),
        &answered(&[AppliedInExcess], std::slice::from_ref(&left)),
    );
    given.push(rest);
    let last = issue("A", "GI-2", 3, order(1), 1);
    check(
        &given,
        &record(std::slice::from_ref(&last)),
        &answered(&[Applied], &[shipped(last.clone(), 1, [6, 0, 0])]),
    );
}

#[test]
fn what_leaves_elsewhere_after_the_hold_ran_out_is_not_allocated_again() {
    let berlin = Location::parse("berlin").expect("valid");
    let of = [("A", 4)];
    let created = LocationFact::Created(LocationDetails::main());
    let mut given = vec![
        on_hand("A", 10),
        Event::Location(berlin.clone(), created),
        reserved(order(1), &of),
        released(order(1), &of, ReleaseReason::Expired),
    ];
    let at_berlin = |line: StockLine| StockLine {
        stock: StockId { location: berlin.clone(), ..line.stock },
        ..line
    };
    given.push(event(at_berlin(count("A", "opening", 1, 5)), 5));
    let line = at_berlin(issue("A", "GI-1", 2, order(1), 3));
    let mut left = expired_of(shipped(line.clone(), 0, [2, 0, 0]), 3);
    if let Event::Stock(_, StockFact::Shipped { freed, .. }) = &mut left {
        let line = Line { stock: stock("A"), units: 3 };
        freed.push((line, Level { on_hand: 10, held: 0, allocated: 0 }));
    }
    check(&given, &record(&[line]), &answered(&[AppliedInExcess], std::slice::from_ref(&left)));
    given.push(left);
    let authorized = Input::Authorized { order_id: order(1) };
    check(&given, &authorized, &facts(&[allocated(order(1), &[("A", 1)])]));
}

#[test]
fn a_cancelled_order_gives_back_what_is_not_shipped() {
    let mut given = paid().to_vec();
    given.push(shipped(issue("A", "GI-1", 2, order(1), 3), 3, [7, 0, 1]));
    let cancelled = Input::Cancelled { order_id: order(1) };
    let back = released(order(1), &[("A", 1)], ReleaseReason::Cancelled);
    check(&given, &cancelled, &facts(&[back]));
}

#[test]
fn a_goods_issue_that_a_count_was_made_without_leaves_what_is_on_hand() {
    let mut given = paid().to_vec();
    given.push(event(count("A", "C-1", 9, 6), 6));
    let late = issue("A", "GI-1", 5, order(1), 4);
    check(
        &given,
        &record(std::slice::from_ref(&late)),
        &answered(&[Applied], &[in_count(shipped(late, 4, [6, 0, 0]))]),
    );
}

#[test]
fn a_late_count_is_changed_by_the_newer_goods_issues_of_its_connector() {
    let mut given = paid().to_vec();
    given.push(shipped(issue("A", "GI-1", 9, order(1), 4), 4, [6, 0, 0]));
    let late = count("A", "C-1", 8, 9);
    check(&given, &record(std::slice::from_ref(&late)), &answered(&[Applied], &[event(late, 5)]));
}

#[test]
fn what_an_order_never_wanted_is_excess() {
    let mut given = paid().to_vec();
    given.push(on_hand("B", 3));
    let line = issue("B", "GI-1", 2, order(1), 1);
    check(
        &given,
        &record(std::slice::from_ref(&line)),
        &answered(&[AppliedInExcess], &[shipped(line, 0, [2, 0, 0])]),
    );
}

#[test]
fn an_order_that_nobody_placed_ships_nothing_and_the_line_can_be_sent_again() {
    let line = issue("A", "GI-1", 2, order(1), 4);
    let input = record(std::slice::from_ref(&line));
    check(&[on_hand("A", 10)], &input, &answered(&[UnknownOrder], &[]));
    check(&paid(), &input, &answered(&[Applied], &[shipped(line, 4, [6, 0, 0])]));
    let unknown = issue("X", "GI-1", 2, order(1), 4);
    check(&paid(), &record(&[unknown]), &answered(&[UnknownSku], &[]));
}

#[test]
fn a_goods_issue_that_would_leave_the_range_changes_nothing() {
    let mut given = paid().to_vec();
    let taken = adjustment("A", "D-1", 2, -events::id::MAX_UNITS - 10);
    given.push(event(taken, -events::id::MAX_UNITS));
    let line = issue("A", "GI-1", 3, order(1), 4);
    check(&given, &record(&[line]), &answered(&[OutOfRange], &[]));
}
