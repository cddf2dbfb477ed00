//! The master keys of an installation, from a file.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use chacha20poly1305::aead::{OsRng, rand_core::RngCore};
use data_encoding::BASE64;
use zeroize::Zeroizing;

use crate::{KeyBytes, decrypt, encrypt, store::DATABASE};

/// The name of the file, in the folder of the keys of persons.
const FILE: &str = "master-keys";
/// How many drafts of the file this process has begun.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

/// The longest name of a master key.
const MAX_NAME_LENGTH: usize = 64;

/// The master keys of a file, the newest first. A file that changes is read again, so a new master key
/// needs no restart.
#[derive(Clone)]
pub struct MasterKeys {
    /// None for keys that were parsed.
    file: Option<PathBuf>,
    read: Arc<Mutex<Read>>,
}

/// What was read last, and how the file was then.
struct Read {
    version: Option<Version>,
    keys: Arc<KeyRing>,
}

/// When a file was changed, and how long it is.
type Version = (SystemTime, u64);

/// Named keys, the newest first.
pub(crate) struct KeyRing(Vec<(String, KeyBytes)>);

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
    /// Two keys have one name.
    #[error(
        "the file of master keys has two keys with the name {name}: give the new one a name that was never \
         used, and keep the old one until `tradewind persons rotate-master-key` has run"
    )]
    SameName {
        /// The name.
        name: String,
    },
    /// It is missing, and there are keys that it encrypts.
    #[error(
        "the file of master keys, {file}, is gone, and with it the keys of persons cannot be used: \
         restore it from its backup, or delete person-keys.db beside it if all of them are to be erased"
    )]
    Lost {
        /// The file.
        file: String,
    },
    /// What was encrypted with one of them does not open.
    #[error(
        "a value that is encrypted with the master key {name} does not open: add the key to the file \
         again, or replace the value if it was changed"
    )]
    Unopened {
        /// The master key.
        name: String,
    },
    /// It holds none.
    #[error("the file of master keys holds none: add a line `<name>:<32 bytes in base64>`")]
    Empty,
}

impl fmt::Debug for MasterKeys {
    /// Names them, and shows none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.current().0.iter().map(|(name, _)| name)).finish()
    }
}

impl MasterKeys {
    /// Reads them from a file: a line `<name>:<32 bytes in base64>` for each, the newest first.
    pub fn read(file: &Path) -> Result<Self, MasterKeyError> {
        let version = version(file);
        let text = fs::read_to_string(file).map_err(|source| unusable(file, source))?;
        let keys = KeyRing::parse(&Zeroizing::new(text))?;
        Ok(Self::new(Some(file.to_owned()), version, keys))
    }

    /// Reads them from the file `master-keys` in the folder of the keys of persons. It is made with the
    /// first of these, with one key, readable by its owner alone. Where there are keys and no file, a
    /// new master key would open none of them.
    pub fn beside(folder: &Path) -> Result<Self, MasterKeyError> {
        let file = &folder.join(FILE);
        if !file.try_exists().map_err(|source| unusable(file, source))? {
            if folder.join(DATABASE).exists() {
                return Err(MasterKeyError::Lost { file: file.display().to_string() });
            }
            let mut key = KeyBytes::default();
            OsRng.fill_bytes(&mut *key);
            let text = Zeroizing::new(format!("1:{}\n", BASE64.encode(&*key)));
            make_private(file, &text).map_err(|source| unusable(file, source))?;
        }
        Self::read(file)
    }

    /// Reads them from a text that is like the file.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        Ok(Self::new(None, None, KeyRing::parse(text)?))
    }

    fn new(file: Option<PathBuf>, version: Option<Version>, keys: KeyRing) -> Self {
        let read = Read { version, keys: Arc::new(keys) };
        Self { file, read: Arc::new(Mutex::new(read)) }
    }

    /// The keys as the file has them now. While it cannot be read, those that were read last.
    pub(crate) fn current(&self) -> Arc<KeyRing> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &self.file {
            let version = version(file);
            if version.is_some() && version != read.version {
                match Self::read(file) {
                    Ok(again) => read.keys = again.current_without_looking(),
                    Err(error) => tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the changed file of master keys is not used"
                    ),
                }
                // One that is wrong is said once, and not with each key.
                read.version = version;
            }
        }
        read.keys.clone()
    }

    /// Encrypts a value with the newest key; yields the name of that key beside it. It opens for the
    /// same context only, such as the id of what the value belongs to.
    pub fn seal_value(&self, context: &str, plaintext: &[u8]) -> (String, Vec<u8>) {
        let keys = self.current();
        let (name, key) = keys.newest();
        (name.to_owned(), encrypt(key, context.as_bytes(), plaintext))
    }

    /// Decrypts what [`MasterKeys::seal_value`] has encrypted; `None` when the key is not there, or the
    /// value was changed or belongs elsewhere.
    pub fn open_value(
        &self,
        name: &str,
        context: &str,
        ciphertext: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        decrypt(self.current().get(name)?, context.as_bytes(), name, ciphertext).ok()
    }

    /// Encrypts a value of [`MasterKeys::seal_value`] with the newest key; `None` when it is already.
    ///
    /// # Errors
    ///
    /// When it does not open.
    pub fn rewrap_value(
        &self,
        name: &str,
        context: &str,
        ciphertext: &[u8],
    ) -> Result<Option<(String, Vec<u8>)>, MasterKeyError> {
        if self.current().newest().0 == name {
            return Ok(None);
        }
        let opened = self.open_value(name, context, ciphertext);
        let opened = opened.ok_or_else(|| MasterKeyError::Unopened { name: name.to_owned() })?;
        Ok(Some(self.seal_value(context, &opened)))
    }

    fn current_without_looking(&self) -> Arc<KeyRing> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).keys.clone()
    }
}

impl KeyRing {
    fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let lines = lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
        let keys = lines.map(|(line, text)| key(text).ok_or(MasterKeyError::Line { line }));
        let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
        let is_twice = |at: usize| keys[..at].iter().any(|(earlier, _)| *earlier == keys[at].0);
        // What is encrypted names its key: with two of a name, one would be taken for the other.
        if let Some(at) = (1..keys.len()).find(|at| is_twice(*at)) {
            return Err(MasterKeyError::SameName { name: keys[at].0.clone() });
        }
        if keys.is_empty() { Err(MasterKeyError::Empty) } else { Ok(Self(keys)) }
    }

    /// The name of the newest, and the key.
    pub(crate) fn newest(&self) -> (&str, &KeyBytes) {
        let (name, key) = &self.0[0];
        (name, key)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&KeyBytes> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, key)| key)
    }
}

fn key(line: &str) -> Option<(String, KeyBytes)> {
    let (name, key) = line.split_once(':')?;
    let is_name = (1..=MAX_NAME_LENGTH).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let key = Zeroizing::new(BASE64.decode(key.trim().as_bytes()).ok()?);
    let key = key.as_slice().try_into().ok().filter(|_| is_name)?;
    Some((name.to_owned(), Zeroizing::new(key)))
}

fn version(file: &Path) -> Option<Version> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Makes a file that only its owner may read. One that somebody else makes meanwhile stays.
fn make_private(file: &Path, text: &str) -> io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Whole or not at all: who starts at the same time, in this process or in another, reads no half of
    // it and writes no other.
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let draft = file.with_extension(format!("{}-{number}.new", std::process::id()));
    let mut made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    made.write_all(text.as_bytes())?;
    made.sync_all()?;
    let linked = match fs::hard_link(&draft, file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    };
    fs::remove_file(&draft)?;
    linked?;
    fs::File::open(folder)?.sync_all()
}

fn unusable(file: &Path, source: io::Error) -> MasterKeyError {
    MasterKeyError::File { file: file.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_start_at_once_have_the_same_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let all: Vec<_> = std::thread::scope(|scope| {
            let start =
                || scope.spawn(|| MasterKeys::beside(folder.path()).expect("there are keys"));
            let started: Vec<_> = (0..8).map(|_| start()).collect();
            started.into_iter().map(|it| it.join().expect("it does not panic")).collect()
        });
        let (name, sealed) = all[0].seal_value("acme", b"hush");
        assert!(all.iter().all(|keys| keys.open_value(&name, "acme", &sealed).is_some()));
        assert_eq!(fs::read_dir(folder.path()).expect("it reads").count(), 1, "no draft is left");
    }

    #[test]
    fn a_value_opens_with_its_key_and_for_its_context_alone() {
        let line = |name: &str, byte| format!("{name}:{}\n", BASE64.encode(&[byte; 32]));
        let keys = |text: String| MasterKeys::parse(&text).expect("they are keys");
        let (name, sealed) = keys(line("old", 1)).seal_value("acme/ep", b"hush");
        assert!(!sealed.windows(4).any(|part| part == b"hush"));
        let rotated = keys(line("new", 2) + &line("old", 1));
        let opened = rotated.open_value(&name, "acme/ep", &sealed);
        assert_eq!(opened.as_deref().map(Vec::as_slice), Some(&b"hush"[..]));
        assert_eq!(rotated.open_value(&name, "acme/other", &sealed), None);
        assert_eq!(keys(line("new", 2)).open_value(&name, "acme/ep", &sealed), None);
        assert_eq!(rotated.seal_value("acme/ep", b"hush").0, "new");
        let again = rotated.rewrap_value(&name, "acme/ep", &sealed).expect("it opens");
        let (name, sealed) = again.expect("it has an old key");
        let alone = keys(line("new", 2));
        assert!(alone.open_value(&name, "acme/ep", &sealed).is_some_and(|it| **it == *b"hush"));
        assert_eq!(alone.rewrap_value(&name, "acme/ep", &sealed).expect("it is new"), None);
        alone.rewrap_value("old", "acme/ep", &sealed).expect_err("its key is gone");
    }
}
