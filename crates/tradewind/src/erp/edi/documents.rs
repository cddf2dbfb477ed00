//! The documents of a file, and the lines in each, with one line in memory at a time.

use std::{io::BufRead, mem};

use super::{
    EdiError, Message, Segment,
    envelope::{Envelope, Place},
    reference::Reference,
    tokens::Tokens,
};

/// The most segments of a line, and of what stands before the lines of a document or a group.
const MAX_SEGMENTS: usize = 10_000;
/// The level of a document in what stands before a line; those of its groups follow.
const DOCUMENT: usize = 2;

/// What is found in a file.
#[derive(Debug)]
pub(crate) enum Found {
    /// A line of the document that is read.
    Line(Line),
    /// The end of that document. What stands before its lines is there until the next one begins.
    End(DocumentEnd),
}

/// A line of a document.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its segments, the one that begins it first.
    segments: Vec<Segment>,
}

impl Line {
    /// All of its segments.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The segment that begins it.
    pub(crate) fn begin(&self) -> &Segment {
        &self.segments[0]
    }
}

/// The end of a document.
#[derive(Debug)]
pub(crate) struct DocumentEnd {
    /// The segment that began the document.
    pub(crate) begin: Segment,
}

/// Reads the documents of a file.
pub(crate) struct Documents<R> {
    tokens: Tokens<R>,
    envelope: Envelope,
    message: Message,
    /// What stands before the lines, each with its level: interchange, functional group, document, and the
    /// groups of the mapping.
    before: Vec<(usize, Vec<Segment>)>,
    /// The line that is read.
    line: Vec<Segment>,
    /// Whether the lines of the document have ended.
    is_summary: bool,
    /// What ended a line, and is not handled yet.
    held: Option<(Segment, Part)>,
}

/// What a segment does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// It begins what stands before lines, at that level.
    Begin(usize),
    Line,
    Summary,
    End,
    /// It belongs to what has begun.
    Within,
    /// It ends what holds documents.
    Outside,
}

impl<R: BufRead> Documents<R> {
    /// Of a file that begins as one of the standards says.
    pub(crate) fn open(input: R, message: &Message) -> Result<Self, EdiError> {
        let tokens = Tokens::new(input)?;
        let envelope = Envelope::new(tokens.standard());
        let (before, line, message) = (Vec::new(), Vec::new(), message.clone());
        Ok(Self { tokens, envelope, message, before, line, is_summary: false, held: None })
    }

    /// What is found next; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, EdiError> {
        loop {
            let (segment, part) = match self.held.take() {
                Some(held) => held,
                None => match self.tokens.next()? {
                    Some(segment) => {
                        let part = self.part(&segment)?;
                        (segment, part)
                    }
                    None => return self.envelope.end().map(|()| None),
                },
            };
            if part != Part::Within && !self.line.is_empty() {
                self.held = Some((segment, part));
                return Ok(Some(Found::Line(Line { segments: mem::take(&mut self.line) })));
            }
            match part {
                Part::Begin(level) => {
                    self.before.retain(|(other, _)| *other < level);
                    self.before.push((level, vec![segment]));
                    self.is_summary = false;
                }
                Part::Line => self.line.push(segment),
                Part::Summary => self.is_summary = true,
                Part::Within => self.add(segment)?,
                Part::Outside => {}
                Part::End => {
                    let document = self.before.iter().find(|(level, _)| *level == DOCUMENT);
                    let begin = document.map_or(segment, |(_, segments)| segments[0].clone());
                    return Ok(Some(Found::End(DocumentEnd { begin })));
                }
            }
        }
    }

    fn part(&mut self, segment: &Segment) -> Result<Part, EdiError> {
        let standard = self.tokens.standard();
        let place = self.envelope.take(segment)?;
        let Message { kind, line, groups, summary, .. } = &self.message;
        Ok(match place {
            Place::Document if standard.kind(segment) != kind => {
                let (found, wanted) = (standard.kind(segment).to_owned(), kind.clone());
                return Err(EdiError::Kind { position: segment.position, found, wanted });
            }
            Place::Document => Part::Begin(DOCUMENT),
            Place::End => Part::End,
            Place::Envelope => match segment.tag.as_str() {
                "ISA" | "UNB" => Part::Begin(0),
                "GS" | "UNG" => Part::Begin(1),
                _ => Part::Outside,
            },
            Place::Within if line.matches(segment) => Part::Line,
            Place::Within if summary.iter().any(|it| it.matches(segment)) => Part::Summary,
            Place::Within => match groups.iter().position(|group| group.matches(segment)) {
                Some(group) => Part::Begin(DOCUMENT + 1 + group),
                None => Part::Within,
            },
        })
    }

    fn add(&mut self, segment: Segment) -> Result<(), EdiError> {
        let before = self.before.last_mut().map(|(_, segments)| segments);
        let to = match before {
            _ if self.is_summary => return Ok(()),
            _ if !self.line.is_empty() => &mut self.line,
            Some(before) => before,
            None => return Ok(()),
        };
        if to.len() >= MAX_SEGMENTS {
            return Err(EdiError::TooMany { position: segment.position, max: MAX_SEGMENTS });
        }
        to.push(segment);
        Ok(())
    }

    /// The value of the first of these elements that has one: in the line itself, and then in what stands
    /// before it, the nearest first.
    pub(crate) fn find<'s>(&'s self, line: &'s [Segment], of: &[Reference]) -> Option<&'s str> {
        let before = self.before.iter().rev().map(|(_, segments)| segments.as_slice());
        let places: Vec<_> = std::iter::once(line).chain(before).collect();
        of.iter().find_map(|reference| places.iter().find_map(|place| reference.find(place)))
    }

    /// What a document must have and has not: the mapping does not understand it.
    pub(crate) fn missing(&self) -> Option<String> {
        self.message.require.iter().find_map(|(reference, values)| {
            let found = self.find(&[], std::slice::from_ref(reference)).unwrap_or_default();
            let is_wanted = values.iter().any(|value| value == found);
            (!is_wanted).then(|| {
                let values = values.join(" or ");
                format!("{reference} is {found:?}, and the mapping reads {values} alone")
            })
        })
    }

    /// A segment as people read it, with the usual separators of its standard.
    pub(crate) fn text(&self, segment: &Segment) -> String {
        let (element, component) = self.tokens.standard().usual_separators();
        let elements = segment.elements.iter().map(|components| components.join(component));
        let parts: Vec<_> = std::iter::once(segment.tag.clone()).chain(elements).collect();
        parts.join(element)
    }

    /// What a document is called in messages: its type and control reference.
    pub(crate) fn name(&self) -> String {
        let document = self.before.iter().find(|(level, _)| *level == DOCUMENT);
        let begin = document.and_then(|(_, segments)| segments.first());
        let reference = begin.map_or("", |begin| self.tokens.standard().reference(begin));
        format!("{} {reference}", self.message.kind)
    }
}
