//! Reads the bodies of order requests.

use events::{
    http::{Charge, OrderLine, OrderStatus, OrderView},
    id::{CustomerId, OrderId, Quantity, Reference, Sku},
    money::{Currency, Money},
    proto,
};
use protocol::{id::ParseError, time::Timestamp};

use crate::{
    fields::{
        self, Errors, Fields, Path, charge_amount, integer, list, object, text, unit_price, words,
    },
    json::Node,
    problem::Problem,
};

/// The most lines of an order.
const MAX_LINES: usize = 2000;
/// The most charges of an order.
const MAX_CHARGES: usize = 100;
/// The payment method of an order that names none.
const DEFAULT_PAYMENT_METHOD: &str = "card";

/// An order as a client requests it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewOrder {
    reference: Option<Reference>,
    customer_id: Option<CustomerId>,
    country: String,
    currency: Currency,
    lines: Vec<NewLine>,
    charges: Vec<Charge>,
    payment_method: String,
}

/// One SKU of a requested order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NewLine {
    sku: Sku,
    quantity: Quantity,
    /// The price as sold; that of the product where there is none.
    unit_price: Option<i64>,
}

impl NewOrder {
    /// The command that places it. The id of the order is left empty.
    pub(crate) fn command(&self) -> proto::order::PlaceOrder {
        let line = |line: &NewLine| proto::order::RequestedLine {
            sku: line.sku.to_string(),
            quantity: line.quantity.get(),
            unit_price: line.unit_price,
        };
        let charge = |charge: &Charge| proto::order::Charge {
            code: charge.code.clone(),
            amount: charge.amount,
        };
        proto::order::PlaceOrder {
            order_id: String::new(),
            reference: self.reference.as_ref().map(Reference::to_string).unwrap_or_default(),
            customer_id: self.customer_id.as_ref().map(CustomerId::to_string).unwrap_or_default(),
            country: self.country.clone(),
            currency: self.currency.to_string(),
            lines: self.lines.iter().map(line).collect(),
            charges: self.charges.iter().map(charge).collect(),
            payment_method: self.payment_method.clone(),
        }
    }

    /// The order just after it was placed: as it was requested, with what the order service decided.
    /// `None` when the two do not match; then the order has to be read.
    pub(crate) fn placed(
        &self,
        id: OrderId,
        total: Money,
        unit_prices: &[i64],
        placed_at: Timestamp,
    ) -> Option<OrderView> {
        if self.lines.len() != unit_prices.len() {
            return None;
        }
        let line = |(line, unit_price): (&NewLine, &i64)| OrderLine {
            sku: line.sku.clone(),
            quantity: line.quantity,
            unit_price: *unit_price,
        };
        Some(OrderView {
            id,
            reference: self.reference.clone(),
            status: OrderStatus::Placed,
            customer_id: self.customer_id.clone(),
            country: self.country.clone(),
            lines: self.lines.iter().zip(unit_prices).map(line).collect(),
            charges: self.charges.clone(),
            total: total.minor,
            currency: total.currency,
            cancellation: None,
            placed_at,
            updated_at: placed_at,
            version: 1,
        })
    }
}

/// Reads an order.
pub(crate) fn place_order(bytes: &[u8]) -> Result<NewOrder, Problem> {
    fields::body(bytes, |node, path, errors| object(node, path, errors, order))
}

/// Reads the note of a cancellation; the body may be empty.
pub(crate) fn cancel_order(bytes: &[u8]) -> Result<proto::order::CancelOrder, Problem> {
    let note = if bytes.is_empty() {
        None
    } else {
        fields::body(bytes, |node, path, errors| {
            object(node, path, errors, |fields| Some(fields.optional("note", text(note))))
        })?
    };
    Ok(proto::order::CancelOrder { order_id: String::new(), note: note.unwrap_or_default() })
}

fn order(fields: &mut Fields<'_, '_>) -> Option<NewOrder> {
    let reference = fields.optional("reference", text(Reference::parse));
    let customer_id = fields.optional("customer_id", text(CustomerId::parse));
    let country = fields.optional("country", text(country));
    let currency = fields.required("currency", text(Currency::parse_current));
    let lines = fields.optional("lines", list(MAX_LINES, line));
    let charges = fields.optional("charges", list(MAX_CHARGES, charge));
    let payment_method = fields.optional("payment_method", text(payment_method));
    if fields.is_empty("lines") && fields.is_empty("charges") {
        fields.wrong("lines", "an order must have a line or a charge");
    }
    Some(NewOrder {
        reference,
        customer_id,
        country: country.unwrap_or_default(),
        currency: currency?,
        lines: lines.unwrap_or_default(),
        charges: charges.unwrap_or_default(),
        payment_method: payment_method.unwrap_or_else(|| DEFAULT_PAYMENT_METHOD.to_owned()),
    })
}

fn line(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<NewLine> {
    object(node, path, errors, |fields| {
        let sku = fields.required("sku", text(Sku::parse));
        let quantity = fields.required("quantity", integer(Quantity::parse));
        let unit_price = fields.optional("unit_price", integer(unit_price));
        Some(NewLine { sku: sku?, quantity: quantity?, unit_price })
    })
}

fn charge(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<Charge> {
    object(node, path, errors, |fields| {
        let code = fields.required("code", text(charge_code));
        let amount = fields.required("amount", integer(charge_amount));
        Some(Charge { code: code?, amount: amount? })
    })
}

fn country(value: &str) -> Result<String, ParseError> {
    words("country", "must be 1 to 64 characters without control characters", 64, value)
}

fn charge_code(value: &str) -> Result<String, ParseError> {
    words("code", "must be 1 to 64 characters without control characters", 64, value)
}

fn payment_method(value: &str) -> Result<String, ParseError> {
    words("payment_method", "must be 1 to 128 characters without control characters", 128, value)
}

fn note(value: &str) -> Result<String, ParseError> {
    words("note", "must be 1 to 500 characters without control characters", 500, value)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(body: &Value, wrong: &[&str]) {
        let problem = place_order(body.to_string().as_bytes()).expect_err("is wrong");
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
            "charges": [{"code": "BANK CHARGES", "amount": -100}],
        });
        let line = |sku: &str, quantity, unit_price| proto::order::RequestedLine {
            sku: sku.to_owned(),
            quantity,
            unit_price,
        };
        assert_eq!(
            place_order(body.to_string().as_bytes()).expect("is good").command(),
            proto::order::PlaceOrder {
                order_id: String::new(),
                reference: "536365".into(),
                customer_id: "17850".into(),
                country: "United Kingdom".into(),
                currency: "GBP".into(),
                lines: vec![line("85123A", 6, Some(255)), line("B", 1, None)],
                charges: vec![proto::order::Charge { code: "BANK CHARGES".into(), amount: -100 }],
                payment_method: "card".into(),
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
        let order = place_order(body.to_string().as_bytes()).expect("is good");
        let id = OrderId::parse("0197b0a1-0000-7000-8000-000000000001").expect("is a UUID");
        let total = Money { minor: 800, currency: Currency::parse("GBP").expect("is one") };
        let placed_at = Timestamp::from_millis(1_300_000_000_001);
        let placed = |unit_prices| order.placed(id, total, unit_prices, placed_at);
        let expected = json!({
            "id": id,
            "reference": "PO 1",
            "status": "placed",
            "country": "France",
            "lines": [{"sku": "A", "quantity": 2, "unit_price": 250}],
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
    fn an_order_has_a_line_or_a_charge() {
        check(&json!({"currency": "GBP"}), &["lines"]);
        check(&json!({"currency": "GBP", "lines": [], "charges": []}), &["lines"]);
        let charge = json!({"currency": "GBP", "charges": [{"code": "POST", "amount": 1}]});
        assert!(place_order(charge.to_string().as_bytes()).is_ok());
    }

    #[test]
    fn an_order_has_at_most_2000_lines() {
        let of = |count| json!({"currency": "GBP", "lines": vec![json!({"sku": "A", "quantity": 1}); count]});
        assert!(place_order(of(2000).to_string().as_bytes()).is_ok());
        check(&of(2001), &["lines"]);
    }

    #[test]
    fn a_cancellation_may_have_a_note() {
        assert_eq!(cancel_order(b"").expect("is good").note, "");
        assert_eq!(cancel_order(b"{}").expect("is good").note, "");
        assert_eq!(cancel_order(br#"{"note":"too slow"}"#).expect("is good").note, "too slow");
        assert_eq!(named(cancel_order(br#"{"notes":1}"#).expect_err("is wrong")), ["notes"]);
    }
}
