//! What an order costs, by the lines and charges that it was placed with.

use events::proto::{
    Money, Price, TaxBasis,
    order::{Placed, Tax},
};

/// Lines and charges together, in minor units.
pub(super) fn of_order(placed: &Placed) -> i128 {
    let lines = placed.lines.iter().map(|line| {
        let discounts = line.discounts.iter().map(|it| minor(it.amount.as_ref())).sum::<i128>();
        let goods = i128::from(line.quantity) * price(line.unit_price.as_ref()) - discounts;
        goods + tax(line.unit_price.as_ref(), line.tax.as_ref())
    });
    let charges = placed.charges.iter().map(|charge| {
        price(charge.price.as_ref()) + tax(charge.price.as_ref(), charge.tax.as_ref())
    });
    lines.chain(charges).sum()
}

fn price(price: Option<&Price>) -> i128 {
    minor(price.and_then(|price| price.money.as_ref()))
}

/// The tax that is added to a price.
fn tax(price: Option<&Price>, tax: Option<&Tax>) -> i128 {
    match price.map(Price::tax_basis) {
        Some(TaxBasis::Excluded) => minor(tax.and_then(|tax| tax.amount.as_ref())),
        _ => 0,
    }
}

fn minor(amount: Option<&Money>) -> i128 {
    amount.map_or(0, |amount| i128::from(amount.minor))
}
