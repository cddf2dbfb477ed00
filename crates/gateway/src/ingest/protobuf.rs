//! Protobuf messages as the JSON of a body over HTTP: what follows is the same for both.

use events::proto::{
    catalog::{Customs, PutProducts, WantedProduct},
    inventory::RecordStock,
};
use prost::{Message, bytes::Bytes};
use protocol::{id::ParseError, time::Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    problem::{Code, FieldError, Problem},
    view::{self, ViewError},
};

const MEDIA: [&str; 3] =
    ["application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf"];
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// Whether that content type is protobuf.
pub(super) fn is_media(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    MEDIA.iter().any(|media| media.eq_ignore_ascii_case(essence))
}

/// A message as a body, with its content type: `PutProducts` of products, `RecordStock` of the others.
pub(super) fn to_json(kind: &str, payload: &Bytes) -> Result<(&'static str, Vec<u8>), Problem> {
    if kind == "products" {
        let PutProducts { products, notes_unchanged: _ } = decode(payload)?;
        return Ok((NDJSON, lines("products", products, product)?));
    }
    let RecordStock { lines: stock, invalid } = decode(payload)?;
    if !invalid.is_empty() {
        let detail = "invalid must be empty: what is wrong among lines is found when they come";
        return Err(Problem::fields(vec![FieldError::named("invalid", detail)]));
    }
    // A single line is handled before uploads of many.
    let media = if stock.len() == 1 { JSON } else { NDJSON };
    Ok((media, lines("lines", stock, view::stock_line)?))
}

fn decode<M: Message + Default>(payload: &Bytes) -> Result<M, Problem> {
    M::decode(payload.clone()).map_err(|error| {
        let detail = format!("the message cannot be read: {error}");
        Problem::new(Code::MalformedProtobuf, detail)
    })
}

/// The lines as JSON, each on a line. Whether they are valid is seen when the JSON is read.
fn lines<L, J: Serialize>(
    member: &str,
    lines: Vec<L>,
    line: impl Fn(L) -> Result<J, ViewError>,
) -> Result<Vec<u8>, Problem> {
    let (mut json, mut errors) = (Vec::new(), Vec::new());
    for (index, sent) in lines.into_iter().enumerate() {
        match line(sent) {
            Ok(line) => {
                serde_json::to_writer(&mut json, &line).map_err(|e| Problem::internal(&e))?;
                json.push(b'\n');
            }
            Err(ViewError(error)) => {
                let field = format!("{member}[{index}]");
                errors.push(FieldError::named(field, error.to_string()));
            }
        }
    }
    if errors.is_empty() { Ok(json) } else { Err(Problem::fields(errors)) }
}

fn product(wanted: WantedProduct) -> Result<Value, ViewError> {
    let WantedProduct { product, as_of, expected_version, cleared } = wanted;
    let product = product.unwrap_or_default();
    let mut line = Map::new();
    line.insert("sku".to_owned(), product.sku.into());
    line.insert("title".to_owned(), product.title.into());
    line.insert("active".to_owned(), product.active.into());
    if let Some(price) = product.price {
        let money = price.money.clone().unwrap_or_default();
        let mut shown = json!({"minor": money.minor, "currency": money.currency});
        if price.tax_basis != 0 {
            let name = price.tax_basis().as_str_name();
            let name = name.strip_prefix("TAX_BASIS_").unwrap_or(name);
            shown["tax_basis"] = name.to_ascii_lowercase().into();
        }
        line.insert("price".to_owned(), shown);
    }
    line.extend(product.listing_key.map(|key| ("listing_key".to_owned(), key.into())));
    line.extend(product.tax_class.map(|class| ("tax_class".to_owned(), class.into())));
    line.extend(product.weight_g.map(|weight| ("weight_g".to_owned(), weight.into())));
    if let Some(Customs { country_of_origin, hs_code }) = product.customs {
        let mut customs = Map::new();
        customs.extend(country_of_origin.map(|it| ("country_of_origin".to_owned(), it.into())));
        customs.extend(hs_code.map(|it| ("hs_code".to_owned(), it.into())));
        line.insert("customs".to_owned(), customs.into());
    }
    clear(&mut line, &cleared)?;
    if let Some(as_of) = as_of {
        line.insert("as_of".to_owned(), Timestamp::parse(Some(&as_of))?.to_string().into());
    }
    line.extend(expected_version.map(|version| ("expected_version".to_owned(), version.into())));
    Ok(line.into())
}

/// Says of what is to be taken away that it is null, as JSON does.
fn clear(line: &mut Map<String, Value>, cleared: &[String]) -> Result<(), ViewError> {
    for name in cleared {
        let (object, member) = match name.split_once('.') {
            Some((parent, member)) => {
                let inner = line.entry(parent).or_insert_with(|| Value::Object(Map::new()));
                (inner.as_object_mut(), member)
            }
            None => (Some(&mut *line), name.as_str()),
        };
        let rule = "must not name what the product has";
        let wrong = || ParseError::new("cleared", rule, name);
        let object = object.ok_or_else(wrong)?;
        if object.contains_key(member) {
            return Err(wrong().into());
        }
        object.insert(member.to_owned(), Value::Null);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use events::{
        money::{Currency, TaxBasis},
        proto::catalog::Product,
    };

    use super::*;

    #[test]
    fn a_product_says_whether_tax_is_in_its_price_as_json_does() {
        let currency = Currency::parse("GBP").expect("valid");
        for (basis, name) in [(TaxBasis::Included, "included"), (TaxBasis::Excluded, "excluded")] {
            let price = Some(basis.price(950, currency));
            let product = Product { sku: "MUG".into(), price, ..Default::default() };
            let wanted = WantedProduct { product: Some(product), ..Default::default() };
            let line = super::product(wanted).unwrap_or_default();
            let expected = json!({"minor": 950, "currency": "GBP", "tax_basis": name});
            assert_eq!(line["price"], expected);
        }
    }
}
