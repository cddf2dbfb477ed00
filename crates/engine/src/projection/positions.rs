//! The positions of a partition's inputs, as they travel with the events.

use std::collections::BTreeMap;

/// The name under which the position in the service's own log stands.
pub(crate) const LOG: &str = "log";

/// By source: the last sequence that was handled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Positions(BTreeMap<String, u64>);

impl Positions {
    /// How far that source has been handled.
    pub(crate) fn get(&self, source: &str) -> u64 {
        self.0.get(source).copied().unwrap_or(0)
    }

    /// Notes that a source has been handled up to there; never moves back.
    pub(crate) fn advance(&mut self, source: &str, sequence: u64) {
        match self.0.get_mut(source) {
            Some(known) => *known = sequence.max(*known),
            None => self.set(source, sequence),
        }
    }

    /// Puts a position, wherever it was.
    pub(crate) fn set(&mut self, source: &str, sequence: u64) {
        self.0.insert(source.to_owned(), sequence);
    }

    /// All positions, by source.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(source, sequence)| (source.as_str(), *sequence))
    }

    /// The header's value, without the sources for which `is_left_out` holds: replicas, which a
    /// rebuild reads from the beginning.
    pub(crate) fn to_header(&self, is_left_out: impl Fn(&str) -> bool) -> String {
        let parts: Vec<_> = self
            .iter()
            .filter(|(source, _)| !is_left_out(source))
            .map(|(source, sequence)| format!("{source}={sequence}"))
            .collect();
        parts.join(",")
    }

    /// Takes over what a header says.
    pub(crate) fn advance_to_header(&mut self, header: &str) {
        for (source, sequence) in parse_header(header) {
            self.advance(source, sequence);
        }
    }

    /// All positions as a map.
    pub(crate) fn into_map(self) -> BTreeMap<String, u64> {
        self.0
    }
}

/// Reads `source=sequence,…`; what is not of that form is left out.
pub(crate) fn parse_header(header: &str) -> impl Iterator<Item = (&str, u64)> {
    header.split(',').filter_map(|part| {
        let (source, sequence) = part.split_once('=')?;
        Some((source, sequence.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_the_header_and_replicas_stay_out_of_it() {
        let mut positions = Positions::default();
        positions.advance("inbox.live", 7);
        positions.advance("inbox.live", 3);
        positions.advance("till", 12);
        positions.advance("tariff", 4);
        let header = positions.to_header(|source| source == "tariff");
        assert_eq!(header, "inbox.live=7,till=12");
        let mut read = Positions::default();
        read.advance_to_header(&header);
        assert_eq!((read.get("inbox.live"), read.get("till"), read.get("tariff")), (7, 12, 0));
    }
}
