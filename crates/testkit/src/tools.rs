//! Programs in other languages that tests run, and what these need.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Installs the tools that a folder lists, below `target`, where they stay for the next run. `None` where they
/// cannot be had, which is a failure where CI runs.
///
/// The folder has a `requirements.txt`, for `python` of what is returned, or a `package-lock.json`, for
/// `node_modules` there, or both.
#[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
pub async fn install_tools(listed: &Path, target: &Path) -> Option<PathBuf> {
    let name = listed.file_name().expect("the folder has a name");
    let folder = target.join(name);
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/install.sh"));
    script.arg(listed).arg(&folder);
    let output = tokio::task::spawn_blocking(move || script.output()).await;
    let output = output.expect("it does not panic").expect("bash runs");
    if output.status.success() {
        return Some(folder);
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    assert!(env::var("CI").as_deref() != Ok("true"), "{reason}");
    eprintln!("skipped: the tools of {} cannot be had: {reason}", name.display());
    None
}
