//! Products.

use engine::WireError;
use events::{
    id::{Country, HsCode, ListingKey, Sku, TaxClass},
    money::{Money, TaxBasis},
    proto::{
        self,
        catalog::{self, catalog_event::Kind},
    },
};
use protocol::{id::ParseError, time::Timestamp};

use crate::domain::products::{
    Detail, Event, Fact, Outcome, Product, ProductResult, ProductRow, Wanted,
};

pub(super) fn encode(event: &Event) -> Kind {
    let after = Some(to_wire(&event.product));
    let as_of = Some(event.as_of.into());
    match &event.fact {
        Fact::Created => Kind::Created(catalog::Created { product: after, as_of }),
        Fact::Updated { before } => {
            let changed = changed(before, &event.product);
            let before = Some(to_wire(before));
            Kind::Updated(catalog::Updated { before, after, as_of, changed })
        }
        Fact::Archived { before } => {
            Kind::Archived(catalog::Archived { before: Some(to_wire(before)), after, as_of })
        }
    }
}

pub(super) fn created(it: catalog::Created) -> Result<Event, WireError> {
    event(Fact::Created, it.product, Timestamp::parse(it.as_of.as_ref())?)
}

pub(super) fn updated(it: catalog::Updated) -> Result<Event, WireError> {
    event(
        Fact::Updated { before: parse(it.before)? },
        it.after,
        Timestamp::parse(it.as_of.as_ref())?,
    )
}

pub(super) fn archived(it: catalog::Archived) -> Result<Event, WireError> {
    event(
        Fact::Archived { before: parse(it.before)? },
        it.after,
        Timestamp::parse(it.as_of.as_ref())?,
    )
}

fn event(
    fact: Fact,
    product: Option<catalog::Product>,
    as_of: Timestamp,
) -> Result<Event, WireError> {
    Ok(Event { fact, product: parse(product)?, as_of })
}

pub(super) fn encode_outcome(outcome: &Outcome) -> catalog::ProductOutcome {
    let result = match outcome.result {
        ProductResult::Created => catalog::ProductResult::Created,
        ProductResult::Updated => catalog::ProductResult::Updated,
        ProductResult::Archived => catalog::ProductResult::Archived,
        ProductResult::Unchanged => catalog::ProductResult::Unchanged,
        ProductResult::Stale => catalog::ProductResult::Stale,
        ProductResult::VersionMismatch => catalog::ProductResult::VersionMismatch,
    };
    catalog::ProductOutcome { result: result.into(), version: outcome.version }
}

pub(super) fn stored(row: &ProductRow) -> catalog::StoredProduct {
    catalog::StoredProduct { product: Some(to_wire(&row.product)), version: row.revision.version }
}

pub(super) fn wanted(
    product: proto::catalog::WantedProduct,
    sent_at: Timestamp,
    is_noted: bool,
) -> Result<Wanted, WireError> {
    let proto::catalog::WantedProduct { product, as_of, expected_version, cleared } = product;
    let title = product.as_ref().map_or("", |product| &product.title);
    if title.chars().any(char::is_control) {
        // Postgres takes no NUL, so such a title would stop the projection for good.
        return Err(ParseError::new("title", "must have no control characters", title).into());
    }
    let as_of = match as_of {
        Some(as_of) => Timestamp::parse(Some(&as_of))?,
        None => sent_at,
    };
    let cleared = cleared.iter().map(|name| detail(name)).collect::<Result<_, _>>()?;
    Ok(Wanted { product: parse(product)?, cleared, as_of, expected_version, is_noted })
}

/// The detail of that name.
fn detail(name: &str) -> Result<Detail, ParseError> {
    let rule = "must name something that a product may have or not";
    match name {
        "listing_key" => Ok(Detail::ListingKey),
        "tax_class" => Ok(Detail::TaxClass),
        "weight_g" => Ok(Detail::Weight),
        "customs.country_of_origin" => Ok(Detail::CountryOfOrigin),
        "customs.hs_code" => Ok(Detail::HsCode),
        _ => Err(ParseError::new("cleared", rule, name)),
    }
}

fn to_wire(product: &Product) -> catalog::Product {
    let Product { sku, title, price, tax_basis, active, .. } = product.clone();
    let Product { listing_key, tax_class, weight_g, country_of_origin, hs_code, .. } =
        product.clone();
    let customs = catalog::Customs {
        country_of_origin: country_of_origin.map(Into::into),
        hs_code: hs_code.map(Into::into),
    };
    catalog::Product {
        sku: sku.into(),
        title,
        price: Some(tax_basis.price(price.minor, price.currency)),
        active,
        listing_key: listing_key.map(Into::into),
        tax_class: tax_class.map(Into::into),
        weight_g,
        customs: Some(customs).filter(|customs| *customs != catalog::Customs::default()),
    }
}

/// The names of the fields of the message in which two products differ.
fn changed(before: &Product, after: &Product) -> Vec<String> {
    let Product {
        sku: _,
        title,
        price,
        tax_basis,
        active,
        listing_key,
        tax_class,
        weight_g,
        country_of_origin,
        hs_code,
    } = before;
    let customs = (country_of_origin, hs_code);
    let is_changed = [
        ("title", *title != after.title),
        ("price", (*price, *tax_basis) != (after.price, after.tax_basis)),
        ("active", *active != after.active),
        ("listing_key", *listing_key != after.listing_key),
        ("tax_class", *tax_class != after.tax_class),
        ("weight_g", *weight_g != after.weight_g),
        ("customs", customs != (&after.country_of_origin, &after.hs_code)),
    ];
    let names = is_changed.into_iter().filter(|(_, is_changed)| *is_changed);
    names.map(|(name, _)| name.to_owned()).collect()
}

fn parse(product: Option<catalog::Product>) -> Result<Product, WireError> {
    let product = product.ok_or(WireError::Missing("product"))?;
    let catalog::Product { sku, title, price, active, listing_key, tax_class, weight_g, customs } =
        product;
    let price = price.ok_or(WireError::Missing("price"))?;
    let catalog::Customs { country_of_origin, hs_code } = customs.unwrap_or_default();
    Ok(Product {
        sku: Sku::parse(&sku)?,
        title,
        price: Money::parse(price.money.as_ref())?,
        tax_basis: TaxBasis::parse(price.tax_basis)?,
        active,
        listing_key: listing_key.map(|key| ListingKey::parse(&key)).transpose()?,
        tax_class: tax_class.map(|class| TaxClass::parse(&class)).transpose()?,
        weight_g,
        country_of_origin: country_of_origin.map(|code| Country::parse(&code)).transpose()?,
        hs_code: hs_code.map(|code| HsCode::parse(&code)).transpose()?,
    })
}
