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
//! - [`PersonKeys::erase`] deletes the key of a person. What is sealed for the same person later gets a
//!   new key; what was sealed before stays unreadable.
//!
//! The cipher is XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), whose nonces are long enough to be
//! chosen at random.

mod master;
mod store;
#[cfg(test)]
mod tests;

use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, AeadCore, OsRng, Payload},
};
use protocol::id::Shop;

pub use self::master::{MasterKeyError, MasterKeys};
use self::store::{Store, WrappedKey};

/// The bytes of a nonce.
const NONCE_BYTES: usize = 24;

/// Personal data as it is in messages and rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The key that opens it.
    pub key_id: String,
    /// The nonce, and what was encrypted.
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
}

/// The keys of persons, in a database of their own.
#[derive(Debug, Clone)]
pub struct PersonKeys {
    store: Store,
    masters: MasterKeys,
}

impl PersonKeys {
    /// Opens the database: a folder for a `SQLite` file, or a Postgres database (`postgres://…`). It is
    /// made where it is missing.
    pub async fn open(location: &str, masters: MasterKeys) -> Result<Self, Error> {
        Ok(Self { store: Store::open(location).await?, masters })
    }

    /// Seals something of a person for a context, such as the id of an order.
    pub async fn seal(
        &self,
        shop: &Shop,
        person: &str,
        context: &str,
        plaintext: &[u8],
    ) -> Result<Sealed, Error> {
        let wrapped = match self.store.of_person(shop, person).await? {
            Some(wrapped) => wrapped,
            None => self.make(shop, person).await?,
        };
        let key = self.unwrap(shop, &wrapped)?;
        let aad = bound_to(shop, &wrapped.id, context);
        let ciphertext = encrypt(&key, &aad, plaintext);
        Ok(Sealed { key_id: wrapped.id, ciphertext })
    }

    /// Opens what was sealed; `None` when its key was deleted.
    pub async fn open_sealed(
        &self,
        shop: &Shop,
        context: &str,
        sealed: &Sealed,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(wrapped) = self.store.by_id(&sealed.key_id).await? else { return Ok(None) };
        let key = self.unwrap(shop, &wrapped)?;
        let aad = bound_to(shop, &sealed.key_id, context);
        let opened = decrypt(&key, &aad, &sealed.ciphertext);
        opened.map(Some).ok_or_else(|| Error::Corrupt { key_id: sealed.key_id.clone() })
    }

    /// Deletes the key of a person: nothing that was sealed for it can be opened again. Tells whether
    /// there was one.
    pub async fn erase(&self, shop: &Shop, person: &str) -> Result<bool, Error> {
        Ok(self.store.delete(shop, person).await?)
    }

    /// Encrypts every key with the newest master key; tells how many had another one. Then the old
    /// master keys can be removed from the configuration.
    pub async fn rewrap(&self) -> Result<u64, Error> {
        let newest = self.masters.newest();
        let mut rewrapped = 0;
        loop {
            let old = self.store.not_wrapped_by(newest).await?;
            if old.is_empty() {
                return Ok(rewrapped);
            }
            for (shop, wrapped) in old {
                let key = self.unwrap(&shop, &wrapped)?;
                let id = wrapped.id;
                let wrapped = self.wrap(&shop, &id, &key);
                rewrapped += u64::from(self.store.replace(&wrapped).await?);
            }
        }
    }

    /// Makes a key for a person; when somebody else has made one meanwhile, that one.
    async fn make(&self, shop: &Shop, person: &str) -> Result<WrappedKey, Error> {
        let id = new_key_id();
        let wrapped = self.wrap(shop, &id, &XChaCha20Poly1305::generate_key(&mut OsRng));
        Ok(self.store.insert(shop, person, wrapped).await?)
    }

    fn wrap(&self, shop: &Shop, id: &str, key: &Key) -> WrappedKey {
        let master = self.masters.newest().to_owned();
        let ciphertext = encrypt(self.masters.newest_key(), &bound_to(shop, id, "key"), key);
        WrappedKey { id: id.to_owned(), master, ciphertext }
    }

    fn unwrap(&self, shop: &Shop, wrapped: &WrappedKey) -> Result<Key, Error> {
        let WrappedKey { id, master, ciphertext } = wrapped;
        let key_id = || id.clone();
        let known = self.masters.get(master);
        let known = known
            .ok_or_else(|| Error::UnknownMaster { key_id: key_id(), master: master.clone() })?;
        let key = decrypt(known, &bound_to(shop, id, "key"), ciphertext);
        let key = key.filter(|key| key.len() == size_of::<Key>());
        let key = key.ok_or_else(|| Error::Corrupt { key_id: key_id() })?;
        Ok(*Key::from_slice(&key))
    }
}

/// What goes into the authentication of a ciphertext: where it belongs.
fn bound_to(shop: &Shop, key_id: &str, context: &str) -> Vec<u8> {
    format!("{shop}\n{key_id}\n{context}").into_bytes()
}

fn encrypt(key: &Key, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let nonce = XChaCha20Poly1305::generate_nonce(&mut OsRng);
    let payload = Payload { msg: plaintext, aad };
    let encrypted = XChaCha20Poly1305::new(key).encrypt(&nonce, payload);
    // It fails only for texts of more than 256 GiB.
    let encrypted = encrypted.expect("a message of the inbox is short enough to be encrypted");
    [nonce.as_slice(), &encrypted].concat()
}

fn decrypt(key: &Key, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, msg) = sealed.split_at_checked(NONCE_BYTES)?;
    XChaCha20Poly1305::new(key).decrypt(XNonce::from_slice(nonce), Payload { msg, aad }).ok()
}

#[expect(clippy::disallowed_methods, reason = "the edge at which keys get their ids")]
fn new_key_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
