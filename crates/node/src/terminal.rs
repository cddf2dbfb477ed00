//! The terminal: what the commands print, why they failed, and being asked to stop.

use std::io::Write;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::program::explain;

/// Writes a line to standard output. A reader that has gone away (`| head`) is no error.
pub fn line(text: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).ok();
}

/// Writes to the standard error stream why the command failed, whatever is logged.
pub fn failure(error: &anyhow::Error) {
    writeln!(std::io::stderr().lock(), "error: {}", explain(error)).ok();
}

/// Prints a line for people.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::terminal::line(format_args!($($text)*)) };
}

/// Waits for SIGTERM or Ctrl-C, from the call on and not only from the first look at it. Never
/// comes back where signals cannot be listened for.
pub fn interrupted() -> impl Future<Output = ()> {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    async {
        tokio::select! {
            () = received(terminate) => {}
            () = received(interrupt) => {}
        }
    }
}

async fn received(signal: std::io::Result<Signal>) {
    match signal {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
}
