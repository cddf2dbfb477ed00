//! The rows of a sheet of an XLSX workbook. They are read one by one; what is in memory as a whole are the
//! texts of the workbook, which it keeps in one table.

use std::{
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use anyhow::{Context, Result, anyhow, bail};
use calamine::{Data, ExcelDateTime, Reader, Xlsx, open_workbook};

use super::{
    super::mapping::Mapping,
    FileLine, Original,
    records::{Orders, Records, columns},
};

/// The largest workbook: its texts are read into memory, which are most of it when they are inflated. A
/// million rows of ten columns have about half of it.
const MAX_WORKBOOK_BYTES: u64 = 100 * 1024 * 1024;
/// The columns of a sheet, as spreadsheets have them.
const MAX_COLUMNS: usize = 16_384;
/// The rows that are read ahead.
const ROWS_AHEAD: usize = 100;
/// The significant digits of a number: those that a spreadsheet shows, so that 0.1 + 0.2 is 0.3.
const SIGNIFICANT_DIGITS: usize = 15;

/// A row, from the first column on, and its number from 1.
type Row = (u64, Vec<Data>);

/// A sheet of a workbook, row by row.
pub(crate) struct Workbook {
    /// The name of the sheet.
    pub(crate) sheet: String,
    /// The first row that is not blank.
    pub(crate) header: Vec<Data>,
    rows: Receiver<Result<Option<Row>>>,
}

impl Workbook {
    /// Opens a workbook at its header: that of the first sheet, or of the one that is named.
    pub(crate) fn open(file: &Path, sheet: Option<&str>) -> Result<Self> {
        let opened = || format!("open {}", file.display());
        let length = fs::metadata(file).with_context(opened)?.len();
        if length > MAX_WORKBOOK_BYTES {
            bail!(
                "{} has {length} bytes, and a workbook at most {MAX_WORKBOOK_BYTES}: save it as CSV",
                file.display()
            );
        }
        let (rows_in, rows) = sync_channel(ROWS_AHEAD);
        let (name_in, name) = sync_channel(1);
        let (path, wanted): (PathBuf, _) = (file.to_owned(), sheet.map(str::to_owned));
        // The rows borrow the workbook, so both stay in a thread.
        thread::spawn(move || {
            if let Err(error) = read(&path, wanted.as_deref(), &name_in, &rows_in) {
                // Nobody waits for it any more when it cannot be sent.
                rows_in.send(Err(error)).ok();
            }
        });
        let sheet = name.recv().unwrap_or_default();
        let mut workbook = Self { sheet, header: Vec::new(), rows };
        let header = workbook.next().with_context(opened)?;
        workbook.header = header.map(|(_, cells)| cells).unwrap_or_default();
        Ok(workbook)
    }

    /// The next row that is not blank.
    pub(crate) fn next(&mut self) -> Result<Option<Row>> {
        // The reader of a workbook that is damaged may end without a word.
        self.rows.recv().unwrap_or_else(|_| Err(anyhow!("the workbook is damaged")))
    }
}

/// Reads the rows of a sheet until nobody takes them.
fn read(
    file: &Path,
    wanted: Option<&str>,
    name: &SyncSender<String>,
    rows: &SyncSender<Result<Option<Row>>>,
) -> Result<()> {
    let mut workbook: Xlsx<BufReader<File>> = open_workbook(file).context("read the workbook")?;
    let sheets = workbook.sheet_names();
    let sheet = match wanted {
        Some(wanted) if !sheets.iter().any(|name| name == wanted) => {
            bail!("there is no sheet {wanted:?}; the sheets are {}", sheets.join(", "));
        }
        Some(wanted) => wanted.to_owned(),
        None => sheets.into_iter().next().context("the workbook has no sheet")?,
    };
    name.send(sheet.clone()).ok();
    let mut cells = workbook.worksheet_cells_reader(&sheet).context("read the sheet")?;
    let (mut number, mut row): Row = (0, Vec::new());
    loop {
        let cell = cells.next_cell().context("read a cell")?;
        let at = cell.as_ref().map(calamine::Cell::get_position);
        let next = at.map(|(row, _)| u64::from(row) + 1);
        if next != Some(number) && !row.is_empty() {
            let complete = (number, std::mem::take(&mut row));
            if rows.send(Ok(Some(complete))).is_err() {
                return Ok(());
            }
        }
        let (Some(cell), Some((_, column))) = (cell, at) else {
            rows.send(Ok(None)).ok();
            return Ok(());
        };
        number = next.unwrap_or_default();
        let value = Data::from(cell.get_value().clone());
        if text(&value).trim().is_empty() {
            continue;
        }
        // Cells that are blank are not in the file.
        let column = column as usize;
        if column >= MAX_COLUMNS {
            bail!("row {number} has a cell in column {column}, and a sheet has {MAX_COLUMNS}");
        }
        if column >= row.len() {
            row.resize(column + 1, Data::Empty);
        }
        row[column] = value;
    }
}

/// The lines of a sheet.
pub(super) struct Sheet {
    workbook: Workbook,
    records: Records,
    /// The columns that are sent.
    indexes: Vec<usize>,
}

impl Sheet {
    /// Of a workbook; and the header that is sent.
    pub(super) fn open(file: &Path, mapping: &Mapping, orders: Orders) -> Result<(Self, Vec<u8>)> {
        let workbook = Workbook::open(file, mapping.sheet.as_deref())?;
        let names: Vec<_> = workbook.header.iter().map(text).collect();
        let names: Vec<_> = names.iter().map(|name| name.trim()).collect();
        let (indexes, fields) = columns(&names, mapping)?;
        // A column without a name has nothing that could be sent.
        let all = indexes.into_iter().zip(fields);
        let (indexes, fields) = all.filter(|(_, field)| !field.is_empty()).unzip();
        let (records, head) = Records::new(fields, mapping, orders)?;
        Ok((Self { workbook, records, indexes }, head))
    }

    pub(super) fn next(&mut self) -> Result<Option<FileLine>> {
        loop {
            let Some((number, row)) = self.workbook.next()? else { return Ok(None) };
            let values = self.indexes.iter().map(|index| row.get(*index).map(text));
            let values: Vec<_> = values.map(Option::unwrap_or_default).collect();
            let sent = self.records.sent(values.iter().map(String::as_bytes))?;
            let Some((sent, note)) = sent else { continue };
            return Ok(Some(FileLine { number, original: Original::Row(row), sent, note }));
        }
    }
}

/// What a cell says: a whole number without decimals, a date as ISO 8601 has it, and the time of day with it
/// unless it is midnight. A formula is the value that the workbook has for it.
pub(super) fn text(value: &Data) -> String {
    match value {
        Data::Empty => String::new(),
        Data::Int(number) => number.to_string(),
        Data::Float(number) => number_text(*number),
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => text.clone(),
        Data::Bool(boolean) => boolean.to_string(),
        Data::DateTime(time) if time.is_duration() => number_text(time.as_f64()),
        Data::DateTime(time) => time_text(*time),
        // Such as `#N/A`: the gateway rejects it, and names the field.
        Data::Error(error) => error.to_string(),
    }
}

fn number_text(number: f64) -> String {
    let rounded = format!("{number:.*e}", SIGNIFICANT_DIGITS - 1).parse().unwrap_or(number);
    // Minus zero is zero.
    format!("{}", if rounded == 0.0 { 0.0 } else { rounded })
}

fn time_text(time: ExcelDateTime) -> String {
    let (year, month, day, hour, minute, second, milliseconds) = time.to_ymd_hms_milli();
    let of_day = format!("{hour:02}:{minute:02}:{second:02}");
    let of_day = if milliseconds == 0 { of_day } else { format!("{of_day}.{milliseconds:03}") };
    let day = format!("{year:04}-{month:02}-{day:02}");
    match of_day.as_str() {
        "00:00:00" => day,
        // What has no day is a time of day.
        _ if time.as_f64() < 1.0 => of_day,
        _ => format!("{day}T{of_day}"),
    }
}
