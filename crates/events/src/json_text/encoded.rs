//! The fields of an encoded message, as they are in its bytes.

use prost::encoding::{WireType, decode_key, decode_varint};

use super::Unwritable;

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Encoded<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

impl Encoded<'_> {
    /// Whether it is the value of a field that is not set.
    pub(super) fn is_default(self) -> bool {
        match self {
            Self::Varint(value) => value == 0,
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }
}

/// The next field of a message: its number and value. `Varint` and length-delimited values alone: no
/// event has others.
pub(super) fn next_field<'a>(
    bytes: &mut &'a [u8],
) -> Result<Option<(u32, Encoded<'a>)>, Unwritable> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (number, wire_type) = decode_key(bytes).map_err(|_| Unwritable)?;
    let value = decode_varint(bytes).map_err(|_| Unwritable)?;
    match wire_type {
        WireType::Varint => Ok(Some((number, Encoded::Varint(value)))),
        WireType::LengthDelimited => {
            let length = usize::try_from(value).map_err(|_| Unwritable)?;
            let (of_field, rest) = bytes.split_at_checked(length).ok_or(Unwritable)?;
            *bytes = rest;
            Ok(Some((number, Encoded::Bytes(of_field))))
        }
        _ => Err(Unwritable),
    }
}

/// The members of a message that are messages or texts: the number and the bytes of each.
pub(crate) fn members(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u32, &[u8]), Unwritable>> {
    std::iter::from_fn(move || {
        loop {
            return match next_field(&mut bytes).transpose()? {
                Ok((number, Encoded::Bytes(of_field))) => Some(Ok((number, of_field))),
                Ok((_, Encoded::Varint(_))) => continue,
                Err(error) => {
                    bytes = &[];
                    Some(Err(error))
                }
            };
        }
    })
}
