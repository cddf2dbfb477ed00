//! Messages read and written.

use events::{
    id::{LineId, Location, PaymentId, Quantity, Reference, Sku},
    money::{Currency, MAX_UNIT_PRICE, Money, Tax, TaxBasis},
    names::event_name,
    proto::{
        command::Body as Command, inventory::inventory_event::Kind as Inventory,
        payment::payment_event::Kind as Payment,
    },
    shop::Capture,
};
use protocol::time::Timestamp;

use super::*;
use crate::domain::{
    Action, CancelAnswer, Cancellation, Charge, Discount, Fact, Failure, Hold, LineProblem,
    LineProblemCode, Lines, ListedLines, OneStep, OrderLine, PlaceAnswer, ReleaseAnswer,
    ShippedLine, Signal, StartPaymentAnswer, Statuses, Summary, tests::sealed,
};

const ID: &str = "018f0000-0000-7000-8000-000000000001";

fn wire_request() -> proto::order::PlaceOrder {
    proto::order::PlaceOrder {
        order_id: ID.into(),
        reference: Some("PO 1".into()),
        currency: "GBP".into(),
        tax_basis: proto::TaxBasis::Included.into(),
        lines: vec![proto::order::RequestedLine {
            sku: "A".into(),
            quantity: 2,
            unit_price: Some(TaxBasis::Included.price(250, gbp(0).currency)),
            ..Default::default()
        }],
        payment_method: "card".into(),
        ..Default::default()
    }
}

fn place(order: proto::order::PlaceOrder) -> Result<Input, WireError> {
    let body = Some(Command::PlaceOrder(order));
    Orders::command(&proto::Command { body, ..Default::default() }.encode_to_vec())
}

fn gbp(minor: i64) -> Money {
    Money { minor, currency: Currency::parse("GBP").unwrap() }
}

fn lines() -> Lines {
    let line = OrderLine {
        line_id: LineId::parse("x").unwrap(),
        sku: Sku::parse("A").unwrap(),
        title: "Mug".into(),
        quantity: Quantity::parse(2).unwrap(),
        unit_price: 250,
        discounts: vec![Discount { code: "SUMMER".into(), amount: 50 }],
        tax: Some(Tax { rate_ppm: 200_000, amount: 90 }),
    };
    [line].into_iter().collect()
}

/// Payments that are due: in two steps, in the place of one that was abandoned, and in one step.
fn payments_due(at: Timestamp) -> [Fact; 3] {
    [
        Fact::PaymentDue {
            payment: 2,
            amount: gbp(500),
            payment_method: "card".into(),
            due_by: at,
            held_until: Some(at),
            capture: Capture::OnShipment,
            capture_at_once: None,
            one_step: false,
            abandons: None,
        },
        Fact::PaymentDue {
            payment: 3,
            amount: gbp(500),
            payment_method: "card".into(),
            due_by: at,
            held_until: None,
            capture: Capture::OnShipment,
            capture_at_once: Some(gbp(200)),
            one_step: false,
            abandons: Some(2),
        },
        Fact::PaymentDue {
            payment: 2,
            amount: gbp(700),
            payment_method: "ideal".into(),
            due_by: at,
            held_until: Some(at),
            capture: Capture::OnConfirmation,
            capture_at_once: None,
            one_step: true,
            abandons: None,
        },
    ]
}

fn facts() -> Vec<Fact> {
    let at = Timestamp::from_millis(1_300_000_000_123);
    let basis = TaxBasis::Excluded;
    let listed = ListedLines { lines: lines(), count: 1, basis, placed_position: 7 };
    let cancelled = |reason| Fact::Cancelled {
        cancellation: Cancellation {
            reason,
            detail: "why".into(),
            shortages: vec![Shortage { sku: Sku::parse("A").unwrap(), requested: 2, available: 1 }],
            note: Some(sealed("note")),
        },
        listed: listed.clone(),
        payments: 2,
    };
    let shipped = ShippedLine {
        line_id: LineId::parse("x").unwrap(),
        sku: Sku::parse("A").unwrap(),
        quantity: 1,
    };
    let failure = Failure { code: "declined".into(), detail: "why".into() };
    let action = Action { url: "https://3ds".into(), data: "t".into(), expires_at: Some(at) };
    let mut facts = vec![
        Fact::Placed {
            country: "France".into(),
            billing_country: "Belgium".into(),
            tax_basis: basis,
            lines: lines(),
            charges: vec![Charge {
                code: "POST".into(),
                amount: -3,
                tax: Some(Tax { rate_ppm: 1, amount: 0 }),
            }],
            payment_method: "card".into(),
            reserve_by: at,
            personal: Some(sealed("personal")),
        },
        Fact::PaymentFailed { payment: 1, failure: failure.clone(), retry_until: Some(at) },
        Fact::PaymentFailed { payment: 1, failure, retry_until: None },
        Fact::ActionRequired { payment: 1, action },
        Fact::Authorized { payment: Some(1), allocate_by: at, one_step: None },
        Fact::Authorized { payment: None, allocate_by: at, one_step: None },
        Fact::Authorized {
            payment: None,
            allocate_by: at,
            one_step: Some(OneStep { payment_method: "ideal".into(), held_until: at }),
        },
        Fact::Confirmed { payment: Some(1), capture: Some(gbp(500)) },
        Fact::Confirmed { payment: None, capture: None },
        Fact::PartCaptured { payment: 1, amount: gbp(200), captured: gbp(300) },
        Fact::Paid { payment: Some(1), amount: gbp(500), listed: listed.clone() },
        Fact::Shipped {
            lines: vec![shipped],
            location: Location::main(),
            capture: Some((1, gbp(250))),
            fulfilment: FulfilmentStatus::Partial,
            occurred_at: Some(at),
        },
        Fact::Completed,
        Fact::Refunded {
            payment: 1,
            refund_id: "r".into(),
            amount: gbp(1),
            captured: gbp(500),
            refunded: gbp(2),
        },
        Fact::PutOnHold(Hold { sku: Sku::parse("A").unwrap(), location: Location::main() }),
        Fact::TakenOffHold { note: Some(sealed("found")) },
        Fact::TakenOffHold { note: None },
    ];
    facts.extend(payments_due(at));
    facts.extend(CancelReason::ALL.map(cancelled));
    facts
}

#[test]
fn every_event_survives_the_way_through_the_wire() {
    for fact in facts() {
        let summary = Summary {
            number: 7,
            reference: Some(Reference::parse("PO 1").unwrap()),
            customer_id: None,
            total: gbp(500),
            statuses: Statuses(
                OrderStatus::Confirmed,
                PaymentStatus::Authorized,
                FulfilmentStatus::Partial,
            ),
        };
        let event = Event { order_id: OrderId::parse(ID).unwrap(), summary, fact };
        let encoded = Orders::encode(&event);
        let is_shipped = matches!(event.fact, Fact::Shipped { .. });
        assert_eq!(encoded.occurred_at.is_some(), is_shipped, "{event:?}");
        let envelope = proto::Event { aggregate_id: ID.into(), ..Default::default() };
        let payload = [envelope.encode_to_vec(), encoded.body].concat();
        assert_eq!(Orders::decode(&payload).unwrap(), event);
        let body = proto::Event::decode(&*payload).unwrap().body.unwrap();
        assert_eq!(event_name(&body), Some(encoded.name));
    }
}

#[test]
fn every_status_has_the_name_of_the_contract() {
    for status in OrderStatus::ALL {
        let name = status_to_wire(status).as_str_name().to_lowercase();
        assert_eq!(name, format!("order_status_{}", status.as_str()));
        assert_eq!(super::status(status_to_wire(status).into()).unwrap(), status);
    }
    for status in PaymentStatus::ALL {
        let name = payment_status_to_wire(status).as_str_name().to_lowercase();
        assert_eq!(name, format!("payment_status_{}", status.as_str()));
    }
    for status in FulfilmentStatus::ALL {
        let name = fulfilment_status_to_wire(status).as_str_name().to_lowercase();
        assert_eq!(name, format!("fulfilment_status_{}", status.as_str()));
    }
    assert!(super::status(0).is_err() && super::status(99).is_err());
}

#[test]
fn a_line_without_an_id_has_its_number() {
    let mut order = wire_request();
    order.lines.push(proto::order::RequestedLine { line_id: "x".into(), ..order.lines[0].clone() });
    let Ok(Input::Place(request)) = place(order) else { panic!("is a valid order") };
    let ids: Vec<_> = request.lines.iter().map(|line| line.line_id.as_str()).collect();
    assert_eq!(ids, ["1", "x"]);
}

#[test]
fn a_title_is_shortened_between_characters() {
    let product = proto::catalog::Product {
        sku: "A".into(),
        title: "é".repeat(500),
        price: Some(TaxBasis::Included.price(5, Currency::parse("GBP").unwrap())),
        active: true,
        ..Default::default()
    };
    let created = proto::catalog::Created { product: Some(product), ..Default::default() };
    let kind = Some(proto::catalog::catalog_event::Kind::Created(created));
    let body = Some(Body::Catalog(proto::catalog::CatalogEvent { kind }));
    let event = proto::Event { body, ..Default::default() };
    let Ok(Input::ProductChanged { product, .. }) = Orders::foreign(&event.encode_to_vec()) else {
        panic!("is a product")
    };
    assert_eq!(product.title, "é".repeat(80));
}

#[test]
fn a_price_that_could_overflow_a_total_is_refused_by_name() {
    for price in [-1, MAX_UNIT_PRICE + 1, i64::MAX] {
        let mut order = wire_request();
        order.lines[0].unit_price = Some(TaxBasis::Included.price(price, gbp(0).currency));
        let error = place(order).expect_err("is out of range").to_string();
        assert_eq!(error, format!("unit_price must be 0 to 1000000000000, got \"{price}\""));
    }
    assert!(place(wire_request()).is_ok());
}

#[test]
fn an_amount_in_another_currency_than_that_of_the_order_is_refused() {
    let euro = Money { minor: 250, currency: Currency::parse("EUR").unwrap() };
    let mut priced = wire_request();
    priced.lines[0].unit_price = Some(TaxBasis::Included.price(euro.minor, euro.currency));
    let expected = proto::order::PlaceOrder { expected_total: Some(euro.into()), ..wire_request() };
    for order in [priced, expected] {
        let error = place(order).expect_err("is in euro").to_string();
        assert_eq!(error, "currency must be that of the order, got \"EUR\"");
    }
}

#[test]
fn a_text_that_no_database_takes_is_made_harmless() {
    let mut order = wire_request();
    order.country = Some("\0France\n".into());
    order.payment_method = "x".repeat(MAX_TEXT_CHARS + 1);
    let Ok(Input::Place(request)) = place(order) else { panic!("is a valid order") };
    assert_eq!(request.country, " France ");
    assert_eq!(request.payment_method.len(), MAX_TEXT_CHARS);
}

#[test]
fn an_answer_of_payment_concerns_the_order_of_the_payment_that_its_envelope_names() {
    let captured = proto::payment::Captured {
        operation_id: "o".into(),
        amount: Some(proto::Money { minor: 5, currency: "GBP".into() }),
    };
    let event = proto::Event {
        aggregate_id: format!("{ID}-1"),
        body: Some(Body::Payment(proto::payment::PaymentEvent {
            kind: Some(Payment::Captured(captured)),
            summary: None,
        })),
        ..Default::default()
    };
    for (aggregate_id, number) in [(format!("{ID}-1"), 1), (format!("{ID}-2"), 2)] {
        let event = proto::Event { aggregate_id, ..event.clone() };
        let Ok(Input::Signal { order_id, signal: Signal::Captured { payment, amount } }) =
            Orders::foreign(&event.encode_to_vec())
        else {
            panic!("is a signal")
        };
        assert_eq!((order_id.to_string().as_str(), payment, amount.minor), (ID, number, 5));
    }
}

#[test]
fn what_was_allocated_and_has_left_is_a_shipment_of_the_order() {
    let left = Timestamp::from_millis(1_795_179_849_123);
    let document =
        proto::inventory::Document { occurred_at: Some(left.into()), ..Default::default() };
    let shipped = proto::inventory::Shipped {
        document: Some(document),
        sku: "A".into(),
        location: "main".into(),
        order_id: ID.into(),
        line_id: "x".into(),
        quantity: 5,
        from_allocation: 3,
        excess: 2,
        ..Default::default()
    };
    let kind = Some(Inventory::Shipped(shipped));
    let body = Some(Body::Inventory(proto::inventory::InventoryEvent { kind }));
    let event = proto::Event { body, ..Default::default() };
    let Ok(Input::Shipped(shipment)) = Orders::foreign(&event.encode_to_vec()) else {
        panic!("is a shipment")
    };
    let [units] = &*shipment.units else { panic!("is of one SKU") };
    assert_eq!((shipment.order_id.to_string().as_str(), units.quantity), (ID, 3));
    assert_eq!(units.excess, 2);
    assert_eq!(units.line_id, Some(LineId::parse("x").unwrap()));
    assert_eq!(shipment.occurred_at, Some(left));
}

#[test]
fn what_has_left_after_the_hold_ran_out_is_a_shipment_of_the_order() {
    let shipped = proto::inventory::Shipped {
        sku: "A".into(),
        location: "main".into(),
        order_id: ID.into(),
        quantity: 5,
        excess: 5,
        from_expired: 4,
        ..Default::default()
    };
    let kind = Some(Inventory::Shipped(shipped));
    let body = Some(Body::Inventory(proto::inventory::InventoryEvent { kind }));
    let event = proto::Event { body, ..Default::default() };
    let Ok(Input::Shipped(shipment)) = Orders::foreign(&event.encode_to_vec()) else {
        panic!("is a shipment")
    };
    let units: Vec<_> = shipment.units.iter().map(|it| (it.quantity, it.excess)).collect();
    assert_eq!(units, [(4, 1)]);
}

#[test]
fn a_shipment_of_a_line_that_no_order_can_have_is_one_of_its_sku() {
    for line_id in ["Pos 10", ""] {
        let shipped = proto::inventory::Shipped {
            sku: "A".into(),
            location: "main".into(),
            order_id: ID.into(),
            line_id: line_id.into(),
            quantity: 2,
            from_allocation: 2,
            ..Default::default()
        };
        let kind = Some(Inventory::Shipped(shipped));
        let body = Some(Body::Inventory(proto::inventory::InventoryEvent { kind }));
        let event = proto::Event { body, ..Default::default() };
        let Ok(Input::Shipped(shipment)) = Orders::foreign(&event.encode_to_vec()) else {
            panic!("{line_id:?} is not read")
        };
        let [units] = &*shipment.units else { panic!("is of one SKU") };
        assert_eq!((units.line_id.as_ref(), units.quantity), (None, 2));
    }
}

#[test]
fn what_this_service_does_not_read_is_refused_by_name() {
    let released = Inventory::Released(proto::inventory::Released::default());
    let event = proto::Event {
        body: Some(Body::Inventory(proto::inventory::InventoryEvent { kind: Some(released) })),
        ..Default::default()
    };
    let error = Orders::foreign(&event.encode_to_vec()).expect_err("is not read").to_string();
    assert_eq!(error, "inventory.released is not handled by this version of the service");
    assert!(Orders::command(&[]).is_err());
}

#[expect(clippy::too_many_lines, reason = "a list of all answers")]
#[test]
fn every_answer_is_a_message_of_the_contract() {
    use events::{
        answers::CommandAnswer,
        proto::order::{
            CancelOrderAnswer, PlaceOrderAnswer, ReleaseOrderAnswer,
            StartPaymentAnswer as Starting, cancel_order_answer as cancel,
            place_order_answer as place, release_order_answer, start_payment_answer as start,
        },
    };
    fn read<A: CommandAnswer>(answer: impl Into<Answer>) -> A {
        let body = proto::AnswerBody::decode(&*Orders::encode_answer(&answer.into())).unwrap();
        A::take(body.answer.unwrap()).unwrap()
    }
    let placing = |answer| read::<PlaceOrderAnswer>(answer).outcome.unwrap();
    let cancelling = |answer| read::<CancelOrderAnswer>(answer).outcome.unwrap();
    let starting = |answer| read::<Starting>(answer).outcome.unwrap();
    let releasing = |answer| read::<ReleaseOrderAnswer>(answer).outcome.unwrap();
    let order_id = OrderId::parse(ID).unwrap();
    let (total, at) = (gbp(500), Timestamp::from_millis(1_300_000_000_123));
    let titles = vec!["Mug".to_owned()];
    let placed = PlaceAnswer::Placed {
        order_id,
        number: 7,
        total,
        unit_prices: vec![250],
        titles: titles.clone(),
        placed_at: at,
    };
    let expected = place::Outcome::Placed(place::Placed {
        order_id: ID.into(),
        number: 7,
        total: Some(total.into()),
        unit_prices: vec![gbp(250).into()],
        titles,
        placed_at: Some(at.into()),
    });
    assert_eq!(placing(placed), expected);
    let before = place::PlacedBefore { order_id: ID.into() };
    assert_eq!(
        placing(PlaceAnswer::PlacedBefore { order_id }),
        place::Outcome::PlacedBefore(before)
    );
    let taken = place::ReferenceTaken { order_id: ID.into() };
    assert_eq!(
        placing(PlaceAnswer::ReferenceTaken { order_id }),
        place::Outcome::ReferenceTaken(taken)
    );
    let codes = [
        (LineProblemCode::UnknownSku, proto::order::LineProblemCode::UnknownSku),
        (LineProblemCode::Discontinued, proto::order::LineProblemCode::Discontinued),
        (LineProblemCode::OtherCurrency, proto::order::LineProblemCode::OtherCurrency),
        (LineProblemCode::OtherTaxBasis, proto::order::LineProblemCode::OtherTaxBasis),
        (LineProblemCode::DiscountTooLarge, proto::order::LineProblemCode::DiscountTooLarge),
        (LineProblemCode::TaxMismatch, proto::order::LineProblemCode::TaxMismatch),
    ];
    for (code, wire) in codes {
        let problems = vec![LineProblem { line: 3, sku: Sku::parse("A").unwrap(), code }];
        let problem = proto::order::LineProblem { line: 3, sku: "A".into(), code: wire.into() };
        let refused = place::Outcome::Refused(place::Refused { problems: vec![problem] });
        assert_eq!(placing(PlaceAnswer::Refused { problems }), refused);
    }
    assert_eq!(
        placing(PlaceAnswer::TotalOutOfRange),
        place::Outcome::TotalOutOfRange(place::TotalOutOfRange {})
    );
    let mismatch =
        place::TotalMismatch { expected: Some(gbp(1).into()), total: Some(total.into()) };
    assert_eq!(
        placing(PlaceAnswer::TotalMismatch { expected: gbp(1), total }),
        place::Outcome::TotalMismatch(mismatch)
    );
    assert_eq!(
        placing(PlaceAnswer::OnAccountRefused),
        place::Outcome::OnAccountRefused(place::OnAccountRefused {})
    );
    let statuses =
        Statuses(OrderStatus::Completed, PaymentStatus::Paid, FulfilmentStatus::Fulfilled);
    let too_late = cancel::TooLate {
        status: proto::order::OrderStatus::Completed.into(),
        fulfilment_status: proto::order::FulfilmentStatus::Fulfilled.into(),
    };
    assert_eq!(cancelling(CancelAnswer::TooLate { statuses }), cancel::Outcome::TooLate(too_late));
    assert_eq!(
        cancelling(CancelAnswer::Cancelled),
        cancel::Outcome::Cancelled(cancel::Cancelled {})
    );
    assert_eq!(cancelling(CancelAnswer::NotFound), cancel::Outcome::NotFound(cancel::NotFound {}));
    let payment_id = PaymentId { order_id, number: 2 };
    let started = start::Started {
        payment_id: format!("{ID}-2"),
        amount: Some(total.into()),
        due_by: Some(at.into()),
    };
    assert_eq!(
        starting(StartPaymentAnswer::Started { payment_id, amount: total, due_by: at }),
        start::Outcome::Started(started)
    );
    let not_due = start::NotDue {
        status: proto::order::OrderStatus::Completed.into(),
        payment_status: proto::order::PaymentStatus::Paid.into(),
    };
    assert_eq!(starting(StartPaymentAnswer::NotDue { statuses }), start::Outcome::NotDue(not_due));
    assert_eq!(
        starting(StartPaymentAnswer::NotFound),
        start::Outcome::NotFound(start::NotFound {})
    );
    assert_eq!(
        releasing(ReleaseAnswer::Released),
        release_order_answer::Outcome::Released(release_order_answer::Released {})
    );
    assert_eq!(
        releasing(ReleaseAnswer::NotFound),
        release_order_answer::Outcome::NotFound(release_order_answer::NotFound {})
    );
}
