//! The positions of a partition's inputs, as they travel with the last message of a batch.

use std::collections::BTreeMap;

/// By source: the last sequence that was handled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Positions(pub(crate) BTreeMap<String, u64>);

impl Positions {
    /// How far that source has been handled.
    pub(crate) fn get(&self, source: &str) -> u64 {
        self.0.get(source).copied().unwrap_or(0)
    }

    /// Notes that a source has been handled up to there; never moves back.
    pub(crate) fn advance(&mut self, source: &str, sequence: u64) {
        match self.0.get_mut(source) {
            Some(known) => *known = sequence.max(*known),
            None => {
                self.0.insert(source.to_owned(), sequence);
            }
        }
    }

    /// The header's value, without the sources that only feed copies: after a rebuild those are
    /// read from the beginning.
    pub(crate) fn to_header(&self, is_copy: impl Fn(&str) -> bool) -> String {
        let parts: Vec<_> = self
            .0
            .iter()
            .filter(|(source, _)| !is_copy(source))
            .map(|(source, sequence)| format!("{source}={sequence}"))
            .collect();
        parts.join(",")
    }

    /// Takes over what a header says.
    pub(crate) fn advance_to_header(&mut self, header: &str) {
        for part in header.split(',') {
            if let Some((source, sequence)) = part.split_once('=')
                && let Ok(sequence) = sequence.parse()
            {
                self.advance(source, sequence);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_the_header_and_copies_stay_out_of_it() {
        let mut positions = Positions::default();
        positions.advance("inbox.live", 7);
        positions.advance("inbox.live", 3);
        positions.advance("order", 12);
        positions.advance("catalog", 4);
        let header = positions.to_header(|source| source == "catalog");
        assert_eq!(header, "inbox.live=7,order=12");
        let mut read = Positions::default();
        read.advance_to_header(&header);
        assert_eq!((read.get("inbox.live"), read.get("order"), read.get("catalog")), (7, 12, 0));
    }
}
