//! What is wrong: all of it counted, the first of it shown.

use std::fmt;

use crate::text::number;

/// The findings that are shown one by one; more are counted.
const MAX_SHOWN: usize = 5;

/// What is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    count: u64,
    shown: Vec<String>,
}

impl Findings {
    /// Adds one.
    pub fn add(&mut self, what: impl Into<String>) {
        self.count += 1;
        if self.shown.len() < MAX_SHOWN {
            self.shown.push(what.into());
        }
    }

    /// Adds one unless `holds`.
    pub fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.add(what());
        }
    }

    /// Adds those of another.
    pub fn append(&mut self, other: Self) {
        self.count += other.count;
        let left = MAX_SHOWN.saturating_sub(self.shown.len());
        self.shown.extend(other.shown.into_iter().take(left));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first of them.
    pub fn shown(&self) -> &[String] {
        &self.shown
    }

    /// Writes a line for each that is shown, and one for the rest.
    pub fn write(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        for finding in &self.shown {
            writeln!(f, "{:indent$}- {finding}", "")?;
        }
        match self.count - self.shown.len() as u64 {
            0 => Ok(()),
            more => writeln!(f, "{:indent$}- and {} more", "", number(more)),
        }
    }
}
