//! Personal data as it travels: sealed. What opens it is the gateway's, for those who may read it, and the
//! sender's of mails, while it sends one.

use std::fmt;

use protocol::id::ParseError;
use serde::{Deserialize, Serialize};

use crate::{id::OrderId, proto};

/// The most bytes that are sealed at once, before they are: the personal data of an order.
pub const MAX_PERSONAL_BYTES: usize = 16 * 1024;
/// The longest ciphertext: that, with room for a format, a nonce and a tag of any cipher.
const MAX_CIPHERTEXT_BYTES: usize = MAX_PERSONAL_BYTES + 256;
/// The longest id of a key.
const MAX_KEY_ID_LENGTH: usize = 64;

/// Personal data, encrypted with the key of one person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The key that opens it.
    key_id: String,
    /// The format, the nonce and the ciphertext.
    #[serde(with = "base64")]
    ciphertext: Vec<u8>,
}

impl Sealed {
    /// Reads what is sealed, from a message that may have none.
    pub fn parse(sealed: Option<proto::Sealed>) -> Result<Option<Self>, ParseError> {
        let Some(proto::Sealed { key_id, ciphertext }) = sealed else { return Ok(None) };
        let is_id = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !(1..=MAX_KEY_ID_LENGTH).contains(&key_id.len()) || !is_id(&key_id) {
            let rule = "must be 1 to 64 letters, digits or hyphens";
            return Err(ParseError::new("key_id", rule, &key_id));
        }
        if ciphertext.len() > MAX_CIPHERTEXT_BYTES {
            let (rule, length) = ("must be at most 16640 bytes", ciphertext.len().to_string());
            return Err(ParseError::new("ciphertext", rule, &length));
        }
        Ok(Some(Self { key_id, ciphertext }))
    }
}

impl From<Sealed> for proto::Sealed {
    fn from(Sealed { key_id, ciphertext }: Sealed) -> Self {
        Self { key_id, ciphertext }
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// What the personal data of an order is bound to, besides shop, person and key: it opens for this order alone.
pub fn personal_context(order_id: OrderId) -> String {
    order_context(order_id, "personal")
}

/// What a part of an order that is sealed is bound to, besides shop, person and key.
pub fn order_context(order_id: OrderId, part: &str) -> String {
    format!("order/{order_id}/{part}")
}

/// Bytes as base64 in the documents of rows.
mod base64 {
    use data_encoding::BASE64;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64.decode(text.as_bytes()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(key_id: &str, length: usize) -> proto::Sealed {
        proto::Sealed { key_id: key_id.into(), ciphertext: vec![7; length] }
    }

    fn parse(key_id: &str, length: usize) -> Result<Option<Sealed>, ParseError> {
        Sealed::parse(Some(wire(key_id, length)))
    }

    #[test]
    fn what_is_sealed_is_the_same_in_messages_and_rows() {
        let sealed = parse("018f-a", 3).expect("is good").expect("is there");
        assert_eq!(proto::Sealed::from(sealed.clone()), wire("018f-a", 3));
        let document = serde_json::to_string(&sealed).expect("is JSON");
        assert_eq!(document, r#"{"key_id":"018f-a","ciphertext":"BwcH"}"#);
        assert_eq!(serde_json::from_str::<Sealed>(&document).expect("reads back"), sealed);
        assert_eq!(Sealed::parse(None), Ok(None));
    }

    #[test]
    fn what_cannot_be_sealed_data_is_refused() {
        assert!(parse("", 3).is_err());
        assert!(parse("a\0", 3).is_err());
        assert!(parse(&"a".repeat(65), 3).is_err());
        assert!(parse("a", MAX_CIPHERTEXT_BYTES).is_ok());
        assert!(parse("a", MAX_CIPHERTEXT_BYTES + 1).is_err());
    }
}
