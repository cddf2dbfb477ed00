//! What the commands print: the only place that writes to the terminal.

use std::io::Write;

/// Writes a line to standard output. A reader that has gone away (`| head`) is no error.
pub fn line(text: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).ok();
}

/// Prints a line for people.
macro_rules! say {
    ($($text:tt)*) => { $crate::print::line(format_args!($($text)*)) };
}

pub(crate) use say;
