//! How a file becomes lines of the API: which column or element has which field, what is the same in all
//! lines, and what the values of the file mean. It is said on the command line or kept in a file.

use std::{borrow::Cow, collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{
    Kind,
    edi::{message::Message, reference::Reference},
    file::format::Format,
};

/// The fields that are times: what a file says without a zone is completed.
const TIMES: [&str; 2] = ["as_of", "occurred_at"];

/// A mapping as it is kept in a file, TOML or JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MappingFile {
    /// How files are written.
    #[serde(default)]
    pub(super) format: Option<Format>,
    /// What their lines are.
    #[serde(default)]
    pub(super) to: Option<Kind>,
    /// The sheet of a workbook.
    #[serde(default)]
    sheet: Option<String>,
    /// The zone of times that name none: `+01:00`; UTC without it.
    #[serde(default)]
    utc_offset: Option<String>,
    /// Fields, and the column, member or element of each. Of several elements the first that has a value.
    #[serde(default)]
    fields: BTreeMap<String, Sources>,
    /// The fields of each line of an order, and their elements.
    #[serde(default)]
    lines: BTreeMap<String, Sources>,
    /// Fields with one value for all lines.
    #[serde(default)]
    constants: BTreeMap<String, Constant>,
    /// Of fields: what stands in the file, and what is sent for it.
    #[serde(default)]
    values: BTreeMap<String, BTreeMap<String, String>>,
    /// Of fields that are amounts: the decimals of their minor unit, so that 18.00 becomes 1800.
    #[serde(default)]
    decimals: BTreeMap<String, usize>,
    /// Which documents of an EDI file are read.
    #[serde(default)]
    message: Option<Message>,
    /// The elements that name an order: sent again, it is placed once.
    #[serde(default)]
    idempotency_key: Vec<Reference>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Sources {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Constant {
    Number(i64),
    Boolean(bool),
    Text(String),
}

impl MappingFile {
    /// Reads a file: JSON where its name ends in `.json`, and TOML otherwise.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("read the mapping {}", file.display()))?;
        let is_json = file.extension().is_some_and(|it| it.eq_ignore_ascii_case("json"));
        let read = if is_json {
            serde_json::from_str(&text).map_err(anyhow::Error::from)
        } else {
            toml::from_str(&text).map_err(anyhow::Error::from)
        };
        read.with_context(|| format!("parse the mapping {}", file.display()))
    }
}

/// Fields, and what each is.
type Pairs = Vec<(String, String)>;

/// How the columns of a file become fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mapping {
    /// Fields, and the column of each.
    pub(crate) columns: Pairs,
    /// Fields with one value for all lines.
    pub(crate) constants: Pairs,
    pub(crate) conversions: Conversions,
    /// The sheet of a workbook; the first unless it is named.
    pub(crate) sheet: Option<String>,
    /// How the elements of an EDI file become fields.
    pub(crate) elements: Option<Elements>,
}

/// How the elements of an EDI file become fields.
#[derive(Debug, Clone)]
pub(crate) struct Elements {
    pub(super) message: Message,
    /// Of documents that are orders, the fields of the order; of others, those of each line.
    pub(super) fields: Vec<(String, Vec<Reference>)>,
    /// The fields of each line of an order.
    pub(super) lines: Vec<(String, Vec<Reference>)>,
    pub(super) idempotency_key: Vec<Reference>,
}

impl Mapping {
    /// What a file says, with what the command line says beside it: there the latter counts.
    pub(super) fn new(
        file: MappingFile,
        format: Format,
        (columns, constants): (Pairs, Pairs),
        sheet: Option<String>,
    ) -> Result<Self> {
        let is_edi = format == Format::Edi;
        if is_edi && !columns.is_empty() {
            bail!("--map names columns, and an EDI file has none: name its elements in --mapping");
        }
        if !is_edi && (file.message.is_some() || !file.lines.is_empty()) {
            bail!(
                "the mapping has message or lines, which are of EDI files alone: say format = \"edi\""
            );
        }
        let is_given =
            |field: &str, given: &[(String, String)]| given.iter().any(|(it, _)| it == field);
        let kept = file.constants.into_iter().map(|(field, value)| (field, value.text()));
        let kept: Vec<_> = kept.filter(|(field, _)| !is_given(field, &constants)).collect();
        let conversions = Conversions {
            values: file.values,
            decimals: file.decimals,
            utc_offset: file.utc_offset.unwrap_or_else(|| "Z".to_owned()),
        };
        let mut mapping = Self {
            columns: Vec::new(),
            constants: [kept, constants].concat(),
            conversions,
            sheet: sheet.or(file.sheet),
            elements: None,
        };
        if is_edi {
            let message = file.message.context("the mapping of an EDI file must have [message]")?;
            mapping.elements = Some(Elements {
                message,
                fields: references(file.fields)?,
                lines: references(file.lines)?,
                idempotency_key: file.idempotency_key,
            });
        } else {
            for (field, source) in file.fields {
                let Sources::One(column) = source else {
                    bail!("fields.{field} must be the name of one column");
                };
                if !is_given(&field, &columns) {
                    mapping.columns.push((field, column));
                }
            }
            mapping.columns.extend(columns);
        }
        Ok(mapping)
    }
}

fn references(fields: BTreeMap<String, Sources>) -> Result<Vec<(String, Vec<Reference>)>> {
    let read = |(field, sources): (String, Sources)| {
        let sources = match sources {
            Sources::One(source) => vec![source],
            Sources::Several(sources) => sources,
        };
        let references = sources.iter().map(|it| it.parse()).collect::<Result<Vec<_>, _>>();
        let references = references.with_context(|| format!("read the mapping of {field}"))?;
        Ok((field, references))
    };
    fields.into_iter().map(read).collect()
}

impl Constant {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::Text(text) => text,
        }
    }
}

/// What the values of a file mean.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conversions {
    values: BTreeMap<String, BTreeMap<String, String>>,
    decimals: BTreeMap<String, usize>,
    /// The zone of times that name none; empty for UTC.
    utc_offset: String,
}

impl Conversions {
    /// What is sent for a value of the file. One that cannot be converted stays as it is, so that the
    /// gateway says what is wrong with it.
    pub(crate) fn convert<'v>(&self, field: &str, value: &'v str) -> Cow<'v, str> {
        let text = value.trim();
        if let Some(meant) = self.values.get(field).and_then(|values| values.get(text)) {
            return Cow::Owned(meant.clone());
        }
        if let Some(decimals) = self.decimals.get(field) {
            return minor_units(text, *decimals).map_or(Cow::Borrowed(value), Cow::Owned);
        }
        if TIMES.contains(&field) {
            let offset = if self.utc_offset.is_empty() { "Z" } else { &self.utc_offset };
            return complete_time(text, offset).map_or(Cow::Borrowed(value), Cow::Owned);
        }
        Cow::Borrowed(value)
    }
}

/// An amount in minor units: `18.5` with two decimals is `1850`, `.75` is `75`. The decimal sign is a point or a comma;
/// there is none between thousands. `None` for what is no such number, or has more decimals.
fn minor_units(text: &str, decimals: usize) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once(['.', ',']).unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // X12 has no zero before the decimal sign.
    let is_empty = whole.is_empty() && fraction.is_empty();
    if is_empty || !are_digits(whole) || !are_digits(fraction) || decimals > 9 {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > decimals {
        return None;
    }
    let minor = format!("{whole}{fraction:0<decimals$}");
    let minor = minor.trim_start_matches('0');
    Some(if minor.is_empty() { "0".to_owned() } else { format!("{sign}{minor}") })
}

/// A time as RFC 3339 wants it, from the forms that ERPs write without a zone: `20261122`,
/// `202611221430`, `20261122143000` (EDIFACT 2379 codes 102, 203 and 204, X12 element 373),
/// `2026-11-22` and `2026-11-22 14:30:00`. `None` for what has another form.
fn complete_time(text: &str, offset: &str) -> Option<String> {
    let digits: String = match text.len() {
        8 | 12 | 14 => text.to_owned(),
        10 | 16 | 19 => {
            let is_placed = text.bytes().enumerate().all(|(index, byte)| match index {
                4 | 7 => byte == b'-',
                10 => matches!(byte, b'T' | b' '),
                13 | 16 => byte == b':',
                _ => byte.is_ascii_digit(),
            });
            if !is_placed {
                return None;
            }
            text.chars().filter(char::is_ascii_digit).collect()
        }
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let all = format!("{digits:0<14}");
    let part = |range: std::ops::Range<usize>| all.get(range).unwrap_or_default().to_owned();
    let (date, time) =
        ([part(0..4), part(4..6), part(6..8)], [part(8..10), part(10..12), part(12..14)]);
    Some(format!("{}T{}{offset}", date.join("-"), time.join(":")))
}

#[cfg(test)]
mod tests;
