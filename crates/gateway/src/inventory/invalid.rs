//! What is kept of a line that is no stock line, as far as it may go into a log: of what was sent, the fields that a
//! stock line has. Others may hold anything, such as a name or an address; and no value that holds the number of a
//! payment card is kept.

mod salvage;

use std::collections::BTreeSet;

use events::{
    card_numbers::holds_card_number,
    id::{Connector, DocumentId, DocumentLine, Sku},
    proto::inventory::{InvalidLine, InvalidStockLine, LineError, StockDocument},
};
use serde_json::Value;

use self::salvage::salvage;
use crate::{extract::RequestContext, json::Node, lines::SentText, problem::FieldError};

/// The longest text of a line, in bytes, so that a hundred lines with their errors fit into a message. A valid line
/// rarely has more.
const MAX_TEXT_BYTES: usize = 1_000;
/// The longest value in it, in characters.
const MAX_VALUE_CHARACTERS: usize = 200;
/// The most errors of a line that are kept.
const MAX_ERRORS: usize = 5;
/// The longest name of a field in an error, in characters.
const MAX_NAME_CHARACTERS: usize = 64;
/// The longest detail of an error, in characters: the names of all fields are in one.
const MAX_DETAIL_CHARACTERS: usize = 300;
/// What stands in place of a value that is not kept.
const CARD: &str = "not kept: it holds the number of a payment card";
/// What stands in an error before the value that is wrong.
const GOT: &str = ", got ";

/// The fields of a line, by their names.
type Members = Vec<(&'static str, Value)>;

/// What is kept of the line with that number. `known` are the fields that a stock line has.
pub(super) fn invalid_line(
    number: usize,
    sent: &SentText<'_>,
    errors: &[FieldError],
    known: &[&'static str],
) -> InvalidLine {
    let (members, text) = match sent {
        SentText::Fields(node) => of_members(members(node, known)),
        SentText::Json(text) => of_members(match Node::parse(text) {
            Ok(node) => members(&node, known),
            Err(_) => salvage(&String::from_utf8_lossy(text), known),
        }),
        SentText::Values(values) => (Vec::new(), text_of_values(values)),
    };
    let readable = |name: &str| {
        let is_wrong = errors.iter().any(|error| error.field == name);
        let member = members.iter().find(|(member, _)| *member == name && !is_wrong);
        member.map(|(_, value)| plain(value))
    };
    let is_named = readable("document_line").is_none_or(|it| DocumentLine::parse(&it).is_ok())
        && !errors.iter().any(|error| error.field == "document_line");
    let document = readable("document").filter(|it| is_named && DocumentId::parse(it).is_ok());
    let document_line = readable("document_line").filter(|_| document.is_some());
    let sequence = readable("sequence").and_then(|it| it.parse::<i64>().ok());
    let epoch = readable("epoch").map_or(Ok(0), |it| it.parse());
    let has_epoch = epoch.is_ok() && !errors.iter().any(|error| error.field == "epoch");
    InvalidLine {
        connector: readable("connector")
            .filter(|it| Connector::parse(it).is_ok())
            .unwrap_or_default(),
        document: document.unwrap_or_default(),
        document_line: document_line.unwrap_or_default(),
        sku: readable("sku").filter(|it| Sku::parse(it).is_ok()).unwrap_or_default(),
        sequence: sequence.filter(|_| has_epoch).and_then(|number| u64::try_from(number).ok()),
        epoch: epoch.unwrap_or_default(),
        text,
        errors: errors.iter().take(MAX_ERRORS).map(|error| kept_error(error, known)).collect(),
        upload_line: number as u64,
    }
}

/// Says of each invalid line of a command that names no connector whose it is: of the one that all the
/// other lines name, or of who sends it.
pub(super) fn with_connectors(
    context: &RequestContext,
    lines: &[StockDocument],
    invalid: Vec<(usize, InvalidLine)>,
) -> Vec<InvalidStockLine> {
    let of_lines = lines.iter().filter_map(|line| Some(&*line.document.as_ref()?.connector));
    let of_invalid = invalid.iter().map(|(_, line)| &*line.connector);
    let named: BTreeSet<&str> = of_lines.chain(of_invalid).filter(|it| !it.is_empty()).collect();
    let only = named.first().copied().filter(|_| named.len() == 1);
    let connector = only.or(context.caller.connector()).map(str::to_owned);
    let connector = connector.unwrap_or_else(|| Connector::unnamed().into());
    let with = |(before, mut line): (usize, InvalidLine)| {
        if line.connector.is_empty() {
            line.connector.clone_from(&connector);
        }
        InvalidStockLine {
            line: Some(line),
            lines_before: u32::try_from(before).unwrap_or(u32::MAX),
        }
    };
    invalid.into_iter().map(with).collect()
}

/// The members of a line that a stock line has.
fn members(node: &Node<'_>, known: &[&'static str]) -> Members {
    let Node::Object(members) = node else { return Vec::new() };
    let known = |(name, value): &(std::borrow::Cow<'_, str>, Node<'_>)| {
        Some((*known.iter().find(|known| *known == name)?, shown(value)))
    };
    members.iter().filter_map(known).collect()
}

/// The members, and the text of them.
fn of_members(members: Members) -> (Members, String) {
    let kept =
        members.iter().map(|(name, value)| format!("{}:{}", Value::from(*name), kept(value)));
    let text = joined(kept);
    let text = if text.is_empty() { text } else { format!("{{{text}}}") };
    (members, text)
}

fn text_of_values(values: &[&[u8]]) -> String {
    let value = |value: &&[u8]| Value::from(String::from_utf8_lossy(value).trim());
    let text = joined(values.iter().map(|it| kept(&value(it)).to_string()));
    if text.is_empty() { text } else { format!("[{text}]") }
}

/// As many of the parts as a text may have, with commas between them.
fn joined(parts: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for part in parts {
        if text.len() + part.len() + ",{}".len() > MAX_TEXT_BYTES {
            break;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&part);
    }
    text
}

fn shown(node: &Node<'_>) -> Value {
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => (*value).into(),
        Node::Integer(value) => (*value).into(),
        Node::Number(value) => (*value).into(),
        Node::Text(value) => value.as_ref().into(),
        Node::Cell(value) => (*value).into(),
        // Their members are no fields of a stock line.
        Node::List(_) | Node::Object(_) => node.to_string().into(),
    }
}

/// A value as text, without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The value as it is kept.
fn kept(value: &Value) -> Value {
    if holds_card_number(&plain(value)) {
        return CARD.into();
    }
    match value {
        Value::String(text) => text.chars().take(MAX_VALUE_CHARACTERS).collect::<String>().into(),
        other => other.clone(),
    }
}

/// The error as it is kept: without the value where that is of the line as a whole or holds the number of a card, and
/// without a name that is no plain one.
fn kept_error(error: &FieldError, known: &[&'static str]) -> LineError {
    let FieldError { field, pointer, detail } = error;
    if !known.contains(&field.as_str()) && !field.is_empty() && !is_plain_name(field) {
        let detail = "a field is not one that a stock line has".to_owned();
        return LineError { detail, ..LineError::default() };
    }
    let rule = detail.split(GOT).next().unwrap_or_default();
    let detail = if holds_card_number(rule) {
        CARD
    } else if field.is_empty() || holds_card_number(detail) {
        rule
    } else {
        detail
    };
    LineError {
        field: field.clone(),
        pointer: pointer.clone().unwrap_or_default(),
        detail: detail.chars().take(MAX_DETAIL_CHARACTERS).collect(),
    }
}

/// Whether a name is one as fields have: no address of an email, nor the number of a card.
fn is_plain_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    name.len() <= MAX_NAME_CHARACTERS && name.chars().all(is_plain) && !holds_card_number(name)
}

#[cfg(test)]
mod tests;
