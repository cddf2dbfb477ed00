//! What an order costs: as the caller says that it was sold, else as the catalogue has it.

use engine::Rows;
use events::{
    id::Sku,
    money::{MAX_ORDER_TOTAL, TaxBasis},
};

use super::rows::Product;
use super::{Charge, LineProblem, LineProblemCode, OrderLine, Request, RequestedLine};

/// The lines with their prices, or everything that is wrong with them.
pub(super) fn lines(
    products: &Rows<Sku, Product>,
    request: &Request,
) -> Result<Vec<OrderLine>, Vec<LineProblem>> {
    let mut lines = Vec::with_capacity(request.lines.len());
    let mut problems = Vec::new();
    for (index, line) in request.lines.iter().enumerate() {
        match sold(products.get(&line.sku), line, request) {
            Ok(line) => lines.push(line),
            Err(code) => problems.push(LineProblem { line: index, sku: line.sku.clone(), code }),
        }
    }
    if problems.is_empty() { Ok(lines) } else { Err(problems) }
}

/// A line as it is sold.
fn sold(
    product: Option<&Product>,
    line: &RequestedLine,
    request: &Request,
) -> Result<OrderLine, LineProblemCode> {
    let product = product.ok_or(LineProblemCode::UnknownSku)?;
    let sold = OrderLine {
        line_id: line.line_id.clone(),
        sku: line.sku.clone(),
        title: product.title.clone(),
        quantity: line.quantity,
        unit_price: unit_price(product, line.unit_price, request)?,
        discounts: line.discounts.clone(),
        tax: line.tax,
    };
    let net = sold.net();
    if net < 0 && !sold.discounts.is_empty() {
        return Err(LineProblemCode::DiscountTooLarge);
    }
    match &sold.tax {
        Some(tax) if !tax.is_of(net, request.tax_basis, line.quantity.get()) => {
            Err(LineProblemCode::TaxMismatch)
        }
        _ => Ok(sold),
    }
}

/// What one unit costs: as sold when the caller says so, else as the catalogue has it. What was sold
/// elsewhere may be discontinued here; its currency is that of the product in any case.
fn unit_price(
    product: &Product,
    as_sold: Option<i64>,
    request: &Request,
) -> Result<i64, LineProblemCode> {
    match as_sold {
        None if !product.active => Err(LineProblemCode::Discontinued),
        _ if product.price.currency != request.currency => Err(LineProblemCode::OtherCurrency),
        Some(unit_price) => Ok(unit_price),
        None if product.tax_basis != request.tax_basis => Err(LineProblemCode::OtherTaxBasis),
        None => Ok(product.price.minor),
    }
}

/// Lines and charges together; none when that is no total of an order. In 128 bits no number of
/// lines that fits into memory overflows.
pub(super) fn total(lines: &[OrderLine], charges: &[Charge], basis: TaxBasis) -> Option<i64> {
    let goods: i128 = lines.iter().map(|line| line.gross(basis)).sum();
    let extras: i128 = charges.iter().map(|charge| charge.gross(basis)).sum();
    let total = i64::try_from(goods + extras).ok()?;
    (0..=MAX_ORDER_TOTAL).contains(&total).then_some(total)
}
