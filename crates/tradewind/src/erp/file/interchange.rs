//! The lines of an EDI file whose documents are no orders: each is a record of the fields that the mapping
//! names.

use std::{fs::File, io::BufReader, path::Path};

use anyhow::{Context, Result, bail};

use super::{
    super::{
        edi::{self, Documents, Found, Reference},
        mapping::Mapping,
    },
    DocumentLine, FileLine, Original, buffered,
    records::{Orders, Records},
};

/// An EDI file that is being read.
pub(super) struct Interchange {
    documents: Documents<BufReader<File>>,
    /// Of each field its elements.
    elements: Vec<Vec<Reference>>,
    records: Records,
}

impl Interchange {
    /// Of a file that is complete; and the header that is sent.
    pub(super) fn open(file: &Path, mapping: &Mapping, orders: Orders) -> Result<(Self, Vec<u8>)> {
        let Some(elements) = &mapping.elements else {
            bail!("an EDI file is read by a mapping: name it with --mapping");
        };
        if !elements.lines.is_empty() || !elements.idempotency_key.is_empty() {
            bail!("the mapping has lines or an idempotency_key, which are of orders alone");
        }
        let opened = || {
            let opened = File::open(file).with_context(|| format!("open {}", file.display()));
            opened.map(buffered)
        };
        edi::check(opened()?, &elements.message, true)?;
        let documents = Documents::open(opened()?, &elements.message)?;
        let (fields, elements) = elements.fields.iter().cloned().unzip();
        let (records, head) = Records::new(fields, mapping, orders)?;
        Ok((Self { documents, elements, records }, head))
    }

    pub(super) fn next(&mut self) -> Result<Option<FileLine>> {
        loop {
            let line = match self.documents.next()? {
                Some(Found::Line(line)) => line,
                Some(Found::End(_)) => continue,
                None => return Ok(None),
            };
            let documents = &self.documents;
            let values = self.elements.iter().map(|of| documents.find(line.segments(), of));
            let values = values.map(|value| value.unwrap_or_default().as_bytes());
            let Some((sent, note)) = self.records.sent(values)? else { continue };
            let (number, segment) = (line.begin().position, documents.text(line.begin()));
            let original = Original::Segment(DocumentLine { document: documents.name(), segment });
            return Ok(Some(FileLine { number, original, sent, note }));
        }
    }
}
