//! Goods on their way between two locations.

use StockResult::{
    Applied, AppliedInExcess, AppliedIncomplete, DocumentReused, UnknownLocation, UnknownTransfer,
};

use super::{
    locations::code,
    stock::{count, line, record, short},
    *,
};

pub(super) fn transfer() -> TransferId {
    TransferId::parse("T-1").expect("valid")
}

pub(super) fn out(id: &str, sequence: i64, to: &str, units: i64) -> StockLine {
    line("A", id, sequence, Units::Sent(transfer(), code(to), units))
}

pub(super) fn into(location: &str, id: &str, sequence: i64, units: i64) -> StockLine {
    let line = line("A", id, sequence, Units::Received(transfer(), units, false));
    StockLine { stock: at_location(location), ..line }
}

/// The last units that come to Berlin.
fn last(id: &str, sequence: i64, units: i64) -> StockLine {
    let units = Units::Received(transfer(), units, true);
    StockLine { units, ..into("berlin", id, sequence, 0) }
}

fn at_location(location: &str) -> StockId {
    StockId { location: code(location), ..stock("A") }
}

pub(super) fn sent(line: StockLine, on_hand: i64, incoming: i64) -> Event {
    let Units::Sent(transfer, to, quantity) = line.units else { panic!("is sent") };
    let (document, in_count) = (line.document, false);
    let after = Level { on_hand, ..Level::default() };
    let fact = StockFact::Sent { document, transfer, to, quantity, in_count, after, incoming };
    Event::Stock(line.stock, fact)
}

pub(super) fn received(line: StockLine, excess: i64, on_hand: i64, incoming: i64) -> Event {
    received_without(line, (excess, 0), on_hand, incoming)
}

fn received_without(
    line: StockLine,
    (excess, missing): (i64, i64),
    on_hand: i64,
    incoming: i64,
) -> Event {
    let Units::Received(transfer, quantity, is_last) = line.units else { panic!("is received") };
    let fact = StockFact::Received {
        document: line.document,
        transfer,
        from: Location::main(),
        quantity,
        excess,
        missing,
        is_last,
        in_count: false,
        after: Level { on_hand, ..Level::default() },
        incoming,
    };
    Event::Stock(line.stock, fact)
}

/// 10 of `A` are at `main`, and there is a location `berlin`.
pub(super) fn opened() -> Vec<Event> {
    let created = LocationFact::Created(LocationDetails::main());
    vec![Event::Location(code("berlin"), created), on_hand("A", 10)]
}

#[test]
fn what_is_sent_is_on_its_way_until_it_is_received() {
    let lines = [
        out("S-1", 2, "berlin", 4),
        out("S-2", 3, "berlin", 2),
        into("berlin", "R-1", 4, 5),
        into("berlin", "R-2", 5, 1),
    ];
    let [first, second, third, fourth] = lines.clone();
    check(
        &opened(),
        &record(&lines),
        &answered(
            &[Applied; 4],
            &[
                sent(first, 6, 4),
                sent(second, 4, 6),
                received(third, 0, 5, 1),
                received(fourth, 0, 6, 0),
            ],
        ),
    );
}

#[test]
fn more_than_was_sent_is_received_in_excess_and_what_is_unknown_not_at_all() {
    let mut given = opened();
    let early = into("berlin", "R-1", 3, 1);
    check(&given, &record(&[early]), &answered(&[UnknownTransfer], &[]));
    given.push(sent(out("S-1", 2, "berlin", 4), 6, 4));
    let more = into("berlin", "R-1", 3, 5);
    let at_main = into("main", "R-2", 4, 1);
    check(
        &given,
        &record(&[more.clone(), at_main]),
        &answered(&[AppliedInExcess, UnknownTransfer], &[received(more, 1, 5, 0)]),
    );
}

#[test]
fn less_than_was_sent_is_told_when_no_more_will_come() {
    let mut given = opened();
    given.push(sent(out("S-1", 2, "berlin", 4), 6, 4));
    let lines = [
        last("R-1", 3, 1),
        // One of the three is found after all, and more of the transfer leaves.
        into("berlin", "R-2", 4, 1),
        out("S-2", 5, "berlin", 2),
        last("R-3", 6, 0),
    ];
    let [first, found, more, none] = lines.clone();
    check(
        &given,
        &record(&lines),
        &answered(
            &[AppliedIncomplete, AppliedInExcess, Applied, AppliedIncomplete],
            &[
                received_without(first, (0, 3), 1, 0),
                received(found, 1, 2, 0),
                sent(more, 4, 2),
                received_without(none, (0, 2), 2, 0),
            ],
        ),
    );
}

#[test]
fn a_transfer_goes_one_way_between_two_locations_of_the_shop() {
    let mut given = opened();
    given.push(sent(out("S-1", 2, "berlin", 4), 6, 4));
    let back = StockLine { stock: at_location("berlin"), ..out("S-2", 3, "main", 1) };
    let (nowhere, here) = (out("S-3", 4, "attic", 1), out("S-4", 5, "main", 1));
    check(
        &given,
        &record(&[back, nowhere, here]),
        &answered(&[DocumentReused, UnknownLocation, DocumentReused], &[]),
    );
}

#[test]
fn what_is_sent_of_what_was_promised_is_short() {
    let mut given = opened();
    given.push(reserved(order(1), &[("A", 8)]));
    let line = out("S-1", 2, "berlin", 4);
    check(
        &given,
        &record(std::slice::from_ref(&line)),
        &answered(&[Applied], &[sent(line, 6, 4), short("A", 6, 8, &[(order(1), 8)])]),
    );
}

#[test]
fn what_a_count_was_made_without_leaves_what_is_on_hand() {
    let mut given = opened();
    given.push(super::stock::event(count("A", "C-9", 9, 6), 6));
    let late = out("S-1", 2, "berlin", 4);
    let mut event = sent(late.clone(), 6, 4);
    let Event::Stock(_, StockFact::Sent { in_count, .. }) = &mut event else { panic!("is sent") };
    *in_count = true;
    check(&given, &record(&[late]), &answered(&[Applied], &[event]));
}
