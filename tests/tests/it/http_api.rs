//! The description of the HTTP API beside a gateway that runs: its examples, what a tool finds that was made for finding
//! where the two differ, and clients that are generated from it.

mod clients;
mod examples;
mod recorder;
mod schemathesis;

use std::path::{Path, PathBuf};

use testkit::install_tools;

/// A folder beside the tests.
fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Installs the tools of a folder; nothing where they cannot be had.
async fn install(name: &str) -> Option<PathBuf> {
    install_tools(&here(name), Path::new(env!("CARGO_TARGET_TMPDIR"))).await
}
