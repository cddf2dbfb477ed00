//! What is sent of a line of values: a record of CSV with the fields of the API, whatever its file is.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};

use super::{
    super::mapping::{Conversions, Mapping},
    REASON,
};

/// A field that the API does not have: the reference of an order, of which the id is sent.
pub(super) const ORDER_REFERENCE: &str = "order_reference";
/// What is sent for it.
pub(super) const ORDER_ID: &str = "order_id";
/// The most orders whose ids are remembered while a file is read.
const MAX_KNOWN_ORDERS: usize = 10_000;

/// Finds the id of the order that has a reference.
type Find = Box<dyn FnMut(&str) -> Result<Option<String>> + Send>;

/// The orders that the lines of a file name by their references.
pub(crate) struct Orders {
    find: Find,
    known: HashMap<String, String>,
}

impl Orders {
    pub(crate) fn new(find: Find) -> Self {
        Self { find, known: HashMap::new() }
    }

    /// The id of the order with a reference; where there is none, the reference itself and why it will be
    /// rejected.
    pub(super) fn id(&mut self, reference: &str) -> Result<(String, Option<String>)> {
        if let Some(id) = self.known.get(reference) {
            return Ok((id.clone(), None));
        }
        let Some(id) = (self.find)(reference)? else {
            let note = format!("there is no order with the reference {reference:?}");
            return Ok((reference.to_owned(), Some(note)));
        };
        if self.known.len() >= MAX_KNOWN_ORDERS {
            self.known.clear();
        }
        self.known.insert(reference.to_owned(), id.clone());
        Ok((id, None))
    }
}

/// What is sent of lines.
pub(super) struct Records {
    fields: Vec<String>,
    constants: Vec<(String, String)>,
    conversions: Conversions,
    orders: Orders,
}

/// A record as it is sent, and why it will be rejected where that is known.
pub(super) type Sent = (Vec<u8>, Option<String>);

impl Records {
    /// Of lines with these fields; and the header that is sent.
    pub(super) fn new(
        fields: Vec<String>,
        mapping: &Mapping,
        orders: Orders,
    ) -> Result<(Self, Vec<u8>)> {
        let Mapping { constants, conversions, .. } = mapping;
        let names = fields.iter().chain(constants.iter().map(|(field, _)| field));
        let names = names.map(|name| if name == ORDER_REFERENCE { ORDER_ID } else { name });
        let head = written(names.map(str::as_bytes))?;
        let (constants, conversions) = (constants.clone(), conversions.clone());
        Ok((Self { fields, constants, conversions, orders }, head))
    }

    /// How many values are sent of each line.
    pub(super) fn count(&self) -> usize {
        self.fields.len() + self.constants.len()
    }

    /// What is sent of the values of the fields, in their order. `None` where all of it is blank: the
    /// gateway passes over such a record, so that the results behind it would be those of other lines.
    pub(super) fn sent<'v>(
        &mut self,
        values: impl Iterator<Item = &'v [u8]>,
    ) -> Result<Option<Sent>> {
        let (mut all, mut note) = (Vec::new(), None);
        for (field, value) in self.fields.iter().zip(values) {
            // What is no text is sent as it is: the gateway says so.
            let Ok(text) = str::from_utf8(value) else {
                all.push(value.to_vec());
                continue;
            };
            let text = self.conversions.convert(field, text);
            if field != ORDER_REFERENCE || text.is_empty() {
                all.push(text.into_owned().into_bytes());
                continue;
            }
            let (id, unknown) = self.orders.id(&text)?;
            all.push(id.into_bytes());
            note = note.or(unknown);
        }
        all.extend(self.constants.iter().map(|(_, value)| value.clone().into_bytes()));
        if is_blank(all.iter().map(Vec::as_slice)) {
            return Ok(None);
        }
        Ok(Some((written(all.iter().map(Vec::as_slice))?, note)))
    }
}

/// Whether the gateway passes over a record with these values.
pub(super) fn is_blank<'v>(mut values: impl Iterator<Item = &'v [u8]>) -> bool {
    values.all(|value| value.trim_ascii().is_empty())
}

/// A record as it is sent.
pub(super) fn written<'v>(values: impl Iterator<Item = &'v [u8]>) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(values).context("write a record")?;
    writer.into_inner().context("write a record")
}

/// Which columns of a header are sent, and the fields of which they are.
pub(super) fn columns(header: &[&str], mapping: &Mapping) -> Result<(Vec<usize>, Vec<String>)> {
    let (mut indexes, mut fields) = (Vec::new(), Vec::new());
    for (field, column) in &mapping.columns {
        let Some(index) = header.iter().position(|name| name == column) else {
            bail!("there is no column {column:?}; the columns are {}", header.join(", "));
        };
        indexes.push(index);
        fields.push(field.clone());
    }
    // Whoever maps columns has a file with others of its own.
    if mapping.columns.is_empty() {
        for (index, name) in header.iter().enumerate() {
            if *name != REASON && !mapping.constants.iter().any(|(field, _)| field == name) {
                indexes.push(index);
                fields.push((*name).to_owned());
            }
        }
    }
    Ok((indexes, fields))
}
