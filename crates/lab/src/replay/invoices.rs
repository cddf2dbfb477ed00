//! The rows by invoice.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use anyhow::{Context, Result};
use chrono::NaiveDate;

use super::rows::Row;

/// A text that many rows share.
pub type Text = Arc<str>;

/// The invoices in the order of their first rows.
#[derive(Debug, Default)]
pub struct Invoices {
    /// The rows of all of them.
    pub(super) rows: u64,
    pub(super) all: Vec<Invoice>,
    by_number: HashMap<Text, usize>,
    texts: HashSet<Text>,
}

impl Invoices {
    /// Adds a row. The first row of an invoice has its day and its customer.
    pub fn add(&mut self, row: &Row<'_>) -> Result<()> {
        let at = match self.by_number.get(row.invoice) {
            Some(at) => *at,
            None => self.open(row)?,
        };
        let line = Line {
            code: self.text(row.stock_code),
            description: self.text(row.description),
            quantity: row.quantity,
            price: row.price,
        };
        self.all[at].lines.push(line);
        self.rows += 1;
        Ok(())
    }

    fn open(&mut self, row: &Row<'_>) -> Result<usize> {
        let date = row.time.split(' ').next().unwrap_or_default();
        let day = date.parse().with_context(|| format!("no date: {:?}", row.time))?;
        // The files have customers as numbers with a fraction: `17850.0`.
        let customer = row.customer.split('.').next().map(str::trim).filter(|it| !it.is_empty());
        let invoice = Invoice {
            number: row.invoice.into(),
            day,
            customer: customer.map(|customer| self.text(customer)),
            country: self.text(row.country),
            lines: Vec::new(),
        };
        let at = self.all.len();
        self.by_number.insert(invoice.number.clone(), at);
        self.all.push(invoice);
        Ok(at)
    }

    /// The text, shared with all rows that have it.
    fn text(&mut self, text: &str) -> Text {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let text = Text::from(text);
        self.texts.insert(text.clone());
        text
    }
}

/// What an invoice is about.
pub(super) enum Kind {
    Order,
    Adjustment,
    Return,
    Ignored,
}

/// An invoice.
#[derive(Debug)]
pub(super) struct Invoice {
    pub(super) number: Text,
    pub(super) day: NaiveDate,
    pub(super) customer: Option<Text>,
    pub(super) country: Text,
    pub(super) lines: Vec<Line>,
}

/// A line of an invoice.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) code: Text,
    pub(super) description: Text,
    pub(super) quantity: i64,
    pub(super) price: i64,
}

impl Invoice {
    /// What it is about.
    pub(super) fn kind(&self) -> Kind {
        let is_sold = |line: &Line| line.quantity > 0 && line.price > 0;
        if self.number.starts_with('A') {
            Kind::Ignored
        } else if self.number.starts_with('C') {
            Kind::Return
        } else if self.lines.iter().any(is_sold) {
            Kind::Order
        } else {
            Kind::Adjustment
        }
    }
}

impl Line {
    /// Whether it is about goods: five digits and letters.
    pub(super) fn is_product(&self) -> bool {
        let (digits, letters) = self.code.as_bytes().split_at(self.code.len().min(5));
        digits.len() == 5
            && digits.iter().all(u8::is_ascii_digit)
            && letters.iter().all(u8::is_ascii_alphabetic)
    }
}
