//! Listings.

use engine::WireError;
use events::{
    id::{CategoryKey, Language, ListingKey, Sku},
    listings::{AttributeNumber, MAX_LISTING_BYTES},
    proto::catalog::{self, attribute, catalog_event::Kind},
};
use prost::Message;
use protocol::id::ParseError;

use crate::domain::listings::{
    Archive, Attribute, AttributeValue, Event, Fact, Listing, ListingResult, ListingRow, Media,
    Outcome, Put, Refusal, Translation, Variant,
};

/// The field of [`catalog::ListingUpdated::changed`] that says that a listing is shown again.
const ARCHIVED: &str = "archived";

pub(super) fn put(put: catalog::PutListing) -> Result<Put, WireError> {
    let catalog::PutListing { listing, expected_version } = put;
    let bytes = listing.as_ref().map_or(0, Message::encoded_len);
    if bytes > MAX_LISTING_BYTES {
        let rule = "must be at most 100000 bytes";
        return Err(ParseError::new("listing", rule, &bytes.to_string()).into());
    }
    Ok(Put { listing: parse(listing)?, expected_version })
}

pub(super) fn archive(archive: &catalog::ArchiveListing) -> Result<Archive, WireError> {
    let key = ListingKey::parse(&archive.key)?;
    Ok(Archive { key, expected_version: archive.expected_version })
}

pub(super) fn encode(event: &Event) -> Kind {
    let listing = Some(to_wire(&event.listing));
    match &event.fact {
        Fact::Created => Kind::ListingCreated(catalog::ListingCreated { listing }),
        Fact::Updated { before, was_archived } => {
            let changed = changed(before, &event.listing, *was_archived);
            let (before, after) = (Some(to_wire(before)), listing);
            Kind::ListingUpdated(catalog::ListingUpdated { before, after, changed })
        }
        Fact::Archived => Kind::ListingArchived(catalog::ListingArchived { listing }),
    }
}

pub(super) fn created(it: catalog::ListingCreated) -> Result<Event, WireError> {
    Ok(Event { fact: Fact::Created, listing: parse(it.listing)? })
}

pub(super) fn updated(it: catalog::ListingUpdated) -> Result<Event, WireError> {
    let was_archived = it.changed.iter().any(|name| name == ARCHIVED);
    let fact = Fact::Updated { before: parse(it.before)?, was_archived };
    Ok(Event { fact, listing: parse(it.after)? })
}

pub(super) fn archived(it: catalog::ListingArchived) -> Result<Event, WireError> {
    Ok(Event { fact: Fact::Archived, listing: parse(it.listing)? })
}

pub(super) fn encode_put(outcome: &Outcome) -> catalog::PutListingAnswer {
    let refusal = match &outcome.result {
        ListingResult::Refused(refusal) => refusal.clone(),
        ListingResult::Created
        | ListingResult::Updated
        | ListingResult::Unchanged
        | ListingResult::Archived
        | ListingResult::Unknown
        | ListingResult::OtherVersion => Refusal::default(),
    };
    let Refusal { unknown_categories, unknown_skus, skus_of_others } = refusal;
    catalog::PutListingAnswer {
        result: encode_result(&outcome.result).into(),
        version: outcome.version,
        unknown_categories,
        unknown_skus,
        skus_of_others,
    }
}

pub(super) fn encode_archive(outcome: &Outcome) -> catalog::ArchiveListingAnswer {
    let result = encode_result(&outcome.result).into();
    catalog::ArchiveListingAnswer { result, version: outcome.version }
}

fn encode_result(result: &ListingResult) -> catalog::ListingResult {
    match result {
        ListingResult::Created => catalog::ListingResult::Created,
        ListingResult::Updated => catalog::ListingResult::Updated,
        ListingResult::Unchanged => catalog::ListingResult::Unchanged,
        ListingResult::Archived => catalog::ListingResult::Archived,
        ListingResult::Unknown => catalog::ListingResult::Unknown,
        ListingResult::OtherVersion => catalog::ListingResult::OtherVersion,
        ListingResult::Refused(_) => catalog::ListingResult::Refused,
    }
}

pub(super) fn stored(row: &ListingRow) -> catalog::StoredListing {
    let listing = Some(to_wire(&row.listing));
    catalog::StoredListing { listing, version: row.revision.version, archived: row.archived }
}

/// The names of the fields of the message in which two listings differ.
fn changed(before: &Listing, after: &Listing, was_archived: bool) -> Vec<String> {
    let Listing { key: _, variants, title, text, media, attributes, category_keys, translations } =
        before;
    let is_changed = [
        ("variants", *variants != after.variants),
        ("title", *title != after.title),
        ("text", *text != after.text),
        ("media", *media != after.media),
        ("attributes", *attributes != after.attributes),
        ("category_keys", *category_keys != after.category_keys),
        ("translations", *translations != after.translations),
        (ARCHIVED, was_archived),
    ];
    let names = is_changed.into_iter().filter(|(_, is_changed)| *is_changed);
    names.map(|(name, _)| name.to_owned()).collect()
}

fn to_wire(listing: &Listing) -> catalog::Listing {
    let Listing { key, variants, title, text, media, attributes, category_keys, translations } =
        listing.clone();
    catalog::Listing {
        key: key.into(),
        variants: variants.into_iter().map(variant_to_wire).collect(),
        title,
        text,
        media: media
            .into_iter()
            .map(|Media { url, alternative_text }| catalog::Media { url, alternative_text })
            .collect(),
        attributes: attributes.into_iter().map(attribute_to_wire).collect(),
        category_keys: category_keys.into_iter().map(Into::into).collect(),
        translations: translations
            .into_iter()
            .map(|Translation { language, title, text }| catalog::Translation {
                language: language.into(),
                title,
                text,
            })
            .collect(),
    }
}

fn variant_to_wire(variant: Variant) -> catalog::Variant {
    let options = variant.options.into_iter();
    let options = options.map(|(name, value)| catalog::OptionValue { name, value }).collect();
    catalog::Variant { sku: variant.sku.into(), options }
}

fn attribute_to_wire(attribute: Attribute) -> catalog::Attribute {
    let value = match attribute.value {
        AttributeValue::Text(text) => attribute::Value::Text(text),
        AttributeValue::Number(number) => attribute::Value::Number(number.get()),
        AttributeValue::Boolean(boolean) => attribute::Value::Boolean(boolean),
        AttributeValue::Texts(items) => attribute::Value::Texts(catalog::Texts { items }),
    };
    catalog::Attribute { name: attribute.name, value: Some(value) }
}

fn parse(listing: Option<catalog::Listing>) -> Result<Listing, WireError> {
    let listing = listing.ok_or(WireError::Missing("listing"))?;
    let catalog::Listing {
        key,
        variants,
        title,
        text,
        media,
        attributes,
        category_keys,
        translations,
    } = listing;
    let category_keys = category_keys.iter().map(|key| CategoryKey::parse(key));
    Ok(Listing {
        key: ListingKey::parse(&key)?,
        variants: variants.into_iter().map(parse_variant).collect::<Result<_, _>>()?,
        title: stored_text("title", title)?,
        text: text.map(|text| stored_text("text", text)).transpose()?,
        media: media.into_iter().map(parse_media).collect::<Result<_, _>>()?,
        attributes: attributes.into_iter().map(parse_attribute).collect::<Result<_, _>>()?,
        category_keys: category_keys.collect::<Result<_, _>>()?,
        translations: translations.into_iter().map(parse_translation).collect::<Result<_, _>>()?,
    })
}

fn parse_variant(variant: catalog::Variant) -> Result<Variant, WireError> {
    let options = variant.options.into_iter().map(|option| {
        let catalog::OptionValue { name, value } = option;
        Ok((stored_text("name", name)?, stored_text("value", value)?))
    });
    let options = options.collect::<Result<_, WireError>>()?;
    Ok(Variant { sku: Sku::parse(&variant.sku)?, options })
}

fn parse_media(media: catalog::Media) -> Result<Media, WireError> {
    let catalog::Media { url, alternative_text } = media;
    let alternative_text = alternative_text.map(|text| stored_text("alternative_text", text));
    let alternative_text = alternative_text.transpose()?;
    Ok(Media { url: stored_text("url", url)?, alternative_text })
}

fn parse_attribute(attribute: catalog::Attribute) -> Result<Attribute, WireError> {
    let value = match attribute.value.ok_or(WireError::Missing("value"))? {
        attribute::Value::Text(text) => AttributeValue::Text(stored_text("text", text)?),
        attribute::Value::Number(number) => AttributeValue::Number(AttributeNumber::parse(number)?),
        attribute::Value::Boolean(boolean) => AttributeValue::Boolean(boolean),
        attribute::Value::Texts(texts) => {
            let items = texts.items.into_iter().map(|text| stored_text("texts", text));
            AttributeValue::Texts(items.collect::<Result<_, _>>()?)
        }
    };
    Ok(Attribute { name: stored_text("name", attribute.name)?, value })
}

fn parse_translation(translation: catalog::Translation) -> Result<Translation, WireError> {
    let catalog::Translation { language, title, text } = translation;
    Ok(Translation {
        language: Language::parse(&language)?,
        title: stored_text("title", title)?,
        text: text.map(|text| stored_text("text", text)).transpose()?,
    })
}

/// A text that every database takes: Postgres takes no NUL, so one would stop the projection for good.
fn stored_text(what: &'static str, text: String) -> Result<String, ParseError> {
    let is_stored = !text.contains('\0');
    if is_stored { Ok(text) } else { Err(ParseError::new(what, "must have no NUL", &text)) }
}
