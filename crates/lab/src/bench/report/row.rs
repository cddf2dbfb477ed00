//! The lines of a table: a name, what is expected, and a figure for each column.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use audit::text::number;

use crate::figures::time;

/// The columns: name, expectation, and one for each setup.
pub(super) const NAME_WIDTH: usize = 34;
pub(super) const EXPECTED_WIDTH: usize = 10;
pub(super) const VALUE_WIDTH: usize = 10;
pub(super) const RATIO_WIDTH: usize = 7;
/// Shown behind a figure that has an expectation.
pub(super) const MET: &str = "✓";
pub(super) const MISSED: &str = "✗";

/// How a figure is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    Share,
    Millis,
    /// Milliseconds, shown as microseconds.
    Micros,
    Megabytes,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Count => number(value.round() as i64),
            Self::Share => format!("{:.1} %", value * 100.0),
            Self::Millis => time(Duration::from_secs_f64(value.max(0.0) / 1000.0)),
            Self::Micros => format!("{:.1} µs", value * 1000.0),
            Self::Megabytes => format!("{} MB", number(value.round() as i64)),
        }
    }
}

/// What is expected of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Expected {
    Nothing,
    AtLeast(f64),
    AtMost(f64),
}

impl Expected {
    fn show(self, unit: Unit) -> String {
        // As short as they were set: 50 %, and not 50.0 %.
        let show = |value: f64| unit.show(value).replace(".0 ", " ");
        match self {
            Self::Nothing => String::new(),
            Self::AtLeast(least) => format!("≥ {}", show(least)),
            Self::AtMost(most) => format!("≤ {}", show(most)),
        }
    }

    /// The mark behind a figure.
    fn mark(self, value: f64) -> &'static str {
        let is_met = match self {
            Self::Nothing => return "",
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        };
        if is_met { MET } else { MISSED }
    }
}

/// A figure, and its ratio to the limit that was measured in the same run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Cell {
    pub(super) value: Option<f64>,
    ratio: String,
}

impl Cell {
    pub(super) fn of(value: Option<f64>) -> Self {
        Self { value, ratio: String::new() }
    }

    /// A throughput as a share of the limit.
    pub(super) fn share(value: f64, share: f64) -> Self {
        Self { value: Some(value), ratio: format!("{:.0} %", share * 100.0) }
    }

    /// A time as a multiple of the limit.
    pub(super) fn times(value: f64, limit: f64) -> Self {
        // As many digits as there is space for.
        let ratio = match value / limit {
            multiple @ ..100.0 => format!("{multiple:.1} ×"),
            multiple => format!("{multiple:.0} ×"),
        };
        Self { value: Some(value), ratio }
    }
}

/// A line of the table, with a cell for each setup.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: Unit,
    pub(super) expected: Expected,
    pub(super) cells: Vec<Cell>,
}

impl Row {
    /// Whether nobody measured it.
    pub(super) fn is_empty(&self) -> bool {
        self.cells.iter().all(|cell| cell.value.is_none())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, expected, cells } = self;
        let mut line = format!("  {name:<NAME_WIDTH$}{:>EXPECTED_WIDTH$}", expected.show(*unit));
        for Cell { value, ratio } in cells {
            let shown = value.map_or_else(|| "–".to_owned(), |value| unit.show(value));
            let mark = value.map_or("", |value| expected.mark(value));
            // The spaces keep columns apart, however wide a figure is.
            let (value_width, ratio_width) = (VALUE_WIDTH - 1, RATIO_WIDTH - 1);
            write!(line, " {shown:>value_width$} {ratio:>ratio_width$}{mark:>2}")?;
        }
        f.write_str(line.trim_end())
    }
}
