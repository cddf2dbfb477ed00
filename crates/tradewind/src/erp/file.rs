//! A file of lines: reads it, brings its lines into the form of the API, and writes rejected ones.

use std::{
    fmt,
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use csv::ByteRecord;
use serde_json::{Map, Value};

/// The column, or member, with the reason in a file of rejected lines. It is not sent.
const REASON: &str = "reject_reason";
/// The member with a rejected line that is no JSON object.
const LINE: &str = "reject_line";
const DELIMITERS: &[u8] = b",;\t";

/// A file cannot be read: pushed again, it could not be either.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file cannot be read")
    }
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Values with a header, between commas, semicolons or tabs
    Csv,
    /// A JSON object on each line
    Ndjson,
}

impl Format {
    /// The format that a file's name says.
    pub(crate) fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            _ => None,
        }
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }
}

/// How the columns of a file become fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mapping {
    /// Fields, and the column of each.
    pub(crate) columns: Vec<(String, String)>,
    /// Fields with one value for all lines.
    pub(crate) constants: Vec<(String, String)>,
}

/// A line of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileLine {
    /// Its number in the file, from 1, as editors count.
    pub(crate) number: u64,
    /// As it is in the file.
    pub(crate) original: Original,
    /// As it is sent.
    pub(crate) sent: Vec<u8>,
}

/// A line as it is in its file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Original {
    Record(ByteRecord),
    Json(Vec<u8>),
}

/// A file that is being read.
pub(crate) struct Source {
    lines: Lines,
    /// The header as it is sent; empty where there is none.
    pub(crate) head: Vec<u8>,
}

enum Lines {
    Csv { reader: Box<csv::Reader<File>>, columns: Columns },
    Ndjson { reader: BufReader<File>, number: u64, mapping: Mapping },
}

/// Which columns of a record are sent.
#[derive(Debug)]
struct Columns {
    indexes: Vec<usize>,
    constants: Vec<Vec<u8>>,
    /// The columns of the file.
    count: usize,
}

impl Source {
    /// Opens a file.
    pub(crate) fn open(file: &Path, format: Format, mapping: &Mapping) -> Result<Self> {
        let opened = || File::open(file).with_context(|| format!("open {}", file.display()));
        match format {
            Format::Ndjson => {
                let (reader, mapping) = (BufReader::new(opened()?), mapping.clone());
                let lines = Lines::Ndjson { reader, number: 0, mapping };
                Ok(Self { lines, head: Vec::new() })
            }
            Format::Csv => {
                let mut reader = csv::ReaderBuilder::new()
                    .delimiter(delimiter(file)?)
                    .flexible(true)
                    .from_reader(opened()?);
                let header = reader.headers().context("read the header")?.clone();
                let names: Vec<_> = header.iter().map(str::trim).collect();
                let (columns, fields) = columns(&names, mapping)?;
                let head = written(fields.iter().map(String::as_bytes))?;
                Ok(Self { lines: Lines::Csv { reader: Box::new(reader), columns }, head })
            }
        }
    }

    /// The next line that is not blank.
    pub(crate) fn next(&mut self) -> Result<Option<FileLine>> {
        match &mut self.lines {
            Lines::Csv { reader, columns } => loop {
                let mut record = ByteRecord::new();
                if !reader.read_byte_record(&mut record)? {
                    return Ok(None);
                }
                // The gateway passes over such records as well.
                if record.iter().all(|value| value.trim_ascii().is_empty()) {
                    continue;
                }
                let number = record.position().map_or(0, csv::Position::line);
                let sent = columns.select(&record)?;
                return Ok(Some(FileLine { number, original: Original::Record(record), sent }));
            },
            Lines::Ndjson { reader, number, mapping } => loop {
                let mut original = Vec::new();
                if reader.read_until(b'\n', &mut original)? == 0 {
                    return Ok(None);
                }
                *number += 1;
                while original.last().is_some_and(u8::is_ascii_whitespace) {
                    original.pop();
                }
                if original.trim_ascii().is_empty() {
                    continue;
                }
                let mut sent = mapping.json(&original);
                sent.push(b'\n');
                let (number, original) = (*number, Original::Json(original));
                return Ok(Some(FileLine { number, original, sent }));
            },
        }
    }
}

/// The delimiter of a CSV file: the first of them in its header.
fn delimiter(file: &Path) -> Result<u8> {
    let mut head = Vec::new();
    let opened = File::open(file).with_context(|| format!("open {}", file.display()))?;
    BufReader::new(opened).read_until(b'\n', &mut head)?;
    Ok(head.into_iter().find(|byte| DELIMITERS.contains(byte)).unwrap_or(b','))
}

/// Which columns are sent, and the names of their fields.
fn columns(header: &[&str], mapping: &Mapping) -> Result<(Columns, Vec<String>)> {
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
    let constants = mapping.constants.iter().map(|(_, value)| value.clone().into_bytes());
    let columns = Columns { indexes, constants: constants.collect(), count: header.len() };
    fields.extend(mapping.constants.iter().map(|(field, _)| field.clone()));
    Ok((columns, fields))
}

impl Columns {
    /// What is sent of a record. One with another number of columns than the header is sent as it is, so
    /// that the gateway rejects it.
    fn select(&self, record: &ByteRecord) -> Result<Vec<u8>> {
        if record.len() != self.count {
            return written(record.iter());
        }
        let values = self.indexes.iter().map(|index| record.get(*index).unwrap_or_default());
        written(values.chain(self.constants.iter().map(Vec::as_slice)))
    }
}

/// A record as it is sent.
fn written<'v>(values: impl Iterator<Item = &'v [u8]>) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(values).context("write a record")?;
    writer.into_inner().context("write a record")
}

impl Mapping {
    /// A line of JSON as it is sent. One that is no object is sent as it is, so that the gateway rejects it.
    fn json(&self, line: &[u8]) -> Vec<u8> {
        let Ok(Value::Object(mut members)) = serde_json::from_slice(line) else {
            return line.to_vec();
        };
        members.remove(REASON);
        for (field, member) in &self.columns {
            if let Some(value) = members.remove(member) {
                put(&mut members, field, value);
            }
        }
        for (field, value) in &self.constants {
            // A number or a boolean is one; anything else is text. `007` is no number of JSON.
            let typed = serde_json::from_str(value)
                .ok()
                .filter(|it: &Value| it.is_boolean() || it.is_i64());
            put(&mut members, field, typed.unwrap_or_else(|| value.clone().into()));
        }
        Value::Object(members).to_string().into_bytes()
    }
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

/// A file of rejected lines in the format of their own file, so that it can be mended and pushed in the
/// same way. It is made with the first of them.
pub(crate) struct Rejects {
    pub(crate) file: PathBuf,
    /// The file whose lines they are.
    source: PathBuf,
    writer: Option<Writer>,
}

enum Writer {
    /// And whether the header of the source has the reason already.
    Csv(Box<csv::Writer<File>>, Option<usize>),
    Ndjson(BufWriter<File>),
}

impl Rejects {
    /// Of that source. A file of an earlier run is removed.
    pub(crate) fn new(file: &Path, source: &Path) -> Result<Self> {
        if file.exists() {
            std::fs::remove_file(file).with_context(|| format!("remove {}", file.display()))?;
        }
        Ok(Self { file: file.to_owned(), source: source.to_owned(), writer: None })
    }

    /// Writes a line and why it was rejected.
    pub(crate) fn add(&mut self, line: &FileLine, reason: &str) -> Result<()> {
        if self.writer.is_none() {
            let created = File::create(&self.file);
            let created = created.with_context(|| format!("create {}", self.file.display()))?;
            self.writer = Some(match &line.original {
                Original::Json(_) => Writer::Ndjson(BufWriter::new(created)),
                Original::Record(_) => {
                    let delimiter = delimiter(&self.source)?;
                    let mut source = csv::ReaderBuilder::new()
                        .delimiter(delimiter)
                        .from_path(&self.source)
                        .context("read the header")?;
                    let mut header = source.headers().context("read the header")?.clone();
                    let position = header.iter().position(|name| name == REASON);
                    if position.is_none() {
                        header.push_field(REASON);
                    }
                    let mut writer = csv::WriterBuilder::new()
                        .delimiter(delimiter)
                        .flexible(true)
                        .from_writer(created);
                    writer.write_record(&header).context("write a rejected line")?;
                    Writer::Csv(Box::new(writer), position)
                }
            });
        }
        let written = match (&mut self.writer, &line.original) {
            (Some(Writer::Csv(writer, position)), Original::Record(record)) => {
                let mut values: Vec<&[u8]> = record.iter().collect();
                match position {
                    Some(index) if *index < values.len() => values[*index] = reason.as_bytes(),
                    _ => values.push(reason.as_bytes()),
                }
                writer.write_record(values).map_err(anyhow::Error::from)
            }
            (Some(Writer::Ndjson(writer)), Original::Json(text)) => {
                let mut members = match serde_json::from_slice(text) {
                    Ok(Value::Object(members)) => members,
                    _ => Map::from_iter([(
                        LINE.to_owned(),
                        String::from_utf8_lossy(text).into_owned().into(),
                    )]),
                };
                members.insert(REASON.to_owned(), reason.into());
                writeln!(writer, "{}", Value::Object(members)).map_err(anyhow::Error::from)
            }
            _ => Ok(()),
        };
        written.with_context(|| format!("write {}", self.file.display()))
    }

    /// Writes what is not written yet.
    pub(crate) fn finish(&mut self) -> Result<()> {
        match &mut self.writer {
            Some(Writer::Csv(writer, _)) => writer.flush(),
            Some(Writer::Ndjson(writer)) => writer.flush(),
            None => Ok(()),
        }
        .with_context(|| format!("write {}", self.file.display()))
    }
}

#[cfg(test)]
mod tests;
