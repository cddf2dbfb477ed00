//! The figures of the lines of an ERP as a table.

use std::fmt;

use audit::text::number;

use super::{
    head,
    row::{Cell, Expected, Row, Unit},
};
use crate::bench::figures::{Erp, Uploaded};

/// Lines a second.
const LINES_PER_S: f64 = 60_000.0;

impl fmt::Display for Erp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit_per_s, http, nats } = self;
        writeln!(
            f,
            "ERP: {} stock lines in one upload over HTTP, whose results come while it runs, and as many in messages by\n\
             NATS. Percentages: of raw batches of messages in the same run, with {}/s.",
            number(http.lines.count as i64),
            number(limit_per_s.round() as i64)
        )?;
        writeln!(f, "{}", head(&["HTTP", "NATS"]))?;
        let row = |name: &str, unit, expected, cell: &dyn Fn(&Uploaded) -> Cell| Row {
            name: name.to_owned(),
            unit,
            expected,
            cells: vec![cell(http), cell(nats)],
        };
        let none = Expected::Nothing;
        let memory = |memory: Option<u64>| Cell::of(memory.map(|memory| memory as f64));
        let rate = |it: &Uploaded| Cell::share(it.lines.per_s, it.lines.per_s / limit_per_s);
        let rows = [
            row("lines/s", Unit::Count, Expected::AtLeast(LINES_PER_S), &rate),
            row("CPU time of the services, each", Unit::Micros, none, &|it| {
                Cell::of(it.lines.cpu_ms)
            }),
            row("memory of them: first quarter", Unit::Megabytes, none, &|it| {
                memory(it.memory_of_first_quarter_mb)
            }),
        ];
        for row in rows {
            writeln!(f, "{row}")?;
        }
        let last = row("  last quarter of the lines", Unit::Megabytes, none, &|it| {
            memory(it.memory_of_last_quarter_mb)
        });
        write!(f, "{last}")
    }
}
