//! A purchase order as a request of the API.

use serde_json::{Map, Value};

use super::{
    super::mapping::{Elements, Mapping},
    Documents, Line, Reference,
};

/// The most lines of an order, as the API has it.
const MAX_LINES: usize = 2_000;
/// The fields of an order that are numbers.
const NUMBERS: [&str; 3] = ["quantity", "unit_price", "expected_total"];
/// The field that is a list: all elements that its mapping names.
const LIST: &str = "lines";

/// An order that is read.
#[derive(Debug, Default)]
pub(crate) struct OrderLines {
    lines: Vec<Value>,
    count: usize,
}

/// An order as it is sent.
#[derive(Debug, PartialEq)]
pub(crate) struct Order {
    /// The same for the same document, however often it comes.
    pub(crate) idempotency_key: String,
    pub(crate) body: Value,
}

impl OrderLines {
    /// Adds a line.
    pub(crate) fn add<R: std::io::BufRead>(
        &mut self,
        documents: &Documents<R>,
        line: &Line,
        mapping: (&Mapping, &Elements),
    ) {
        self.count += 1;
        if self.count <= MAX_LINES {
            let (mapping, elements) = mapping;
            let members = object(documents, line.segments(), &elements.lines, mapping);
            self.lines.push(members.into());
        }
    }

    /// The order of the document whose lines these are; or why it cannot be sent.
    pub(crate) fn order<R: std::io::BufRead>(
        self,
        documents: &Documents<R>,
        (mapping, elements): (&Mapping, &Elements),
    ) -> Result<Order, String> {
        if let Some(missing) = documents.missing() {
            return Err(missing);
        }
        if self.count > MAX_LINES {
            return Err(format!("it has {} lines, and an order at most {MAX_LINES}", self.count));
        }
        let mut body = object(documents, &[], &elements.fields, mapping);
        for (field, value) in &mapping.constants {
            put(&mut body, field, typed(field, value));
        }
        let idempotency_key = key(documents, elements, &body)?;
        body.insert(LIST.to_owned(), self.lines.into());
        Ok(Order { idempotency_key, body: body.into() })
    }
}

/// The key of a document: its type, and the elements that name it.
fn key<R: std::io::BufRead>(
    documents: &Documents<R>,
    elements: &Elements,
    body: &Map<String, Value>,
) -> Result<String, String> {
    let mut parts = vec![elements.message.kind.clone()];
    for reference in &elements.idempotency_key {
        let found = documents.find(&[], std::slice::from_ref(reference));
        let found = found.ok_or_else(|| format!("{reference} is empty, and names the order"))?;
        parts.push(found.to_owned());
    }
    if elements.idempotency_key.is_empty() {
        let reference = body.get("reference").and_then(Value::as_str);
        let reference = reference.ok_or("it has no reference: map one, or an idempotency_key")?;
        parts.push(reference.to_owned());
    }
    // A key is of visible ASCII.
    let escaped = |byte: u8| match byte {
        b'!'..=b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    Ok(parts.join("/").bytes().map(escaped).collect())
}

/// The fields that have a value.
fn object<R: std::io::BufRead>(
    documents: &Documents<R>,
    line: &[super::Segment],
    fields: &[(String, Vec<Reference>)],
    mapping: &Mapping,
) -> Map<String, Value> {
    let mut members = Map::new();
    for (field, references) in fields {
        let convert = |found: &str| mapping.conversions.convert(field, found).into_owned();
        if field.ends_with(&format!(".{LIST}")) {
            let found = references.iter().map(std::slice::from_ref);
            let found = found.filter_map(|reference| documents.find(line, reference));
            let found: Vec<Value> = found.map(|found| convert(found).into()).collect();
            if !found.is_empty() {
                put(&mut members, field, found.into());
            }
        } else if let Some(found) = documents.find(line, references) {
            put(&mut members, field, typed(field, &convert(found)));
        }
    }
    members
}

fn typed(field: &str, text: &str) -> Value {
    let number = NUMBERS.contains(&field).then(|| text.parse::<i64>().ok()).flatten();
    number.map_or_else(|| text.into(), Value::from)
}

/// Sets a member, that of members with dots.
fn put(members: &mut Map<String, Value>, field: &str, value: Value) {
    match field.split_once('.') {
        None => drop(members.insert(field.to_owned(), value)),
        Some((outer, inner)) => {
            let outer = members.entry(outer).or_insert_with(|| Map::new().into());
            if let Value::Object(members) = outer {
                put(members, inner, value);
            }
        }
    }
}
