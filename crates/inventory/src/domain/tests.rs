//! Given, when, then; and a long trade in which nothing may ever be promised twice.

mod adjustments;
mod connectors;
mod goods_issues;
mod invalid;
mod locations;
mod orders;
mod other_counts;
mod reservation;
mod rows;
mod short;
mod stock;
mod trade;
mod transfers;

use engine::{Cause, Context};
use events::{
    id::{Connector, DocumentId, DocumentLine, TransferId},
    shop::Settings,
};
use protocol::id::{EventId, Shop};

use super::{reservation::Status, *};

/// When everything is decided.
const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn stock(sku: &str) -> StockId {
    StockId { sku: Sku::parse(sku).expect("valid"), location: Location::main() }
}

fn order(number: u64) -> OrderId {
    OrderId::parse(&format!("018f0000-0000-7000-8000-{number:012}")).expect("valid")
}

fn lines(lines: &[(&str, i64)]) -> Lines {
    lines.iter().map(|(sku, units)| Line { stock: stock(sku), units: *units }).collect()
}

/// A sequence of the first epoch.
fn at(number: i64) -> Sequence {
    Sequence { epoch: 0, number }
}

/// A document of the connector `erp`.
fn document(id: &str, sequence: i64) -> Document {
    let connector = Connector::parse("erp").expect("valid");
    let key = DocumentKey { connector, id: DocumentId::parse(id).expect("valid"), line: None };
    Document { key, sequence: at(sequence), occurred_at: None }
}

/// What an order asks for.
fn wanted(of: &[(&str, i64)]) -> Wanted {
    of.iter().map(|(sku, units)| (stock(sku).sku, *units)).collect()
}

fn reservation(order_id: OrderId, fact: ReservationFact) -> Event {
    Event::Reservation(order_id, fact)
}

fn reserved(order_id: OrderId, of: &[(&str, i64)]) -> Event {
    let expires_at = NOW + Policy::default().hold_ttl;
    reservation(
        order_id,
        ReservationFact::Reserved { lines: lines(of), after: Levels::default(), expires_at },
    )
}

fn allocated(order_id: OrderId, of: &[(&str, i64)]) -> Event {
    reservation(order_id, ReservationFact::Allocated { lines: lines(of), after: Levels::default() })
}

fn released(order_id: OrderId, of: &[(&str, i64)], reason: ReleaseReason) -> Event {
    reservation(
        order_id,
        ReservationFact::Released { lines: lines(of), after: Levels::default(), reason },
    )
}

/// The opening count of a SKU, by a document that no test uses otherwise.
fn on_hand(sku: &str, units: i64) -> Event {
    counted(stock(sku), document(&format!("opening-{sku}"), 1), units, units)
}

/// A count that leaves `on_hand`; without what `decide` takes out.
fn counted(stock: StockId, document: Document, quantity: i64, on_hand: i64) -> Event {
    let after = Level { on_hand, ..Level::default() };
    Event::Stock(stock, StockFact::Counted { document, quantity, before: 0, after })
}

/// What follows, without an answer.
fn facts(events: &[Event]) -> Decision<Event, Answer> {
    Decision::events(events.to_vec())
}

/// What follows from stock lines, and the answer to their sender.
fn answered(results: &[StockResult], events: &[Event]) -> Decision<Event, Answer> {
    let is_any_rejected = results.iter().any(|result| result.is_rejected());
    let decision = Decision::answered(events.to_vec(), Answer::Stock(results.to_vec()));
    decision.provisional(is_any_rejected)
}

/// The SKUs `A` to `D` are in the catalogue.
fn catalogue() -> State {
    let mut state = State::default();
    for sku in ["A", "B", "C", "D"] {
        Inventory::replicate(&mut state, &Input::ProductKnown { sku: stock(sku).sku });
    }
    state
}

fn fold(state: &mut State, event: &Event) -> Recorded<Event> {
    fold_at(state, event, NOW)
}

fn fold_at(state: &mut State, event: &Event, time: Timestamp) -> Recorded<Event> {
    let recorded = Recorded {
        id: EventId(order(0).0),
        shop: Shop::parse("acme").expect("valid"),
        version: Inventory::revision(state, event).version + 1,
        position: 1,
        actor: None,
        time,
        cause: Cause::default(),
        context: Context {
            correlation_id: "request".into(),
            traceparent: String::new(),
            tracestate: String::new(),
        },
        event: event.clone(),
    };
    Inventory::apply(state, &recorded);
    recorded
}

/// Given what happened, when that comes, then this follows; and when it comes again, nothing.
#[track_caller]
fn check(given: &[Event], when: &Input, then: &Decision<Event, Answer>) {
    let mut state = catalogue();
    for event in given {
        fold(&mut state, event);
    }
    let decision = decide(Policy::default(), &state, when, NOW);
    assert_eq!(decision, *then);
    for event in &decision.events {
        fold(&mut state, event);
    }
    assert_eq!(decide(Policy::default(), &state, when, NOW).events, [], "when it comes again");
}

/// What is decided, without the levels that events say and do not decide: these are compared with
/// the state after the event; and without what is said of connectors, which has tests of its own.
#[track_caller]
fn decide(policy: Policy, state: &State, when: &Input, now: Timestamp) -> Decision<Event, Answer> {
    let mut decision = super::decide(policy, state, when, now);
    decision.events.retain(|event| !matches!(event, Event::Connector(..)));
    check_levels(state, &mut decision.events);
    for event in &mut decision.events {
        let whole = event.clone();
        let Event::Reservation(_, fact) = event else { continue };
        let (ReservationFact::Reserved { lines, after, .. }
        | ReservationFact::Allocated { lines, after }
        | ReservationFact::Released { lines, after, .. }) = fact
        else {
            continue;
        };
        let said = std::mem::take(after);
        let Event::Reservation(order_id, _) = &whole else { continue };
        // All that the event concerns: the rest of a long trade need not be copied.
        let mut folded = State::default();
        for line in lines.iter() {
            if let Some(row) = state.stocks.get(&line.stock) {
                folded.stocks.loaded(line.stock.clone(), row.clone());
            }
        }
        if let Some(row) = state.reservations.get(order_id) {
            folded.reservations.loaded(*order_id, row.clone());
        }
        fold(&mut folded, &whole);
        let level = |line: &Line| folded.stocks.get(&line.stock).map(Stock::level);
        let levels: Vec<_> = lines.iter().map(|line| level(line).unwrap_or_default()).collect();
        assert_eq!(*said, *levels, "the levels after {whole:?}");
    }
    decision
}

/// Compares the units that the events of stocks say with those of the state, and takes out what the events
/// leave as it is.
#[track_caller]
fn check_levels(state: &State, events: &mut [Event]) {
    let mut levels: std::collections::BTreeMap<StockId, Level> = std::collections::BTreeMap::new();
    for event in events {
        let Event::Stock(id, fact) = event else { continue };
        let known = || state.stocks.get(id).map(Stock::level).unwrap_or_default();
        let level = levels.entry(id.clone()).or_insert_with(known);
        if let StockFact::Counted { before, .. } = fact {
            assert_eq!(std::mem::take(before), level.on_hand, "before the count of {id}");
        }
        match fact {
            StockFact::Counted { after, .. }
            | StockFact::Adjusted { after, .. }
            | StockFact::Sent { after, .. }
            | StockFact::Received { after, .. } => {
                level.on_hand = after.on_hand;
                assert_eq!(after, level, "the units of {id}");
                *after = Level { on_hand: after.on_hand, ..Level::default() };
            }
            StockFact::LimitsChanged { level: said, .. } => {
                assert_eq!(std::mem::take(said), *level, "the units of {id}");
            }
            StockFact::Shipped { freed, after, .. } => {
                *level = *after;
                levels.extend(freed.iter().map(|(line, after)| (line.stock.clone(), *after)));
            }
            StockFact::Short { .. } => {}
        }
    }
}
