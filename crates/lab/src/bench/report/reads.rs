//! The figures of reads as a table.

use std::fmt;

use super::{
    head,
    row::{Cell, Expected, Row, Unit},
};
use crate::bench::figures::{Processed, Reads};

/// Reads of one product or order a second.
const ONE_PER_S: f64 = 15_000.0;
/// Lists of a hundred a second.
const LISTS_PER_S: f64 = 1_500.0;
/// What it may cost to check who asks, of a read of one product.
const AUTHENTICATION: f64 = 0.05;

impl fmt::Display for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nothing, with_key, product, order, products, orders } = self;
        writeln!(
            f,
            "Reads over HTTP of one product, one order, a hundred products and a hundred orders; beside a path that is \
             no route.\nPercentages: of that in the same run."
        )?;
        writeln!(
            f,
            "{}",
            head(&["no route", "one product", "one order", "100 products", "100 orders"])
        )?;
        let row = |name: &str, unit, expected, cells: Vec<Cell>| Row {
            name: name.to_owned(),
            unit,
            expected,
            cells,
        };
        let rate = |it: &Processed| Cell::share(it.per_s, it.per_s / nothing.per_s);
        let limit = vec![Cell::of(Some(nothing.per_s))];
        writeln!(f, "{}", row("refused/s", Unit::Count, Expected::Nothing, limit))?;
        let ones = vec![Cell::default(), rate(product), rate(order)];
        writeln!(f, "{}", row("read/s", Unit::Count, Expected::AtLeast(ONE_PER_S), ones))?;
        let mut lists = vec![Cell::default(); 3];
        lists.extend([rate(products), rate(orders)]);
        writeln!(f, "{}", row("lists/s", Unit::Count, Expected::AtLeast(LISTS_PER_S), lists))?;
        let cpu = [nothing, product, order, products, orders].map(|it| Cell::of(it.cpu_ms)).into();
        let name = "CPU time of the services, each";
        writeln!(f, "{}", row(name, Unit::Micros, Expected::Nothing, cpu))?;
        // Both paths are refused in the same way; only one of them asks for a key.
        let key = with_key.cpu_ms.zip(nothing.cpu_ms).map(|(with, without)| with - without);
        let share = key.zip(product.cpu_ms).map(|(key, product)| key / product);
        let cells = vec![Cell::default(), Cell::of(share)];
        let name = "  of it to check the API key";
        write!(f, "{}", row(name, Unit::Share, Expected::AtMost(AUTHENTICATION), cells))
    }
}
