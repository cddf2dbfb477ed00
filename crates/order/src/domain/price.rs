//! What an order costs: as the caller says that it was sold, else as the catalogue has it.

use engine::Rows;
use events::{
    id::Sku,
    money::{Currency, MAX_ORDER_TOTAL},
};

use super::{Charge, LineProblem, LineProblemCode, OrderLine, Request};
use crate::store::Price;

/// The lines with their prices, or everything that is wrong with them.
pub(super) fn lines(
    prices: &Rows<Sku, Price>,
    request: &Request,
) -> Result<Vec<OrderLine>, Vec<LineProblem>> {
    let mut lines = Vec::with_capacity(request.lines.len());
    let mut problems = Vec::new();
    for (index, line) in request.lines.iter().enumerate() {
        let sku = line.sku.clone();
        match unit_price(prices.get(&sku), line.unit_price, request.currency) {
            Ok(unit_price) => lines.push(OrderLine { sku, quantity: line.quantity, unit_price }),
            Err(code) => problems.push(LineProblem { line: index, sku, code }),
        }
    }
    if problems.is_empty() { Ok(lines) } else { Err(problems) }
}

/// What one unit costs: as sold when the caller says so, else as the catalogue has it.
fn unit_price(
    product: Option<&Price>,
    as_sold: Option<i64>,
    currency: Currency,
) -> Result<i64, LineProblemCode> {
    let product = product.ok_or(LineProblemCode::UnknownSku)?;
    match as_sold {
        _ if !product.active => Err(LineProblemCode::Discontinued),
        Some(unit_price) => Ok(unit_price),
        None if product.price.currency != currency => Err(LineProblemCode::OtherCurrency),
        None => Ok(product.price.minor),
    }
}

/// Lines and charges together; none when that is no total of an order. In 128 bits no number of
/// lines that fits into memory overflows.
pub(super) fn total(lines: &[OrderLine], charges: &[Charge]) -> Option<i64> {
    let goods: i128 = lines
        .iter()
        .map(|line| i128::from(line.quantity.get()) * i128::from(line.unit_price))
        .sum();
    let extras: i128 = charges.iter().map(|charge| i128::from(charge.amount)).sum();
    let total = i64::try_from(goods + extras).ok()?;
    (0..=MAX_ORDER_TOTAL).contains(&total).then_some(total)
}
