//! Reads the bodies of order requests.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use events::{
    http::{Charge, Discount},
    id::{CustomerId, LineId, Quantity, Reference, Sku},
    money::{Currency, MAX_ORDER_TOTAL, Tax, TaxBasis},
};
use protocol::id::ParseError;

use super::{
    new_order::{NewLine, NewOrder},
    personal::{self, Personal},
};
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
/// The payment method of an order that names none.
const DEFAULT_PAYMENT_METHOD: &str = "card";

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
        names_tax_basis: tax_basis.is_some(),
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
