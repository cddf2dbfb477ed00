//! A disk that a test can fill.

use std::{
    fs::File,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// A file system of a few megabytes in memory; gone when it is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one at a folder, which is made. `None`, and a line that says why, where that is not
    /// permitted; a panic there when the environment's `CI` is set.
    #[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
    pub fn mount(folder: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("the folder can be made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(folder)
            .output();
        let problem = match mounted {
            Ok(output) if output.status.success() => {
                return Some(Self { folder: folder.to_owned() });
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        let required = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        assert!(!required, "this test is required where CI is set, but: {problem}");
        eprintln!("skipped, because no file system can be mounted: {problem}");
        None
    }

    /// Fills it, as another program would, until nothing more can be written.
    pub fn fill(&self) {
        let mut file = File::create(self.ballast()).expect("a file can be made");
        loop {
            match file.write_all(&[0; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Frees what [`SmallDisk::fill`] took.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server may not have ended yet.
        Command::new("umount").arg("--lazy").arg(&self.folder).status().ok();
    }
}
