//! How a file is written.

use std::path::Path;

use clap::ValueEnum;
use serde::Deserialize;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Values with a header, between commas, semicolons or tabs
    Csv,
    /// A JSON object on each line
    Ndjson,
    /// A sheet of a workbook, with a header
    Xlsx,
    /// X12 or EDIFACT, with a mapping
    Edi,
}

impl Format {
    /// The format that a file's name says.
    pub(crate) fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "xlsx" => Some(Self::Xlsx),
            "edi" | "x12" | "edifact" => Some(Self::Edi),
            _ => None,
        }
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Xlsx => "xlsx",
            Self::Edi => "edi",
        }
    }
}
