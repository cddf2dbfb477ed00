//! A folder for the data of a run: of our own, never one that somebody else made, and of one run at
//! a time.

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// The file that marks a folder as made by this program.
const MARK: &str = ".tradewind-data";
/// What the mark says to somebody who finds it.
const MARK_TEXT: &str = "This folder was made by `tradewind demo`, `bench` or `replay`. `demo` and\n\
    `bench` empty it at each run. Without this file, they leave the folder alone.\n";

/// A folder of our own. No other run takes it until this is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder, or empties it when an earlier run made it. Refuses one that holds
    /// anything else: nothing is deleted that this program did not make.
    pub fn take(path: &Path) -> Result<Self> {
        let folder = Self::keep(path)?;
        empty(&folder.path).with_context(|| format!("empty the folder {}", path.display()))?;
        Ok(folder)
    }

    /// Makes the folder, or goes on with one that an earlier run made and with all that is in it.
    /// Refuses one that holds anything else.
    pub fn keep(path: &Path) -> Result<Self> {
        let named = || format!("use the folder {}", path.display());
        let mark = path.join(MARK);
        let is_new = match fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                fs::create_dir_all(path).with_context(named)?;
                true
            }
            Err(error) => return Err(error).with_context(named),
        };
        if !is_new && !mark.is_file() {
            bail!(
                "{} holds files that are not from an earlier run; name another folder with --data",
                path.display()
            );
        }
        let lock = lock(&mark).with_context(named)?;
        let path = fs::canonicalize(path).with_context(named)?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is, in full.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Marks the folder, and takes the mark for this run alone.
fn lock(mark: &Path) -> Result<File> {
    let mut file = File::options().create(true).write(true).truncate(false).open(mark)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            bail!("another run is using it; wait for its end or name another folder with --data")
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    file.set_len(0)?;
    file.write_all(MARK_TEXT.as_bytes())?;
    Ok(file)
}

fn empty(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == MARK {
            continue;
        }
        // A link is removed itself, never what it points to.
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_an_earlier_run_is_emptied() {
        let outer = tempfile::tempdir().expect("a private folder");
        let path = outer.path().join("a/b");
        let first = DataFolder::take(&path).expect("is made");
        fs::create_dir(first.path().join("nats")).expect("is made");
        fs::write(first.path().join("nats/old"), "old").expect("is written");
        drop(first);
        let second = DataFolder::take(&path).expect("is taken again");
        let left: Vec<_> = fs::read_dir(second.path()).expect("is read").collect();
        assert_eq!(left.len(), 1, "only the mark: {left:?}");
    }

    #[test]
    fn a_folder_of_an_earlier_run_is_gone_on_with() {
        let outer = tempfile::tempdir().expect("a private folder");
        let path = outer.path().join("a/b");
        let first = DataFolder::keep(&path).expect("is made");
        fs::write(first.path().join("old"), "old").expect("is written");
        drop(first);
        let second = DataFolder::keep(&path).expect("is taken again");
        let left = fs::read_to_string(second.path().join("old")).expect("is still there");
        assert_eq!(left, "old");
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_an_error_of_its_own() {
        let folder = tempfile::tempdir().expect("a private folder");
        let file = folder.path().join("file");
        fs::write(&file, "no folder").expect("is written");
        let refused = DataFolder::keep(&file).expect_err("is no folder");
        assert!(refused.root_cause().is::<std::io::Error>(), "{refused:#}");
    }

    #[test]
    fn a_folder_that_somebody_else_made_is_left_alone() {
        let folder = tempfile::tempdir().expect("a private folder");
        fs::write(folder.path().join("thesis.txt"), "years of work").expect("is written");
        for refused in [DataFolder::take(folder.path()), DataFolder::keep(folder.path())] {
            let refused = refused.expect_err("is refused");
            assert!(refused.to_string().contains("--data"), "{refused:#}");
        }
        assert!(folder.path().join("thesis.txt").exists());
    }

    #[test]
    fn two_runs_do_not_share_a_folder() {
        let folder = tempfile::tempdir().expect("a private folder");
        let first = DataFolder::take(folder.path()).expect("an empty folder is taken");
        for refused in [DataFolder::take(folder.path()), DataFolder::keep(folder.path())] {
            let refused = refused.expect_err("is in use");
            assert!(format!("{refused:#}").contains("another run is using it"), "{refused:#}");
        }
        drop(first);
        DataFolder::take(folder.path()).expect("is free again");
    }
}
