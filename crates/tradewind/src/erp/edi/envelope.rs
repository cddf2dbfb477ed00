//! Whether a file is complete: each trailer counts what stands before it, and repeats the reference of its
//! header.

use super::{EdiError, Segment, tokens::Standard};

/// A header and its trailer.
#[derive(Debug, PartialEq, Eq)]
struct Level {
    header: &'static str,
    trailer: &'static str,
    /// The element of the header with its reference. That of the trailer is its second.
    reference: usize,
    /// Whether what it holds may stand without it.
    is_optional: bool,
}

const fn level(header: &'static str, trailer: &'static str, reference: usize) -> Level {
    Level { header, trailer, reference, is_optional: false }
}

/// Of X12 (X12.5, X12.6): interchange, functional group, transaction set.
const X12: [Level; 3] = [level("ISA", "IEA", 13), level("GS", "GE", 6), level("ST", "SE", 2)];
/// Of EDIFACT (ISO 9735): interchange, group, message.
const EDIFACT: [Level; 3] = [
    level("UNB", "UNZ", 5),
    Level { is_optional: true, ..level("UNG", "UNE", 5) },
    level("UNH", "UNT", 1),
];
/// The level of documents. Their trailers count segments, those of the others what they hold.
const DOCUMENT: usize = 2;
/// Segments of X12 between an interchange and its groups, which nothing counts (X12.5, X12.56).
const ACKNOWLEDGEMENTS: [&str; 2] = ["TA1", "ISB"];

/// Where a segment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It begins a document.
    Document,
    /// It is within one.
    Within,
    /// It ends one.
    End,
    /// It is of the envelope around documents.
    Envelope,
}

/// What has begun and not ended.
struct Open {
    level: usize,
    reference: String,
    /// What stands in it, segments or documents or groups.
    count: u64,
    position: u64,
}

/// Follows the envelope of a file.
pub(super) struct Envelope {
    levels: &'static [Level; 3],
    open: Vec<Open>,
    position: u64,
}

impl Envelope {
    pub(super) fn new(standard: Standard) -> Self {
        let levels = match standard {
            Standard::X12 => &X12,
            Standard::Edifact => &EDIFACT,
        };
        Self { levels, open: Vec::new(), position: 0 }
    }

    /// Takes the next segment.
    pub(super) fn take(&mut self, segment: &Segment) -> Result<Place, EdiError> {
        self.position = segment.position;
        let inner = self.open.last().map(|open| open.level);
        if inner == Some(DOCUMENT)
            && let Some(open) = self.open.last_mut()
        {
            open.count += 1;
        }
        let header = self.levels.iter().position(|level| level.header == segment.tag);
        if let Some(level) = header.filter(|level| self.may_begin(inner, *level)) {
            if let Some(open) = self.open.last_mut() {
                open.count += 1;
            }
            let reference = segment.value(self.levels[level].reference, 1).to_owned();
            let count = u64::from(level == DOCUMENT);
            self.open.push(Open { level, reference, count, position: segment.position });
            return Ok(if level == DOCUMENT { Place::Document } else { Place::Envelope });
        }
        let trailer = inner.map(|level| self.levels[level].trailer);
        if trailer == Some(segment.tag.as_str()) {
            self.close(segment)?;
            return Ok(if inner == Some(DOCUMENT) { Place::End } else { Place::Envelope });
        }
        let is_own =
            self.levels.iter().any(|it| segment.tag == it.header || segment.tag == it.trailer);
        match inner {
            Some(DOCUMENT) if !is_own => Ok(Place::Within),
            Some(0) if ACKNOWLEDGEMENTS.contains(&segment.tag.as_str()) => Ok(Place::Envelope),
            _ => Err(self.unexpected(segment, inner)),
        }
    }

    /// Whether a level may begin within another.
    fn may_begin(&self, inner: Option<usize>, level: usize) -> bool {
        match inner {
            None => level == 0,
            Some(inner) => {
                level == inner + 1
                    || (level == inner + 2
                        && self.levels[inner + 1].is_optional
                        && level == DOCUMENT)
            }
        }
    }

    fn unexpected(&self, segment: &Segment, inner: Option<usize>) -> EdiError {
        let next = inner.map_or(0, |inner| inner + 1);
        let mut expected: Vec<_> =
            inner.map(|inner| self.levels[inner].trailer).into_iter().collect();
        expected.extend(self.levels.get(next).map(|level| level.header));
        let expected = expected.join(" or ");
        EdiError::Unexpected { position: segment.position, tag: segment.tag.clone(), expected }
    }

    /// Compares a trailer with what has come.
    fn close(&mut self, segment: &Segment) -> Result<(), EdiError> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let Level { trailer: tag, .. } = self.levels[open.level];
        let position = segment.position;
        let differs = |said: &str, found: String| {
            Err(EdiError::Counter { position, tag, said: format!("{said:?}"), found })
        };
        let (count, reference) = (segment.value(1, 1), segment.value(2, 1));
        if count.parse() != Ok(open.count) {
            return differs(count, open.count.to_string());
        }
        // Some write a number without its zeros.
        let numbers = (reference.parse::<u64>(), open.reference.parse::<u64>());
        let is_same_number = matches!(numbers, (Ok(one), Ok(other)) if one == other);
        if reference != open.reference && !is_same_number {
            return differs(reference, format!("{:?}", open.reference));
        }
        Ok(())
    }

    /// The end of the file.
    pub(super) fn end(&self) -> Result<(), EdiError> {
        let Some(open) = self.open.last() else { return Ok(()) };
        let Level { header: tag, trailer, .. } = self.levels[open.level];
        Err(EdiError::Open { position: open.position, tag, trailer })
    }
}
