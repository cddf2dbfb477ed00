//! What is read, and every wrong field by its name.

use axum::response::IntoResponse;
use events::proto::{self, order::place_order_answer};
use protocol::time::Timestamp;
use serde_json::{Value, json};

use super::*;

#[track_caller]
fn check(body: &Value, wrong: &[&str]) {
    let problem =
        place_order(body.to_string().as_bytes(), TaxBasis::default()).expect_err("is wrong");
    assert_eq!(named(problem), wrong);
}

fn named(problem: Problem) -> Vec<String> {
    let body = axum::body::to_bytes(problem.into_response().into_body(), usize::MAX);
    let body = futures::executor::block_on(body).expect("is in memory");
    let document: Value = serde_json::from_slice(&body).expect("is JSON");
    let errors = document["errors"].as_array().expect("are named");
    errors.iter().map(|e| e["field"].as_str().expect("is text").to_owned()).collect()
}

#[test]
fn an_order_is_read() {
    let body = json!({
        "reference": "536365", "customer_id": "17850", "country": "United Kingdom",
        "currency": "GBP",
        "lines": [{"sku": "85123A", "quantity": 6, "unit_price": 255}, {"sku": "B", "quantity": 1}],
        "expected_total": 2000,
        "charges": [{"code": "BANK CHARGES", "amount": -100}],
    });
    let gbp = |minor| proto::Money { minor, currency: "GBP".into() };
    // The shop says whether tax is in them.
    let tax_basis = proto::TaxBasis::Unspecified.into();
    let price = |minor| proto::Price { money: Some(gbp(minor)), tax_basis };
    let line = |sku: &str, quantity, unit_price| proto::order::RequestedLine {
        sku: sku.to_owned(),
        quantity,
        unit_price,
        ..Default::default()
    };
    assert_eq!(
        place_order(body.to_string().as_bytes(), TaxBasis::default()).expect("is good").command(),
        proto::order::PlaceOrder {
            order_id: String::new(),
            reference: Some("536365".into()),
            customer_id: Some("17850".into()),
            country: Some("United Kingdom".into()),
            billing_country: None,
            currency: "GBP".into(),
            tax_basis,
            lines: vec![line("85123A", 6, Some(price(255))), line("B", 1, None)],
            charges: vec![proto::order::Charge {
                code: "BANK CHARGES".into(),
                price: Some(price(-100)),
                tax: None,
            }],
            payment_method: "card".into(),
            expected_total: Some(gbp(2_000)),
            personal: None,
        }
    );
}

#[test]
fn an_order_that_was_just_placed_is_the_request_with_its_prices() {
    let body = json!({
        "reference": "PO 1", "country": "France", "currency": "GBP",
        "lines": [{"sku": "A", "quantity": 2}],
        "charges": [{"code": "POST", "amount": 300}],
    });
    let order = place_order(body.to_string().as_bytes(), TaxBasis::default()).expect("is good");
    let id = "0197b0a1-0000-7000-8000-000000000001";
    let gbp = |minor| proto::Money { minor, currency: "GBP".into() };
    let placed = |unit_prices: &[i64]| {
        let placed = place_order_answer::Placed {
            order_id: id.into(),
            total: Some(gbp(800)),
            unit_prices: unit_prices.iter().map(|minor| gbp(*minor)).collect(),
            placed_at: Some(Timestamp::from_millis(1_300_000_000_001).into()),
            number: 17,
            titles: vec!["Mug".into()],
        };
        order.placed(&placed).expect("is good")
    };
    let expected = json!({
        "id": id,
        "number": 17,
        "reference": "PO 1",
        "status": "placed",
        "payment_status": "pending",
        "fulfilment_status": "unfulfilled",
        "country": "France",
        "tax_basis": "included",
        "lines": [{"line_id": "1", "sku": "A", "title": "Mug", "quantity": 2,
            "unit_price": 250, "held": 0, "shipped": 0, "cancelled": 0}],
        "charges": [{"code": "POST", "amount": 300}],
        "total": 800,
        "currency": "GBP",
        "placed_at": "2011-03-13T07:06:40.001Z",
        "updated_at": "2011-03-13T07:06:40.001Z",
        "version": 1,
    });
    let shown = placed(&[250]).map(|order| serde_json::to_value(order).expect("is JSON"));
    assert_eq!(shown, Some(expected));
    assert_eq!(placed(&[250, 1]), None, "other prices than lines");
}

#[test]
fn every_wrong_field_of_an_order_is_named() {
    check(
        &json!({
            "reference": "", "customer_id": "a b", "country": 44, "currency": "gbp",
            "lines": [
                {"sku": "A", "quantity": 0},
                {"sku": "A", "quantity": 1, "unit_price": -1},
                {"quantity": 1, "price": 3},
            ],
            "charges": [{"code": "", "amount": "1"}],
            "payment_method": "", "coupon": "X",
        }),
        &[
            "reference",
            "customer_id",
            "country",
            "currency",
            "lines[0].quantity",
            "lines[1].unit_price",
            "lines[2].sku",
            "lines[2].price",
            "charges[0].code",
            "charges[0].amount",
            "payment_method",
            "coupon",
        ],
    );
}

#[test]
fn the_number_of_a_card_is_refused_in_every_text_of_an_order() {
    let card = "5555 5555 5555 4444";
    check(
        &json!({
            "reference": card, "customer_id": "5555555555554444", "country": card,
            "currency": "GBP", "lines": [{"sku": "5555555555554444", "quantity": 1}],
            "charges": [{"code": "POST", "amount": 1}, {"code": card, "amount": 1}],
            "payment_method": card,
        }),
        &["reference", "customer_id", "country", "charges[1].code", "payment_method"],
    );
    let problem = note_of(br#"{"note":"card 4111-1111-1111-1111"}"#).expect_err("is wrong");
    assert!(!format!("{problem:?}").contains("4111"), "the number is not shown");
    assert_eq!(named(problem), ["note"]);
}

#[test]
fn an_order_has_a_line_or_a_charge() {
    check(&json!({"currency": "GBP"}), &["lines"]);
    check(&json!({"currency": "GBP", "lines": [], "charges": []}), &["lines"]);
    let charge = json!({"currency": "GBP", "charges": [{"code": "POST", "amount": 1}]});
    assert!(place_order(charge.to_string().as_bytes(), TaxBasis::default()).is_ok());
}

#[test]
fn an_order_has_at_most_2000_lines() {
    let of = |count| json!({"currency": "GBP", "lines": vec![json!({"sku": "A", "quantity": 1}); count]});
    assert!(place_order(of(2000).to_string().as_bytes(), TaxBasis::default()).is_ok());
    check(&of(2001), &["lines"]);
}

#[test]
fn lines_have_ids_of_their_own() {
    let of = |ids: &[Value]| {
        let line = |id: &Value| json!({"sku": "A", "quantity": 1, "line_id": id});
        json!({"currency": "GBP", "lines": ids.iter().map(line).collect::<Vec<_>>()})
    };
    assert!(
        place_order(of(&[json!("x"), json!(null)]).to_string().as_bytes(), TaxBasis::default())
            .is_ok()
    );
    check(&of(&[json!("x"), json!("x")]), &["lines[1].line_id"]);
    // The second line has the id 2.
    check(&of(&[json!("2"), json!(null)]), &["lines[1].line_id"]);
    check(&of(&[json!("a b")]), &["lines[0].line_id"]);
}

#[test]
fn discounts_and_taxes_are_carried() {
    let body = json!({
        "currency": "EUR", "tax_basis": "excluded", "expected_total": 1_071,
        "lines": [{"sku": "A", "quantity": 1, "discounts": [{"code": "SUMMER", "amount": 100}],
            "tax": {"rate_ppm": 190_000, "amount": 171}}],
        "charges": [{"code": "POST", "amount": 100, "tax": {"rate_ppm": 70_000, "amount": 7}}],
    });
    let order =
        place_order(body.to_string().as_bytes(), TaxBasis::default()).expect("is good").command();
    let euro = proto::Money { minor: 1_071, currency: "EUR".into() };
    assert_eq!(order.expected_total, Some(euro));
    assert_eq!(order.tax_basis(), proto::TaxBasis::Excluded);
    let line = &order.lines[0];
    let amount = |money: &Option<proto::Money>| money.as_ref().expect("is there").minor;
    assert_eq!((&*line.discounts[0].code, amount(&line.discounts[0].amount)), ("SUMMER", 100));
    let tax = line.tax.as_ref().expect("is there");
    assert_eq!((tax.rate_ppm, amount(&tax.amount)), (190_000, 171));
    assert_eq!(amount(&order.charges[0].tax.as_ref().expect("is there").amount), 7);
}

#[test]
fn wrong_discounts_and_taxes_are_named() {
    check(
        &json!({
            "currency": "EUR", "tax_basis": "none", "expected_total": -1,
            "lines": [{"sku": "A", "quantity": 1, "discounts": [{"code": "", "amount": -1}],
                "tax": {"rate_ppm": -1, "amount": 0.5}}],
        }),
        &[
            "tax_basis",
            "lines[0].discounts[0].code",
            "lines[0].discounts[0].amount",
            "lines[0].tax.rate_ppm",
            "lines[0].tax.amount",
            "expected_total",
        ],
    );
    let charge = json!({"code": "POST", "amount": 100, "tax": {"rate_ppm": 70_000, "amount": 17}});
    check(&json!({"currency": "EUR", "charges": [charge]}), &["charges[0].tax.amount"]);
}

#[test]
fn a_cancellation_may_have_a_note() {
    assert_eq!(note_of(b"").expect("is good"), "");
    assert_eq!(note_of(b"{}").expect("is good"), "");
    assert_eq!(note_of(br#"{"note":"too slow"}"#).expect("is good"), "too slow");
    assert_eq!(named(note_of(br#"{"notes":1}"#).expect_err("is wrong")), ["notes"]);
}

#[test]
fn a_payment_names_its_method() {
    assert_eq!(payment(br#"{"payment_method":"other-card"}"#).expect("is good"), "other-card");
    assert_eq!(named(payment(b"{}").expect_err("is wrong")), ["payment_method"]);
}
