//! Every event there and back, and what is refused.

use engine::{Aggregate, Rules as _};

use super::*;
use crate::domain::{
    ConnectorFact, InvalidLine, Level, Levels, Line, LineError, Lines, LocationFact, Rejected,
    RejectedLine, RejectionOutcome, ReleaseReason, ReservationFact, SequenceRun, ShortOrders,
    Shortage,
};

fn stock() -> StockId {
    stock_id("a@b", "main").expect("valid")
}

fn order_id() -> OrderId {
    OrderId::parse("018f0000-0000-7000-8000-000000000001").expect("valid")
}

fn from_erp() -> Document {
    let wire = proto::inventory::Document {
        connector: "erp".into(),
        id: "D1".into(),
        sequence: 7,
        line: "10".into(),
        epoch: 3,
        occurred_at: Some(Timestamp::from_millis(1_795_179_849_123).into()),
    };
    document(Some(wire)).expect("valid")
}

/// Lines that are no stock lines: of one everything is known, of the other nothing.
fn invalid_lines() -> [InvalidLine; 2] {
    let unnamed = InvalidLine {
        connector: Connector::unnamed(),
        document: None,
        line: None,
        sku: None,
        sequence: None,
        upload_line: 0,
        text: String::new(),
        errors: vec![],
    };
    let Document { key, sequence, .. } = from_erp();
    let error = LineError {
        field: "quantity".into(),
        pointer: "#/quantity".into(),
        detail: "quantity is missing".into(),
    };
    let named = InvalidLine {
        connector: key.connector,
        document: Some(key.id),
        line: key.line,
        sku: Some(stock().sku),
        sequence: Some(sequence),
        upload_line: 3,
        text: r#"{"quantity":"many"}"#.into(),
        errors: vec![error],
    };
    [named, unnamed]
}

/// What happens to lines of connectors as such.
fn of_connectors() -> [Event; 3] {
    let line = |reason, expected| {
        let line = StockLine {
            stock: stock(),
            document: from_erp(),
            units: Units::Issued(order_id(), 4),
            expected,
            reason: String::new(),
            line_id: "1".into(),
        };
        RejectedLine { number: 7, content: Rejected::Line(line, reason) }
    };
    let mismatch = StockResult::Mismatch { expected: 4, on_hand: -2 };
    let mut lines = vec![line(StockResult::UnknownOrder, None), line(mismatch, Some(4))];
    for invalid in invalid_lines() {
        lines.push(RejectedLine { number: 8, content: Rejected::Invalid(invalid) });
    }
    let connectors = [
        ConnectorFact::Rejected { lines, displaced: vec![1, 2] },
        ConnectorFact::Repeated {
            duplicates: 3,
            stale_lines: 4,
            stale: vec![SequenceRun { epoch: 1, first: 2, last: 5 }],
        },
        ConnectorFact::Closed {
            numbers: vec![5, 9],
            outcome: RejectionOutcome::Dropped,
            reason: "a typing error".into(),
        },
    ];
    connectors.map(|fact| Event::Connector(from_erp().key.connector, fact))
}

/// What is there after an event.
const LEVEL: Level = Level { on_hand: 7, held: 2, allocated: -3 };

/// A fact of each kind about a stock.
fn stock_facts() -> [StockFact; 7] {
    let document = from_erp();
    let level = LEVEL;
    [
        StockFact::Counted { document: document.clone(), quantity: 3, before: 5, after: level },
        StockFact::Adjusted {
            document: document.clone(),
            delta: -5,
            reason: "damaged".into(),
            after: level,
        },
        StockFact::Sent {
            document: document.clone(),
            transfer: TransferId::parse("T-1").expect("valid"),
            to: Location::parse("berlin").expect("valid"),
            quantity: 5,
            in_count: true,
            after: level,
            incoming: 6,
        },
        StockFact::Received {
            document: document.clone(),
            transfer: TransferId::parse("T-1").expect("valid"),
            from: Location::parse("berlin").expect("valid"),
            quantity: 5,
            excess: 1,
            missing: 2,
            is_last: true,
            in_count: false,
            after: level,
            incoming: 6,
        },
        StockFact::Shipped {
            document: Document {
                key: DocumentKey { line: None, ..document.key.clone() },
                ..document
            },
            order_id: order_id(),
            line_id: "1".into(),
            quantity: 5,
            from_allocation: 4,
            from_expired: 1,
            freed: vec![(Line { stock: stock(), units: 2 }, level)],
            in_count: true,
            after: Level { on_hand: -1, held: 2, allocated: 3 },
        },
        StockFact::Short {
            on_hand: 1,
            promised: 9,
            backorder_limit: 2,
            orders: ShortOrders {
                part: 2,
                units_before: 3,
                named: vec![(order_id(), 4)],
                is_truncated: true,
            },
        },
        StockFact::LimitsChanged {
            before: Limits::default(),
            after: Limits { safety_stock: 3, backorder_limit: 4 },
            level,
        },
    ]
}

#[test]
fn every_event_survives_the_wire() {
    let level = LEVEL;
    let lines: Lines = [Line { stock: stock(), units: 2 }].into();
    let after: Levels = [level].into();
    let location = Some(stock().location);
    let shortage = Shortage { sku: stock().sku, requested: 2, available: 1, location };
    let anywhere = Shortage { location: None, ..shortage.clone() };
    let facts = [
        ReservationFact::Reserved {
            lines: lines.clone(),
            after: after.clone(),
            expires_at: Timestamp::from_millis(1_795_179_849_123),
        },
        ReservationFact::Refused { shortages: vec![shortage.clone(), anywhere] },
        ReservationFact::Allocated { lines: lines.clone(), after: after.clone() },
        ReservationFact::Lost { shortages: vec![shortage] },
        ReservationFact::Released {
            lines: lines.clone(),
            after: after.clone(),
            reason: ReleaseReason::Cancelled,
        },
        ReservationFact::Released { lines, after, reason: ReleaseReason::Expired },
    ];
    let events = stock_facts().map(|fact| Event::Stock(stock(), fact)).into_iter();
    let details = LocationDetails::main();
    let other = LocationDetails {
        kind: LocationKind::Store,
        priority: 7,
        fulfils_online: false,
        country: "DE".into(),
        active: false,
    };
    let locations = [
        LocationFact::Created(details.clone()),
        LocationFact::Changed { before: details, after: other },
    ];
    let locations = locations.map(|fact| Event::Location(stock().location, fact));
    let reservations = facts.map(|fact| Event::Reservation(order_id(), fact));
    for event in events.chain(reservations).chain(locations).chain(of_connectors()) {
        let Encoded { name, occurred_at, body, .. } = Inventory::encode(&event);
        assert!(!name.is_empty(), "{event:?} has a name");
        let says = ["counted", "adjusted", "shipped", "transfer_sent", "transfer_received"];
        let says = says.contains(&name);
        assert_eq!(occurred_at.is_some(), says, "{event:?}");
        assert_eq!(Inventory::decode(&body).expect("decodes"), event);
    }
}

#[test]
fn a_stocks_aggregate_is_its_sku_at_its_location() {
    let (before, after, level) = (Limits::default(), Limits::default(), Level::default());
    let fact = StockFact::LimitsChanged { before, after, level };
    let aggregate = Inventory::aggregate(&Event::Stock(stock(), fact));
    assert_eq!(aggregate, Aggregate::new("stock", "a@b@main"));
}

fn record(line: proto::inventory::StockDocument, times: usize) -> Result<Input, WireError> {
    let lines = vec![line; times];
    let body =
        proto::command::Body::RecordStock(proto::inventory::RecordStock { lines, invalid: vec![] });
    let command = proto::Command { body: Some(body), ..Default::default() };
    Inventory::command(&command.encode_to_vec())
}

fn pushed() -> proto::inventory::StockDocument {
    let adjustment = proto::inventory::Adjustment { delta: -2, reason: "damaged".into() };
    proto::inventory::StockDocument {
        sku: "a@b".into(),
        location: "main".into(),
        document: Some(encode_document(&from_erp())),
        change: Some(Change::Adjustment(adjustment)),
        expected: Some(-4),
    }
}

#[test]
fn stock_lines_are_taken_as_they_are() {
    let line = StockLine {
        stock: stock(),
        document: from_erp(),
        units: Units::Added(-2),
        expected: Some(-4),
        reason: "damaged".into(),
        line_id: String::new(),
    };
    let counted = StockLine { units: Units::Counted(-3), reason: String::new(), ..line.clone() };
    let count = proto::inventory::StockDocument { change: Some(Change::Count(-3)), ..pushed() };
    let issued = StockLine {
        units: Units::Issued(order_id(), 4),
        reason: String::new(),
        line_id: "1".into(),
        ..line.clone()
    };
    let goods_issue = |quantity| proto::inventory::StockDocument {
        change: Some(Change::GoodsIssue(proto::inventory::GoodsIssue {
            order_id: order_id().to_string(),
            line_id: "1".into(),
            quantity,
        })),
        ..pushed()
    };
    let taken = |line| Input::RecordStock { lines: vec![line], unlocated: vec![], invalid: vec![] };
    assert_eq!(record(pushed(), 1).expect("is valid"), taken(line));
    assert_eq!(record(count, 1).expect("is valid"), taken(counted));
    assert_eq!(record(goods_issue(4), 1).expect("is valid"), taken(issued));
    assert!(record(goods_issue(0), 1).is_err(), "nothing has left");
}

#[test]
fn a_line_that_names_no_location_is_noted() {
    let nowhere = proto::inventory::StockDocument { location: String::new(), ..pushed() };
    match record(nowhere, 2).expect("is valid") {
        Input::RecordStock { lines, unlocated, .. } => {
            assert_eq!((lines.len(), unlocated), (2, vec![0, 1]));
        }
        other => panic!("is no stock line: {other:?}"),
    }
}

#[test]
fn the_settings_of_the_shop_are_those_after_a_change() {
    use proto::shop::shop_event::Kind as Shop;
    let settings = |hold_seconds| Settings { hold_seconds, ..Settings::default() };
    let created = proto::shop::Created { settings: Some(settings(Some(60)).into()) };
    let (before, after) = (Some(settings(None).into()), Some(settings(Some(60)).into()));
    let changed = proto::shop::Changed { before, after };
    let read = |kind| {
        let body = proto::event::Body::ShopEvent(proto::shop::ShopEvent { kind: Some(kind) });
        let event = proto::Event { body: Some(body), ..Default::default() };
        Inventory::foreign(&event.encode_to_vec())
    };
    for kind in [Shop::Created(created), Shop::Changed(changed)] {
        let known = Input::SettingsKnown(settings(Some(60)).into());
        assert_eq!(read(kind).expect("is valid"), known);
    }
    let suspended = Shop::Suspended(proto::shop::Suspended::default());
    assert!(matches!(read(suspended), Err(WireError::Unexpected(_))));
}

#[test]
fn a_stock_line_that_breaks_a_rule_is_refused_by_name() {
    let why = |line| record(line, 1).expect_err("breaks a rule").to_string();
    let without = proto::inventory::StockDocument { change: None, ..pushed() };
    assert_eq!(why(without), "change is missing");
    let without = proto::inventory::StockDocument { document: None, ..pushed() };
    assert_eq!(why(without), "document is missing");
    let mut late = pushed();
    late.document.as_mut().expect("is there").sequence = u64::MAX;
    assert_eq!(
        why(late),
        "sequence must be 0 to 9223372036854775807, got \"18446744073709551615\""
    );
    let many = record(pushed(), MAX_LINES + 1).expect_err("too many").to_string();
    assert_eq!(many, "lines must be at most 300, got \"301\"");
    assert!(record(pushed(), MAX_LINES).is_ok());
}

#[test]
fn lines_that_are_no_stock_lines_are_taken_with_their_place() {
    let [named, unnamed] = invalid_lines();
    let record = |lines, invalid: Vec<(u32, &InvalidLine)>| {
        let sent = |(lines_before, line): (u32, &InvalidLine)| {
            let line = Some(connectors::encode_invalid(line));
            proto::inventory::InvalidStockLine { line, lines_before }
        };
        let invalid = invalid.into_iter().map(sent).collect();
        let record = proto::inventory::RecordStock { lines, invalid };
        let body = Some(proto::command::Body::RecordStock(record));
        Inventory::command(&proto::Command { body, ..Default::default() }.encode_to_vec())
    };
    let taken = record(vec![pushed(); 2], vec![(0, &unnamed), (1, &named)]).expect("is valid");
    let Input::RecordStock { lines, invalid, .. } = &taken else { panic!("{taken:?}") };
    assert_eq!((lines.len(), invalid), (2, &vec![(0, unnamed.clone()), (1, named.clone())]));
    assert_eq!(Inventory::weight(&taken), 4);
    assert!(record(vec![pushed(); 200], vec![(0, &named); 100]).is_ok());
    assert!(record(vec![], vec![(0, &named); 101]).is_err(), "too many in one event");
    assert!(record(vec![pushed(); 201], vec![(0, &named); 100]).is_err(), "too many events");
}

fn of_order(kind: proto::order::order_event::Kind) -> Result<Input, WireError> {
    let event = proto::Event {
        aggregate_id: order_id().to_string(),
        body: Some(proto::event::Body::Order(proto::order::OrderEvent {
            kind: Some(kind),
            summary: None,
        })),
        ..Default::default()
    };
    Inventory::foreign(&event.encode_to_vec())
}

#[test]
fn the_lines_of_an_order_are_summed_for_each_sku() {
    use proto::order::order_event::Kind as Order;
    let line = |sku: &str, quantity| proto::order::Line {
        sku: sku.into(),
        quantity,
        ..Default::default()
    };
    let placed = |lines| Order::Placed(proto::order::Placed { lines, ..Default::default() });
    let input = of_order(placed(vec![line("b", 1), line("a", 2), line("b", 3)]));
    let sku = |sku| Sku::parse(sku).expect("valid");
    let wanted = [(sku("a"), 2), (sku("b"), 4)].into();
    assert_eq!(input.expect("is valid"), Input::Placed { order_id: order_id(), wanted });
    assert!(of_order(placed(vec![line("a", 0)])).is_err(), "no units");

    let order_id = order_id();
    let authorized = of_order(Order::Authorized(proto::order::Authorized::default()));
    assert_eq!(authorized.expect("is valid"), Input::Authorized { order_id });
    let cancelled = of_order(Order::Cancelled(proto::order::Cancelled::default()));
    assert_eq!(cancelled.expect("is valid"), Input::Cancelled { order_id });
    let paid = of_order(Order::Paid(proto::order::Paid::default())).expect_err("is not read");
    assert_eq!(paid.to_string(), "paid is not handled by this version of the service");
}

#[test]
fn whatever_the_catalogue_says_of_a_product_it_has_it() {
    use proto::catalog::catalog_event::Kind as Catalog;
    let product = proto::catalog::Product { sku: "a@b".into(), ..Default::default() };
    let after = Some(product);
    let created = proto::catalog::Created { product: after.clone(), ..Default::default() };
    let updated = proto::catalog::Updated { after: after.clone(), ..Default::default() };
    let archived = proto::catalog::Archived { after, ..Default::default() };
    for kind in [Catalog::Created(created), Catalog::Updated(updated), Catalog::Archived(archived)]
    {
        let body = proto::event::Body::Catalog(proto::catalog::CatalogEvent { kind: Some(kind) });
        let event = proto::Event { body: Some(body), ..Default::default() };
        let input = Inventory::foreign(&event.encode_to_vec());
        assert_eq!(input.expect("is valid"), Input::ProductKnown { sku: stock().sku });
    }
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    assert!(matches!(Inventory::command(b"garbage"), Err(WireError::Decode(_))));
    assert!(matches!(Inventory::foreign(b"garbage"), Err(WireError::Decode(_))));
    assert!(matches!(Inventory::decode(b"garbage"), Err(WireError::Decode(_))));
    assert!(matches!(Inventory::decode(b""), Err(WireError::Missing("body"))));
}

#[test]
fn every_answer_is_a_message_of_the_contract() {
    use events::answers::CommandAnswer;
    let results = [
        (StockResult::Applied, proto::inventory::StockResult::Applied),
        (StockResult::Duplicate, proto::inventory::StockResult::Duplicate),
        (StockResult::Stale, proto::inventory::StockResult::Stale),
        (StockResult::UnknownSku, proto::inventory::StockResult::UnknownSku),
        (StockResult::DocumentReused, proto::inventory::StockResult::DocumentReused),
        (StockResult::OutOfRange, proto::inventory::StockResult::OutOfRange),
        (StockResult::AppliedInExcess, proto::inventory::StockResult::AppliedInExcess),
        (StockResult::UnknownOrder, proto::inventory::StockResult::UnknownOrder),
        (StockResult::AppliedIncomplete, proto::inventory::StockResult::AppliedIncomplete),
        (StockResult::UnknownTransfer, proto::inventory::StockResult::UnknownTransfer),
        (StockResult::UnknownLocation, proto::inventory::StockResult::UnknownLocation),
        (StockResult::Invalid, proto::inventory::StockResult::Invalid),
        (
            StockResult::Mismatch { expected: 5, on_hand: -6 },
            proto::inventory::StockResult::Mismatch,
        ),
    ];
    let answer = Answer::Stock(results.iter().map(|(result, _)| *result).collect());
    let body = AnswerBody::decode(&*Inventory::encode_answer(&answer)).expect("reads");
    let answer = proto::inventory::RecordStockAnswer::take(body.answer.expect("is there"));
    let expected: Vec<i32> = results.iter().map(|(_, wire)| (*wire).into()).collect();
    let answer = answer.expect("is of stock lines");
    assert_eq!(answer.results, expected);
    let line = results.len() as u32 - 1;
    let mismatch = proto::inventory::Mismatch { line, expected: 5, on_hand: -6 };
    assert_eq!(answer.mismatches, [mismatch]);
}
