//! The lines of a file of JSON objects.

use std::io::{BufRead, BufReader, Read};

use anyhow::Result;
use serde_json::{Map, Value};

use super::{
    super::mapping::Mapping,
    FileLine, Original, REASON, buffered,
    records::{ORDER_ID, ORDER_REFERENCE, Orders, Sent},
};

/// A file of JSON objects that is being read.
pub(super) struct Ndjson<R> {
    reader: BufReader<R>,
    number: u64,
    mapping: Mapping,
    orders: Orders,
}

impl<R: Read> Ndjson<R> {
    pub(super) fn new(input: R, mapping: &Mapping, orders: Orders) -> Self {
        Self { reader: buffered(input), number: 0, mapping: mapping.clone(), orders }
    }

    pub(super) fn next(&mut self) -> Result<Option<FileLine>> {
        loop {
            let mut original = Vec::new();
            if self.reader.read_until(b'\n', &mut original)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            while original.last().is_some_and(u8::is_ascii_whitespace) {
                original.pop();
            }
            if original.trim_ascii().is_empty() {
                continue;
            }
            let (mut sent, note) = self.sent(&original)?;
            sent.push(b'\n');
            let (number, original) = (self.number, Original::Json(original));
            return Ok(Some(FileLine { number, original, sent, note }));
        }
    }

    /// A line as it is sent. One that is no object is sent as it is, so that the gateway rejects it.
    fn sent(&mut self, line: &[u8]) -> Result<Sent> {
        let Ok(Value::Object(mut members)) = serde_json::from_slice(line) else {
            return Ok((line.to_vec(), None));
        };
        members.remove(REASON);
        for (field, member) in &self.mapping.columns {
            if let Some(value) = members.remove(member) {
                put(&mut members, field, self.converted(field, value));
            }
        }
        for (field, value) in &self.mapping.constants {
            put(&mut members, field, typed(value));
        }
        let mut note = None;
        if let Some(Value::String(reference)) = members.remove(ORDER_REFERENCE) {
            let (id, unknown) = self.orders.id(&reference)?;
            members.insert(ORDER_ID.to_owned(), id.into());
            note = unknown;
        }
        Ok((Value::Object(members).to_string().into_bytes(), note))
    }

    /// What is sent for a value. What was text and becomes a number by its conversion is a number.
    fn converted(&self, field: &str, value: Value) -> Value {
        let text = match &value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return value,
        };
        let converted = self.mapping.conversions.convert(field, &text);
        if converted == text { value } else { typed(&converted) }
    }
}

/// A number or a boolean is one; anything else is text. `007` is no number of JSON.
fn typed(text: &str) -> Value {
    let typed = serde_json::from_str(text).ok().filter(|it: &Value| it.is_boolean() || it.is_i64());
    typed.unwrap_or_else(|| text.into())
}

/// Sets a member, that of a member with a dot.
fn put(members: &mut Map<String, Value>, field: &str, value: Value) {
    match field.split_once('.') {
        None => {
            members.insert(field.to_owned(), value);
        }
        Some((outer, inner)) => {
            let outer = members.entry(outer).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(members) = outer {
                members.insert(inner.to_owned(), value);
            }
        }
    }
}
