//! The reconciliation: what the files say, what the shop was answered, and what the installation
//! says in the end must agree.

use std::collections::HashMap;

use audit::Findings;
use events::{
    http::{LevelView, OrderGroup},
    money::Currency,
};

use super::{
    observed::Observed,
    observed::differences,
    orders::CURRENCY,
    plan::{Figures, Plan, Product, Stock},
    trade::Trade,
};

/// Something that must agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is counted.
    pub claim: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// What it must be.
    pub expected: i64,
    /// What it is.
    pub actual: i64,
    /// Where it differs.
    pub findings: Findings,
}

/// What is counted in a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Number,
    /// Pence.
    Money,
}

impl Check {
    pub(super) fn new(claim: &'static str, expected: i64, actual: i64) -> Self {
        Self { claim, unit: Unit::Number, expected, actual, findings: Findings::default() }
    }

    fn money(claim: &'static str, expected: i64, actual: i64) -> Self {
        Self { unit: Unit::Money, ..Self::new(claim, expected, actual) }
    }

    fn with(self, findings: &Findings) -> Self {
        Self { findings: findings.clone(), ..self }
    }

    /// Whether it agrees.
    pub fn is_ok(&self) -> bool {
        self.expected == self.actual
    }
}

/// Checks everything. `reported` are the figures as the installation reports them.
pub(super) fn checks(
    plan: &Plan,
    reported: &Figures,
    stock: Stock,
    trade: &Trade,
    observed: &Observed,
) -> Vec<Check> {
    let figures = differences(&plan.figures, reported);
    let claim = "figures of the files that come back otherwise";
    let mut checks = vec![Check::new(claim, 0, figures.count() as i64).with(&figures)];
    checks.extend(orders(plan, stock, trade, observed));
    checks.extend(money(plan, stock, trade, observed));
    checks.extend(levels(plan, stock, trade, observed));
    checks
}

fn orders(plan: &Plan, stock: Stock, trade: &Trade, observed: &Observed) -> Vec<Check> {
    let orders = plan.figures.orders as i64;
    // What was there before is not of this replay, except the orders that were known.
    let counted = |is_meant: fn(&OrderGroup) -> bool, known: u64| -> i64 {
        let sum = |groups: &[OrderGroup]| -> i64 {
            groups.iter().filter(|group| is_meant(group)).map(|group| group.orders).sum()
        };
        sum(&observed.totals.orders.groups) - sum(&trade.before.orders.groups) + known as i64
    };
    let (paid, out_of_stock) = (trade.paid.orders as i64, trade.out_of_stock.orders as i64);
    let explained = out_of_stock - trade.wrong_shortages.count() as i64;
    let ended = match stock {
        Stock::Ample => Check::new("orders that are paid", orders, paid),
        Stock::Tight => {
            let claim = "orders that are paid, or cancelled for stock";
            Check::new(claim, orders, paid + out_of_stock)
        }
    };
    let mut checks = vec![
        Check::new("orders that the order service has", orders, counted(|_| true, trade.known)),
        ended.with(&trade.wrong_ends),
        Check::new(
            "orders that are paid, by the order service",
            paid,
            counted(OrderGroup::is_paid, trade.known_paid.orders),
        ),
        Check::new(
            "orders that come back as they were sold, to the last line and penny",
            orders,
            trade.placed.len() as i64 - trade.wrong_orders.count() as i64,
        )
        .with(&trade.wrong_orders),
    ];
    if stock == Stock::Tight {
        let claim = "orders cancelled for stock that name what there was too little of";
        checks.push(Check::new(claim, out_of_stock, explained).with(&trade.wrong_shortages));
    }
    checks
}

fn money(plan: &Plan, stock: Stock, trade: &Trade, observed: &Observed) -> Vec<Check> {
    let totals = &observed.totals;
    let paid = |groups: &[OrderGroup]| -> i64 {
        let paid = groups.iter().filter(|group| group.is_paid());
        paid.map(|group| group.total.minor).sum()
    };
    // What was there before is not of this replay, except the orders that were known.
    let known = trade.known_paid.total;
    let paid = paid(&totals.orders.groups) - paid(&trade.before.orders.groups) + known;
    let payments = totals.payments.of(currency());
    let captured = payments.captured - trade.before.payments.of(currency()).captured + known;
    let (claim, expected) = match stock {
        Stock::Ample => {
            ("money captured: the total of all invoices", plan.figures.order_total_pence)
        }
        Stock::Tight => ("money captured: the total of the paid orders", trade.paid.total),
    };
    vec![
        Check::money(claim, expected, captured),
        Check::money("money of the paid orders, by the order service", trade.paid.total, paid),
        Check::money(
            "money kept, by the payment provider's own ledger",
            payments.captured - payments.refunded,
            payments.provider_net,
        ),
        Check::money("money paid back", 0, payments.refunded),
        Check::money("money set aside, and payments under way", 0, totals.unsettled_payments()),
    ]
}

/// The currency of the replay.
fn currency() -> Currency {
    Currency::parse(CURRENCY).unwrap_or_else(|error| unreachable!("{error}"))
}

/// The checks that are made of each SKU, and hold for so many.
fn levels(plan: &Plan, stock: Stock, trade: &Trade, observed: &Observed) -> Vec<Check> {
    let applied = (trade.documents.applied + trade.documents.known) as i64;
    let skus = plan.figures.skus as i64;
    let levels: HashMap<&str, &LevelView> =
        observed.levels.iter().map(|level| (level.sku.as_str(), level)).collect();
    let of = |units: &HashMap<String, i64>, sku: &str| units.get(sku).copied().unwrap_or(0);
    let none = || Check::new("", skus, 0);
    let mut on_hand =
        Check { claim: "SKUs whose on-hand is opening + adjustments − units", ..none() };
    let mut moved =
        Check { claim: "SKUs whose on-hand changed by what the ERP booked now", ..none() };
    let mut promised =
        Check { claim: "SKUs of which nothing sold is left to be shipped", ..none() };
    let mut left = Check { claim: left_claim(stock), ..none() };
    let mut bounded = Check { claim: "SKUs that sold no more than they ever had", ..none() };
    let claim = "SKUs that ran out, of which no more can have been left than was reported";
    let mut short = Check::new(claim, trade.left.len() as i64, 0);
    for (sku, product) in &plan.products {
        let Some(level) = levels.get(&**sku) else {
            on_hand.findings.add(format!("{sku} has no stock level"));
            continue;
        };
        let (before, allocated) = trade.levels_before.get(&**sku).copied().unwrap_or_default();
        let sold = of(&trade.sold, sku);
        moved.expect(sku, before + of(&trade.moved, sku), level.on_hand);
        on_hand.expect(sku, product.had(stock) - sold, level.on_hand);
        promised.expect(sku, allocated, level.allocated);
        let gone = match stock {
            Stock::Ample => product.demand,
            Stock::Tight => sold,
        };
        // The ERP may have counted below what is sold.
        left.expect(sku, (product.had(stock) - gone).max(0), level.available);
        bounded.expect_at_most(sku, ever_had(product, stock), sold);
        if let Some(reported) = trade.left.get(&**sku) {
            // Nothing that is sold comes back in a replay; only the ERP adds units.
            short.expect_at_most(sku, *reported, level.on_hand - product.added);
        }
    }
    let documents = plan.documents() as i64;
    let shipped = (trade.shipments.applied + trade.shipments.known) as i64;
    let mut checks = vec![
        Check::new("adjustments and returns of the ERP that are booked", documents, applied)
            .with(&trade.documents.refused),
        Check::new("lines of paid orders that are shipped", trade.sold_lines as i64, shipped)
            .with(&trade.shipments.refused),
        Check::new("SKUs with a stock level", skus, reported_levels(plan, observed)),
        moved,
        promised,
        Check::new("units held for orders that are not settled", 0, observed.totals.inventory.held),
    ];
    // What other files have brought and taken is not in these.
    if !trade.follows_other_files {
        checks.extend([on_hand, left]);
        if stock == Stock::Tight {
            checks.extend([bounded, short]);
        }
    }
    checks
}

fn reported_levels(plan: &Plan, observed: &Observed) -> i64 {
    let levels = observed.levels.iter();
    levels.filter(|level| plan.products.contains_key(level.sku.as_str())).count() as i64
}

fn left_claim(stock: Stock) -> &'static str {
    match stock {
        Stock::Ample => "SKUs that have left opening + adjustments − units sold",
        Stock::Tight => "SKUs that have left opening + adjustments − units paid for",
    }
}

/// The most units that there can have been.
fn ever_had(product: &Product, stock: Stock) -> i64 {
    product.opening(stock) + product.added
}

impl Check {
    /// Takes in a SKU that must have so many units.
    fn expect(&mut self, sku: &str, expected: i64, actual: i64) {
        if expected == actual {
            self.actual += 1;
        } else {
            self.findings.add(format!("{sku} has {actual}, not {expected}"));
        }
    }

    /// Takes in a SKU that must not have more units.
    fn expect_at_most(&mut self, sku: &str, most: i64, actual: i64) {
        if actual <= most {
            self.actual += 1;
        } else {
            self.findings.add(format!("{sku} has {actual}, of at most {most}"));
        }
    }
}

#[cfg(test)]
mod tests;
