//! The lines of a file of JSON objects.

use std::{
    fmt,
    io::{BufRead, BufReader, Read},
};

use anyhow::{Result, bail};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{
    super::mapping::Mapping,
    FileLine, MAX_LINE_BYTES, Original, REASON, buffered,
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
            // One byte more, so that a line of as many as there may be ends with its line feed.
            let mut line = self.reader.by_ref().take(MAX_LINE_BYTES as u64 + 1);
            if line.read_until(b'\n', &mut original)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if original.len() > MAX_LINE_BYTES && !original.ends_with(b"\n") {
                bail!(
                    "line {} does not end within {MAX_LINE_BYTES} bytes: is there a JSON object on each line?",
                    self.number
                );
            }
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

    /// A line as it is sent. One that is no object, or has a member twice, is sent as it is, so that the
    /// gateway rejects it.
    fn sent(&mut self, line: &[u8]) -> Result<Sent> {
        let Some(mut members) = object(line) else { return Ok((line.to_vec(), None)) };
        members.remove(REASON);
        // All are taken before one is put: a member may have the name of a field that another one becomes.
        let columns = &self.mapping.columns;
        let taken: Vec<_> =
            columns.iter().map(|(_, member)| members.get(member).cloned()).collect();
        for (_, member) in columns {
            members.remove(member);
        }
        let mut note = None;
        for ((field, _), value) in columns.iter().zip(taken) {
            if let Some(value) = value {
                note = note.or(put(&mut members, field, self.converted(field, value)));
            }
        }
        for (field, value) in &self.mapping.constants {
            note = note.or(put(&mut members, field, typed(value)));
        }
        if let Some(reference) = members.remove(ORDER_REFERENCE).filter(|it| !it.is_null()) {
            let (id, unknown) = self.order_id(reference)?;
            members.insert(ORDER_ID.to_owned(), id);
            note = note.or(unknown);
        }
        Ok((Value::Object(members).to_string().into_bytes(), note))
    }

    /// What is sent for the reference of an order, and why it will be rejected where that is known. A reference that
    /// is a whole number is the text of it.
    fn order_id(&mut self, reference: Value) -> Result<(Value, Option<String>)> {
        let text = match &reference {
            Value::String(text) => text.clone(),
            Value::Number(number) if !number.is_f64() => number.to_string(),
            other => {
                let note = format!("{ORDER_REFERENCE} must be text or a whole number, got {other}");
                return Ok((reference, Some(note)));
            }
        };
        let (id, unknown) = self.orders.id(&text)?;
        Ok((id.into(), unknown))
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

/// The members of a line; `None` where it is no object, or one of its objects has a member twice: only the
/// last of them would be left.
pub(crate) fn object(line: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(line) {
        Ok(Distinct(Value::Object(members))) => Some(members),
        _ => None,
    }
}

/// A value of JSON in which no object has a member twice.
struct Distinct(Value);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DistinctVisitor).map(Self)
    }
}

struct DistinctVisitor;

impl<'de> Visitor<'de> for DistinctVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON in which no object has a member twice")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Distinct(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((name, Distinct(value))) = members.next_entry::<String, _>()? {
            if all.insert(name, value).is_some() {
                return Err(de::Error::custom("a member is there twice"));
            }
        }
        Ok(Value::Object(all))
    }
}

/// A number or a boolean is one; anything else is text. `007` is no number of JSON.
fn typed(text: &str) -> Value {
    let typed = serde_json::from_str(text).ok().filter(|it: &Value| it.is_boolean() || it.is_i64());
    typed.unwrap_or_else(|| text.into())
}

/// Sets a member, that of a member with a dot. Says why the line will be rejected, where that member is there and is no
/// object.
fn put(members: &mut Map<String, Value>, field: &str, value: Value) -> Option<String> {
    let Some((outer, inner)) = field.split_once('.') else {
        members.insert(field.to_owned(), value);
        return None;
    };
    let member = members.entry(outer).or_insert(Value::Null);
    if member.is_null() {
        *member = Value::Object(Map::new());
    }
    match member {
        Value::Object(members) => {
            members.insert(inner.to_owned(), value);
            None
        }
        other => Some(format!(
            "{field} cannot be set to {value}: {outer} must be an object, got {other}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_line_without_an_end_is_named_before_the_rest_is_read() {
        let lines = |length: usize| {
            let long = io::repeat(b' ').take(length as u64);
            let input = "{\"sku\":\"A\"}\n{".as_bytes().chain(long).chain("}\n{}\n".as_bytes());
            let orders = Orders::new(Box::new(|_| Ok(None)));
            let mut lines = Ndjson::new(input, &Mapping::default(), orders);
            assert_eq!(lines.next().expect("it is read").expect("there is one").number, 1);
            lines
        };
        let mut longest = lines(MAX_LINE_BYTES - 2);
        for number in [2, 3] {
            assert_eq!(longest.next().expect("it is read").expect("there is one").number, number);
        }
        for length in [MAX_LINE_BYTES - 1, 16 * MAX_LINE_BYTES] {
            let error = lines(length).next().expect_err("it is too long").to_string();
            assert!(error.starts_with("line 2 does not end within 1048576 bytes"), "{error}");
        }
    }
}
