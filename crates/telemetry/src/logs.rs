//! The log: lines for people, or an object a line for machines, on the standard error stream.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry::LookupSpan};

use crate::Error;

/// How it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// An object a line, for machines.
    Json,
}

/// A layer that is one of several kinds.
type Boxed<S> = Box<dyn Layer<S> + Send + Sync>;

/// The layer that logs what `filter` lets through.
pub(crate) fn layer<S>(filter: &str, format: LogFormat) -> Result<Boxed<S>, Error>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let read = EnvFilter::try_new(filter)
        .map_err(|source| Error::Filter { filter: filter.to_owned(), source })?;
    let lines =
        fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    Ok(match format {
        LogFormat::Text => lines.with_target(false).with_filter(read).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(read).boxed(),
    })
}
