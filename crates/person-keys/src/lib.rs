//! The keys with which personal data is sealed before it enters a log, each for one person of a shop.
//!
//! A log keeps what it holds for ever. What must be forgettable is therefore encrypted with a key that
//! is kept elsewhere, in a database of its own; deleting that key makes the data unreadable wherever
//! copies of it are: logs, projections, backups.
//!
//! - A key is made when something of a person is sealed for the first time, and is itself encrypted
//!   with a master key of the configuration. [`PersonKeys::rewrap`] encrypts all keys with the newest
//!   master key.
//! - What is sealed names its key, and can only be opened for the shop and the context (such as an
//!   order's id) for which it was sealed: moved elsewhere it does not open.
//! - [`PersonKeys::erase`] deletes the key of a person, and records that in the same transaction. What is
//!   sealed for the same person later gets a new key; what was sealed before stays unreadable.
//! - No key of a person is kept in memory: each is read when it is used, and overwritten after it. So
//!   an erased key is gone from every process at once.
//!
//! The cipher is XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), whose nonces are long enough to be
//! chosen at random. What is sealed is a byte for the format ([`FORMAT`]), the nonce, and the ciphertext
//! with its tag; shop, person, key and context are authenticated with it.

mod master;
mod store;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, AeadCore, OsRng, Payload, rand_core::RngCore},
};
use hmac::{Hmac, KeyInit as _, Mac};
use protocol::{id::Shop, time::Timestamp};
use sha2::Sha256;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use self::{
    master::KeyRing,
    store::{Store, WrappedKey},
};
pub use self::{
    master::{MasterKeyError, MasterKeys},
    store::Erasure,
};

/// How what is sealed begins: the format that this version writes.
pub const FORMAT: u8 = 1;
/// The bytes of a key.
const KEY_BYTES: usize = 32;
/// The bytes of a nonce.
const NONCE_BYTES: usize = 24;
/// The name under which the key of fingerprints is kept.
const FINGERPRINT: &str = "fingerprint";

/// A key in memory, overwritten when it is dropped.
type KeyBytes = Zeroizing<[u8; KEY_BYTES]>;

/// Whose data it is, in a shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person(String);

impl Person {
    /// A customer, by the caller's id.
    pub fn customer(id: &impl fmt::Display) -> Self {
        Self(format!("customer/{id}"))
    }

    /// The guest who placed an order.
    pub fn guest(order_id: &impl fmt::Display) -> Self {
        Self(format!("guest/{order_id}"))
    }

    /// Its name: `customer/<id>` or `guest/<order id>`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Personal data as it is in messages and rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The key that opens it.
    pub key_id: String,
    /// The format, the nonce, and what was encrypted.
    pub ciphertext: Vec<u8>,
}

/// The keys could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database of keys failed.
    #[error("the database of the keys of persons failed")]
    Database(#[from] sqlx::Error),
    /// A key is encrypted with a master key that is not configured.
    #[error(
        "the key {key_id} of a person is encrypted with the master key {master}, which is not in the \
         file of master keys: add it again"
    )]
    UnknownMaster {
        /// The key of the person.
        key_id: String,
        /// The master key.
        master: String,
    },
    /// A key or what was sealed with it was changed, or belongs elsewhere.
    #[error(
        "what is sealed with the key {key_id} does not open: it was changed, or belongs elsewhere"
    )]
    Corrupt {
        /// The key of the person.
        key_id: String,
    },
    /// It was sealed by a version that is newer than this one.
    #[error(
        "what is sealed with the key {key_id} has the format {format}, unknown to this version"
    )]
    Format {
        /// The key of the person.
        key_id: String,
        /// The format.
        format: u8,
    },
}

/// The keys of persons, in a database of their own.
#[derive(Debug, Clone)]
pub struct PersonKeys {
    store: Store,
    masters: MasterKeys,
    /// The key of fingerprints, once it was needed. It is of no person, and is never deleted.
    fingerprint_key: Arc<OnceCell<KeyBytes>>,
}

impl PersonKeys {
    /// The keys in a database: a folder for a `SQLite` file, or a Postgres database (`postgres://…`).
    /// It is connected to when it is first needed, and made where it is missing.
    pub fn new(location: &str, masters: MasterKeys) -> Self {
        let fingerprint_key = Arc::default();
        Self { store: Store::new(location), masters, fingerprint_key }
    }

    /// The master keys, with which secrets that are of no person are sealed.
    pub fn masters(&self) -> &MasterKeys {
        &self.masters
    }

    /// Connects to the database, for those who want to know at once whether it can be used.
    pub async fn connect(&self) -> Result<(), Error> {
        Ok(self.store.connect().await?)
    }

    /// Seals something of a person for a context, such as the id of an order.
    pub async fn seal(
        &self,
        shop: &Shop,
        person: &Person,
        context: &str,
        plaintext: &[u8],
    ) -> Result<Sealed, Error> {
        let wrapped = match self.store.of_person(shop, person).await? {
            Some(wrapped) => wrapped,
            None => self.make(shop, person).await?,
        };
        let key = self.unwrap(&wrapped)?;
        let aad = bound_to(shop, person, &wrapped.id, context);
        let ciphertext = encrypt(&key, &aad, plaintext);
        Ok(Sealed { key_id: wrapped.id, ciphertext })
    }

    /// Seals something with a key that is kept nowhere: it looks like anything else that is sealed, and
    /// nobody can open it.
    pub fn seal_for_nobody(
        shop: &Shop,
        person: &Person,
        context: &str,
        plaintext: &[u8],
    ) -> Sealed {
        let key_id = new_id();
        let ciphertext =
            encrypt(&random_key(), &bound_to(shop, person, &key_id, context), plaintext);
        Sealed { key_id, ciphertext }
    }

    /// Opens what was sealed; `None` when its key was deleted.
    pub async fn open(
        &self,
        shop: &Shop,
        context: &str,
        sealed: &Sealed,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let Some(wrapped) = self.store.by_id(shop, &sealed.key_id).await? else { return Ok(None) };
        let key = self.unwrap(&wrapped)?;
        let aad = bound_to(shop, &wrapped.person, &sealed.key_id, context);
        decrypt(&key, &aad, &sealed.key_id, &sealed.ciphertext).map(Some)
    }

    /// Deletes the key of a person, and records that: nothing that was sealed for it can be opened
    /// again. Returns whether there was one; where there was none, nothing is recorded.
    pub async fn erase(
        &self,
        shop: &Shop,
        person: &Person,
        operator: &str,
        now: Timestamp,
    ) -> Result<bool, Error> {
        Ok(self.store.erase(&new_id(), shop, person, operator, now).await?)
    }

    /// When a key of the person was deleted last, if ever.
    pub async fn last_erasure(
        &self,
        shop: &Shop,
        person: &Person,
    ) -> Result<Option<Timestamp>, Error> {
        Ok(self.store.last_erasure(shop, person).await?)
    }

    /// What was erased, in all shops or in one, from the first.
    pub async fn erasures(&self, shop: Option<&Shop>) -> Result<Vec<Erasure>, Error> {
        Ok(self.store.erasures(shop).await?)
    }

    /// The fingerprint of something, which says nothing to those who do not have the key: HMAC-SHA-256
    /// over all parts. The same parts have the same fingerprint, whatever was erased since.
    pub async fn fingerprint(&self, parts: &[&[u8]]) -> Result<[u8; 32], Error> {
        let key = self.fingerprint_key.get_or_try_init(|| self.find_fingerprint_key()).await?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&**key)
            .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Ok(mac.finalize().into_bytes().into())
    }

    /// Encrypts every key with the newest master key; returns how many had another one. Then the old
    /// master keys can be removed from the configuration.
    pub async fn rewrap(&self) -> Result<u64, Error> {
        let masters = self.masters.current();
        let (newest, _) = masters.newest();
        let mut rewrapped = 0;
        if let Some(secret) = self.store.secret(FINGERPRINT).await?
            && secret.master != newest
        {
            let key = unwrap(&masters, &secret, &of_secret(FINGERPRINT))?;
            let wrapped = wrap(&masters, secret.id, &key, &of_secret(FINGERPRINT));
            self.store.replace_secret(FINGERPRINT, &wrapped).await?;
            rewrapped += 1;
        }
        loop {
            let old = self.store.not_wrapped_by(newest).await?;
            if old.is_empty() {
                return Ok(rewrapped);
            }
            for old in old {
                let aad = bound_to(&old.shop, &old.person, &old.id, "key");
                let key = unwrap(&masters, &old.key(), &aad)?;
                let wrapped = wrap(&masters, old.id, &key, &aad);
                rewrapped += u64::from(self.store.replace(&wrapped).await?);
            }
        }
    }

    /// Makes a key for a person; when somebody else has made one meanwhile, that one.
    async fn make(&self, shop: &Shop, person: &Person) -> Result<store::PersonKey, Error> {
        let id = new_id();
        let aad = bound_to(shop, person, &id, "key");
        let wrapped = wrap(&self.masters.current(), id, &random_key(), &aad);
        Ok(self.store.insert(shop, person, wrapped).await?)
    }

    fn unwrap(&self, key: &store::PersonKey) -> Result<KeyBytes, Error> {
        let aad = bound_to(&key.shop, &key.person, &key.id, "key");
        unwrap(&self.masters.current(), &key.key(), &aad)
    }

    /// Reads the key of fingerprints, and makes it where there is none.
    async fn find_fingerprint_key(&self) -> Result<KeyBytes, Error> {
        let masters = self.masters.current();
        let aad = of_secret(FINGERPRINT);
        let known = self.store.secret(FINGERPRINT).await?;
        let wrapped = if let Some(known) = known {
            known
        } else {
            let made = wrap(&masters, FINGERPRINT.to_owned(), &random_key(), &aad);
            self.store.insert_secret(FINGERPRINT, made).await?
        };
        unwrap(&masters, &wrapped, &aad)
    }
}

fn wrap(masters: &KeyRing, id: String, key: &KeyBytes, aad: &[u8]) -> WrappedKey {
    let (name, master) = masters.newest();
    WrappedKey { id, master: name.to_owned(), ciphertext: encrypt(master, aad, &**key) }
}

fn unwrap(masters: &KeyRing, wrapped: &WrappedKey, aad: &[u8]) -> Result<KeyBytes, Error> {
    let WrappedKey { id, master, ciphertext } = wrapped;
    let known = masters.get(master);
    let known =
        known.ok_or_else(|| Error::UnknownMaster { key_id: id.clone(), master: master.clone() })?;
    let key = decrypt(known, aad, id, ciphertext)?;
    let key = key.as_slice().try_into().map_err(|_| Error::Corrupt { key_id: id.clone() })?;
    Ok(Zeroizing::new(key))
}

/// What goes into the authentication of a ciphertext: where it belongs. Each part has its length before
/// it, so that no two differ only in where a part ends.
fn bound_to(shop: &Shop, person: &Person, key_id: &str, context: &str) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    for part in [shop.as_str(), person.as_str(), key_id, context] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

/// The same for a key that is of no person.
fn of_secret(name: &str) -> Vec<u8> {
    [&[FORMAT], name.as_bytes()].concat()
}

fn encrypt(key: &KeyBytes, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let nonce = XChaCha20Poly1305::generate_nonce(&mut OsRng);
    let payload = Payload { msg: plaintext, aad };
    let encrypted = XChaCha20Poly1305::new(Key::from_slice(&**key)).encrypt(&nonce, payload);
    // It fails only for texts of more than 256 GiB.
    let encrypted = encrypted.expect("a message of the inbox is short enough to be encrypted");
    [&[FORMAT], nonce.as_slice(), &encrypted].concat()
}

fn decrypt(
    key: &KeyBytes,
    aad: &[u8],
    key_id: &str,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let corrupt = || Error::Corrupt { key_id: key_id.to_owned() };
    let (format, sealed) = sealed.split_first().ok_or_else(corrupt)?;
    if *format != FORMAT {
        return Err(Error::Format { key_id: key_id.to_owned(), format: *format });
    }
    let (nonce, msg) = sealed.split_at_checked(NONCE_BYTES).ok_or_else(corrupt)?;
    let cipher = XChaCha20Poly1305::new(Key::from_slice(&**key));
    let opened = cipher.decrypt(XNonce::from_slice(nonce), Payload { msg, aad });
    opened.map(Zeroizing::new).map_err(|_| corrupt())
}

fn random_key() -> KeyBytes {
    let mut key = KeyBytes::default();
    OsRng.fill_bytes(&mut *key);
    key
}

#[expect(clippy::disallowed_methods, reason = "the edge at which keys get their ids")]
fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
