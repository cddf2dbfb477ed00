//! The master keys of an installation, from a file.

use std::{fmt, fs, io, path::Path};

use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305,
    aead::{OsRng, rand_core::RngCore},
};
use data_encoding::BASE64;

/// The longest name of a master key.
const MAX_NAME_LENGTH: usize = 64;

/// The master keys, the newest first.
#[derive(Clone)]
pub struct MasterKeys(Vec<(String, Key)>);

/// The file of master keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// It cannot be read or made.
    #[error("the file of master keys, {file}, cannot be used")]
    File {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A line is no key.
    #[error(
        "line {line} of the file of master keys must be a name of letters, digits and hyphens, a colon, \
         and 32 bytes in base64 (`openssl rand -base64 32`)"
    )]
    Line {
        /// The line, from 1.
        line: usize,
    },
    /// It holds none.
    #[error("the file of master keys holds none: add a line `<name>:<32 bytes in base64>`")]
    Empty,
}

impl fmt::Debug for MasterKeys {
    /// Names them, and shows none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl MasterKeys {
    /// Reads them from a file: a line `<name>:<32 bytes in base64>` for each, the newest first.
    pub fn read(file: &Path) -> Result<Self, MasterKeyError> {
        let text = fs::read_to_string(file).map_err(|source| unusable(file, source))?;
        Self::parse(&text)
    }

    /// Reads them from a file; one that is missing is made, with one key, readable by its owner alone.
    pub fn read_or_make(file: &Path) -> Result<Self, MasterKeyError> {
        match fs::read_to_string(file) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = BASE64.encode(&XChaCha20Poly1305::generate_key(&mut OsRng));
                let name = OsRng.next_u32();
                make_private(file, &format!("key-{name:08x}:{key}\n"))
                    .map_err(|source| unusable(file, source))?;
                Self::read(file)
            }
            Err(source) => Err(unusable(file, source)),
        }
    }

    /// Reads them from the text of a file. Empty lines and those that begin with `#` are passed over.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let lines = (1..).zip(text.lines().map(str::trim));
        let lines = lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
        let keys = lines.map(|(line, text)| key(text).ok_or(MasterKeyError::Line { line }));
        let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(MasterKeyError::Empty) } else { Ok(Self(keys)) }
    }

    /// The name of the newest.
    pub(crate) fn newest(&self) -> &str {
        &self.0[0].0
    }

    pub(crate) fn newest_key(&self) -> &Key {
        &self.0[0].1
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Key> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, key)| key)
    }
}

fn key(line: &str) -> Option<(String, Key)> {
    let (name, key) = line.split_once(':')?;
    let is_name = (1..=MAX_NAME_LENGTH).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let key = BASE64.decode(key.trim().as_bytes()).ok()?;
    (is_name && key.len() == size_of::<Key>()).then(|| (name.to_owned(), *Key::from_slice(&key)))
}

/// Makes a file that only its owner may read. One that somebody else makes meanwhile stays.
fn make_private(file: &Path, text: &str) -> io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    match made {
        Ok(mut made) => {
            made.write_all(text.as_bytes())?;
            made.sync_all()
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn unusable(file: &Path, source: io::Error) -> MasterKeyError {
    MasterKeyError::File { file: file.display().to_string(), source }
}
