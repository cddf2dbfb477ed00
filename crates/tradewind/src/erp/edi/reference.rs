//! How a mapping names an element: `BIA.3` is the third element of the segment BIA, `QTY.1.2` the second
//! component of the first one of QTY. Conditions pick one of several segments: `QTY.1.2[1.1=145]` is that of a
//! QTY whose first component is 145. `N1[1=ST] > N4.3` is the third element of the N4 that stands behind such
//! an N1, and before the next N1.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error};

use super::Segment;

/// Which segments are meant: a tag, and what their elements must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selector {
    tag: String,
    conditions: Vec<(usize, usize, String)>,
}

impl Selector {
    pub(super) fn matches(&self, segment: &Segment) -> bool {
        let is_so = |(element, component, value): &(usize, usize, String)| {
            segment.value(*element, *component) == value
        };
        segment.tag == self.tag && self.conditions.iter().all(is_so)
    }
}

/// Which element is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    /// The segment behind which it stands.
    behind: Option<Selector>,
    of: Selector,
    element: usize,
    component: usize,
}

impl Reference {
    /// Its value in these segments: that of the first which has one.
    pub(super) fn find<'s>(&self, segments: &'s [Segment]) -> Option<&'s str> {
        let value = |segments: &'s [Segment]| {
            let mut of = segments.iter().filter(|segment| self.of.matches(segment));
            of.find_map(|segment| {
                Some(segment.value(self.element, self.component)).filter(|value| !value.is_empty())
            })
        };
        let Some(behind) = &self.behind else { return value(segments) };
        let begins = segments.iter().enumerate().filter(|(_, segment)| behind.matches(segment));
        for (begin, _) in begins {
            let rest = &segments[begin + 1..];
            let end = rest.iter().position(|segment| segment.tag == behind.tag);
            let found = value(&rest[..end.unwrap_or(rest.len())]);
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

/// Text that names no element or segment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} names no element: write SEGMENT.ELEMENT or SEGMENT.ELEMENT.COMPONENT, as in QTY.1.2[1.1=145]"
)]
pub(crate) struct NoReference(String);

impl FromStr for Selector {
    type Err = NoReference;

    fn from_str(text: &str) -> Result<Self, NoReference> {
        let error = || NoReference(text.to_owned());
        let (tag, conditions) = match text.find('[') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let conditions = conditions_of(conditions).ok_or_else(error)?;
        let tag = tag_of(tag).ok_or_else(error)?;
        Ok(Self { tag, conditions })
    }
}

impl FromStr for Reference {
    type Err = NoReference;

    fn from_str(text: &str) -> Result<Self, NoReference> {
        let error = || NoReference(text.to_owned());
        let (behind, of) = match text.split_once('>') {
            Some((behind, of)) => (Some(behind.trim().parse()?), of.trim()),
            None => (None, text),
        };
        let (path, conditions) = match of.find('[') {
            Some(at) => of.split_at(at),
            None => (of, ""),
        };
        let (tag, place) = path.split_once('.').ok_or_else(error)?;
        let (element, component) = place_of(place).ok_or_else(error)?;
        let conditions = conditions_of(conditions).ok_or_else(error)?;
        let of = Selector { tag: tag_of(tag).ok_or_else(error)?, conditions };
        Ok(Self { behind, of, element, component })
    }
}

fn tag_of(text: &str) -> Option<String> {
    let is_tag = (2..=3).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    is_tag.then(|| text.to_owned())
}

/// `3` or `1.2`: an element and a component of it, from 1.
fn place_of(text: &str) -> Option<(usize, usize)> {
    let number = |text: &str| text.parse().ok().filter(|number| (1..=999).contains(number));
    let (element, component) = text.split_once('.').unwrap_or((text, "1"));
    Some((number(element)?, number(component)?))
}

/// `[1=ST][2.1=92]`
fn conditions_of(mut text: &str) -> Option<Vec<(usize, usize, String)>> {
    let mut conditions = Vec::new();
    while !text.is_empty() {
        let (condition, rest) = text.strip_prefix('[')?.split_once(']')?;
        let (place, value) = condition.split_once('=')?;
        let (element, component) = place_of(place)?;
        conditions.push((element, component, value.to_owned()));
        text = rest;
    }
    Some(conditions)
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tag)?;
        self.conditions.iter().try_for_each(|(element, component, value)| {
            write!(f, "[{element}.{component}={value}]")
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { behind, of, element, component } = self;
        if let Some(behind) = behind {
            write!(f, "{behind} > ")?;
        }
        write!(f, "{}.{element}", of.tag)?;
        if *component > 1 {
            write!(f, ".{component}")?;
        }
        of.conditions.iter().try_for_each(|(element, component, value)| {
            write!(f, "[{element}.{component}={value}]")
        })
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
