//! Files of rejected lines in the format of their own file, so that they can be mended and pushed in the same
//! way. Those of an EDI file are a list: who sent it sends a corrected document.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use calamine::Data;
use rust_xlsxwriter::Format as CellFormat;
use serde_json::{Map, Value};

use super::{
    file::{DocumentLine, FileLine, Original, REASON, Workbook, delimiter, object},
    mapping::Mapping,
};

/// The member with a rejected line that is no JSON object, or one that has a member twice.
const LINE: &str = "reject_line";
/// The columns of the list of rejected lines of an EDI file.
const LIST: [&str; 4] = ["document", "segment", "text", REASON];
/// How times are shown in a workbook: of a day, without one, and durations.
const DATE_FORMAT: &str = "yyyy-mm-dd hh:mm:ss";
const TIME_FORMAT: &str = "hh:mm:ss";
const DURATION_FORMAT: &str = "[hh]:mm:ss";

/// A file of rejected lines. It is made with the first of them, and has those there are also when what writes it
/// fails: the lines before have their results, and only this file has theirs.
pub(super) struct Rejects {
    pub(super) file: PathBuf,
    /// The file whose lines they are.
    source: PathBuf,
    /// The sheet of a workbook.
    sheet: Option<String>,
    writer: Option<Writer>,
}

enum Writer {
    /// And which column of the source has the reason already.
    Csv(Box<csv::Writer<File>>, Option<usize>),
    Ndjson(BufWriter<File>),
    Xlsx(Box<Rows>),
    List(Box<csv::Writer<File>>),
}

impl Rejects {
    /// Of that source. A file of an earlier run is removed.
    pub(super) fn new(file: &Path, source: &Path, mapping: &Mapping) -> Result<Self> {
        if file.exists() {
            std::fs::remove_file(file).with_context(|| format!("remove {}", file.display()))?;
        }
        let sheet = mapping.sheet.clone();
        Ok(Self { file: file.to_owned(), source: source.to_owned(), sheet, writer: None })
    }

    /// Writes a line and why it was rejected.
    pub(super) fn add(&mut self, line: &FileLine, reason: &str) -> Result<()> {
        self.write(&line.original, line.number, reason)
            .with_context(|| format!("write {}", self.file.display()))
    }

    fn write(&mut self, line: &Original, number: u64, reason: &str) -> Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.writer.insert(Writer::new(
                line,
                &self.file,
                &self.source,
                self.sheet.as_deref(),
            )?),
        };
        match (writer, line) {
            (Writer::Csv(writer, position), Original::Record(record)) => {
                let mut values: Vec<&[u8]> = record.iter().collect();
                match position {
                    Some(index) if *index < values.len() => values[*index] = reason.as_bytes(),
                    _ => values.push(reason.as_bytes()),
                }
                writer.write_record(values)?;
            }
            (Writer::Ndjson(writer), Original::Json(text)) => {
                let mut members = object(text).unwrap_or_else(|| {
                    let text = String::from_utf8_lossy(text).into_owned();
                    Map::from_iter([(LINE.to_owned(), text.into())])
                });
                members.insert(REASON.to_owned(), reason.into());
                writeln!(writer, "{}", Value::Object(members))?;
            }
            (Writer::Xlsx(rows), Original::Row(row)) => rows.add(row, reason)?,
            (Writer::List(writer), Original::Segment(DocumentLine { document, segment })) => {
                writer.write_record([document, &*number.to_string(), segment, reason])?;
            }
            // The lines of a file are all of its format.
            _ => {}
        }
        Ok(())
    }

    /// Writes what is not written yet.
    pub(super) fn finish(&mut self) -> Result<()> {
        let finished: Result<()> = match self.writer.take() {
            Some(Writer::Csv(mut writer, _) | Writer::List(mut writer)) => {
                writer.flush().map_err(Into::into)
            }
            Some(Writer::Ndjson(mut writer)) => writer.flush().map_err(Into::into),
            Some(Writer::Xlsx(mut rows)) => rows.workbook.save(&self.file).map_err(Into::into),
            None => Ok(()),
        };
        finished.with_context(|| format!("write {}", self.file.display()))
    }
}

impl Drop for Rejects {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::warn!(error = format!("{error:#}"), "the rejected lines are not written");
        }
    }
}

impl Writer {
    /// For lines such as this one, with the header of their source.
    fn new(line: &Original, file: &Path, source: &Path, sheet: Option<&str>) -> Result<Self> {
        let created = || File::create(file).context("create it");
        Ok(match line {
            Original::Json(_) => Self::Ndjson(BufWriter::new(created()?)),
            Original::Record(_) => {
                let delimiter = delimiter(File::open(source)?)?;
                let mut reader = csv::ReaderBuilder::new()
                    .delimiter(delimiter)
                    .flexible(true)
                    .from_path(source)?;
                let mut header = reader.headers()?.clone();
                let position = header.iter().position(|name| name.trim() == REASON);
                if position.is_none() {
                    header.push_field(REASON);
                }
                let mut writer = csv::WriterBuilder::new()
                    .delimiter(delimiter)
                    .flexible(true)
                    .from_writer(created()?);
                writer.write_record(&header)?;
                Self::Csv(Box::new(writer), position)
            }
            Original::Row(_) => Self::Xlsx(Box::new(Rows::new(source, sheet)?)),
            Original::Segment(_) => {
                let mut writer = csv::Writer::from_writer(created()?);
                writer.write_record(LIST)?;
                Self::List(Box::new(writer))
            }
        })
    }
}

/// Rows of a workbook. They are kept in a temporary file until it is complete.
struct Rows {
    workbook: rust_xlsxwriter::Workbook,
    /// The column of the reason.
    position: u16,
    /// The next row.
    row: u32,
}

impl Rows {
    fn new(source: &Path, sheet: Option<&str>) -> Result<Self> {
        let Workbook { sheet, header, .. } = Workbook::open(source, sheet)?;
        let is_reason = |cell: &Data| matches!(cell, Data::String(name) if name.trim() == REASON);
        let position = header.iter().position(is_reason).unwrap_or(header.len());
        let mut workbook = rust_xlsxwriter::Workbook::new();
        workbook.add_worksheet_with_constant_memory()?.set_name(sheet)?;
        let position = u16::try_from(position).context("it has too many columns")?;
        let mut rows = Self { workbook, position, row: 0 };
        rows.add(&header, REASON)?;
        Ok(rows)
    }

    fn add(&mut self, cells: &[Data], reason: &str) -> Result<()> {
        let Self { workbook, position, row } = self;
        let sheet = workbook.worksheet_from_index(0)?;
        for (column, cell) in (0..).zip(cells).filter(|(column, _)| column != position) {
            match cell {
                Data::Empty => {}
                Data::Int(number) => {
                    sheet.write_number(*row, column, *number as f64)?;
                }
                Data::Float(number) => {
                    sheet.write_number(*row, column, *number)?;
                }
                Data::Bool(boolean) => {
                    sheet.write_boolean(*row, column, *boolean)?;
                }
                Data::DateTime(time) => {
                    let (format, serial) = match time.as_f64() {
                        serial if time.is_duration() => (DURATION_FORMAT, serial),
                        serial if serial < 1.0 => (TIME_FORMAT, serial),
                        // Days may be counted from another one than here.
                        _ => (DATE_FORMAT, serial_of(*time)?),
                    };
                    let format = CellFormat::new().set_num_format(format);
                    sheet.write_number_with_format(*row, column, serial, &format)?;
                }
                Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => {
                    sheet.write_string(*row, column, text)?;
                }
                Data::Error(error) => {
                    sheet.write_string(*row, column, error.to_string())?;
                }
            }
        }
        sheet.write_string(*row, *position, reason)?;
        *row += 1;
        Ok(())
    }
}

/// The days since 1900 of a date, as the workbooks count that are written.
fn serial_of(time: calamine::ExcelDateTime) -> Result<f64> {
    let (year, month, day, ..) = time.to_ymd_hms_milli();
    let date = rust_xlsxwriter::ExcelDateTime::from_ymd(year, month, day)?;
    Ok(date.to_excel() + time.as_f64().fract())
}
