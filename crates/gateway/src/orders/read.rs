//! Reads the bodies of order requests.

use std::collections::HashSet;

use events::{
    http::{
        Charge, Discount, FulfilmentStatus, Opened, OrderLine, OrderStatus, OrderView,
        PaymentStatus, PersonalView,
    },
    id::{CustomerId, LineId, OrderId, Quantity, Reference, Sku},
    money::{Currency, MAX_ORDER_TOTAL, Money, Tax, TaxBasis},
    proto::{self, order::place_order_answer},
    shop::Capture,
};
use protocol::{id::ParseError, time::Timestamp};

use super::personal::{self, Personal};
use crate::{
    fields::{
        self, Errors, Fields, Path, charge_amount, code, integer, list, object, tax_basis, text,
        unit_price, within, words,
    },
    json::Node,
    problem::Problem,
};

/// The most lines of an order.
const MAX_LINES: usize = 2000;
/// The most charges of an order.
const MAX_CHARGES: usize = 100;
/// The most discounts of an order: with all else that is the longest it still fits into an event.
const MAX_DISCOUNTS: usize = 1000;
/// The highest rate of a tax, in millionths: 1,000 %.
const MAX_TAX_RATE_PPM: i64 = 10_000_000;
/// The payment method of an order for which the shop sends an invoice.
const ON_ACCOUNT: &str = "on_account";
/// The payment method of an order that names none.
const DEFAULT_PAYMENT_METHOD: &str = "card";

/// An order as a client requests it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewOrder {
    reference: Option<Reference>,
    customer_id: Option<CustomerId>,
    country: String,
    personal: Option<Personal>,
    currency: Currency,
    tax_basis: TaxBasis,
    lines: Vec<NewLine>,
    charges: Vec<Charge>,
    payment_method: String,
    expected_total: Option<i64>,
}

/// One line of a requested order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NewLine {
    line_id: Option<LineId>,
    sku: Sku,
    quantity: Quantity,
    /// The price as sold; that of the product where there is none.
    unit_price: Option<i64>,
    discounts: Vec<Discount>,
    tax: Option<Tax>,
}

impl NewOrder {
    /// Whether nothing is taken for it before it ships, in a shop that captures like that.
    pub(crate) fn is_paid_later(&self, capture: Capture) -> bool {
        capture == Capture::OnShipment || self.payment_method == ON_ACCOUNT
    }

    /// The command that places it. The id of the order is left empty, and so is what is personal.
    pub(crate) fn command(&self) -> proto::order::PlaceOrder {
        let money = |minor| Some(Money { minor, currency: self.currency }.into());
        let tax =
            |tax: Tax| proto::order::Tax { rate_ppm: tax.rate_ppm, amount: money(tax.amount) };
        let discount = |it: &Discount| proto::order::Discount {
            code: it.code.clone(),
            amount: money(it.amount),
        };
        let line = |line: &NewLine| proto::order::RequestedLine {
            line_id: line.line_id.as_ref().map(LineId::to_string).unwrap_or_default(),
            sku: line.sku.to_string(),
            quantity: line.quantity.get(),
            unit_price: line.unit_price,
            discounts: line.discounts.iter().map(discount).collect(),
            tax: line.tax.map(tax),
        };
        let charge = |charge: &Charge| proto::order::Charge {
            code: charge.code.clone(),
            price: Some(self.tax_basis.price(charge.amount, self.currency)),
            tax: charge.tax.map(tax),
        };
        proto::order::PlaceOrder {
            order_id: String::new(),
            reference: self.reference.as_ref().map(Reference::to_string).unwrap_or_default(),
            customer_id: self.customer_id.as_ref().map(CustomerId::to_string).unwrap_or_default(),
            country: self.country.clone(),
            billing_country: self.billing_country().to_owned(),
            currency: self.currency.to_string(),
            tax_basis: proto::TaxBasis::from(self.tax_basis).into(),
            lines: self.lines.iter().map(line).collect(),
            charges: self.charges.iter().map(charge).collect(),
            payment_method: self.payment_method.clone(),
            expected_total: self.expected_total,
            personal: None,
        }
    }

    /// Whether it says what it costs, rather than the catalogue: a price, a discount, or a charge below
    /// 0.
    pub(crate) fn has_prices(&self) -> bool {
        let is_priced = |line: &NewLine| line.unit_price.is_some() || !line.discounts.is_empty();
        self.lines.iter().any(is_priced) || self.charges.iter().any(|charge| charge.amount < 0)
    }

    /// What is personal in it, if something is.
    pub(crate) fn personal(&self) -> Option<Vec<u8>> {
        let plaintext = self.personal.as_ref()?.plaintext();
        (!plaintext.is_empty()).then_some(plaintext)
    }

    /// Who orders; none for a guest.
    pub(crate) fn customer_id(&self) -> Option<&CustomerId> {
        self.customer_id.as_ref()
    }

    fn billing_country(&self) -> &str {
        self.personal.as_ref().map_or("", Personal::billing_country)
    }

    /// The order just after it was placed: as it was requested, with what the order service decided.
    /// `None` when the two do not match; then the order has to be read.
    pub(crate) fn placed(
        &self,
        placed: &place_order_answer::Placed,
    ) -> Result<Option<OrderView>, ParseError> {
        let count = self.lines.len();
        if count != placed.unit_prices.len() || count != placed.titles.len() {
            return Ok(None);
        }
        let total = Money::parse(placed.total.as_ref())?;
        let placed_at = Timestamp::parse(placed.placed_at.as_ref())?;
        let decided = placed.unit_prices.iter().zip(&placed.titles);
        let lines = self.lines.iter().enumerate().zip(decided);
        let line = |((index, line), (unit_price, title)): ((usize, &NewLine), (&i64, &String))| {
            OrderLine {
                line_id: line.line_id.clone().unwrap_or_else(|| LineId::numbered(index)),
                sku: line.sku.clone(),
                title: title.clone(),
                quantity: line.quantity,
                unit_price: *unit_price,
                discounts: line.discounts.clone(),
                tax: line.tax,
                shipped: 0,
            }
        };
        let fulfilment_status = match count {
            0 => FulfilmentStatus::Fulfilled,
            _ => FulfilmentStatus::Unfulfilled,
        };
        Ok(Some(OrderView {
            id: OrderId::parse(&placed.order_id)?,
            number: placed.number,
            reference: self.reference.clone(),
            status: OrderStatus::Placed,
            payment_status: PaymentStatus::Pending,
            fulfilment_status,
            customer_id: self.customer_id.clone(),
            country: self.country.clone(),
            billing_country: self.billing_country().to_owned(),
            tax_basis: self.tax_basis,
            lines: lines.map(line).collect(),
            charges: self.charges.clone(),
            total: total.minor,
            currency: total.currency,
            payments: Vec::new(),
            hold: None,
            cancellation: None,
            personal: self.personal_view(),
            placed_at,
            updated_at: placed_at,
            version: 1,
        }))
    }
}

impl NewOrder {
    fn personal_view(&self) -> Option<Opened<PersonalView>> {
        self.personal()?;
        let view = self.personal.as_ref()?.view(&self.country);
        Some(Opened::Readable(view))
    }
}

/// Reads an order. `basis` is that of a shop's orders that name none.
pub(crate) fn place_order(bytes: &[u8], basis: TaxBasis) -> Result<NewOrder, Problem> {
    fields::body(bytes, |node, path, errors| {
        object(node, path, errors, |fields| order(fields, basis))
    })
}

/// Reads the note of a cancellation or of a release; the body may be empty.
pub(crate) fn note_of(bytes: &[u8]) -> Result<String, Problem> {
    let note = if bytes.is_empty() {
        None
    } else {
        fields::body(bytes, |node, path, errors| {
            object(node, path, errors, |fields| Some(fields.optional("note", personal::note)))
        })?
    };
    Ok(note.unwrap_or_default())
}

/// Reads how an order is paid anew.
pub(crate) fn payment(bytes: &[u8]) -> Result<String, Problem> {
    fields::body(bytes, |node, path, errors| {
        object(node, path, errors, |fields| fields.required("payment_method", text(payment_method)))
    })
}

fn order(fields: &mut Fields<'_, '_>, basis: TaxBasis) -> Option<NewOrder> {
    let reference = fields.optional("reference", text(Reference::parse));
    let customer_id = fields.optional("customer_id", text(CustomerId::parse));
    let country = fields.optional("country", text(country));
    let personal = fields.optional("personal", personal::personal);
    let currency = fields.required("currency", text(Currency::parse_current));
    let tax_basis = fields.optional("tax_basis", text(tax_basis));
    let lines = fields.optional("lines", list(MAX_LINES, line));
    let charges = fields.optional("charges", list(MAX_CHARGES, charge));
    let payment_method = fields.optional("payment_method", text(payment_method));
    let expected_total = fields.optional("expected_total", integer(expected_total));
    if fields.is_empty("lines") && fields.is_empty("charges") {
        fields.wrong("lines", "an order must have a line or a charge");
    }
    let country = country.unwrap_or_else(|| {
        personal.as_ref().map_or_else(String::new, |it| it.shipping_country().to_owned())
    });
    let order = NewOrder {
        reference,
        customer_id,
        country,
        personal,
        currency: currency?,
        tax_basis: tax_basis.unwrap_or(basis),
        lines: lines.unwrap_or_default(),
        charges: charges.unwrap_or_default(),
        payment_method: payment_method.unwrap_or_else(|| DEFAULT_PAYMENT_METHOD.to_owned()),
        expected_total,
    };
    order.check(fields);
    Some(order)
}

impl NewOrder {
    /// Checks what the fields must be together.
    fn check(&self, fields: &mut Fields<'_, '_>) {
        let mut ids = HashSet::new();
        for (index, line) in self.lines.iter().enumerate() {
            let id = line.line_id.clone().unwrap_or_else(|| LineId::numbered(index));
            if let Some(id) = ids.replace(id) {
                let detail = format!("two lines are {id}: a line without line_id has its number");
                fields.wrong(&format!("lines[{index}].line_id"), detail);
            }
        }
        let shipping_country = self.personal.as_ref().map_or("", Personal::shipping_country);
        if !shipping_country.is_empty() && shipping_country != self.country {
            fields.wrong("country", "country must be that of the shipping address");
        }
        if self.lines.iter().map(|line| line.discounts.len()).sum::<usize>() > MAX_DISCOUNTS {
            fields.wrong("lines", format!("the lines must have at most {MAX_DISCOUNTS} discounts"));
        }
        for (index, charge) in self.charges.iter().enumerate() {
            let amount = i128::from(charge.amount);
            if charge.tax.is_some_and(|tax| !tax.is_of(amount, self.tax_basis, 1)) {
                let detail = "the amount of the tax does not follow from its rate";
                fields.wrong(&format!("charges[{index}].tax.amount"), detail);
            }
        }
    }
}

fn line(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<NewLine> {
    object(node, path, errors, |fields| {
        let line_id = fields.optional("line_id", code(LineId::parse));
        let sku = fields.required("sku", code(Sku::parse));
        let quantity = fields.required("quantity", integer(Quantity::parse));
        let unit_price = fields.optional("unit_price", integer(unit_price));
        let discounts = fields.optional("discounts", list(MAX_DISCOUNTS, discount));
        let tax = fields.optional("tax", tax);
        let discounts = discounts.unwrap_or_default();
        Some(NewLine { line_id, sku: sku?, quantity: quantity?, unit_price, discounts, tax })
    })
}

fn discount(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<Discount> {
    object(node, path, errors, |fields| {
        let code = fields.required("code", text(charge_code));
        let amount = fields.required("amount", integer(discount_amount));
        Some(Discount { code: code?, amount: amount? })
    })
}

fn tax(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<Tax> {
    object(node, path, errors, |fields| {
        let rate_ppm = fields.required("rate_ppm", integer(tax_rate));
        let amount = fields.required("amount", integer(charge_amount));
        Some(Tax { rate_ppm: rate_ppm?, amount: amount? })
    })
}

fn charge(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<Charge> {
    object(node, path, errors, |fields| {
        let code = fields.required("code", text(charge_code));
        let amount = fields.required("amount", integer(charge_amount));
        let tax = fields.optional("tax", tax);
        Some(Charge { code: code?, amount: amount?, tax })
    })
}

fn expected_total(minor: i64) -> Result<i64, ParseError> {
    within("expected_total", "must be 0 to 1000000000000000", 0..=MAX_ORDER_TOTAL, minor)
}

fn discount_amount(minor: i64) -> Result<i64, ParseError> {
    within("a discount", "must be 0 to 1000000000000000", 0..=MAX_ORDER_TOTAL, minor)
}

fn tax_rate(ppm: i64) -> Result<i64, ParseError> {
    within("rate_ppm", "must be 0 to 10000000", 0..=MAX_TAX_RATE_PPM, ppm)
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

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
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
            "charges": [{"code": "BANK CHARGES", "amount": -100}],
        });
        let line = |sku: &str, quantity, unit_price| proto::order::RequestedLine {
            sku: sku.to_owned(),
            quantity,
            unit_price,
            ..Default::default()
        };
        assert_eq!(
            place_order(body.to_string().as_bytes(), TaxBasis::default())
                .expect("is good")
                .command(),
            proto::order::PlaceOrder {
                order_id: String::new(),
                reference: "536365".into(),
                customer_id: "17850".into(),
                country: "United Kingdom".into(),
                billing_country: String::new(),
                currency: "GBP".into(),
                tax_basis: proto::TaxBasis::Included.into(),
                lines: vec![line("85123A", 6, Some(255)), line("B", 1, None)],
                charges: vec![proto::order::Charge {
                    code: "BANK CHARGES".into(),
                    price: Some(proto::Price {
                        money: Some(proto::Money { minor: -100, currency: "GBP".into() }),
                        tax_basis: proto::TaxBasis::Included.into(),
                    }),
                    tax: None,
                }],
                payment_method: "card".into(),
                expected_total: None,
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
        let placed = |unit_prices: &[i64]| {
            let placed = place_order_answer::Placed {
                order_id: id.into(),
                total: Some(proto::Money { minor: 800, currency: "GBP".into() }),
                unit_prices: unit_prices.to_vec(),
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
                "unit_price": 250, "shipped": 0}],
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
        let order = place_order(body.to_string().as_bytes(), TaxBasis::default())
            .expect("is good")
            .command();
        assert_eq!(order.expected_total, Some(1_071));
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
        let charge =
            json!({"code": "POST", "amount": 100, "tax": {"rate_ppm": 70_000, "amount": 17}});
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
}
