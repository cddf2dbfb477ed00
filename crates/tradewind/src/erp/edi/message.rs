//! Which documents of a file are read.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::reference::{Reference, Selector};

/// Which documents a mapping reads, and what they consist of.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    /// The transaction set of X12 (`846`), or the message of EDIFACT (`INVRPT`).
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// The segment that begins a line.
    pub(super) line: Selector,
    /// The segments that begin a group of lines, the outer one first: what stands before the lines of a
    /// group is of that group alone.
    #[serde(default)]
    pub(super) groups: Vec<Selector>,
    /// The segments that end the lines.
    #[serde(default)]
    pub(super) summary: Vec<Selector>,
    /// What must be in a document: values of elements. Others are not understood.
    #[serde(default)]
    pub(super) require: BTreeMap<Reference, Vec<String>>,
}
