//! The identity of an installation's process, which outlives it.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
};

use uuid::Uuid;

/// The most bytes that are read of an identity.
const MAX_LENGTH: u64 = 64;

/// Who a process is among the members.
///
/// Whoever has the lock of the file knows that the process which had the identity before is gone:
/// its claims are free at once.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) id: String,
    /// Locked as long as this process lives.
    file: Option<File>,
}

impl Identity {
    /// The identity in the file, or a fresh one: when there is no file, when a living process has
    /// it, or when it cannot be used.
    pub(super) fn take(path: Option<&Path>) -> Self {
        let kept = path.and_then(|path| match Self::lock(path) {
            Ok(identity) => identity,
            Err(error) => {
                tracing::warn!(
                    file = %path.display(),
                    %error,
                    "cannot keep the identity of this process: after a crash it waits for its own \
                     claims to run out"
                );
                None
            }
        });
        kept.unwrap_or_else(|| Self { id: fresh(), file: None })
    }

    /// Takes a fresh identity, which the file, if there is one, has from now on.
    pub(super) fn replace(&mut self) {
        self.id = fresh();
        if let Some(file) = &mut self.file
            && let Err(error) = write(file, &self.id)
        {
            tracing::warn!(%error, "cannot write the identity of this process to its file");
        }
    }

    fn lock(path: &Path) -> io::Result<Option<Self>> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file =
            File::options().create(true).read(true).write(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut id = String::new();
        (&mut file).take(MAX_LENGTH).read_to_string(&mut id)?;
        id.truncate(id.trim_end().len());
        if Uuid::try_parse(&id).is_err() || id.contains(|c: char| !c.is_ascii_alphanumeric()) {
            id = fresh();
            write(&mut file, &id)?;
        }
        Ok(Some(Self { id, file: Some(file) }))
    }
}

fn write(file: &mut File, id: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{id}")?;
    file.sync_all()
}

/// A name that no other process has.
#[expect(clippy::disallowed_methods, reason = "the edge, where a process gets its identity")]
pub(super) fn fresh() -> String {
    Uuid::now_v7().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_starts_again_has_the_identity_of_the_one_before() {
        let folder = tempfile::tempdir().expect("a private folder");
        let path = folder.path().join("data/node-id");
        let first = Identity::take(Some(&path));
        let id = first.id.clone();
        drop(first);
        assert_eq!(Identity::take(Some(&path)).id, id);
    }

    #[test]
    fn two_living_processes_never_have_the_same_identity() {
        let folder = tempfile::tempdir().expect("a private folder");
        let path = folder.path().join("node-id");
        let first = Identity::take(Some(&path));
        let second = Identity::take(Some(&path));
        assert_ne!(first.id, second.id);
        drop(first);
        assert_ne!(Identity::take(Some(&path)).id, second.id);
    }

    #[test]
    fn an_identity_that_was_replaced_is_that_of_the_next_process() {
        let folder = tempfile::tempdir().expect("a private folder");
        let path = folder.path().join("node-id");
        let mut identity = Identity::take(Some(&path));
        let copied = identity.id.clone();
        identity.replace();
        let id = identity.id.clone();
        drop(identity);
        assert_ne!(id, copied);
        assert_eq!(Identity::take(Some(&path)).id, id);
    }

    #[test]
    fn a_file_with_anything_else_gets_a_fresh_identity() {
        let folder = tempfile::tempdir().expect("a private folder");
        let path = folder.path().join("node-id");
        fs::write(&path, "member.*.>\n").expect("is written");
        let first = Identity::take(Some(&path)).id;
        assert!(Uuid::try_parse(&first).is_ok(), "{first}");
        assert_eq!(Identity::take(Some(&path)).id, first);
    }
}
