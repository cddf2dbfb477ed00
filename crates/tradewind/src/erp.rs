//! What an ERP connector does by the command line: it pushes files, of any length.
//!
//! - `file`: reads a file, maps its columns, and says which lines were sent;
//! - `push`: sends it, goes on where a connection broke, and keeps what was rejected.

mod file;
mod push;

use std::path::PathBuf;

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
    file: PathBuf,
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
    let format = match options.format {
        Some(format) => format,
        None => Format::of(&options.file).with_context(|| {
            let file = options.file.display();
            format!("{file} is neither .csv nor .ndjson: say which with --format")
        })?,
    };
    let rejects = match options.rejects {
        Some(rejects) => rejects,
        None => beside(&options.file, format),
    };
    if rejects == options.file {
        bail!("the rejected lines of {} would replace it", rejects.display());
    }
    let push = Push {
        client: options.of.client(settings)?,
        path: options.to.path(),
        file: options.file,
        format,
        mapping: Mapping { columns: options.map, constants: options.set },
        is_gzip: options.gzip,
        rejects,
    };
    push.run().await
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
