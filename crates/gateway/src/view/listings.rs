//! Listings.

use events::{
    http::{AttributeView, ListingView, MediaView, OptionView, TranslationView, VariantView},
    id::{CategoryKey, Language, ListingKey, Sku},
    proto::catalog::{self, attribute},
};
use protocol::id::ParseError;

use super::ViewError;

/// A listing.
pub(crate) fn listing(stored: catalog::StoredListing) -> Result<ListingView, ViewError> {
    let catalog::StoredListing { listing, version, archived } = stored;
    let catalog::Listing {
        key,
        variants,
        title,
        text,
        media,
        attributes,
        category_keys,
        translations,
    } = listing.unwrap_or_default();
    let media = media
        .into_iter()
        .map(|catalog::Media { url, alternative_text }| MediaView { url, alternative_text });
    let category_keys = category_keys.iter().map(|key| CategoryKey::parse(key));
    Ok(ListingView {
        key: ListingKey::parse(&key)?,
        title,
        text,
        variants: variants.into_iter().map(variant).collect::<Result<_, _>>()?,
        media: media.collect(),
        attributes: attributes.into_iter().map(attribute).collect(),
        category_keys: category_keys.collect::<Result<_, _>>()?,
        translations: translations.into_iter().map(translation).collect::<Result<_, _>>()?,
        archived,
        version,
    })
}

fn variant(variant: catalog::Variant) -> Result<VariantView, ParseError> {
    let options = variant.options.into_iter();
    let options = options.map(|catalog::OptionValue { name, value }| OptionView { name, value });
    Ok(VariantView { sku: Sku::parse(&variant.sku)?, options: options.collect() })
}

fn attribute(attribute: catalog::Attribute) -> AttributeView {
    let catalog::Attribute { name, value } = attribute;
    let mut view = AttributeView { name, text: None, number: None, boolean: None, texts: None };
    match value {
        Some(attribute::Value::Text(text)) => view.text = Some(text),
        Some(attribute::Value::Number(number)) => view.number = Some(number),
        Some(attribute::Value::Boolean(boolean)) => view.boolean = Some(boolean),
        Some(attribute::Value::Texts(texts)) => view.texts = Some(texts.items),
        // A type of a later version.
        None => {}
    }
    view
}

fn translation(translation: catalog::Translation) -> Result<TranslationView, ParseError> {
    let catalog::Translation { language, title, text } = translation;
    Ok(TranslationView { language: Language::parse(&language)?, title, text })
}
