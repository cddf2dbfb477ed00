//! Texts and times in JSON.

use std::{io::Write, ops::RangeInclusive};

use super::Unwritable;

/// The seconds since 1970 of which a timestamp may be.
const SECONDS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Appends a text in quotation marks.
pub(crate) fn write_text(value: &str, text: &mut Vec<u8>) -> Result<(), Unwritable> {
    let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if value.bytes().all(is_plain) {
        text.push(b'"');
        text.extend_from_slice(value.as_bytes());
        text.push(b'"');
        return Ok(());
    }
    serde_json::to_writer(text, value).map_err(|_| Unwritable)
}

/// Appends a time in quotation marks.
pub(crate) fn write_time(
    time: &prost_types::Timestamp,
    text: &mut Vec<u8>,
) -> Result<(), Unwritable> {
    if !SECONDS.contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        return Err(Unwritable);
    }
    write!(text, "\"{time}\"").map_err(|_| Unwritable)
}
