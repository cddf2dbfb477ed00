//! What an ERP connector does by the command line: it pushes files, of any length, and looks at what came of
//! them.
//!
//! - `file`: reads a file, and says which lines are sent of it;
//! - `mapping`: how its columns and elements become fields;
//! - `edi`: X12 and EDIFACT;
//! - `push`: sends lines, goes on where a connection broke, and keeps what was rejected;
//! - `orders`: the same for purchase orders;
//! - `rejects`: the file of what was rejected;
//! - `watch`: pushes each file that appears in a folder;
//! - `rejections`, `connectors`: what the inventory keeps of rejected lines, and of connectors.

mod connectors;
mod edi;
mod file;
mod mapping;
mod orders;
mod push;
mod rejections;
mod rejects;
mod watch;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use node::settings::Settings;
use serde::Deserialize;

use self::{
    connectors::Connectors,
    file::Format,
    mapping::{Mapping, MappingFile},
    orders::OrderPush,
    push::{Push, Pushed},
    rejections::Rejections,
};
use crate::gateway::{ENVIRONMENT, ShopOptions};

/// What a connector does.
#[derive(Debug, Subcommand)]
pub(crate) enum Erp {
    /// Push the lines of a file; those that are rejected are written to another file, with the reason
    #[command(after_help = ENVIRONMENT)]
    Push(PushOptions),
    /// List, show, redrive and drop the stock lines that were rejected
    #[command(subcommand, after_help = ENVIRONMENT)]
    Rejections(Rejections),
    /// Show what has come from the connectors
    #[command(subcommand, after_help = ENVIRONMENT)]
    Connectors(Connectors),
}

/// What is pushed, and how.
#[derive(Debug, Args)]
pub(crate) struct PushOptions {
    #[command(flatten)]
    of: ShopOptions,
    /// The file: CSV (.csv) or a workbook (.xlsx) with a header, a JSON object on each line (.ndjson, .jsonl), or
    /// X12 or EDIFACT (.edi, .x12, .edifact)
    #[arg(required_unless_present = "watch")]
    file: Option<PathBuf>,
    /// Push each file that appears in a folder instead, and move it to `done/` or `rejected/` there
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["file", "rejects"])]
    watch: Option<PathBuf>,
    /// A TOML or JSON file that says how files are read: format, fields, constants, values. What is said beside it
    /// counts
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// What its lines are; inventory unless the mapping says it
    #[arg(long, value_enum)]
    to: Option<Kind>,
    /// How it is written, where neither the mapping nor its name says it
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The sheet of a workbook; the first unless it is named
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// The column, or JSON member, with a field: `sku=Item`. With it, columns that are no fields are left out
    #[arg(long, value_name = "FIELD=COLUMN", value_parser = pair)]
    map: Vec<(String, String)>,
    /// A field that is the same in all lines: `connector=warehouse`
    #[arg(long, value_name = "FIELD=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Compress what is sent
    #[arg(long)]
    gzip: bool,
    /// Where rejected lines are written; beside the file unless it is given
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
}

/// What lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Counts, adjustments, goods issues and transfers
    Inventory,
    /// Products
    Products,
    /// Goods issues, which need not say that they are
    Fulfilments,
    /// Orders, of an EDI file
    Orders,
}

/// What is to be done to push a file.
enum Pushing {
    Lines(Push),
    Orders(OrderPush),
}

impl Pushing {
    /// Pushes it to its end, and says what became of it.
    async fn push(&self) -> Result<Pushed> {
        match self {
            Self::Lines(push) => push.push().await,
            Self::Orders(push) => push.push().await,
        }
    }
}

/// Does it.
pub(crate) async fn run(settings: &Settings, what: Erp) -> Result<()> {
    match what {
        Erp::Push(options) => match &options.watch {
            Some(folder) => watch::watch(settings, folder, &options).await,
            None => push_file(settings, &options).await,
        },
        Erp::Rejections(what) => rejections::run(settings, what).await,
        Erp::Connectors(what) => connectors::run(settings, what).await,
    }
}

/// Pushes a file. Fails when lines were rejected.
async fn push_file(settings: &Settings, options: &PushOptions) -> Result<()> {
    let file = options.file.as_deref().context("name the file, or a folder with --watch")?;
    let format = options.format()?.or_else(|| Format::of(file)).with_context(|| {
        let file = file.display();
        format!("{file} is neither .csv, .ndjson, .xlsx nor .edi: say which with --format")
    })?;
    let rejects = options.rejects.clone().unwrap_or_else(|| beside(file, format));
    if is_same_file(&rejects, file) {
        bail!("the rejected lines of {} would replace it", file.display());
    }
    let pushed = pushing(settings, options, file, format, rejects.clone())?.push().await?;
    let Pushed { lines, rejected } = pushed;
    if rejected == 0 {
        return Ok(());
    }
    let rejects = rejects.display();
    if format == Format::Edi {
        bail!("{rejected} of {lines} were rejected: {rejects} lists them with the reasons");
    }
    bail!("{rejected} of {lines} lines were rejected: mend them in {rejects}, and push that")
}

impl PushOptions {
    /// The mapping that is kept in a file; an empty one without it.
    fn mapping(&self) -> Result<MappingFile> {
        self.mapping.as_deref().map_or_else(|| Ok(MappingFile::default()), MappingFile::read)
    }

    /// The format of files, where it is said.
    fn format(&self) -> Result<Option<Format>> {
        Ok(self.format.or(self.mapping()?.format))
    }
}

/// What is to be done to push a file.
fn pushing(
    settings: &Settings,
    options: &PushOptions,
    file: &Path,
    format: Format,
    rejects: PathBuf,
) -> Result<Pushing> {
    let kept = options.mapping()?;
    let kind = options.to.or(kept.to).unwrap_or(Kind::Inventory);
    let given = (options.map.clone(), options.set.clone());
    let mapping = Mapping::new(kept, format, given, options.sheet.clone())?;
    let (client, file) = (options.of.client(settings)?, file.to_owned());
    let path = match kind {
        Kind::Orders => return Ok(Pushing::Orders(OrderPush { client, file, mapping, rejects })),
        Kind::Inventory => "inventory",
        Kind::Products => "products",
        Kind::Fulfilments => "fulfilments",
    };
    let is_gzip = options.gzip;
    Ok(Pushing::Lines(Push { client, path, file, format, mapping, is_gzip, rejects }))
}

/// The file for the rejected lines of another: `stock.rejects.csv` of `stock.csv`. The list of an EDI file has its
/// whole name, `ORDERS.001.rejects.csv`: such files are often told apart by what stands behind the last dot.
fn beside(file: &Path, format: Format) -> PathBuf {
    if format == Format::Edi {
        let mut list = file.as_os_str().to_owned();
        list.push(".rejects.csv");
        return list.into();
    }
    let extension = file.extension().and_then(|it| it.to_str()).unwrap_or(format.extension());
    file.with_extension(format!("rejects.{extension}"))
}

/// Whether two paths lead to one file, however they are written.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino()));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}

fn pair(text: &str) -> Result<(String, String), String> {
    let parts =
        text.split_once('=').filter(|(field, value)| !field.is_empty() && !value.is_empty());
    let (field, value) = parts.ok_or("must be FIELD=VALUE")?;
    Ok((field.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod mutations;
