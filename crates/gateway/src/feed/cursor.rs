//! Where a reader of the feed is: a position in the log of each service. Opaque to the reader, the same
//! for every gateway.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use prost::Message;
use protocol::id::{ParseError, Shop};
use sha2::{Digest, Sha256};

/// The version of the form, its first byte.
const VERSION: u8 = 1;
/// The bytes of the checksum, which follow it. It covers the shop, so that a cursor of another shop is
/// refused, and finds what was cut off or changed on the way.
const CHECKSUM_BYTES: usize = 4;
/// The longest cursor, in characters.
const MAX_LENGTH: usize = 2_000;

/// A position in the log of each service that was looked at, by service; 0 in those that are not here.
///
/// Services that this gateway does not know are kept: another one does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cursor(pub(crate) BTreeMap<String, LogPosition>);

/// A position in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPosition {
    /// All up to this position was looked at.
    pub(crate) position: u64,
    /// When the log was created, in milliseconds since 1970.
    pub(crate) created_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Encoded {
    #[prost(message, repeated, tag = "1")]
    logs: Vec<EncodedLog>,
}

#[derive(Clone, PartialEq, Message)]
struct EncodedLog {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(uint64, tag = "2")]
    position: u64,
    #[prost(int64, tag = "3")]
    created_ms: i64,
}

impl Cursor {
    /// The cursor as its reader gets it.
    pub(crate) fn encode(&self, shop: &Shop) -> String {
        let logs = self.0.iter().map(|(service, at)| EncodedLog {
            service: service.clone(),
            position: at.position,
            created_ms: at.created_ms,
        });
        let body = Encoded { logs: logs.collect() }.encode_to_vec();
        let mut bytes = vec![VERSION];
        bytes.extend(checksum(shop, &body));
        bytes.extend(body);
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Moves on in the log of a service.
    pub(crate) fn advance(&mut self, service: &str, position: u64) {
        if let Some(at) = self.0.get_mut(service) {
            at.position = position;
        }
    }

    /// Reads the cursor of a reader of this shop.
    pub(crate) fn parse(text: &str, shop: &Shop) -> Result<Self, ParseError> {
        let error =
            || ParseError::new("after", "must be the `next` of a page of the same shop", text);
        if text.len() > MAX_LENGTH {
            return Err(error());
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| error())?;
        let (version, rest) = bytes.split_first().ok_or_else(error)?;
        let (sum, body) = rest.split_at_checked(CHECKSUM_BYTES).ok_or_else(error)?;
        if *version != VERSION || sum != checksum(shop, body) {
            return Err(error());
        }
        let encoded = Encoded::decode(body).map_err(|_| error())?;
        let logs = encoded.logs.into_iter().map(|log| {
            let EncodedLog { service, position, created_ms } = log;
            (service, LogPosition { position, created_ms })
        });
        Ok(Self(logs.collect()))
    }
}

fn checksum(shop: &Shop, body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new().chain_update(shop.as_str()).chain_update([0]).chain_update(body);
    let digest: [u8; 32] = digest.finalize().into();
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&digest[..CHECKSUM_BYTES]);
    sum
}

/// Where a client begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Behind what is there now.
    End,
    /// Behind what it has read.
    After(Cursor),
}

impl Begin {
    /// Reads the `after` of a request.
    pub(crate) fn parse(text: &str, shop: &Shop) -> Result<Self, ParseError> {
        if text == "end" { Ok(Self::End) } else { Cursor::parse(text, shop).map(Self::After) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop(name: &str) -> Shop {
        Shop::parse(name).expect("valid")
    }

    fn cursor() -> Cursor {
        let at = |position| LogPosition { position, created_ms: 1_700_000_000_123 };
        let logs = [("order", at(7)), ("payment", at(u64::MAX)), ("of_a_newer_version", at(0))];
        Cursor(logs.map(|(service, at)| (service.to_owned(), at)).into())
    }

    #[test]
    fn a_cursor_survives_its_way_through_a_reader() {
        for cursor in [cursor(), Cursor::default()] {
            let text = cursor.encode(&shop("acme"));
            assert_eq!(Cursor::parse(&text, &shop("acme")), Ok(cursor));
        }
    }

    #[test]
    fn what_is_no_cursor_of_the_shop_is_refused() {
        let text = cursor().encode(&shop("acme"));
        assert!(Cursor::parse(&text, &shop("acm")).is_err(), "of another shop");
        let flipped = |index: usize| {
            let mut bytes = BASE64URL_NOPAD.decode(text.as_bytes()).expect("is base64");
            bytes[index] ^= 1;
            BASE64URL_NOPAD.encode(&bytes)
        };
        let bytes = text.len() * 3 / 4;
        for wrong in (0..bytes).map(flipped) {
            assert!(Cursor::parse(&wrong, &shop("acme")).is_err(), "{wrong}");
        }
        for wrong in (0..text.len()).map(|end| &text[..end]) {
            assert!(Cursor::parse(wrong, &shop("acme")).is_err(), "{wrong}");
        }
        for wrong in ["", "0", "latest", "42", "é", &"A".repeat(4_000)] {
            assert!(Cursor::parse(wrong, &shop("acme")).is_err(), "{wrong}");
        }
    }
}
