//! The text of an API key that the installation has made: `tw_<id>_<secret>`, in lower-case letters and
//! digits.
//!
//! ```text
//! tw_0123456789abcdef_<64 characters: 32 random bytes, and 8 bytes of a checksum>
//! ```
//!
//! The prefix is for those who search for keys that got out: `tw_[0-9a-v]{16}_[0-9a-v]{64}`. By the id the
//! key is looked up. The checksum is a keyed one, which only the installation can compute: a text that
//! it has not made is refused without a look-up, so a flood of guesses reaches no service.

use data_encoding::BASE32_DNSSEC;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{problem::Problem, sealing::Sealing};

/// What every key begins with.
pub(crate) const PREFIX: &str = "tw_";
/// The bytes of an id, of which its characters are made.
const ID_BYTES: usize = 10;
/// The characters of an id.
const ID_LENGTH: usize = 16;
/// The characters behind the id.
const SECRET_LENGTH: usize = 64;
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 8;
/// What is computed with the key of the installation, for what: so that no result stands for another.
const CHECKSUM: &[u8] = b"api_key.checksum";
const DIGEST: &[u8] = b"api_key.digest";

/// What a secret is checked by.
pub(crate) type Digest = [u8; 32];

/// A key that a caller presents.
pub(crate) struct Presented {
    id: String,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
    checksum: [u8; CHECKSUM_BYTES],
}

/// A key that was just made.
pub(crate) struct NewKey {
    /// The whole of it: for the one who asked for it, once.
    pub(crate) text: SecretString,
    /// What its secret is checked by.
    pub(crate) digest: Digest,
}

/// The id of the key that a command adds: the same for the same command.
pub(crate) fn id_of_command(command_id: &str) -> String {
    let hash = Sha256::digest(command_id);
    BASE32_DNSSEC.encode(&hash[..ID_BYTES])
}

/// Whether a text is the id of a key.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && decode::<ID_BYTES>(text).is_some()
}

impl Presented {
    /// Takes a text apart; `None` when it is not of this form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        if !is_id(id) || secret.len() != SECRET_LENGTH {
            return None;
        }
        let bytes = Zeroizing::new(decode::<{ SECRET_BYTES + CHECKSUM_BYTES }>(secret)?);
        let (secret, checksum) = bytes.split_first_chunk()?;
        let checksum = checksum.try_into().ok()?;
        Some(Self { id: id.to_owned(), secret: Zeroizing::new(*secret), checksum })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What its secret is to be compared with; `None` when the installation has not made the key.
    pub(crate) async fn digest(&self, sealing: &Sealing) -> Result<Option<Digest>, Problem> {
        let Self { id, checksum, .. } = self;
        let secret = &*self.secret;
        let expected = checksum_of(sealing, id, secret).await?;
        if !bool::from(expected.ct_eq(checksum)) {
            return Ok(None);
        }
        digest_of(sealing, id, secret).await.map(Some)
    }
}

impl NewKey {
    /// Makes a secret for the key with that id.
    pub(crate) async fn generate(sealing: &Sealing, id: &str) -> Result<Self, Problem> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES + CHECKSUM_BYTES]);
        let (secret, checksum) = bytes.split_at_mut(SECRET_BYTES);
        getrandom::fill(secret).map_err(|error| Problem::internal(&error))?;
        checksum.copy_from_slice(&checksum_of(sealing, id, secret).await?);
        let digest = digest_of(sealing, id, secret).await?;
        let text = format!("{PREFIX}{id}_{}", BASE32_DNSSEC.encode(&*bytes));
        Ok(Self { text: text.into(), digest })
    }
}

async fn checksum_of(
    sealing: &Sealing,
    id: &str,
    secret: &[u8],
) -> Result<[u8; CHECKSUM_BYTES], Problem> {
    let whole = sealing.mac(&[CHECKSUM, id.as_bytes(), secret]).await?;
    Ok(whole.first_chunk().copied().unwrap_or_default())
}

async fn digest_of(sealing: &Sealing, id: &str, secret: &[u8]) -> Result<Digest, Problem> {
    sealing.mac(&[DIGEST, id.as_bytes(), secret]).await
}

/// Decodes so many bytes, in the one form that they are written in.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    // The encoding itself takes upper-case letters as well.
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let bytes = Zeroizing::new(BASE32_DNSSEC.decode(text.as_bytes()).ok()?);
    bytes.as_slice().try_into().ok()
}

#[cfg(test)]
mod tests {
    use person_keys::{MasterKeys, PersonKeys};
    use secrecy::ExposeSecret;
    use tempfile::TempDir;

    use super::*;

    const ID: &str = "0123456789abcdef";

    fn sealing() -> (Sealing, TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let masters = MasterKeys::beside(folder.path()).expect("it is made");
        let keys = PersonKeys::new(&folder.path().display().to_string(), masters);
        (Sealing::new(Some(keys)), folder)
    }

    #[tokio::test]
    async fn what_was_made_is_recognised_and_nothing_else() {
        let (sealing, _folder) = sealing();
        let key = NewKey::generate(&sealing, ID).await.expect("it is made");
        let text = key.text.expose_secret();
        let is_of_form = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'v').contains(&byte);
        let (id, secret) = text[PREFIX.len()..].split_once('_').expect("it has two parts");
        assert_eq!((id, secret.len()), (ID, SECRET_LENGTH));
        assert!(secret.bytes().all(is_of_form), "{secret}");

        let digest = async |text: &str, sealing: &Sealing| {
            let presented = Presented::parse(text).expect("it has the form");
            presented.digest(sealing).await.expect("there are keys")
        };
        assert_eq!(digest(text, &sealing).await, Some(key.digest));
        // Any other character: in the id, in the secret, in the checksum.
        for at in [PREFIX.len(), PREFIX.len() + ID_LENGTH + 1, text.len() - 1] {
            let other = if &text[at..=at] == "0" { "1" } else { "0" };
            let forged = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert_eq!(digest(&forged, &sealing).await, None, "{at}");
        }
        let (other, _folder) = self::sealing();
        assert_eq!(digest(text, &other).await, None, "another installation has not made it");
        let again = NewKey::generate(&sealing, ID).await.expect("it is made");
        assert_ne!(again.digest, key.digest);
    }

    #[test]
    fn what_has_another_form_is_no_key_of_the_installation() {
        let secret = "0".repeat(SECRET_LENGTH);
        assert!(Presented::parse(&format!("tw_{ID}_{secret}")).is_some());
        for other in [
            String::new(),
            "secret".to_owned(),
            format!("TW_{ID}_{secret}"),
            format!("tw_{ID}"),
            format!("tw_{ID}_{secret}0"),
            format!("tw_{ID}_{}", &secret[1..]),
            format!("tw_{}_{secret}", &ID[1..]),
            format!("tw_{}_{secret}", ID.to_uppercase()),
            format!("tw_{ID}_{}w", &secret[1..]),
            format!("tw_{ID}_{}é", &secret[2..]),
        ] {
            assert!(Presented::parse(&other).is_none(), "{other}");
        }
        assert!(is_id(&id_of_command("a command")));
        assert_eq!(id_of_command("a command"), id_of_command("a command"));
        assert_ne!(id_of_command("a command"), id_of_command("another"));
    }
}
