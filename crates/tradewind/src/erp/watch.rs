//! Watches a folder: pushes each file that appears in it, and moves it to where it belongs.
//!
//! | a file | goes to |
//! |---|---|
//! | all lines of which were taken | `done/` |
//! | of which lines were rejected | `rejected/`, with the file of these lines beside it |
//! | that cannot be read, or is refused as a whole | `rejected/`, with the reason beside it |
//! | for which no gateway answers, that changes while it is pushed, or that cannot be moved | nowhere: it is pushed again |
//! | that the gateway does not take with this key and shop (401, 403, 404) | nowhere: it is pushed again |
//!
//! A file that somebody takes away before it is pushed is left to them; what goes wrong with one file hinders no other.
//!
//! A file that was being pushed when the command ended is still in the folder: the next one pushes it from
//! its beginning, and lines that had their effect have no second one.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use node::{say, settings::Settings};
use tokio::time::sleep;

use super::{
    PushOptions, beside,
    file::{Format, Unreadable},
    pushing,
};

/// The pause between two looks into the folder.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a file for which no gateway answered.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);
/// Where files are moved to.
const DONE: &str = "done";
const REJECTED: &str = "rejected";

/// How a file was at a look: its size, and when it was changed. It is complete when both are the same at
/// the next one.
type Seen = (u64, SystemTime);

/// A file that was the same at two looks.
struct Complete {
    file: PathBuf,
    format: Format,
    seen: Seen,
}

/// Pushes the files of a folder, for as long as the process runs.
pub(super) async fn watch(settings: &Settings, folder: &Path, options: &PushOptions) -> Result<()> {
    for name in [DONE, REJECTED] {
        let made = folder.join(name);
        fs::create_dir_all(&made).with_context(|| format!("make {}", made.display()))?;
    }
    say!("watches {}", folder.display());
    let mut seen = HashMap::new();
    let format = options.format()?;
    loop {
        for complete in complete(folder, format, &mut seen)? {
            if let Err(error) = handle(settings, folder, options, &complete).await {
                failed(&complete.file, &error).await;
            }
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// The files that have not changed since the look before, by name. Those whose name begins with a dot are
/// left alone, and those of no known format.
fn complete(
    folder: &Path,
    format: Option<Format>,
    seen: &mut HashMap<PathBuf, Seen>,
) -> Result<Vec<Complete>> {
    let mut now = HashMap::new();
    let mut complete = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("look into {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("look into {}", folder.display()))?;
        let path = entry.path();
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        let Some(format) = format.or_else(|| Format::of(&path)).filter(|_| !is_hidden) else {
            continue;
        };
        // One that is gone meanwhile is not there.
        let Some(state) = look_at(&path) else { continue };
        if seen.get(&path) == Some(&state) {
            complete.push(Complete { file: path.clone(), format, seen: state });
        }
        now.insert(path, state);
    }
    *seen = now;
    complete.sort_unstable_by(|one, other| one.file.cmp(&other.file));
    Ok(complete)
}

/// How a file is now; `None` where there is none.
fn look_at(path: &Path) -> Option<Seen> {
    let metadata = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// Pushes a file, and moves it.
async fn handle(
    settings: &Settings,
    folder: &Path,
    options: &PushOptions,
    Complete { file, format, seen }: &Complete,
) -> Result<()> {
    let format = *format;
    let name = file.file_name().unwrap_or_default();
    // It is left alone there until the file is moved; one of a push that was killed is of no use.
    let list = folder.join(hidden_list(name));
    fs::remove_file(&list).ok();
    let rejected = || free_with_list(folder.join(REJECTED).join(name), format);
    let push = pushing(settings, options, file, format, list.clone())?;
    let pushed = push.push().await;
    // What was written to it since may stand behind what was read.
    let is_changed = look_at(file).is_some_and(|now| now != *seen);
    let to = match pushed {
        Err(_) if !file.exists() => {
            tracing::warn!(file = %file.display(), "was taken away before it was pushed");
            fs::remove_file(&list).ok();
            return Ok(());
        }
        Err(error) if !is_of_file(&error) => {
            failed(file, &error).await;
            return Ok(());
        }
        _ if is_changed => {
            tracing::warn!(file = %file.display(), "changed while it was pushed, is pushed again");
            return Ok(());
        }
        Ok(pushed) if pushed.rejected == 0 => free(folder.join(DONE).join(name), Path::exists),
        Ok(_) => rejected(),
        Err(error) => {
            tracing::warn!(file = %file.display(), error = format!("{error:#}"), "is rejected");
            let to = rejected();
            fs::write(reason_file(&to), format!("{error:#}\n")).context("write the reason")?;
            to
        }
    };
    if list.exists() {
        move_to(&list, &beside(&to, format))?;
    }
    move_to(file, &to)?;
    say!("{} is in {}", file.display(), to.display());
    Ok(())
}

fn move_to(file: &Path, to: &Path) -> Result<()> {
    fs::rename(file, to).with_context(|| format!("move {} to {}", file.display(), to.display()))
}

/// Says why a file is still there, and waits before anything is tried again.
async fn failed(file: &Path, error: &anyhow::Error) {
    tracing::warn!(file = %file.display(), error = format!("{error:#}"), "is pushed again");
    sleep(FAILURE_PAUSE).await;
}

/// Whether the file is wrong as a whole: pushed again, it would fail again.
fn is_of_file(error: &anyhow::Error) -> bool {
    let problem = error.downcast_ref::<client::Error>().and_then(client::Error::problem);
    let is_refused = problem.is_some_and(|it| matches!(it.status, 400 | 413 | 415 | 422));
    is_refused || error.is::<Unreadable>()
}

/// The name of the list of a file's rejected lines while the file is pushed.
fn hidden_list(name: &OsStr) -> OsString {
    let mut list = OsString::from(".");
    list.push(name);
    list.push(".rejects");
    list
}

/// The file with the reason why another was refused as a whole.
fn reason_file(file: &Path) -> PathBuf {
    let mut reason = file.as_os_str().to_owned();
    reason.push(".reason.txt");
    reason.into()
}

/// The path of a rejected file, with a number where there is such a file already, or what belongs to one: it may
/// have been moved away without its list.
fn free_with_list(path: PathBuf, format: Format) -> PathBuf {
    free(path, |path| path.exists() || beside(path, format).exists() || reason_file(path).exists())
}

/// The path, with a number where it is taken.
fn free(path: PathBuf, is_taken: impl Fn(&Path) -> bool) -> PathBuf {
    let numbered = |number: u32| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match path.extension() {
            Some(extension) => {
                path.with_file_name(format!("{stem}.{number}.{}", extension.to_string_lossy()))
            }
            None => path.with_file_name(format!("{stem}.{number}")),
        }
    };
    if !is_taken(&path) {
        return path;
    }
    let mut number = 2;
    while is_taken(&numbered(number)) {
        number += 1;
    }
    numbered(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_complete_when_it_does_not_change_any_more() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut seen = HashMap::new();
        let mut look = || {
            let files = complete(folder.path(), None, &mut seen).expect("it is looked into");
            let name = |complete: Complete| {
                complete.file.file_name().expect("a name").to_string_lossy().into_owned()
            };
            files.into_iter().map(name).collect::<Vec<_>>()
        };
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("it is written");
        };
        for name in ["b.csv", "a.ndjson", ".c.csv", "d.txt"] {
            write(name, "a\n");
        }
        fs::create_dir(folder.path().join("e.csv")).expect("it is made");
        assert_eq!(look(), [""; 0]);
        write("b.csv", "a\nb\n");
        assert_eq!(look(), ["a.ndjson"]);
        assert_eq!(look(), ["a.ndjson", "b.csv"]);
        fs::remove_file(folder.path().join("a.ndjson")).expect("it is removed");
        assert_eq!(look(), ["b.csv"]);
    }

    #[test]
    fn a_file_replaces_no_other() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        assert_eq!(free(path("a.csv"), Path::exists), path("a.csv"));
        for name in ["a.csv", "a.2.csv"] {
            fs::write(path(name), "").expect("it is written");
        }
        assert_eq!(free(path("a.csv"), Path::exists), path("a.3.csv"));
    }

    #[test]
    fn a_list_of_rejected_lines_replaces_no_other() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let make = |name: &str| fs::write(path(name), "").expect("it is written");
        let of = |name: &str, format: Format| {
            let file = free_with_list(path(name), format);
            (file.clone(), beside(&file, format))
        };
        // The files were moved away, and their lists and reasons left.
        make("a.rejects.csv");
        assert_eq!(of("a.csv", Format::Csv), (path("a.2.csv"), path("a.2.rejects.csv")));
        make("b.csv.reason.txt");
        assert_eq!(of("b.csv", Format::Csv), (path("b.2.csv"), path("b.2.rejects.csv")));
        for name in ["ORDERS.001", "ORDERS.002"] {
            let list = path(&format!("{name}.rejects.csv"));
            assert_eq!(of(name, Format::Edi), (path(name), list));
            make(name);
            make(&format!("{name}.rejects.csv"));
        }
    }
}
