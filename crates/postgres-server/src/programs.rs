//! The programs of Postgres on this machine, and the user who may run them.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Error, USER};

/// Where Debian keeps the programs of each version, apart from the PATH.
pub(crate) const DEBIAN: &str = "/usr/lib/postgresql";
/// Who may run Postgres when this process runs as root, which Postgres refuses.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The folder with initdb, postgres and the client programs.
#[derive(Debug, Clone)]
pub struct Programs(PathBuf);

impl Programs {
    /// Finds the programs of the newest version.
    pub fn find() -> Result<Self, Error> {
        let debian = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
        let mut versions: Vec<_> = debian.map(|version| version.path().join("bin")).collect();
        versions.retain(|programs| programs.join("initdb").exists());
        versions.sort_by_key(|programs| version(programs));
        // Some put initdb alone on the PATH, without the client programs that belong to it.
        let on_path = find_on_path("initdb").filter(|folder| folder.join("pg_isready").exists());
        on_path.or(versions.pop()).map(Self).ok_or(Error::NotInstalled)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The path of a program.
    pub fn path(&self, program: &str) -> PathBuf {
        self.0.join(program)
    }

    /// A client program of Postgres, with the address of the server on that port.
    pub fn client(&self, program: &str, port: u16, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path(program));
        command.args(["-h", "127.0.0.1", "-U", USER, "-p", &port.to_string()]).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Whether the server on that port takes connections.
    pub fn answers(&self, port: u16) -> bool {
        let asked = self.client("pg_isready", port, &["-q"]).status();
        asked.is_ok_and(|status| status.success())
    }
}

/// The number in a path such as `/usr/lib/postgresql/17/bin`.
fn version(programs: &Path) -> Option<u32> {
    let folder = programs.parent()?.file_name()?.to_str()?;
    folder.split('.').next()?.parse().ok()
}

/// The numbers of the user and the group that Postgres runs as; `None` for those of this process.
pub fn account() -> Result<Option<(u32, u32)>, Error> {
    let user = user_id().map_err(Error::io("find out who runs this process"))?;
    if user != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    UNPRIVILEGED.iter().find_map(|name| entry(&users, name)).map(Some).ok_or(Error::NoAccount)
}

/// The user who runs this process, as the owner of a file that it makes.
pub fn user_id() -> std::io::Result<u32> {
    Ok(tempfile::tempfile()?.metadata()?.uid())
}

/// The numbers of a user and of its group in `/etc/passwd`.
fn entry(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2).map(str::parse);
    Some((fields.next()?.ok()?, fields.next()?.ok()?))
}

/// The first folder of the PATH with that program.
pub fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find(|folder| folder.join(program).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let path = |version: &str| PathBuf::from(format!("{DEBIAN}/{version}/bin"));
        assert!(version(&path("17")) > version(&path("9.6")));
    }

    #[test]
    fn a_user_is_found_by_its_full_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\npostgresql:x:9:9::/:\npostgres:x:26:27::/:\n";
        assert_eq!(entry(users, "postgres"), Some((26, 27)));
        assert_eq!(entry(users, "nobody"), None);
    }
}
