//! What a replay does, from the rows alone: no I/O, no clock.
//!
//! Invoices in the order of their first rows become orders, and documents of the ERP, by day:
//!
//! | in the file | becomes |
//! |---|---|
//! | a stock code of five digits and letters | a product of the catalogue |
//! | another stock code on an order | a charge: money, no stock |
//! | an invoice with a line of quantity and price above 0 | an order; what is at price 0 comes free |
//! | another invoice | adjustments by the ERP |
//! | an invoice `C…` | a return: adjustments by the ERP, of the opposite quantity |
//! | an invoice `A…` | nothing |

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
};

use anyhow::Result;
use chrono::NaiveDate;
use clap::ValueEnum;
use serde::Serialize;

use super::{
    invoices::{Invoice, Invoices, Kind, Line, Text},
    rows,
};

/// The day that the sequences of documents count from: all are larger than that of the opening
/// counts, which is 1, and are the same whatever other files are replayed.
const EPOCH: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("is a day");
/// The most characters of a title and of a reason that the gateway takes.
const MOST_CHARACTERS: usize = 200;

/// What the rows come to. The names are those of an independent count of the same files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it, and are what they are compared by")]
pub struct Figures {
    pub rows: u64,
    pub invoices: u64,
    pub orders: u64,
    pub guest_orders: u64,
    pub customers: u64,
    pub order_lines: u64,
    pub order_units: i64,
    pub order_total_pence: i64,
    pub order_lines_dropped: u64,
    pub charge_lines: u64,
    pub charge_total_pence: i64,
    pub adjustment_invoices: u64,
    pub adjustment_lines: u64,
    pub return_invoices: u64,
    pub return_lines: u64,
    pub ignored_invoices: u64,
    pub skus: u64,
    pub sku_demand_max: i64,
    pub units_adjusted_net: i64,
}

/// How much stock there is before the first day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stock {
    /// All that is asked for, and all that is adjusted away: every order can be filled
    Ample,
    /// 70 % of that: many orders cannot
    Tight,
}

impl Stock {
    /// How many units there are of what is needed.
    pub fn of(self, needed: i64) -> i64 {
        match self {
            Self::Ample => needed,
            Self::Tight => needed * 70 / 100,
        }
    }
}

/// A product of the catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Product {
    /// Its first description; none when all are blank.
    pub title: Option<Text>,
    /// Its first price above 0, in pence; 0 when there is none.
    pub price: i64,
    /// The units on orders.
    pub demand: i64,
    /// The units that adjustments add.
    pub added: i64,
    /// The units that adjustments take.
    pub taken: i64,
}

impl Product {
    /// The units that are counted before the first day.
    pub fn opening(&self, stock: Stock) -> i64 {
        stock.of(self.demand + self.taken)
    }

    /// The units that there were in all: what is sold of them has left at the end.
    pub fn had(&self, stock: Stock) -> i64 {
        self.opening(stock) + self.added - self.taken
    }
}

/// A line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderLine {
    /// The product.
    pub sku: Text,
    /// The units; more than 0.
    pub quantity: i64,
    /// The price of one as sold, in pence.
    pub unit_price: i64,
}

/// Money on an order that is not for goods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Charge {
    /// The stock code.
    pub code: Text,
    /// The amount in pence.
    pub amount: i64,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The number of the invoice.
    pub invoice: Text,
    /// The customer; none for a guest.
    pub customer: Option<Text>,
    /// Where the customer is.
    pub country: Text,
    /// What is sold, in the order of the file.
    pub lines: Vec<OrderLine>,
    /// What else is charged.
    pub charges: Vec<Charge>,
    /// Lines and charges together, in pence.
    pub total: i64,
}

impl Order {
    /// The units of a product on all lines.
    pub fn units(&self, sku: &str) -> i64 {
        self.lines.iter().filter(|line| &*line.sku == sku).map(|line| line.quantity).sum()
    }
}

/// A stock adjustment of the ERP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The invoice.
    pub invoice: Text,
    /// The index of the line in it.
    pub line: usize,
    /// The product.
    pub sku: Text,
    /// The units that are added.
    pub delta: i64,
    /// Why.
    pub reason: String,
}

/// What happens on a day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Day {
    /// The orders, in the order of the file.
    pub orders: Vec<Order>,
    /// The adjustments and returns.
    pub documents: Vec<Document>,
}

impl Day {
    /// The units of each product that its orders ask for, and that its adjustments take.
    pub fn needs(&self) -> BTreeMap<Text, i64> {
        let mut needs = BTreeMap::new();
        for line in self.orders.iter().flat_map(|order| &order.lines) {
            *needs.entry(line.sku.clone()).or_default() += line.quantity;
        }
        for document in self.documents.iter().filter(|document| document.delta < 0) {
            *needs.entry(document.sku.clone()).or_default() -= document.delta;
        }
        needs
    }
}

/// The connector's sequence of everything on a day.
pub fn sequence(day: NaiveDate) -> u64 {
    (day - EPOCH).num_days().unsigned_abs()
}

/// What a replay does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What it comes to.
    pub figures: Figures,
    /// The products, by SKU.
    pub products: BTreeMap<Text, Product>,
    /// The days, in their order.
    pub days: BTreeMap<NaiveDate, Day>,
}

impl Plan {
    /// Reads day files and plans their replay.
    pub fn read(files: &[PathBuf]) -> Result<Self> {
        let mut invoices = Invoices::default();
        for file in files {
            rows::read(file, |row| invoices.add(row))?;
        }
        Ok(Self::new(&invoices))
    }

    /// Plans the replay of invoices.
    pub fn new(invoices: &Invoices) -> Self {
        let mut plan = Self::default();
        plan.figures.rows = invoices.rows;
        plan.figures.invoices = invoices.all.len() as u64;
        let mut customers = HashSet::new();
        for invoice in &invoices.all {
            plan.put_products(invoice);
            match invoice.kind() {
                Kind::Order => {
                    customers.extend(&invoice.customer);
                    plan.add_order(invoice);
                }
                Kind::Adjustment => plan.add_adjustments(invoice),
                Kind::Return => plan.add_return(invoice),
                Kind::Ignored => plan.figures.ignored_invoices += 1,
            }
        }
        let products = plan.products.values();
        plan.figures.skus = plan.products.len() as u64;
        plan.figures.customers = customers.len() as u64;
        plan.figures.sku_demand_max = products.clone().map(|it| it.demand).max().unwrap_or(0);
        plan.figures.units_adjusted_net = products.map(|it| it.added - it.taken).sum();
        plan
    }

    /// How many adjustments and returns there are.
    pub fn documents(&self) -> u64 {
        self.figures.adjustment_lines + self.figures.return_lines
    }

    fn put_products(&mut self, invoice: &Invoice) {
        for line in invoice.lines.iter().filter(|line| line.is_product()) {
            let product = self.products.entry(line.code.clone()).or_default();
            if product.title.is_none() && !line.description.trim().is_empty() {
                product.title = Some(line.description.clone());
            }
            if product.price <= 0 {
                product.price = line.price.max(0);
            }
        }
    }

    fn add_order(&mut self, invoice: &Invoice) {
        let figures = &mut self.figures;
        figures.orders += 1;
        figures.guest_orders += u64::from(invoice.customer.is_none());
        let mut order = Order {
            invoice: invoice.number.clone(),
            customer: invoice.customer.clone(),
            country: invoice.country.clone(),
            lines: Vec::with_capacity(invoice.lines.len()),
            charges: Vec::new(),
            total: 0,
        };
        for line in &invoice.lines {
            if line.quantity <= 0 {
                figures.order_lines_dropped += 1;
                continue;
            }
            let Line { code, quantity, price, .. } = line.clone();
            let amount = quantity * price;
            order.total += amount;
            if line.is_product() {
                figures.order_lines += 1;
                figures.order_units += quantity;
                self.products.entry(code.clone()).or_default().demand += quantity;
                order.lines.push(OrderLine { sku: code, quantity, unit_price: price });
            } else {
                figures.charge_lines += 1;
                figures.charge_total_pence += amount;
                order.charges.push(Charge { code, amount });
            }
        }
        figures.order_total_pence += order.total;
        self.days.entry(invoice.day).or_default().orders.push(order);
    }

    fn add_adjustments(&mut self, invoice: &Invoice) {
        self.figures.adjustment_invoices += 1;
        self.figures.adjustment_lines += self.add_documents(invoice, |line| {
            let reason = words(&line.description).unwrap_or_else(|| "no reason given".to_owned());
            (line.quantity, reason)
        });
    }

    fn add_return(&mut self, invoice: &Invoice) {
        self.figures.return_invoices += 1;
        let reason = format!("return {}", invoice.number);
        self.figures.return_lines +=
            self.add_documents(invoice, |line| (-line.quantity, reason.clone()));
    }

    /// Adds a document for each product of the invoice, and returns how many these are.
    fn add_documents(&mut self, invoice: &Invoice, change: impl Fn(&Line) -> (i64, String)) -> u64 {
        let day = self.days.entry(invoice.day).or_default();
        let before = day.documents.len();
        for (index, line) in invoice.lines.iter().enumerate().filter(|(_, it)| it.is_product()) {
            let (delta, reason) = change(line);
            let product = self.products.entry(line.code.clone()).or_default();
            product.added += delta.max(0);
            product.taken += (-delta).max(0);
            let (invoice, sku) = (invoice.number.clone(), line.code.clone());
            day.documents.push(Document { invoice, line: index, sku, delta, reason });
        }
        (day.documents.len() - before) as u64
    }
}

/// Words as the gateway takes them: on one line, and not too many; none when they are blank.
pub(super) fn words(text: &str) -> Option<String> {
    let printable = text.trim().chars().map(|it| if it.is_control() { ' ' } else { it });
    Some(printable.take(MOST_CHARACTERS).collect()).filter(|words: &String| !words.is_empty())
}
