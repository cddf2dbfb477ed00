//! Several locations: which of them there are, and which of them serve an order.

use StockResult::{Applied, UnknownLocation};

use super::{
    super::locations::MAX_LOCATIONS,
    reservation::placed,
    stock::{count, record},
    *,
};

pub(super) fn code(code: &str) -> Location {
    Location::parse(code).expect("valid")
}

fn details(priority: u32) -> LocationDetails {
    LocationDetails { priority, ..LocationDetails::main() }
}

fn put(location: &str, details: &LocationDetails) -> Input {
    put_at(None, location, details)
}

fn put_at(expected_version: Option<u64>, location: &str, details: &LocationDetails) -> Input {
    Input::PutLocation { code: code(location), details: details.clone(), expected_version }
}

fn created(location: &str, details: &LocationDetails) -> Event {
    Event::Location(code(location), LocationFact::Created(details.clone()))
}

fn answer(result: LocationResult, version: u64, events: &[Event]) -> Decision<Event, Answer> {
    Decision::answered(events.to_vec(), Answer::Location(result, version))
}

fn at_location(sku: &str, location: &str) -> StockId {
    StockId { location: code(location), ..super::stock(sku) }
}

/// The opening count of a SKU at a location.
fn opening(sku: &str, location: &str, units: i64) -> Event {
    let document = document(&format!("opening-{sku}-{location}"), 1);
    counted(at_location(sku, location), document, units, units)
}

fn lines_at(lines: &[(&str, &str, i64)]) -> Lines {
    let line = |(sku, location, units): &(&str, &str, i64)| Line {
        stock: at_location(sku, location),
        units: *units,
    };
    lines.iter().map(line).collect()
}

fn reserved_at(order_id: OrderId, lines: &[(&str, &str, i64)]) -> Event {
    let expires_at = NOW + Policy::default().hold_ttl;
    reservation(
        order_id,
        ReservationFact::Reserved { lines: lines_at(lines), after: Levels::default(), expires_at },
    )
}

fn refused(order_id: OrderId, shortages: &[(&str, i64, i64, Option<&str>)]) -> Event {
    let shortage = |(sku, requested, available, location): &(&str, i64, i64, Option<&str>)| {
        let (sku, location) = (super::stock(sku).sku, location.map(code));
        Shortage { sku, requested: *requested, available: *available, location }
    };
    let shortages = shortages.iter().map(shortage).collect();
    reservation(order_id, ReservationFact::Refused { shortages })
}

/// `berlin` comes before `main`, and `attic` serves nobody.
fn places() -> Vec<Event> {
    let attic = LocationDetails { fulfils_online: false, ..details(1) };
    vec![created("berlin", &details(50)), created("attic", &attic)]
}

/// What follows from an order after these events, where orders may be split.
#[track_caller]
fn check_split(given: &[Event], when: &Input, then: &[Event]) {
    let mut state = catalogue();
    for event in given {
        fold(&mut state, event);
    }
    let settings = Settings { split_shipments: true, ..Settings::default() };
    Inventory::replicate(&mut state, &Input::SettingsKnown(settings.into()));
    assert_eq!(decide(Policy::default(), &state, when, NOW).events, then);
}

#[test]
fn a_location_is_created_changed_and_left_as_it_is() {
    let (first, second) = (details(7), LocationDetails { active: false, ..details(7) });
    let new = created("berlin", &first);
    let input = put("berlin", &first);
    check(&[], &input, &answer(LocationResult::Created, 1, std::slice::from_ref(&new)));
    check(std::slice::from_ref(&new), &input, &answer(LocationResult::Unchanged, 1, &[]));
    let fact = LocationFact::Changed { before: first, after: second.clone() };
    let changed = Event::Location(code("berlin"), fact);
    check(
        std::slice::from_ref(&new),
        &put("berlin", &second),
        &answer(LocationResult::Changed, 2, std::slice::from_ref(&changed)),
    );
    let mut state = catalogue();
    fold(&mut state, &new);
    fold(&mut state, &changed);
    assert_eq!(Inventory::revision(&state, &changed).version, 2);
}

#[test]
fn a_location_is_put_only_at_the_version_that_is_expected() {
    let (first, second) = (details(7), details(8));
    let new = created("berlin", &first);
    let given = std::slice::from_ref(&new);
    let other = |version| answer(LocationResult::OtherVersion, version, &[]);
    check(&[], &put_at(Some(1), "berlin", &first), &other(0));
    check(&[], &put_at(Some(0), "berlin", &first), &answer(LocationResult::Created, 1, given));
    check(given, &put_at(Some(0), "berlin", &second), &other(1));
    check(given, &put_at(Some(2), "berlin", &first), &other(1));
    let fact = LocationFact::Changed { before: first, after: second.clone() };
    let changed = Event::Location(code("berlin"), fact);
    let then = answer(LocationResult::Changed, 2, &[changed]);
    check(given, &put_at(Some(1), "berlin", &second), &then);
}

#[test]
fn main_is_there_from_the_beginning() {
    let same = LocationDetails::main();
    check(&[], &put("main", &same), &answer(LocationResult::Unchanged, 0, &[]));
    let after = details(7);
    let fact = LocationFact::Changed { before: same, after: after.clone() };
    let changed = Event::Location(Location::main(), fact);
    check(&[], &put("main", &after), &answer(LocationResult::Changed, 1, &[changed]));
}

#[test]
fn a_shop_has_no_more_locations_than_a_row_can_hold() {
    let given: Vec<_> =
        (0..MAX_LOCATIONS).map(|number| created(&format!("l{number}"), &details(1))).collect();
    check(&given, &put("more", &details(1)), &answer(LocationResult::TooMany, 0, &[]));
}

#[test]
fn stock_at_a_location_that_the_shop_does_not_have_is_refused_by_name() {
    let line = StockLine { stock: at_location("A", "berlin"), ..count("A", "D1", 1, 5) };
    let input = record(std::slice::from_ref(&line));
    check(&[], &input, &answered(&[UnknownLocation], &[]));
    let counted = counted(line.stock, line.document, 5, 5);
    check(&[created("berlin", &details(1))], &input, &answered(&[Applied], &[counted]));
}

#[test]
fn an_order_is_served_from_the_first_location_that_has_all_of_it() {
    let mut given = places();
    given.extend([opening("A", "main", 5), opening("A", "attic", 50), opening("A", "berlin", 3)]);
    given.extend([opening("B", "main", 5), opening("B", "berlin", 1)]);
    let of = |lines: &[(&str, &str, i64)]| facts(&[reserved_at(order(1), lines)]);
    check(&given, &placed(order(1), &[("A", 3)]), &of(&[("A", "berlin", 3)]));
    check(&given, &placed(order(1), &[("A", 4)]), &of(&[("A", "main", 4)]));
    let both = placed(order(1), &[("A", 1), ("B", 2)]);
    check(&given, &both, &of(&[("A", "main", 1), ("B", "main", 2)]));
}

#[test]
fn an_order_that_no_location_has_all_of_names_what_is_missing_where_least_is() {
    let mut given = places();
    given.extend([opening("A", "main", 5), opening("A", "berlin", 3), opening("B", "berlin", 9)]);
    let (six, two) = (placed(order(1), &[("A", 6)]), placed(order(1), &[("A", 5), ("B", 3)]));
    check(&given, &six, &facts(&[refused(order(1), &[("A", 6, 5, Some("main"))])]));
    check(&given, &two, &facts(&[refused(order(1), &[("A", 5, 3, Some("berlin"))])]));
}

#[test]
fn an_order_that_may_be_split_is_served_from_the_first_locations_that_have_some() {
    let mut given = places();
    given.extend([opening("A", "main", 5), opening("A", "berlin", 3), opening("B", "berlin", 9)]);
    check_split(
        &given,
        &placed(order(1), &[("A", 7), ("B", 2)]),
        &[reserved_at(order(1), &[("A", "berlin", 3), ("A", "main", 4), ("B", "berlin", 2)])],
    );
    let whole = placed(order(1), &[("A", 4)]);
    check_split(&given, &whole, &[reserved_at(order(1), &[("A", "main", 4)])]);
    let too_much = placed(order(1), &[("A", 9)]);
    check_split(&given, &too_much, &[refused(order(1), &[("A", 9, 8, None)])]);
}

#[test]
fn a_location_that_is_not_in_use_serves_nobody() {
    let before = LocationDetails::main();
    let after = LocationDetails { active: false, ..before.clone() };
    let closed = Event::Location(Location::main(), LocationFact::Changed { before, after });
    check(
        &[on_hand("A", 5), closed.clone()],
        &placed(order(1), &[("A", 1)]),
        &facts(&[refused(order(1), &[("A", 1, 0, None)])]),
    );
    check(&[closed], &placed(order(1), &[]), &facts(&[reserved(order(1), &[])]));
}

/// The limits of `A`, of which none were set before.
fn limits_changed(after: Limits) -> Event {
    let (before, level) = (Limits::default(), Level::default());
    Event::Stock(stock("A"), StockFact::LimitsChanged { before, after, level })
}

#[test]
fn safety_stock_is_not_sold_and_a_backorder_limit_is_sold_beyond_what_is_there() {
    let limited = |safety_stock, backorder_limit| {
        let after = Limits { safety_stock, backorder_limit };
        limits_changed(after)
    };
    let six = placed(order(1), &[("A", 6)]);
    let main = Some("main");
    check(
        &[on_hand("A", 7), limited(2, 0)],
        &six,
        &facts(&[refused(order(1), &[("A", 6, 5, main)])]),
    );
    check(&[on_hand("A", 4), limited(0, 2)], &six, &facts(&[reserved(order(1), &[("A", 6)])]));
    check(
        &[on_hand("A", 4), limited(1, 2)],
        &six,
        &facts(&[refused(order(1), &[("A", 6, 5, main)])]),
    );
    // What may be sold beyond what is there is not short.
    let sold = [on_hand("A", 4), limited(0, 2), reserved(order(1), &[("A", 5)])];
    let (fewer, short) = (count("A", "D1", 2, 3), count("A", "D1", 2, 2));
    let counted = |line: &StockLine| super::stock::event(line.clone(), 5 - 2);
    check(&sold, &record(std::slice::from_ref(&fewer)), &answered(&[Applied], &[counted(&fewer)]));
    let counted = super::stock::event(short.clone(), 2);
    let mut says = super::stock::short("A", 2, 5, &[(order(1), 5)]);
    if let Event::Stock(_, StockFact::Short { backorder_limit, .. }) = &mut says {
        *backorder_limit = 2;
    }
    check(&sold, &record(&[short]), &answered(&[Applied], &[counted, says]));
}

#[test]
fn limits_are_set_for_what_there_is() {
    let limits = Limits { safety_stock: 2, backorder_limit: 1 };
    let set = |stock: StockId| Input::SetLimits { stock, limits, expected: None };
    let answer =
        |result, events: &[Event]| Decision::answered(events.to_vec(), Answer::Limits(result));
    let changed = limits_changed(limits);
    let events = std::slice::from_ref(&changed);
    check(&[], &set(stock("A")), &answer(LimitsResult::Changed, events));
    check(events, &set(stock("A")), &answer(LimitsResult::Unchanged, &[]));
    check(&[], &set(stock("X")), &answer(LimitsResult::UnknownSku, &[]));
    let nowhere = set(at_location("A", "berlin"));
    check(&[], &nowhere, &answer(LimitsResult::UnknownLocation, &[]));
}

#[test]
fn limits_that_are_not_as_expected_stay() {
    let limits = Limits { safety_stock: 2, backorder_limit: 1 };
    let set = |expected| Input::SetLimits { stock: stock("A"), limits, expected: Some(expected) };
    let answer =
        |result, events: &[Event]| Decision::answered(events.to_vec(), Answer::Limits(result));
    let changed = [limits_changed(limits)];
    check(&[], &set(Limits::default()), &answer(LimitsResult::Changed, &changed));
    check(&changed, &set(Limits::default()), &answer(LimitsResult::Other(limits), &[]));
    check(&changed, &set(limits), &answer(LimitsResult::Unchanged, &[]));
}

#[test]
fn a_line_that_names_no_location_is_of_the_shops_default_one() {
    let mut state = catalogue();
    for event in places() {
        fold(&mut state, &event);
    }
    let line = count("A", "C-1", 1, 5);
    let unlocated = |state: &State| {
        let input =
            Input::RecordStock { lines: vec![line.clone()], unlocated: vec![0], invalid: vec![] };
        decide(Policy::default(), state, &input, NOW)
    };
    let at = |stock: StockId| StockLine { stock, ..line.clone() };
    let with =
        |state: &State, line: StockLine| decide(Policy::default(), state, &record(&[line]), NOW);
    assert_eq!(unlocated(&state), with(&state, at(super::stock("A"))));
    let settings = Settings { default_location: code("berlin"), ..Settings::default() };
    Inventory::replicate(&mut state, &Input::SettingsKnown(settings.into()));
    let berlin = with(&state, at(at_location("A", "berlin")));
    assert_eq!(berlin.events.len(), 1);
    assert_eq!(unlocated(&state), berlin);
}
