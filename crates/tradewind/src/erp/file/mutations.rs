//! Reads damaged lines to their end, or to an error.

use super::{
    super::mapping::Mapping,
    delimited::{Delimited, delimiter},
    ndjson::Ndjson,
    records::Orders,
};

fn orders() -> Orders {
    Orders::new(Box::new(|reference| Ok(reference.starts_with('P').then(|| "ID".to_owned()))))
}

pub(crate) fn read_csv(input: &[u8], mapping: &Mapping) {
    let Ok(delimiter) = delimiter(input) else { return };
    let Ok((mut lines, _)) = Delimited::new(input, delimiter, mapping, orders()) else { return };
    while let Ok(Some(_)) = lines.next() {}
}

pub(crate) fn read_ndjson(input: &[u8], mapping: &Mapping) {
    let mut lines = Ndjson::new(input, mapping, orders());
    while let Ok(Some(_)) = lines.next() {}
}
