//! The lines, discounts, taxes and charges of orders.

use events::{
    id::{LineId, Quantity, Sku},
    money::{Currency, Money, Tax, TaxBasis},
    proto::{self, order},
};
use protocol::id::ParseError;

use crate::domain::{Charge, Discount, Lines, ListedLines, OrderLine};

/// How amounts of an order are written: all are in one currency, and all its prices on one basis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) currency: Currency,
    pub(super) basis: TaxBasis,
}

pub(super) fn lines(lines: Vec<order::Line>) -> Result<Lines, ParseError> {
    lines.into_iter().map(line).collect()
}

pub(super) fn listed(
    wire: Vec<order::Line>,
    count: u32,
    placed_position: u64,
) -> Result<ListedLines, ParseError> {
    let basis = basis_of(wire.iter().map(|it| it.unit_price.as_ref()))?;
    Ok(ListedLines { lines: lines(wire)?, count, basis, placed_position })
}

/// The basis of these prices, which are all on one; that of no price does not matter.
pub(super) fn basis_of<'a>(
    mut prices: impl Iterator<Item = Option<&'a proto::Price>>,
) -> Result<TaxBasis, ParseError> {
    prices.next().flatten().map_or(Ok(TaxBasis::default()), |it| TaxBasis::parse(it.tax_basis))
}

fn line(line: order::Line) -> Result<OrderLine, ParseError> {
    Ok(OrderLine {
        line_id: LineId::parse(&line.line_id)?,
        sku: Sku::parse(&line.sku)?,
        title: line.title,
        quantity: Quantity::parse(line.quantity)?,
        unit_price: amount_of(line.unit_price.as_ref())?,
        discounts: line.discounts.into_iter().map(discount).collect::<Result<_, _>>()?,
        tax: line.tax.as_ref().map(tax).transpose()?,
    })
}

pub(super) fn lines_to_wire(lines: &[OrderLine], terms: Terms) -> Vec<order::Line> {
    let line = |line: &OrderLine| order::Line {
        line_id: line.line_id.to_string(),
        sku: line.sku.to_string(),
        title: line.title.clone(),
        quantity: line.quantity.get(),
        unit_price: Some(terms.basis.price(line.unit_price, terms.currency)),
        discounts: line.discounts.iter().map(|it| discount_to_wire(it, terms)).collect(),
        tax: line.tax.map(|it| tax_to_wire(it, terms)),
    };
    lines.iter().map(line).collect()
}

pub(super) fn discount(discount: order::Discount) -> Result<Discount, ParseError> {
    let amount = Money::parse(discount.amount.as_ref())?.minor;
    Ok(Discount { code: discount.code, amount })
}

fn discount_to_wire(discount: &Discount, terms: Terms) -> order::Discount {
    let amount = Money { minor: discount.amount, currency: terms.currency };
    order::Discount { code: discount.code.clone(), amount: Some(amount.into()) }
}

pub(super) fn tax(tax: &order::Tax) -> Result<Tax, ParseError> {
    Ok(Tax { rate_ppm: tax.rate_ppm, amount: Money::parse(tax.amount.as_ref())?.minor })
}

fn tax_to_wire(tax: Tax, terms: Terms) -> order::Tax {
    let amount = Money { minor: tax.amount, currency: terms.currency };
    order::Tax { rate_ppm: tax.rate_ppm, amount: Some(amount.into()) }
}

pub(super) fn charge(charge: order::Charge) -> Result<Charge, ParseError> {
    let (amount, tax) = (amount_of(charge.price.as_ref())?, charge.tax.as_ref().map(tax));
    Ok(Charge { code: charge.code, amount, tax: tax.transpose()? })
}

pub(super) fn charges_to_wire(charges: &[Charge], terms: Terms) -> Vec<order::Charge> {
    let charge = |charge: &Charge| order::Charge {
        code: charge.code.clone(),
        price: Some(terms.basis.price(charge.amount, terms.currency)),
        tax: charge.tax.map(|it| tax_to_wire(it, terms)),
    };
    charges.iter().map(charge).collect()
}

pub(super) fn amount_of(price: Option<&proto::Price>) -> Result<i64, ParseError> {
    Ok(Money::parse(price.and_then(|price| price.money.as_ref()))?.minor)
}
