//! Categories and listings.

use serde::{Deserialize, Serialize};

use crate::id::{CategoryKey, Language, ListingKey, Sku};

/// A part of the tree of categories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CategoryView {
    /// Its name among machines.
    pub key: CategoryKey,
    /// The title, for people.
    pub title: String,
    /// The category that it is a part of; absent at the top of the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_key: Option<CategoryKey>,
    /// Its place among the categories of the same parent: the smallest first, then by key.
    pub place: u32,
    /// How many categories are right below it.
    pub children: u32,
    /// How many listings that are shown are in it, not counting those of the categories below it.
    pub listings: u32,
    /// Counts its changes, from 1.
    pub version: u64,
}

/// What several SKUs share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ListingView {
    /// Its name among machines.
    pub key: ListingKey,
    /// The title, for people.
    pub title: String,
    /// The text, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The SKUs, in the order in which they are shown.
    pub variants: Vec<VariantView>,
    /// Pictures and the like, in the order in which they are shown.
    pub media: Vec<MediaView>,
    /// What is so of all variants.
    pub attributes: Vec<AttributeView>,
    /// The categories that it is shown in.
    pub category_keys: Vec<CategoryKey>,
    /// Its title and text in other languages.
    pub translations: Vec<TranslationView>,
    /// Whether it is not shown any more.
    pub archived: bool,
    /// Counts its changes, from 1.
    pub version: u64,
}

/// A SKU of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VariantView {
    /// The stock keeping unit.
    pub sku: Sku,
    /// The values in which the variants differ.
    pub options: Vec<OptionView>,
}

/// A value in which the variants of a listing differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OptionView {
    /// What differs.
    pub name: String,
    /// The value.
    pub value: String,
}

/// Something that is shown beside the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MediaView {
    /// Where it is.
    pub url: String,
    /// What it shows, for those who do not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternative_text: Option<String>,
}

/// Something that is so of a listing: a text, a number, true or false, or texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AttributeView {
    /// What is said.
    pub name: String,
    /// A text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<f64>,
    /// True or false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boolean: Option<bool>,
    /// Texts, in this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<Vec<String>>,
}

/// A listing in another language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TranslationView {
    /// The language, as BCP 47 writes it.
    pub language: Language,
    /// The title.
    pub title: String,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}
