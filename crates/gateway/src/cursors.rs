//! Where the next page of a list begins. Opaque to a client, the same for every gateway.
//!
//! A cursor belongs to a list: of a shop, with its filters and its order. With others it is refused, since
//! its page would be that of neither list.

use data_encoding::BASE64URL_NOPAD;
use events::questions::Question;
use prost::Message;
use protocol::id::{ParseError, Shop};
use sha2::{Digest, Sha256};

use crate::problem::{FieldError, Problem};

/// The version of the form, its first byte.
const VERSION: u8 = 1;
/// The bytes of the checksum, which follow it. It covers the list and the place.
const CHECKSUM_BYTES: usize = 8;
/// The longest cursor, in characters.
const MAX_LENGTH: usize = 500;

/// What a cursor must be.
const RULE: &str = "must be the `next` of a page of the same list, with the same filters and sort";

/// The problem of a cursor that was not read with the other parameters.
pub(crate) fn refused(error: &ParseError) -> Problem {
    Problem::fields(vec![FieldError::named("after", error.to_string())])
}

/// A list, as far as cursors belong to it.
#[derive(Debug, Clone)]
pub(crate) struct List(Sha256);

impl List {
    /// The list that a question is about. The question has neither a place nor a limit: they differ from
    /// page to page.
    pub(crate) fn of(shop: &Shop, question: impl Question) -> Self {
        let hash = Sha256::new().chain_update(shop.as_str()).chain_update([0]);
        let question = question.encode();
        let length = (question.len() as u64).to_be_bytes();
        Self(hash.chain_update(length).chain_update(question))
    }

    /// The list that this names: what is listed, and its filters.
    pub(crate) fn named(shop: &Shop, parts: &[&str]) -> Self {
        let hash = Sha256::new().chain_update(shop.as_str()).chain_update([0]);
        let add = |hash: Sha256, part: &&str| {
            hash.chain_update((part.len() as u64).to_be_bytes()).chain_update(part)
        };
        // No question has this length.
        Self(parts.iter().fold(hash.chain_update(u64::MAX.to_be_bytes()), add))
    }

    /// The cursor of a page that begins after a place.
    pub(crate) fn cursor(&self, place: &impl Message) -> String {
        let body = place.encode_to_vec();
        let mut bytes = vec![VERSION];
        bytes.extend(self.checksum(&body));
        bytes.extend(body);
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// The place of a cursor of this list.
    pub(crate) fn place<P: Message + Default>(&self, cursor: &str) -> Result<P, ParseError> {
        let error = || ParseError::new("after", RULE, cursor);
        if cursor.len() > MAX_LENGTH {
            return Err(error());
        }
        let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).map_err(|_| error())?;
        let (version, rest) = bytes.split_first().ok_or_else(error)?;
        let (sum, body) = rest.split_at_checked(CHECKSUM_BYTES).ok_or_else(error)?;
        if *version != VERSION || sum != self.checksum(body) {
            return Err(error());
        }
        P::decode(body).map_err(|_| error())
    }

    /// The place of a cursor of this list, where that is a name.
    pub(crate) fn name<T>(
        &self,
        cursor: &str,
        parse: impl FnOnce(&str) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        let name: String = self.place(cursor)?;
        parse(&name).map_err(|_| ParseError::new("after", RULE, cursor))
    }

    fn checksum(&self, body: &[u8]) -> [u8; CHECKSUM_BYTES] {
        let digest: [u8; 32] = self.0.clone().chain_update(body).finalize().into();
        let mut sum = [0; CHECKSUM_BYTES];
        sum.copy_from_slice(&digest[..CHECKSUM_BYTES]);
        sum
    }
}

#[cfg(test)]
mod tests {
    use events::proto::{
        order::{ListOrders, OrderPlace},
        payment::ListPayments,
    };

    use super::*;

    fn acme() -> Shop {
        Shop::parse("acme").expect("valid")
    }

    fn of(sku: &str) -> List {
        List::of(&acme(), ListOrders { sku: sku.to_owned(), ..ListOrders::default() })
    }

    fn place() -> OrderPlace {
        let placed_at = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_000_000 };
        OrderPlace { placed_at: Some(placed_at), number: u64::MAX, by_part: true }
    }

    #[test]
    fn a_cursor_survives_its_way_through_a_client() {
        let cursor = of("A").cursor(&place());
        assert_eq!(of("A").place(&cursor), Ok(place()));
    }

    #[test]
    fn a_name_is_read_by_its_rule() {
        let list = List::named(&acme(), &["products", "blue"]);
        let cursor = list.cursor(&"MUG".to_owned());
        assert_eq!(list.name(&cursor, Shop::parse).ok(), None, "it is none");
        assert_eq!(list.name(&cursor, |name| Ok(name.to_owned())), Ok("MUG".to_owned()));
        for other in [&["products"][..], &["products", "red"], &["product", "sblue"]] {
            assert!(List::named(&acme(), other).place::<String>(&cursor).is_err(), "{other:?}");
        }
    }

    #[test]
    fn what_is_no_cursor_of_the_list_is_refused() {
        let cursor = of("A").cursor(&place());
        let all = ListOrders::default;
        for other in [
            of("B"),
            of(""),
            List::of(&acme(), ListOrders { oldest_first: true, sku: "A".to_owned(), ..all() }),
            List::of(&acme(), ListOrders { customer_id: "A".to_owned(), ..all() }),
            List::of(&acme(), ListPayments::default()),
            List::of(
                &Shop::parse("acm").expect("valid"),
                ListOrders { sku: "A".to_owned(), ..all() },
            ),
        ] {
            assert!(other.place::<OrderPlace>(&cursor).is_err(), "{other:?}");
        }
        let flipped = |index: usize| {
            let mut bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).expect("is base64");
            bytes[index] ^= 1;
            BASE64URL_NOPAD.encode(&bytes)
        };
        let cut = (0..cursor.len()).map(|end| cursor[..end].to_owned());
        let others = ["0", "42", "é", &"A".repeat(4_000)].map(str::to_owned);
        for wrong in (0..cursor.len() * 3 / 4).map(flipped).chain(cut).chain(others) {
            assert!(of("A").place::<OrderPlace>(&wrong).is_err(), "{wrong}");
        }
    }
}
