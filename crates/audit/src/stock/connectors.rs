//! The documents of each connector about one stock: which of them a count contains.

use std::collections::HashMap;

use super::change::{Moment, Source};

/// The documents about a stock, by the number of their connector.
#[derive(Debug, Default)]
pub(super) struct Connectors(HashMap<u32, Documents>);

/// The documents of one connector.
#[derive(Debug, Default)]
struct Documents {
    /// The sequence of its newest count.
    counted: Option<(u32, u64)>,
    /// As of when that was, in milliseconds.
    as_of: Option<i64>,
    /// What has moved behind it, by the sequence of the connector.
    moved: Vec<Movement>,
}

#[derive(Debug)]
struct Movement {
    sequence: (u32, u64),
    units: i64,
    millis: i64,
}

impl Source {
    /// By what its documents are newer or older.
    fn order(self) -> (u32, u64) {
        (self.epoch, self.sequence)
    }
}

impl Connectors {
    /// Whether a count contains what moved: a newer one of the same connector, or one of another that is
    /// as of that moment or a later one. What does not say when it moved is of the moment when it came.
    pub(super) fn have_counted(&self, source: Source, moment: Moment) -> bool {
        self.was_counted_after(source) || self.was_counted_by_another(source, moment)
    }

    /// Whether the connector has counted after that sequence.
    fn was_counted_after(&self, source: Source) -> bool {
        let counted = self.0.get(&source.connector).and_then(|documents| documents.counted);
        counted.is_some_and(|counted| source.order() <= counted)
    }

    fn was_counted_by_another(&self, source: Source, moment: Moment) -> bool {
        let is_later = |documents: &Documents| {
            moment.is_said && documents.as_of.is_some_and(|as_of| as_of >= moment.millis)
        };
        self.others(source).any(is_later)
    }

    fn others(&self, source: Source) -> impl Iterator<Item = &Documents> {
        let others = self.0.iter().filter(move |(other, _)| **other != source.connector);
        others.map(|(_, documents)| documents)
    }

    /// Units have come by a document, or left. What only another connector's count contains is kept too:
    /// a late count of its own does not.
    pub(super) fn moved(&mut self, source: Source, moment: Moment, units: i64) {
        if !self.was_counted_after(source) {
            let (sequence, millis) = (source.order(), moment.millis);
            let documents = self.0.entry(source.connector).or_default();
            documents.moved.push(Movement { sequence, units, millis });
        }
    }

    /// The units on hand after a count, and whether it is older than another. It contains neither what is
    /// newer by the sequence of its connector, nor what others moved after the time as of which it is.
    pub(super) fn count(&mut self, source: Source, moment: Moment, quantity: i64) -> (i64, bool) {
        let is_stale = self.have_counted(source, moment);
        let later = self.others(source).flat_map(|documents| &documents.moved);
        let later = later.filter(|it| moment.is_said && it.millis > moment.millis);
        let later = later.map(|it| it.units).sum::<i64>();
        let documents = self.0.entry(source.connector).or_default();
        documents.counted = Some(source.order());
        documents.as_of = Some(moment.millis);
        documents.moved.retain(|it| it.sequence > source.order());
        let newer = documents.moved.iter().map(|it| it.units).sum::<i64>();
        (quantity + later + newer, is_stale)
    }
}
