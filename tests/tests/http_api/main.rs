//! The description of the HTTP API beside a gateway that runs: its examples, what a tool finds that was made for finding
//! where the two differ, and clients that are generated from it.

mod clients;
mod examples;
mod recorder;
mod schemathesis;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// A folder beside the tests.
fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Installs the tools of a folder; nothing where they cannot be had, which is a failure where CI runs.
#[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
async fn install(name: &'static str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut script = Command::new(here(name).join("install.sh"));
    script.arg(&folder);
    let output = tokio::task::spawn_blocking(move || script.output()).await;
    let output = output.expect("it does not panic").expect("bash runs");
    if output.status.success() {
        return Some(folder);
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    assert!(env::var("CI").as_deref() != Ok("true"), "{reason}");
    eprintln!("skipped: the tools of {name} cannot be had: {reason}");
    None
}
