//! What ERPs record.

use StockResult::{Applied, DocumentReused, Duplicate, OutOfRange, Stale, UnknownSku};
use events::id::MAX_UNITS;

use super::{super::stock::Sequences, locations, trade::Trade, *};

pub(super) fn line(sku: &str, id: &str, sequence: i64, units: Units) -> StockLine {
    let reason = match units {
        Units::Counted(_) | Units::Issued(..) | Units::Sent(..) | Units::Received(..) => {
            String::new()
        }
        Units::Added(_) => "because".to_owned(),
    };
    let (stock, document, line_id) = (stock(sku), document(id, sequence), String::new());
    StockLine { stock, document, units, expected: None, reason, line_id }
}

pub(super) fn count(sku: &str, id: &str, sequence: i64, quantity: i64) -> StockLine {
    line(sku, id, sequence, Units::Counted(quantity))
}

pub(super) fn adjustment(sku: &str, id: &str, sequence: i64, delta: i64) -> StockLine {
    line(sku, id, sequence, Units::Added(delta))
}

pub(super) fn record(lines: &[StockLine]) -> Input {
    Input::RecordStock { lines: lines.to_vec(), unlocated: vec![], invalid: vec![] }
}

/// The event of a count or an adjustment that leaves `on_hand`.
pub(super) fn event(line: StockLine, on_hand: i64) -> Event {
    let StockLine { stock, document, units, reason, .. } = line;
    match units {
        Units::Counted(quantity) => counted(stock, document, quantity, on_hand),
        Units::Added(delta) => {
            let after = Level { on_hand, ..Level::default() };
            Event::Stock(stock, StockFact::Adjusted { document, delta, reason, after })
        }
        Units::Issued(..) | Units::Sent(..) | Units::Received(..) => panic!("says more"),
    }
}

/// More of a stock is promised than is on hand: these orders cannot be served, the newest first.
pub(super) fn short(sku: &str, on_hand: i64, promised: i64, orders: &[(OrderId, i64)]) -> Event {
    let orders =
        ShortOrders { part: 1, units_before: 0, named: orders.to_vec(), is_truncated: false };
    let fact = StockFact::Short { on_hand, promised, backorder_limit: 0, orders };
    Event::Stock(stock(sku), fact)
}

#[test]
fn a_count_sets_what_is_on_hand() {
    check(
        &[on_hand("A", 5)],
        &record(&[count("A", "D1", 2, 9), count("B", "D2", 3, 0)]),
        &answered(
            &[Applied, Applied],
            &[event(count("A", "D1", 2, 9), 9), event(count("B", "D2", 3, 0), 0)],
        ),
    );
}

#[test]
fn an_adjustment_changes_what_is_on_hand() {
    check(
        &[on_hand("A", 5)],
        &record(&[adjustment("A", "D1", 2, -2), adjustment("B", "D2", 3, 7)]),
        &answered(
            &[Applied, Applied],
            &[event(adjustment("A", "D1", 2, -2), 3), event(adjustment("B", "D2", 3, 7), 7)],
        ),
    );
}

#[test]
fn an_adjustment_may_take_more_than_there_is_and_less_than_nothing_is_short() {
    check(
        &[on_hand("A", 1)],
        &record(&[adjustment("A", "D1", 2, -3)]),
        &answered(&[Applied], &[event(adjustment("A", "D1", 2, -3), -2), short("A", -2, 0, &[])]),
    );
}

#[test]
fn an_unknown_sku_is_named_while_the_rest_goes_on_and_can_be_pushed_again() {
    let lines = [count("X", "D1", 1, 5), count("A", "D2", 2, 5)];
    let applied = event(count("A", "D2", 2, 5), 5);
    check(&[], &record(&lines), &answered(&[UnknownSku, Applied], &[applied]));

    let mut state = catalogue();
    Inventory::replicate(&mut state, &Input::ProductKnown { sku: stock("X").sku });
    let again = decide(Policy::default(), &state, &record(&lines[..1]), NOW);
    assert_eq!(again, answered(&[Applied], &[event(count("X", "D1", 1, 5), 5)]));
}

#[test]
fn the_same_document_twice_has_one_effect() {
    let first = event(adjustment("A", "D1", 2, 3), 8);
    let counted = event(count("B", "D2", 3, 4), 4);
    check(
        &[on_hand("A", 5), first, counted],
        &record(&[adjustment("A", "D1", 2, 3), count("B", "D2", 3, 4)]),
        &answered(&[Duplicate, Duplicate], &[]),
    );
}

#[test]
fn the_same_document_twice_in_one_command_has_one_effect() {
    let twice = adjustment("A", "D1", 2, 3);
    check(
        &[on_hand("A", 5)],
        &record(&[twice.clone(), twice.clone()]),
        &answered(&[Applied, Duplicate], &[event(twice, 8)]),
    );
}

#[test]
fn another_reason_does_not_make_another_document() {
    let given = event(adjustment("A", "D1", 2, 3), 8);
    let reworded = StockLine { reason: "found".into(), ..adjustment("A", "D1", 2, 3) };
    check(&[on_hand("A", 5), given], &record(&[reworded]), &answered(&[Duplicate], &[]));
}

#[test]
fn a_documents_id_cannot_be_used_again_for_something_else() {
    let attic = locations::code("attic");
    let elsewhere = StockId { location: attic.clone(), ..stock("A") };
    let elsewhere = StockLine { stock: elsewhere, ..adjustment("A", "D1", 2, 3) };
    let created = LocationFact::Created(LocationDetails::main());
    check(
        &[Event::Location(attic, created), on_hand("A", 5), event(adjustment("A", "D1", 2, 3), 8)],
        &record(&[
            adjustment("A", "D1", 2, 4),
            adjustment("A", "D1", 3, 3),
            adjustment("B", "D1", 2, 3),
            count("A", "D1", 2, 3),
            elsewhere,
        ]),
        &answered(&[DocumentReused; 5], &[]),
    );
}

#[test]
fn another_connector_has_its_own_documents_and_sequences() {
    let mut theirs = count("A", "D1", 1, 7);
    theirs.document.key.connector = Connector::parse("till").expect("valid");
    check(
        &[on_hand("A", 5), event(count("A", "D1", 9, 6), 6)],
        &record(&[theirs.clone()]),
        &answered(&[Applied], &[event(theirs, 7)]),
    );
}

#[test]
fn a_count_that_is_not_newer_than_the_last_one_is_stale() {
    check(
        &[event(count("A", "D5", 5, 9), 9)],
        &record(&[count("A", "D4", 4, 1), count("A", "D5b", 5, 1), count("B", "D3", 3, 1)]),
        &answered(&[Stale, Stale, Applied], &[event(count("B", "D3", 3, 1), 1)]),
    );
}

#[test]
fn an_adjustment_that_the_last_count_contains_is_stale() {
    check(
        &[event(count("A", "D5", 5, 9), 9)],
        &record(&[adjustment("A", "D4", 4, 1), adjustment("A", "D5b", 5, 1)]),
        &answered(&[Stale, Stale], &[]),
    );
}

#[test]
fn adjustments_may_come_in_any_order() {
    let late = adjustment("A", "D2", 2, 10);
    check(
        &[on_hand("A", 5), event(adjustment("A", "D3", 3, 1), 6)],
        &record(std::slice::from_ref(&late)),
        &answered(&[Applied], &[event(late, 16)]),
    );
}

#[test]
fn a_count_that_comes_late_is_changed_by_the_newer_adjustments_of_its_connector() {
    let mut theirs = adjustment("A", "T9", 9, 100);
    theirs.document.key.connector = Connector::parse("till").expect("valid");
    check(
        &[
            event(adjustment("A", "D2", 2, 1000), 1000),
            event(adjustment("A", "D4", 4, -2), 998),
            event(adjustment("A", "D6", 6, 7), 1005),
            event(theirs, 1105),
        ],
        &record(&[count("A", "D3", 3, 50), count("A", "D5", 5, 60)]),
        &answered(
            &[Applied, Applied],
            &[event(count("A", "D3", 3, 50), 55), event(count("A", "D5", 5, 60), 67)],
        ),
    );
}

#[test]
fn a_later_line_is_decided_on_what_the_earlier_ones_leave() {
    check(
        &[on_hand("A", 5)],
        &record(&[
            adjustment("A", "D4", 4, -2),
            count("A", "D3", 3, 50),
            adjustment("A", "D2", 2, 1),
            adjustment("A", "D5", 5, 2),
            adjustment("A", "D5", 5, 3),
        ]),
        &answered(
            &[Applied, Applied, Stale, Applied, DocumentReused],
            &[
                event(adjustment("A", "D4", 4, -2), 3),
                event(count("A", "D3", 3, 50), 48),
                event(adjustment("A", "D5", 5, 2), 50),
            ],
        ),
    );
}

#[test]
fn what_would_leave_the_range_changes_nothing() {
    check(
        &[on_hand("A", 5)],
        &record(&[
            count("A", "D1", 2, MAX_UNITS + 1),
            count("A", "D2", 3, i64::MIN),
            adjustment("A", "D3", 4, i64::MAX),
            adjustment("A", "D4", 5, i64::MIN),
            adjustment("A", "D5", 6, MAX_UNITS - 5),
        ]),
        &answered(
            &[OutOfRange, OutOfRange, OutOfRange, OutOfRange, Applied],
            &[event(adjustment("A", "D5", 6, MAX_UNITS - 5), MAX_UNITS)],
        ),
    );
}

#[test]
fn an_erp_that_goes_below_what_is_promised_makes_it_short_and_names_the_newest_orders() {
    let given = [
        on_hand("A", 9),
        reserved(order(1), &[("A", 2)]),
        allocated(order(1), &[("A", 2)]),
        reserved(order(2), &[("A", 3)]),
        reserved(order(3), &[("A", 4)]),
        released(order(3), &[("A", 4)], ReleaseReason::Cancelled),
    ];
    let taken = adjustment("A", "D1", 2, -5);
    check(
        &given,
        &record(std::slice::from_ref(&taken)),
        &answered(&[Applied], &[event(taken, 4), short("A", 4, 5, &[(order(2), 3)])]),
    );
    let counted = count("A", "D1", 2, 0);
    check(
        &given,
        &record(std::slice::from_ref(&counted)),
        &answered(
            &[Applied],
            &[event(counted, 0), short("A", 0, 5, &[(order(2), 3), (order(1), 2)])],
        ),
    );
}

#[test]
fn an_erp_that_leaves_what_is_promised_makes_nothing_short() {
    let taken = adjustment("A", "D1", 2, -4);
    check(
        &[on_hand("A", 9), reserved(order(1), &[("A", 5)])],
        &record(std::slice::from_ref(&taken)),
        &answered(&[Applied], &[event(taken, 5)]),
    );
}

#[test]
fn what_is_short_is_said_again_when_it_falls_further_and_not_when_it_rises() {
    check(
        &[on_hand("A", 9), reserved(order(1), &[("A", 8)]), event(count("A", "D1", 2, 2), 2)],
        &record(&[adjustment("A", "D2", 3, 3), adjustment("A", "D3", 4, -1)]),
        &answered(
            &[Applied, Applied],
            &[
                event(adjustment("A", "D2", 3, 3), 5),
                event(adjustment("A", "D3", 4, -1), 4),
                short("A", 4, 8, &[(order(1), 8)]),
            ],
        ),
    );
}

#[test]
fn each_line_of_a_document_has_its_own_effect() {
    let of = |line: &str, delta| {
        let mut it = adjustment("A", "GR-1", 2, delta);
        it.document.key.line = Some(DocumentLine::parse(line).expect("valid"));
        it
    };
    let (whole, first, second) = (adjustment("A", "GR-1", 2, 1), of("1", 3), of("2", 4));
    check(
        &[on_hand("A", 5)],
        &record(&[whole.clone(), first.clone(), second.clone(), of("1", 3), of("2", 5)]),
        &answered(
            &[Applied, Applied, Applied, Duplicate, DocumentReused],
            &[event(whole, 6), event(first, 9), event(second, 13)],
        ),
    );
}

#[test]
fn an_epoch_restarts_a_numbering_that_one_wrong_sequence_had_used_up() {
    let in_epoch = |mut line: StockLine, epoch| {
        line.document.sequence.epoch = epoch;
        line
    };
    let wrong = event(count("A", "D1", 1_795_179_849_123, 9), 9);
    let late = count("A", "D2", 2, 7);
    let (next, older) = (in_epoch(late.clone(), 1), in_epoch(count("A", "D3", 1, 8), 1));
    let newer = in_epoch(adjustment("A", "D4", 3, -2), 1);
    check(
        &[wrong],
        &record(&[late, next.clone(), older, newer.clone()]),
        &answered(&[Stale, Applied, Stale, Applied], &[event(next, 7), event(newer, 5)]),
    );
}

/// A line of the connector `till`.
pub(super) fn of_till(mut line: StockLine) -> StockLine {
    line.document.key.connector = Connector::parse("till").expect("valid");
    line
}

/// The line as of so many milliseconds before now, or for a till: when it happened.
pub(super) fn before_now(mut line: StockLine, millis: i64) -> StockLine {
    line.document.occurred_at = Some(Timestamp::from_millis(NOW.millis() - millis));
    line
}

#[test]
fn a_count_keeps_what_other_connectors_changed_after_the_time_as_of_which_it_was_made() {
    let sold =
        |id: &str, sequence, millis| of_till(before_now(adjustment("A", id, sequence, -1), millis));
    let given = [
        event(count("A", "C1", 1, 10), 10),
        event(sold("T1", 1, 500), 9),
        event(sold("T2", 2, 300), 8),
        event(sold("T3", 3, 100), 7),
        event(before_now(adjustment("A", "D2", 2, 4), 100), 11),
    ];
    // What its own connector changed before, by its sequence, is in it, whenever that was.
    let counted = before_now(count("A", "C3", 3, 20), 300);
    check(
        &given,
        &record(std::slice::from_ref(&counted)),
        &answered(&[Applied], &[event(counted, 19)]),
    );
    let of_now = count("A", "C3", 3, 20);
    check(
        &given,
        &record(std::slice::from_ref(&of_now)),
        &answered(&[Applied], &[event(of_now, 20)]),
    );
}

#[test]
fn a_count_as_of_a_time_before_that_of_another_connector_is_stale() {
    let theirs = of_till(before_now(count("A", "T1", 1, 9), 200));
    check(
        &[event(theirs, 9)],
        &record(&[
            before_now(count("A", "C1", 1, 5), 200),
            before_now(count("A", "C2", 2, 6), 201),
            before_now(count("A", "C3", 3, 7), 199),
        ]),
        &answered(&[Stale, Stale, Applied], &[event(before_now(count("A", "C3", 3, 7), 199), 7)]),
    );
}

#[test]
fn a_time_to_come_is_that_when_the_line_came() {
    let ahead = |line| before_now(line, -1_000_000);
    let (first, second) = (ahead(count("A", "C1", 1, 5)), of_till(count("A", "T1", 1, 6)));
    let second = before_now(second, -1);
    let mut state = catalogue();
    let input = record(&[first]);
    for event in decide(Policy::default(), &state, &input, NOW).events {
        fold(&mut state, &event);
    }
    let later = Timestamp::from_millis(NOW.millis() + 1);
    let decision = decide(Policy::default(), &state, &record(std::slice::from_ref(&second)), later);
    assert_eq!(decision, answered(&[Applied], &[event(second, 6)]));
}

#[test]
fn a_line_that_expects_other_units_changes_nothing_and_names_both_values() {
    let expects = |expected, line: StockLine| StockLine { expected: Some(expected), ..line };
    let (right, taken) =
        (expects(5, count("A", "D2", 3, 7)), expects(7, adjustment("A", "D3", 4, -1)));
    check(
        &[on_hand("A", 5)],
        &record(&[expects(4, count("A", "D1", 2, 9)), right.clone(), taken.clone()]),
        &answered(
            &[StockResult::Mismatch { expected: 4, on_hand: 5 }, Applied, Applied],
            &[event(right, 7), event(taken, 6)],
        ),
    );
}

#[test]
fn lines_weigh_what_they_cost() {
    let lines = [count("A", "D1", 1, 1), count("B", "D2", 2, 1)];
    assert_eq!(Inventory::weight(&record(&lines)), 2);
    let placed = |count: usize| Input::Placed {
        order_id: order(1),
        wanted: std::iter::repeat_n((stock("A").sku, 1), count).collect(),
    };
    assert_eq!(
        [0, 1, 32, 33, 2_000].map(|lines| Inventory::weight(&placed(lines))),
        [1, 1, 1, 2, 63]
    );
}

#[test]
fn lines_of_one_command_are_decided_as_if_each_came_by_itself() {
    let mut trade = Trade::new(20_120_301);
    let mut state = catalogue();
    let mut lines = 0;
    for _ in 0..2_000 {
        let (input, now) = trade.next();
        let decision = decide(Policy::default(), &state, &input, now);
        let mut by_themselves = state.clone();
        if let Input::RecordStock { lines: together, .. } = &input {
            let mut events = Vec::new();
            for line in together {
                let line = record(std::slice::from_ref(line));
                let decision = decide(Policy::default(), &by_themselves, &line, now);
                for event in &decision.events {
                    fold_at(&mut by_themselves, event, now);
                }
                events.extend(decision.events);
            }
            assert_eq!(decision.events, events, "{together:?}");
            lines += together.len();
        }
        for event in &decision.events {
            fold_at(&mut state, event, now);
        }
    }
    assert!(lines > 500, "{lines} lines");
}

#[test]
fn versions_count_the_events_of_a_stock() {
    let mut state = catalogue();
    for event in [
        on_hand("A", 9),
        reserved(order(1), &[("A", 8)]),
        event(count("A", "D1", 2, 2), 2),
        short("A", 2, 8, &[(order(1), 8)]),
        event(adjustment("A", "D2", 3, 1), 3),
    ] {
        fold(&mut state, &event);
    }
    let row = state.stocks.get(&stock("A")).expect("exists");
    assert_eq!((row.revision.version, row.on_hand, row.held), (4, 3, 8));
    let as_of = Some(NOW.millis());
    let last = Sequences { counted: Some(at(2)), as_of, adjusted: Some(at(3)) };
    assert_eq!(row.connectors.values().collect::<Vec<_>>(), [&last]);
}
