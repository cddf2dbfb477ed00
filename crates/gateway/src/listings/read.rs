//! Reads a listing out of a body.

use std::collections::HashSet;

use events::{
    id::{CategoryKey, Language, ListingKey, Sku},
    listings::{AttributeNumber, MAX_LISTING_BYTES},
    proto::catalog::{self, attribute},
};
use prost::Message;
use protocol::id::ParseError;

use crate::{
    fields::{Errors, Fields, Path, code, flag, list, number, object, text, words},
    json::Node,
};

/// The most of each list.
const MAX_VARIANTS: usize = 200;
const MAX_OPTIONS: usize = 5;
const MAX_MEDIA: usize = 50;
const MAX_ATTRIBUTES: usize = 100;
const MAX_TEXTS: usize = 100;
const MAX_CATEGORIES: usize = 20;
const MAX_TRANSLATIONS: usize = 50;

/// The longest texts, in characters.
const MAX_TITLE_LENGTH: usize = 200;
const MAX_TEXT_LENGTH: usize = 20_000;
const MAX_NAME_LENGTH: usize = 100;
const MAX_VALUE_LENGTH: usize = 1_000;
const MAX_ALTERNATIVE_TEXT_LENGTH: usize = 500;
/// The longest URL, in bytes.
const MAX_URL_LENGTH: usize = 2_000;

/// Reads a listing.
pub(super) fn listing(fields: &mut Fields<'_, '_>, key: &ListingKey) -> Option<catalog::Listing> {
    let title = fields.required("title", text(title));
    let long_text = fields.optional("text", text(long_text));
    let variants = fields.optional("variants", list(MAX_VARIANTS, variant)).unwrap_or_default();
    let media = fields.optional("media", list(MAX_MEDIA, media)).unwrap_or_default();
    let attributes =
        fields.optional("attributes", list(MAX_ATTRIBUTES, attribute)).unwrap_or_default();
    let category = |node: &Node<'_>, path: &Path<'_>, errors: &mut Errors| {
        code(CategoryKey::parse)(node, path, errors)
    };
    let category_keys =
        fields.optional("category_keys", list(MAX_CATEGORIES, category)).unwrap_or_default();
    let translations =
        fields.optional("translations", list(MAX_TRANSLATIONS, translation)).unwrap_or_default();
    check_variants(&variants, fields);
    for (name, repeated) in [
        ("attributes", repeated(attributes.iter().map(|it| &*it.name))),
        ("category_keys", repeated(category_keys.iter().map(CategoryKey::as_str))),
        ("translations", repeated(translations.iter().map(|it| &*it.language))),
    ] {
        if let Some(repeated) = repeated {
            fields.wrong(name, format_args!("{name} must name each once, got {repeated:?} twice"));
        }
    }
    Some(catalog::Listing {
        key: key.to_string(),
        variants,
        title: title?,
        text: long_text,
        media,
        attributes,
        category_keys: category_keys.into_iter().map(Into::into).collect(),
        translations,
    })
}

/// Refuses a listing whose events would be too large.
pub(super) fn check_size(
    listing: &catalog::Listing,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Option<()> {
    let bytes = listing.encoded_len();
    if bytes > MAX_LISTING_BYTES {
        let limit = MAX_LISTING_BYTES;
        errors.add(
            path,
            format_args!("a listing must be at most {limit} bytes, got {bytes}: shorten its texts"),
        );
        return None;
    }
    Some(())
}

/// Refuses variants that are not told apart by the same options.
fn check_variants(variants: &[catalog::Variant], fields: &mut Fields<'_, '_>) {
    if let Some(sku) = repeated(variants.iter().map(|variant| &*variant.sku)) {
        fields.wrong("variants", format_args!("variants must name each SKU once, got {sku} twice"));
        return;
    }
    let [first, others @ ..] = variants else { return };
    let names = |variant: &catalog::Variant| {
        variant.options.iter().map(|option| option.name.clone()).collect::<Vec<_>>()
    };
    let expected = names(first);
    if let Some(name) = repeated(expected.iter().map(String::as_str)) {
        let detail = format_args!("variants must name each option once, got {name:?} twice");
        return fields.wrong("variants", detail);
    }
    if let Some(other) = others.iter().find(|variant| names(variant) != expected) {
        let (sku, expected) = (&other.sku, expected.join(", "));
        let detail = format_args!(
            "variants must all have the options of the first, in its order ({expected}): {sku} \
             has others"
        );
        return fields.wrong("variants", detail);
    }
    let mut seen = HashSet::new();
    let values = |variant: &catalog::Variant| {
        variant.options.iter().map(|option| option.value.clone()).collect::<Vec<_>>()
    };
    if let Some(same) = variants.iter().find(|variant| !seen.insert(values(variant))) {
        let detail =
            format_args!("variants must differ in an option: {} is as another one", same.sku);
        fields.wrong("variants", detail);
    }
}

/// The first of them that was there before.
fn repeated<'t>(mut names: impl Iterator<Item = &'t str>) -> Option<&'t str> {
    let mut seen = HashSet::new();
    names.find(|name| !seen.insert(*name))
}

fn variant(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<catalog::Variant> {
    object(node, path, errors, |fields| {
        let sku = fields.required("sku", code(Sku::parse));
        let options = fields.optional("options", list(MAX_OPTIONS, option)).unwrap_or_default();
        Some(catalog::Variant { sku: sku?.into(), options })
    })
}

fn option(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<catalog::OptionValue> {
    object(node, path, errors, |fields| {
        let name = fields.required("name", text(name));
        let value = fields.required("value", text(name_of_value));
        Some(catalog::OptionValue { name: name?, value: value? })
    })
}

fn media(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<catalog::Media> {
    object(node, path, errors, |fields| {
        // A path may have numbers of any kind.
        let url = fields.required("url", code(url));
        let alternative_text = fields.optional("alternative_text", text(alternative_text));
        Some(catalog::Media { url: url?, alternative_text })
    })
}

fn attribute(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<catalog::Attribute> {
    object(node, path, errors, |fields| {
        let name = fields.required("name", text(name));
        let item =
            |node: &Node<'_>, path: &Path<'_>, errors: &mut Errors| text(value)(node, path, errors);
        let members = ["text", "number", "boolean", "texts"];
        let given = members.iter().filter(|name| fields.is_given(name)).count();
        let of_text = fields.optional("text", text(value)).map(attribute::Value::Text);
        let of_number = fields.optional("number", number(AttributeNumber::parse));
        let of_flag = fields.optional("boolean", flag).map(attribute::Value::Boolean);
        let of_texts = fields.optional("texts", list(MAX_TEXTS, item));
        if of_texts.as_ref().is_some_and(Vec::is_empty) && fields.is_empty("texts") {
            fields.wrong("texts", "texts must be 1 to 100 items, got none");
        }
        if given != 1 {
            fields.wrong("name", "an attribute must have one of text, number, boolean and texts");
        }
        let of_number = of_number.map(|number| attribute::Value::Number(number.get()));
        let of_texts = of_texts.map(|items| attribute::Value::Texts(catalog::Texts { items }));
        let value = of_text.or(of_number).or(of_flag).or(of_texts);
        Some(catalog::Attribute { name: name?, value })
    })
}

fn translation(
    node: &Node<'_>,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Option<catalog::Translation> {
    object(node, path, errors, |fields| {
        let language = fields.required("language", text(Language::parse));
        let title = fields.required("title", text(title));
        let text = fields.optional("text", text(long_text));
        Some(catalog::Translation { language: language?.into(), title: title?, text })
    })
}

fn title(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 200 characters without control characters";
    words("title", rule, MAX_TITLE_LENGTH, value)
}

fn name(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 100 characters without control characters";
    words("name", rule, MAX_NAME_LENGTH, value)
}

fn name_of_value(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 100 characters without control characters";
    words("value", rule, MAX_NAME_LENGTH, value)
}

fn value(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 1000 characters without control characters";
    words("value", rule, MAX_VALUE_LENGTH, value)
}

fn alternative_text(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 500 characters without control characters";
    words("alternative_text", rule, MAX_ALTERNATIVE_TEXT_LENGTH, value)
}

/// The rule of a text with line breaks.
fn long_text(value: &str) -> Result<String, ParseError> {
    let is_allowed = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    if (1..=MAX_TEXT_LENGTH).contains(&value.chars().count()) && value.chars().all(is_allowed) {
        return Ok(value.to_owned());
    }
    let rule = "must be 1 to 20000 characters, without control characters but line breaks and tabs";
    Err(ParseError::new("text", rule, value))
}

fn url(value: &str) -> Result<String, ParseError> {
    let rest = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    let is_url = value.len() <= MAX_URL_LENGTH
        && value.bytes().all(|byte| byte.is_ascii_graphic())
        && rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    let rule = "must be a URL with https or http, at most 2000 visible ASCII characters";
    if is_url { Ok(value.to_owned()) } else { Err(ParseError::new("url", rule, value)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields;

    fn read(body: &str) -> Result<catalog::Listing, Vec<(String, String)>> {
        let key = ListingKey::parse("mug").expect("valid");
        let read = fields::line(body.as_bytes(), |node, path, errors| {
            let listing = object(node, path, errors, |fields| listing(fields, &key))?;
            check_size(&listing, path, errors)?;
            Some(listing)
        });
        let named = |error: crate::problem::FieldError| (error.field, error.detail);
        read.map_err(|errors| errors.into_iter().map(named).collect())
    }

    #[track_caller]
    fn check_wrong(body: &str, expected: &[&str]) {
        let errors = read(body).expect_err("is wrong");
        let found: Vec<_> = errors.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(found, expected, "{errors:?}");
    }

    #[test]
    fn a_listing_is_read() {
        let body = r#"{"title":"A mug","text":"Of clay.\nFired twice.","category_keys":["mugs"],
            "variants":[{"sku":"MUG-S","options":[{"name":"size","value":"S"}]},
                {"sku":"MUG-L","options":[{"name":"size","value":"L"}]}],
            "media":[{"url":"https://img.acme.example/mug.jpg","alternative_text":"A mug"}],
            "attributes":[{"name":"material","text":"clay"},{"name":"volume_ml","number":0.35},
                {"name":"dishwasher","boolean":false},{"name":"uses","texts":["tea","soup"]}],
            "translations":[{"language":"de-AT","title":"Ein Häferl"}]}"#;
        let listing = read(body).expect("is good");
        let values: Vec<_> = listing.attributes.into_iter().filter_map(|it| it.value).collect();
        let texts = catalog::Texts { items: vec!["tea".into(), "soup".into()] };
        assert_eq!(
            values,
            [
                attribute::Value::Text("clay".into()),
                attribute::Value::Number(0.35),
                attribute::Value::Boolean(false),
                attribute::Value::Texts(texts),
            ]
        );
        assert_eq!(listing.variants[1].options[0].value, "L");
        assert_eq!(listing.text.as_deref(), Some("Of clay.\nFired twice."));
    }

    #[test]
    fn every_wrong_field_of_a_listing_is_named() {
        check_wrong(
            r#"{"text":"","variants":[{"sku":"a b"}],"media":[{"url":"ftp://x"}],
                "attributes":[{"name":"a"},{"name":"b","text":"x","number":1},
                    {"name":"c","number":1e-7},{"name":"d","texts":[]}],
                "category_keys":[""],"translations":[{"language":"de_AT","title":"x"}],"more":1}"#,
            &[
                "title",
                "text",
                "variants[0].sku",
                "media[0].url",
                "attributes[0].name",
                "attributes[1].name",
                "attributes[2].number",
                "attributes[3].texts",
                "category_keys[0]",
                "translations[0].language",
                "more",
            ],
        );
    }

    #[test]
    fn no_text_of_a_listing_holds_the_number_of_a_card() {
        let card = "4111 1111 1111 1111";
        let body = format!(
            r#"{{"title":"{card}","text":"{card}",
            "variants":[{{"sku":"A","options":[{{"name":"{card}","value":"{card}"}}]}}],
            "media":[{{"url":"https://img.example/4111111111111111.jpg","alternative_text":"{card}"}}],
            "attributes":[{{"name":"{card}","text":"{card}"}},{{"name":"b","texts":["{card}"]}}],
            "translations":[{{"language":"de","title":"{card}","text":"{card}"}}]}}"#
        );
        check_wrong(
            &body,
            &[
                "title",
                "text",
                "variants[0].options[0].name",
                "variants[0].options[0].value",
                "media[0].alternative_text",
                "attributes[0].name",
                "attributes[0].text",
                "attributes[1].texts[0]",
                "translations[0].title",
                "translations[0].text",
            ],
        );
    }

    #[test]
    fn variants_are_told_apart_by_the_same_options() {
        let variant = |sku: &str, name: &str, value: &str| {
            format!(r#"{{"sku":"{sku}","options":[{{"name":"{name}","value":"{value}"}}]}}"#)
        };
        let body = |variants: &[String]| {
            format!(r#"{{"title":"A mug","variants":[{}]}}"#, variants.join(","))
        };
        let small = variant("A", "size", "S");
        assert!(read(&body(&[small.clone(), variant("B", "size", "L")])).is_ok());
        for wrong in
            [variant("A", "size", "L"), variant("B", "size", "S"), variant("B", "hue", "L")]
        {
            check_wrong(&body(&[small.clone(), wrong]), &["variants"]);
        }
        check_wrong(
            r#"{"title":"x","category_keys":["a","a"],
                "attributes":[{"name":"a","text":"x"},{"name":"a","text":"y"}],
                "translations":[{"language":"de","title":"x"},{"language":"de","title":"y"}]}"#,
            &["attributes", "category_keys", "translations"],
        );
    }

    #[test]
    fn a_listing_is_as_large_as_an_event_may_hold_twice() {
        let body = |length: usize| {
            let text = "é".repeat(length);
            let translation = |language: &str| {
                format!(r#"{{"language":"{language}","title":"x","text":"{text}"}}"#)
            };
            let translations = ["de", "fr", "it"].map(translation).join(",");
            format!(r#"{{"title":"x","translations":[{translations}]}}"#)
        };
        assert!(read(&body(16_000)).is_ok());
        check_wrong(&body(17_000), &[""]);
        check_wrong(
            &body(20_001),
            &["translations[0].text", "translations[1].text", "translations[2].text"],
        );
    }
}
