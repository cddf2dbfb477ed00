//! Messages read and written.

use super::*;
use crate::domain::{CancelAnswer, LineProblem, LineProblemCode, PlaceAnswer};

const ID: &str = "018f0000-0000-7000-8000-000000000001";

fn wire_request() -> proto::order::PlaceOrder {
    proto::order::PlaceOrder {
        order_id: ID.into(),
        reference: "PO 1".into(),
        currency: "GBP".into(),
        lines: vec![proto::order::RequestedLine {
            sku: "A".into(),
            quantity: 2,
            unit_price: Some(250),
        }],
        payment_method: "card".into(),
        ..Default::default()
    }
}

fn place(order: proto::order::PlaceOrder) -> Result<Input, WireError> {
    let body = Some(Command::PlaceOrder(order));
    Orders::command(&proto::Command { body, ..Default::default() }.encode_to_vec())
}

#[test]
fn every_event_survives_the_way_through_the_wire() {
    let money = Money { minor: 500, currency: Currency::parse("GBP").unwrap() };
    let at = Timestamp::from_millis(1_300_000_000_123);
    let content = OrderContent {
        reference: Some(Reference::parse("PO 1").unwrap()),
        customer_id: None,
        country: "France".into(),
        lines: vec![OrderLine {
            sku: Sku::parse("A").unwrap(),
            quantity: Quantity::parse(2).unwrap(),
            unit_price: 250,
        }],
        charges: vec![Charge { code: "POST".into(), amount: -3 }],
    };
    let cancelled = |reason| {
        Fact::Cancelled(Cancellation {
            reason,
            detail: "why".into(),
            shortages: vec![Shortage { sku: Sku::parse("A").unwrap(), requested: 2, available: 1 }],
        })
    };
    let method = "card".to_owned();
    let facts = [
        Fact::Placed { content, total: money, payment_method: method.clone(), reserve_by: at },
        Fact::PaymentDue { amount: money, payment_method: method, due_by: at },
        Fact::Authorized { allocate_by: at },
        Fact::Confirmed { amount: money },
        Fact::Paid { amount: money },
        cancelled(CancelReason::Requested),
        cancelled(CancelReason::OutOfStock),
        cancelled(CancelReason::StockTimeout),
        cancelled(CancelReason::PaymentDeclined),
        cancelled(CancelReason::PaymentFailed),
        cancelled(CancelReason::PaymentTimeout),
        cancelled(CancelReason::StockLost),
        cancelled(CancelReason::CaptureFailed),
    ];
    for fact in facts {
        let event = Event { order_id: OrderId::parse(ID).unwrap(), fact };
        let encoded = Orders::encode(&event);
        let envelope = proto::Event { aggregate_id: ID.into(), ..Default::default() };
        let payload = [envelope.encode_to_vec(), encoded.body].concat();
        assert_eq!(Orders::decode(&payload).unwrap(), event);
        assert_eq!(encoded.name, event.fact.name().as_str());
    }
}

#[test]
fn a_price_that_could_overflow_a_total_is_refused_by_name() {
    for price in [-1, MAX_UNIT_PRICE + 1, i64::MAX] {
        let mut order = wire_request();
        order.lines[0].unit_price = Some(price);
        let error = place(order).expect_err("is out of range").to_string();
        assert_eq!(error, format!("unit_price must be 0 to 1000000000000, got \"{price}\""));
    }
    assert!(place(wire_request()).is_ok());
}

#[test]
fn a_text_that_no_database_takes_is_made_harmless() {
    let mut order = wire_request();
    order.country = "\0France\n".into();
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
    let Ok(Input::Signal { order_id, signal: Signal::Captured { amount } }) =
        Orders::foreign(&event.encode_to_vec())
    else {
        panic!("is a signal")
    };
    assert_eq!((order_id.to_string().as_str(), amount.minor), (ID, 5));
}

#[test]
fn payment_is_asked_for_the_first_payment_of_the_order() {
    let order_id = OrderId::parse(ID).unwrap();
    let amount = Money { minor: 500, currency: Currency::parse("GBP").unwrap() };
    let due_by = Timestamp::from_millis(0);
    let due = Fact::PaymentDue { amount, payment_method: "card".into(), due_by };
    for fact in [due, Fact::Confirmed { amount }] {
        let encoded = Orders::encode(&Event { order_id, fact }).body;
        let event = proto::Event::decode(&*encoded).unwrap();
        let Some(Body::Order(event)) = event.body else { panic!("is of an order") };
        let payment_id = match event.kind.unwrap() {
            Kind::PaymentDue(due) => due.payment_id,
            Kind::Confirmed(confirmed) => confirmed.payment_id,
            other => panic!("{other:?}"),
        };
        assert_eq!(payment_id, format!("{ID}-1"));
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

#[test]
fn every_answer_is_a_message_of_the_contract() {
    use events::{
        answers::CommandAnswer,
        proto::order::{
            CancelOrderAnswer, PlaceOrderAnswer, cancel_order_answer, place_order_answer,
        },
    };
    fn read<A: CommandAnswer>(answer: impl Into<Answer>) -> A {
        let body = proto::AnswerBody::decode(&*Orders::encode_answer(&answer.into())).unwrap();
        A::take(body.answer.unwrap()).unwrap()
    }
    let placing = |answer| read::<PlaceOrderAnswer>(answer).outcome.unwrap();
    let cancelling = |answer| read::<CancelOrderAnswer>(answer).outcome.unwrap();
    let order_id = OrderId::parse(ID).unwrap();
    let total = Money { minor: 500, currency: Currency::parse("GBP").unwrap() };
    let placed_at = Timestamp::from_millis(1_300_000_000_123);
    let placed = PlaceAnswer::Placed { order_id, total, unit_prices: vec![250], placed_at };
    assert_eq!(
        placing(placed),
        place_order_answer::Outcome::Placed(place_order_answer::Placed {
            order_id: ID.into(),
            total: Some(total.into()),
            unit_prices: vec![250],
            placed_at: Some(placed_at.into()),
        })
    );
    assert_eq!(
        placing(PlaceAnswer::PlacedBefore { order_id }),
        place_order_answer::Outcome::PlacedBefore(place_order_answer::PlacedBefore {
            order_id: ID.into()
        })
    );
    assert_eq!(
        placing(PlaceAnswer::ReferenceTaken { order_id }),
        place_order_answer::Outcome::ReferenceTaken(place_order_answer::ReferenceTaken {
            order_id: ID.into()
        })
    );
    let codes = [
        (LineProblemCode::UnknownSku, proto::order::LineProblemCode::UnknownSku),
        (LineProblemCode::Discontinued, proto::order::LineProblemCode::Discontinued),
        (LineProblemCode::OtherCurrency, proto::order::LineProblemCode::OtherCurrency),
    ];
    for (code, wire) in codes {
        let problems = vec![LineProblem { line: 3, sku: Sku::parse("A").unwrap(), code }];
        let problem = proto::order::LineProblem { line: 3, sku: "A".into(), code: wire.into() };
        assert_eq!(
            placing(PlaceAnswer::Refused { problems }),
            place_order_answer::Outcome::Refused(place_order_answer::Refused {
                problems: vec![problem]
            })
        );
    }
    assert_eq!(
        placing(PlaceAnswer::TotalOutOfRange),
        place_order_answer::Outcome::TotalOutOfRange(place_order_answer::TotalOutOfRange {})
    );
    assert_eq!(
        cancelling(CancelAnswer::Cancelled),
        cancel_order_answer::Outcome::Cancelled(cancel_order_answer::Cancelled {})
    );
    assert_eq!(
        cancelling(CancelAnswer::NotFound),
        cancel_order_answer::Outcome::NotFound(cancel_order_answer::NotFound {})
    );
    for status in OrderStatus::ALL {
        let too_late = cancelling(CancelAnswer::TooLate { status });
        let cancel_order_answer::Outcome::TooLate(too_late) = too_late else {
            panic!("{too_late:?}")
        };
        let name = too_late.status().as_str_name().to_lowercase();
        assert_eq!(name, format!("order_status_{}", status.as_str()));
    }
}
