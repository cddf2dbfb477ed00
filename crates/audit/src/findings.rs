//! What is wrong: all of it counted, the first of it told.

use std::fmt;

use crate::text::number;

/// Findings that are told one by one; more are counted.
const TOLD: usize = 5;

/// What is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    count: u64,
    told: Vec<String>,
}

impl Findings {
    /// Adds one.
    pub fn add(&mut self, what: impl Into<String>) {
        self.count += 1;
        if self.told.len() < TOLD {
            self.told.push(what.into());
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
        let room = TOLD.saturating_sub(self.told.len());
        self.told.extend(other.told.into_iter().take(room));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first of them.
    pub fn told(&self) -> &[String] {
        &self.told
    }

    /// Writes a line for each that is told, and one for the rest.
    pub fn write(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        for finding in &self.told {
            writeln!(f, "{:indent$}- {finding}", "")?;
        }
        match self.count - self.told.len() as u64 {
            0 => Ok(()),
            more => writeln!(f, "{:indent$}- and {} more", "", number(more)),
        }
    }
}
