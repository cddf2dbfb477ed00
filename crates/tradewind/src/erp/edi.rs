//! Files of electronic data interchange: X12 and UN/EDIFACT.
//!
//! - `tokens`: the segments of a file, in either syntax;
//! - `envelope`: whether interchanges, groups and documents begin and end as their counters say;
//! - `message`: which documents are read;
//! - `reference`: how a mapping names an element, and where it is looked for;
//! - `documents`: the documents of a file, and the lines in each;
//! - `order`: a purchase order as a request of the API.
//!
//! A file is read twice: first its envelope is checked to its end, so that nothing is sent of one that lost
//! a part on its way; then its lines are sent, with one of them in memory at a time.

mod documents;
mod envelope;
pub(super) mod message;
mod order;
pub(super) mod reference;
mod tokens;

#[cfg(test)]
mod tests;

use std::io::BufRead;

pub(super) use self::{
    documents::{Documents, Found, Line},
    message::Message,
    order::{Order, OrderLines},
    reference::Reference,
};

/// A file is not what its standard says, or not what the mapping is for.
#[derive(Debug, thiserror::Error)]
pub(super) enum EdiError {
    /// It cannot be read.
    #[error("read the file")]
    Read(#[from] std::io::Error),
    /// It begins with neither of the standards.
    #[error("the file begins with neither ISA (X12) nor UNA or UNB (EDIFACT)")]
    Unknown,
    /// The header of an X12 interchange has another length than 106 characters.
    #[error(
        "segment {position}: ISA must have 106 characters with its separators where X12.5 has them"
    )]
    Header {
        /// Which segment of the file it is, from 1.
        position: u64,
    },
    /// The separators of a UNA cannot be told apart.
    #[error("segment {position}: the separators of UNA must differ from each other")]
    Separators {
        /// Which segment of the file it is, from 1.
        position: u64,
    },
    /// The text is in a character repertoire that is not read.
    #[error(
        "segment {position}: the character repertoire {name} is not supported; UNOA, UNOB, UNOC, UNOW and UNOY are"
    )]
    Repertoire {
        /// Which segment of the file it is, from 1.
        position: u64,
        /// What the interchange names.
        name: String,
    },
    /// The file ends within a segment.
    #[error("segment {position}: the file ends before the segment does")]
    Unterminated {
        /// Which segment of the file it is, from 1.
        position: u64,
    },
    /// A segment is longer than any of the standards.
    #[error("segment {position}: it has more than {max} bytes: is its terminator wrong?")]
    TooLong {
        /// Which segment of the file it is, from 1.
        position: u64,
        /// The most bytes of a segment.
        max: usize,
    },
    /// A segment is where it may not be.
    #[error("segment {position}: {tag} is not expected here, {expected} is")]
    Unexpected {
        /// Which segment of the file it is, from 1.
        position: u64,
        /// What it is.
        tag: String,
        /// What may be there.
        expected: String,
    },
    /// What a trailer says is not so.
    #[error(
        "segment {position}: {tag} says {said}, and it is {found}; a part of the file is missing"
    )]
    Counter {
        /// Which segment of the file it is, from 1.
        position: u64,
        /// The trailer.
        tag: &'static str,
        /// What it says.
        said: String,
        /// What is there.
        found: String,
    },
    /// The file ends before an interchange does.
    #[error("the file ends within what {tag} began in segment {position}: {trailer} is missing")]
    Open {
        /// The segment that began it.
        position: u64,
        /// What it is.
        tag: &'static str,
        /// What should end it.
        trailer: &'static str,
    },
    /// A document is none that the mapping reads.
    #[error("segment {position}: the document is a {found}, and the mapping reads {wanted}")]
    Kind {
        /// Which segment of the file it is, from 1.
        position: u64,
        /// What it is.
        found: String,
        /// What the mapping reads.
        wanted: String,
    },
    /// A document lacks what the mapping requires.
    #[error("segment {position}: {reason}")]
    Required {
        /// The segment that begins it.
        position: u64,
        /// What it lacks.
        reason: String,
    },
    /// More stands before a line, or in it, than fits into memory.
    #[error("segment {position}: more than {max} segments stand before the next line")]
    TooMany {
        /// Which segment of the file it is, from 1.
        position: u64,
        /// The most of them.
        max: usize,
    },
}

/// A segment: its tag, its elements, and the components of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Which segment of the file it is, from 1; a UNA counts.
    pub(super) position: u64,
    pub(super) tag: String,
    /// Of each element its components.
    elements: Vec<Vec<String>>,
}

impl Segment {
    /// A component of an element, both from 1; empty where there is none.
    fn value(&self, element: usize, component: usize) -> &str {
        let components = element.checked_sub(1).and_then(|index| self.elements.get(index));
        let value = component.checked_sub(1).and_then(|index| components?.get(index));
        value.map_or("", String::as_str)
    }
}

/// Reads a file to its end, and says what is wrong with its syntax, its envelope or its documents. With
/// `is_strict` a document that lacks what the mapping requires is wrong as well.
pub(super) fn check(
    input: impl BufRead,
    message: &Message,
    is_strict: bool,
) -> Result<(), EdiError> {
    let mut documents = Documents::open(input, message)?;
    while let Some(found) = documents.next()? {
        if let Found::End(end) = found
            && is_strict
            && let Some(reason) = documents.missing()
        {
            return Err(EdiError::Required { position: end.begin.position, reason });
        }
    }
    Ok(())
}
