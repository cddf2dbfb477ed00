//! What an ERP connector does by the command line: it pushes files, of any length.
//!
//! - `file`: reads a file, maps its columns, and says which lines were sent;
//! - `push`: sends it, goes on where a connection broke, and keeps what was rejected;
//! - `watch`: does so with each file that appears in a folder.

mod file;
mod push;
mod watch;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use node::settings::Settings;

use self::{
    file::{Format, Mapping},
    push::Push,
};
use crate::gateway::{ENVIRONMENT, ShopOptions};

/// What a connector does.
#[derive(Debug, Subcommand)]
pub(crate) enum Erp {
    /// Push the lines of a file; those that are rejected are written to another file, with the reason
    #[command(after_help = ENVIRONMENT)]
    Push(PushOptions),
}

/// What is pushed, and how.
#[derive(Debug, Args)]
pub(crate) struct PushOptions {
    #[command(flatten)]
    of: ShopOptions,
    /// The file: CSV (.csv) with a header, or a JSON object on each line (.ndjson, .jsonl)
    #[arg(required_unless_present = "watch")]
    file: Option<PathBuf>,
    /// Push each file that appears in a folder instead, and move it to `done/` or `rejected/` there
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["file", "rejects"])]
    watch: Option<PathBuf>,
    /// What its lines are
    #[arg(long, value_enum, default_value_t = Kind::Inventory)]
    to: Kind,
    /// How it is written, where its name does not say it
    #[arg(long, value_enum)]
    format: Option<Format>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Counts, adjustments, goods issues and transfers
    Inventory,
    /// Products
    Products,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Products => "products",
        }
    }
}

/// Does it.
pub(crate) async fn run(settings: &Settings, what: Erp) -> Result<()> {
    let Erp::Push(options) = what;
    if let Some(folder) = &options.watch {
        return watch::watch(settings, folder, &options).await;
    }
    let file = options.file.as_deref().context("name the file, or a folder with --watch")?;
    let format = match options.format {
        Some(format) => format,
        None => Format::of(file).with_context(|| {
            let file = file.display();
            format!("{file} is neither .csv nor .ndjson: say which with --format")
        })?,
    };
    let rejects = options.rejects.clone().unwrap_or_else(|| beside(file, format));
    if rejects == file {
        bail!("the rejected lines of {} would replace it", rejects.display());
    }
    pushing(settings, &options, file, format, rejects)?.run().await
}

/// What is to be done to push a file.
fn pushing(
    settings: &Settings,
    options: &PushOptions,
    file: &Path,
    format: Format,
    rejects: PathBuf,
) -> Result<Push> {
    let (columns, constants) = (options.map.clone(), options.set.clone());
    Ok(Push {
        client: options.of.client(settings)?,
        path: options.to.path(),
        file: file.to_owned(),
        format,
        mapping: Mapping { columns, constants },
        is_gzip: options.gzip,
        rejects,
    })
}

/// The file for the rejected lines of another: `stock.rejects.csv` of `stock.csv`.
fn beside(file: &std::path::Path, format: Format) -> PathBuf {
    let extension = file.extension().and_then(|it| it.to_str()).unwrap_or(format.extension());
    file.with_extension(format!("rejects.{extension}"))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let parts =
        text.split_once('=').filter(|(field, value)| !field.is_empty() && !value.is_empty());
    let (field, value) = parts.ok_or("must be FIELD=VALUE")?;
    Ok((field.to_owned(), value.to_owned()))
}
