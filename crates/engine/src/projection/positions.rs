//! The positions of a partition's inputs, as they travel with the events.
//!
//! The shops of a partition take turns, so that one with many inputs falls behind the others. The
//! position of a source therefore is a sequence up to which everything is handled, and the shops for
//! which that does not hold yet, each with a sequence of its own. In the header of an event that is
//! `inbox.live=110;acme=60`: everything in the lane up to 110 is handled, but of the shop acme only
//! what is up to 60. It says exactly what was handled, however long the backlog of a shop is, and its
//! length follows from the number of shops with a backlog.

use std::{collections::BTreeMap, fmt, str::FromStr};

use protocol::proto;

/// The name under which the position in the service's own log stands.
pub(crate) const LOG: &str = "log";

/// How far a source has been handled: an input of a shop is handled if its sequence is not above
/// [`Position::of`] that shop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// The last sequence that was handled; also all before it, unless `behind` says otherwise.
    pub sequence: u64,
    /// By shop, for shops that are behind: the last sequence up to which its inputs are handled.
    /// Each is below `sequence`.
    pub behind: BTreeMap<String, u64>,
}

impl From<u64> for Position {
    fn from(sequence: u64) -> Self {
        Self { sequence, behind: BTreeMap::new() }
    }
}

impl From<proto::SourcePosition> for Position {
    fn from(position: proto::SourcePosition) -> Self {
        let proto::SourcePosition { sequence, behind } = position;
        Self { sequence, behind: behind.into_iter().collect() }
    }
}

impl From<Position> for proto::SourcePosition {
    fn from(Position { sequence, behind }: Position) -> Self {
        Self { sequence, behind: behind.into_iter().collect() }
    }
}

impl Position {
    /// The sequence up to which the inputs of a shop are handled.
    pub fn of(&self, shop: &str) -> u64 {
        self.behind.get(shop).copied().unwrap_or(self.sequence)
    }

    /// The sequence up to which the inputs of every shop are handled.
    pub fn of_all(&self) -> u64 {
        self.behind.values().copied().fold(self.sequence, u64::min)
    }

    /// Takes over that everything up to `sequence` is handled.
    pub(crate) fn advance(&mut self, sequence: u64) {
        self.sequence = self.sequence.max(sequence);
        for of_shop in self.behind.values_mut() {
            *of_shop = sequence.max(*of_shop);
        }
        let end = self.sequence;
        self.behind.retain(|_, of_shop| *of_shop < end);
    }

    /// The position when, beside what this one says, everything up to `sequence` is handled that
    /// `target` says is handled.
    pub(crate) fn towards(&self, target: &Self, sequence: u64) -> Self {
        let of = |shop: &str| self.of(shop).max(target.of(shop).min(sequence));
        let end = self.sequence.max(target.sequence.min(sequence));
        let shops = self.behind.keys().chain(target.behind.keys());
        let behind = shops.map(|shop| (shop.clone(), of(shop))).filter(|(_, of)| *of < end);
        Self { sequence: end, behind: behind.collect() }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequence, behind } = self;
        write!(f, "{sequence}")?;
        behind.iter().try_for_each(|(shop, sequence)| write!(f, ";{shop}={sequence}"))
    }
}

/// A text that is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a position")]
pub struct PositionError(String);

impl FromStr for Position {
    type Err = PositionError;

    /// Reads what the position displays as: `110;acme=60`.
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (sequence, behind) = text.split_once(';').unwrap_or((text, ""));
        let sequence = sequence.parse().map_err(|_| PositionError(text.to_owned()))?;
        Self::from_parts(sequence, behind)
    }
}

impl Position {
    /// The position with the shops that are behind as `acme=60;other=71`.
    pub(crate) fn from_parts(sequence: u64, behind: &str) -> Result<Self, PositionError> {
        let error = || PositionError(format!("{sequence};{behind}"));
        let of_shop = |part: &str| {
            let (shop, sequence) = part.split_once('=').ok_or_else(error)?;
            Ok((shop.to_owned(), sequence.parse().map_err(|_| error())?))
        };
        let parts = behind.split(';').filter(|part| !part.is_empty());
        Ok(Self { sequence, behind: parts.map(of_shop).collect::<Result<_, _>>()? })
    }

    /// The shops that are behind as `acme=60;other=71`.
    pub(crate) fn behind_text(&self) -> String {
        let parts: Vec<_> =
            self.behind.iter().map(|(shop, sequence)| format!("{shop}={sequence}")).collect();
        parts.join(";")
    }
}

/// By source: how far it has been handled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Positions(BTreeMap<String, Position>);

impl Positions {
    /// The last sequence of that source that was handled; a shop may be behind it.
    pub(crate) fn sequence(&self, source: &str) -> u64 {
        self.0.get(source).map_or(0, |position| position.sequence)
    }

    /// How far that source has been handled.
    pub(crate) fn position(&self, source: &str) -> Position {
        self.0.get(source).cloned().unwrap_or_default()
    }

    /// The sequence up to which the inputs of a shop are handled.
    pub(crate) fn of_shop(&self, source: &str, shop: &str) -> u64 {
        self.0.get(source).map_or(0, |position| position.of(shop))
    }

    /// Notes that a source has been handled up to there; never moves back.
    pub(crate) fn advance(&mut self, source: &str, sequence: u64) {
        match self.0.get_mut(source) {
            Some(known) => known.advance(sequence),
            None => self.set(source, sequence),
        }
    }

    /// Puts a position, wherever it was.
    pub(crate) fn set(&mut self, source: &str, position: impl Into<Position>) {
        match self.0.get_mut(source) {
            Some(known) => *known = position.into(),
            None => _ = self.0.insert(source.to_owned(), position.into()),
        }
    }

    /// All positions, by source.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Position)> {
        self.0.iter().map(|(source, position)| (source.as_str(), position))
    }

    /// The header's value, without the sources for which `is_left_out` holds: replicas, which a
    /// rebuild reads from the beginning.
    pub(crate) fn to_header(&self, is_left_out: impl Fn(&str) -> bool) -> String {
        let parts: Vec<_> = self
            .iter()
            .filter(|(source, _)| !is_left_out(source))
            .map(|(source, position)| format!("{source}={position}"))
            .collect();
        parts.join(",")
    }

    /// Takes over what a header says: of each source that it names, the whole position.
    pub(crate) fn set_to_header(&mut self, header: &str) {
        for part in header.split(',') {
            if let Some((source, position)) = part.split_once('=')
                && let Ok(position) = position.parse::<Position>()
            {
                self.set(source, position);
            }
        }
    }

    /// All positions as a map.
    pub(crate) fn into_map(self) -> BTreeMap<String, Position> {
        self.0
    }
}

/// Reads `service=sequence,…`, the positions that the sender of a command had seen; what is not of
/// that form is left out.
pub(crate) fn parse_after(header: &str) -> impl Iterator<Item = (&str, u64)> {
    header.split(',').filter_map(|part| {
        let (service, sequence) = part.split_once('=')?;
        Some((service, sequence.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str) -> Position {
        text.parse().expect("it is one")
    }

    #[test]
    fn positions_survive_the_header_and_replicas_stay_out_of_it() {
        let mut positions = Positions::default();
        positions.set("inbox.live", position("9;acme=4;b-2=7"));
        positions.advance("till", 12);
        positions.advance("till", 3);
        positions.advance("tariff", 4);
        let header = positions.to_header(|source| source == "tariff");
        assert_eq!(header, "inbox.live=9;acme=4;b-2=7,till=12");
        let mut read = Positions::default();
        read.set("inbox.live", position("8;old=1"));
        read.set_to_header(&header);
        assert_eq!(read.position("inbox.live"), position("9;acme=4;b-2=7"));
        assert_eq!((read.sequence("till"), read.sequence("tariff")), (12, 0));
    }

    #[test]
    fn a_header_that_names_no_source_changes_nothing() {
        let mut positions = Positions::default();
        positions.set("till", position("5;acme=2"));
        let before = positions.clone();
        for header in ["", "till", "till=", "till=x", "till=6;acme", "till=6;acme=x"] {
            positions.set_to_header(header);
            assert_eq!(positions, before, "{header:?}");
        }
    }

    #[test]
    fn a_shop_is_as_far_as_its_own_sequence_or_as_all() {
        let behind = position("9;acme=4");
        assert_eq!((behind.of("acme"), behind.of("other"), behind.of_all()), (4, 9, 4));
        assert_eq!(position("9").of_all(), 9);
    }

    #[test]
    fn what_is_handled_for_all_catches_up_those_behind_it() {
        let mut behind = position("9;acme=4;other=7");
        behind.advance(6);
        assert_eq!(behind, position("9;acme=6;other=7"));
        behind.advance(8);
        assert_eq!(behind, position("9;acme=8;other=8"));
        behind.advance(9);
        assert_eq!(behind, position("9"));
        behind.advance(3);
        assert_eq!(behind, position("9"));
    }

    #[test]
    fn a_position_moves_towards_another_without_passing_it() {
        let target = position("20;acme=12;other=5");
        let (none, some) = (Position::default(), position("10;third=3"));
        assert_eq!(none.towards(&target, 4), position("4"));
        assert_eq!(none.towards(&target, 8), position("8;other=5"));
        assert_eq!(none.towards(&target, 30), target);
        assert_eq!(some.towards(&target, 7), position("10;third=7"));
        assert_eq!(some.towards(&target, 15), position("15;acme=12;other=10"));
    }
}
