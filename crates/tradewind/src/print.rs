//! What the commands print, and why they failed: the only place that writes to the terminal.

use std::io::Write;

/// Writes a line to standard output. A reader that has gone away (`| head`) is no error.
pub fn line(text: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).ok();
}

/// Writes to the standard error stream why the command failed, whatever is logged.
pub fn failure(error: &anyhow::Error) {
    writeln!(std::io::stderr().lock(), "error: {error:#}").ok();
}

/// Prints a line for people.
macro_rules! say {
    ($($text:tt)*) => { $crate::print::line(format_args!($($text)*)) };
}

pub(crate) use say;
