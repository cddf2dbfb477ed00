//! What the stock does for orders.

use engine::AnyRows as _;

use super::*;

pub(super) fn placed(order_id: OrderId, of: &[(&str, i64)]) -> Input {
    Input::Placed { order_id, wanted: wanted(of) }
}

fn refused(order_id: OrderId, shortages: &[(&str, i64, i64)]) -> Event {
    reservation(order_id, ReservationFact::Refused { shortages: shortages_of(shortages) })
}

fn lost(order_id: OrderId, shortages: &[(&str, i64, i64)]) -> Event {
    reservation(order_id, ReservationFact::Lost { shortages: shortages_of(shortages) })
}

fn shortages_of(shortages: &[(&str, i64, i64)]) -> Vec<Shortage> {
    let shortage = |&(sku, requested, available): &(&str, i64, i64)| Shortage {
        sku: stock(sku).sku,
        requested,
        available,
        location: Some(Location::main()),
    };
    shortages.iter().map(shortage).collect()
}

/// A hold that runs out `after` milliseconds from now.
fn reserved_until(order_id: OrderId, of: &[(&str, i64)], after: i64) -> Event {
    let expires_at = Timestamp::from_millis(NOW.millis() + after);
    let (lines, after) = (lines(of), Levels::default());
    reservation(order_id, ReservationFact::Reserved { lines, after, expires_at })
}

fn expired(order_id: OrderId, of: &[(&str, i64)]) -> Event {
    released(order_id, of, ReleaseReason::Expired)
}

#[test]
fn all_lines_of_an_order_are_held_for_the_time_that_the_installation_says() {
    check(
        &[on_hand("A", 5), on_hand("B", 1)],
        &placed(order(1), &[("A", 5), ("B", 1)]),
        &facts(&[reserved(order(1), &[("A", 5), ("B", 1)])]),
    );
}

#[test]
fn a_hold_lasts_as_long_as_the_shop_says() {
    let mut state = catalogue();
    fold(&mut state, &on_hand("A", 9));
    let decided = |state: &mut State, hold_seconds| {
        let settings = Settings { hold_seconds, ..Settings::default() };
        Inventory::replicate(state, &Input::SettingsKnown(settings.into()));
        decide(Policy::default(), state, &placed(order(1), &[("A", 1)]), NOW).events
    };
    let for_a_minute = reserved_until(order(1), &[("A", 1)], 60_000);
    assert_eq!(decided(&mut state, Some(60)), [for_a_minute]);
    assert_eq!(decided(&mut state, None), [reserved(order(1), &[("A", 1)])]);
}

#[test]
fn an_order_of_which_one_line_is_short_holds_nothing_and_names_every_shortage() {
    check(
        &[on_hand("A", 5), on_hand("B", 1)],
        &placed(order(1), &[("A", 5), ("B", 2), ("C", 3)]),
        &facts(&[refused(order(1), &[("B", 2, 1), ("C", 3, 0)])]),
    );
}

#[test]
fn what_another_order_holds_or_has_allocated_is_not_available() {
    check(
        &[
            on_hand("A", 5),
            on_hand("B", 5),
            reserved(order(1), &[("A", 4)]),
            reserved(order(2), &[("B", 3)]),
            allocated(order(2), &[("B", 3)]),
        ],
        &placed(order(3), &[("A", 2), ("B", 3)]),
        &facts(&[refused(order(3), &[("A", 2, 1), ("B", 3, 2)])]),
    );
}

#[test]
fn stock_that_fell_below_what_is_promised_has_nothing_available() {
    let counted = counted(stock("A"), document("D1", 2), 1, 1);
    check(
        &[on_hand("A", 5), reserved(order(1), &[("A", 4)]), counted],
        &placed(order(2), &[("A", 1)]),
        &facts(&[refused(order(2), &[("A", 1, 0)])]),
    );
}

#[test]
fn an_order_without_lines_is_reserved() {
    check(&[], &placed(order(1), &[]), &facts(&[reserved(order(1), &[])]));
}

#[test]
fn a_refused_order_stays_refused() {
    check(
        &[refused(order(1), &[("A", 1, 0)]), on_hand("A", 5)],
        &placed(order(1), &[("A", 1)]),
        &facts(&[]),
    );
}

#[test]
fn an_authorised_payment_turns_the_hold_into_an_allocation() {
    check(
        &[on_hand("A", 5), reserved(order(1), &[("A", 5)])],
        &Input::Authorized { order_id: order(1) },
        &facts(&[allocated(order(1), &[("A", 5)])]),
    );
}

#[test]
fn a_hold_whose_deadline_has_passed_is_released() {
    check(
        &[on_hand("A", 5), reserved_until(order(1), &[("A", 5)], 0)],
        &Input::HoldDue { order_id: order(1) },
        &facts(&[expired(order(1), &[("A", 5)])]),
    );
}

#[test]
fn a_hold_whose_deadline_has_not_passed_stays() {
    check(
        &[on_hand("A", 5), reserved_until(order(1), &[("A", 5)], 1)],
        &Input::HoldDue { order_id: order(1) },
        &facts(&[]),
    );
}

#[test]
fn an_allocation_has_no_deadline() {
    check(
        &[
            on_hand("A", 5),
            reserved_until(order(1), &[("A", 5)], -1),
            allocated(order(1), &[("A", 5)]),
        ],
        &Input::HoldDue { order_id: order(1) },
        &facts(&[]),
    );
}

#[test]
fn what_ran_out_can_be_held_by_another_order() {
    check(
        &[on_hand("A", 5), reserved(order(1), &[("A", 5)]), expired(order(1), &[("A", 5)])],
        &placed(order(2), &[("A", 5)]),
        &facts(&[reserved(order(2), &[("A", 5)])]),
    );
}

#[test]
fn a_payment_authorised_after_the_hold_ran_out_takes_the_units_again() {
    check(
        &[on_hand("A", 5), reserved(order(1), &[("A", 5)]), expired(order(1), &[("A", 5)])],
        &Input::Authorized { order_id: order(1) },
        &facts(&[allocated(order(1), &[("A", 5)])]),
    );
}

#[test]
fn a_payment_authorised_after_the_hold_ran_out_loses_when_the_units_are_gone() {
    check(
        &[
            on_hand("A", 5),
            on_hand("B", 5),
            reserved(order(1), &[("A", 2), ("B", 4)]),
            expired(order(1), &[("A", 2), ("B", 4)]),
            reserved(order(2), &[("B", 3)]),
        ],
        &Input::Authorized { order_id: order(1) },
        &facts(&[lost(order(1), &[("B", 4, 2)])]),
    );
}

#[test]
fn a_cancelled_order_gives_back_what_it_holds() {
    check(
        &[on_hand("A", 5), reserved(order(1), &[("A", 5)])],
        &Input::Cancelled { order_id: order(1) },
        &facts(&[released(order(1), &[("A", 5)], ReleaseReason::Cancelled)]),
    );
}

#[test]
fn a_cancelled_order_gives_back_what_is_allocated_to_it() {
    check(
        &[on_hand("A", 5), reserved(order(1), &[("A", 5)]), allocated(order(1), &[("A", 5)])],
        &Input::Cancelled { order_id: order(1) },
        &facts(&[released(order(1), &[("A", 5)], ReleaseReason::Cancelled)]),
    );
}

#[test]
fn a_cancelled_order_that_has_nothing_gives_nothing_back() {
    let cancelled = Input::Cancelled { order_id: order(1) };
    let held = [on_hand("A", 5), reserved(order(1), &[("A", 5)]), expired(order(1), &[("A", 5)])];
    check(&held, &cancelled, &facts(&[]));
    check(&[refused(order(1), &[("A", 1, 0)])], &cancelled, &facts(&[]));
    check(&[], &cancelled, &facts(&[]));
}

#[test]
fn a_payment_authorised_for_what_was_never_held_allocates_nothing() {
    let authorized = Input::Authorized { order_id: order(1) };
    check(&[refused(order(1), &[("A", 1, 0)])], &authorized, &facts(&[]));
    check(&[], &authorized, &facts(&[]));
}

#[test]
fn the_catalogues_products_are_replicated_and_nothing_follows() {
    let known = Input::ProductKnown { sku: stock("X").sku };
    check(&[], &known, &facts(&[]));
    let mut state = State::default();
    Inventory::replicate(&mut state, &known);
    assert_eq!(state.products.take_changed().len(), 1);
    Inventory::replicate(&mut state, &known);
    assert!(state.products.take_changed().is_empty(), "it is known");
}

#[test]
fn a_row_holds_its_status_its_lines_and_the_context_of_its_request() {
    let mut state = catalogue();
    for event in [
        on_hand("A", 9),
        reserved(order(1), &[("A", 2)]),
        reserved(order(2), &[("A", 3)]),
        allocated(order(2), &[("A", 3)]),
    ] {
        fold(&mut state, &event);
    }
    let stock = state.stocks.get(&stock("A")).expect("exists");
    assert_eq!((stock.on_hand, stock.held, stock.allocated, stock.revision.version), (9, 2, 3, 1));
    assert_eq!(state.counters.get(&CountersKey).map(|row| row.orders_held), Some(2));

    let held = state.reservations.get(&order(1)).expect("exists");
    assert_eq!((held.status, held.revision.version), (Status::Held, 1));
    assert_eq!(held.deadline, Some(NOW + Policy::default().hold_ttl));
    assert_eq!(held.context.correlation_id, "request");
    let allocated = state.reservations.get(&order(2)).expect("exists");
    assert_eq!((allocated.status, allocated.revision.version), (Status::Allocated, 2));
    assert_eq!(allocated.deadline, None);
    assert_eq!(allocated.lines, lines(&[("A", 3)]));
}
