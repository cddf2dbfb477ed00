//! Categories and listings.

use events::id::{CategoryKey, Language, Sku};
use utoipa::ToSchema;

/// A category.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCategory {
    /// The title, for people.
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    /// The category that it is a part of; at the top of the tree unless it is given.
    parent_key: Option<CategoryKey>,
    /// Its place among the categories of the same parent: the smallest first, then by key.
    #[schema(minimum = 0, maximum = 4_294_967_295_i64, default = 0)]
    place: Option<i64>,
}

/// A listing, 100,000 bytes at most as a message of protobuf.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewListing {
    /// The title, for people.
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    /// The text, for people. May have line breaks.
    #[schema(min_length = 1, max_length = 20_000)]
    text: Option<String>,
    /// The SKUs, in the order in which they are shown. Their products name the listing in `listing_key`.
    #[schema(max_items = 200, default = json!([]))]
    variants: Option<Vec<NewVariant>>,
    /// Pictures and the like, in the order in which they are shown.
    #[schema(max_items = 50, default = json!([]))]
    media: Option<Vec<NewMedia>>,
    /// What is so of all variants, each name once.
    #[schema(max_items = 100, default = json!([]))]
    attributes: Option<Vec<NewAttribute>>,
    /// The categories that it is shown in, each once.
    #[schema(max_items = 20, default = json!([]))]
    category_keys: Option<Vec<CategoryKey>>,
    /// Its title and text in other languages, each language once.
    #[schema(max_items = 50, default = json!([]))]
    translations: Option<Vec<NewTranslation>>,
}

/// A SKU of a listing.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewVariant {
    /// The stock keeping unit.
    sku: Sku,
    /// The values in which the variants differ: of all variants the same names in the same order, and of no two the same
    /// values.
    #[schema(max_items = 5, default = json!([]))]
    options: Option<Vec<NewOption>>,
}

/// A value in which the variants of a listing differ.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOption {
    /// What differs.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// The value.
    #[schema(min_length = 1, max_length = 100)]
    value: String,
}

/// Something that is shown beside the text.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMedia {
    /// Where it is.
    #[schema(pattern = "^https?://[!-~]+$", max_length = 2_000)]
    url: String,
    /// What it shows, for those who do not see it.
    #[schema(min_length = 1, max_length = 500)]
    alternative_text: Option<String>,
}

/// Something that is so of a listing: one of `text`, `number`, `boolean` and `texts`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAttribute {
    /// What is said.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// A text.
    #[schema(min_length = 1, max_length = 1_000)]
    text: Option<String>,
    /// A number with at most 6 decimals.
    #[schema(minimum = -999_999_999.999_999, maximum = 999_999_999.999_999)]
    number: Option<f64>,
    /// True or false.
    boolean: Option<bool>,
    /// Texts, in this order, of at most 1,000 characters each.
    #[schema(min_items = 1, max_items = 100)]
    texts: Option<Vec<String>>,
}

/// A listing in another language.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTranslation {
    /// The language.
    language: Language,
    /// The title.
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    /// The text. May have line breaks.
    #[schema(min_length = 1, max_length = 20_000)]
    text: Option<String>,
}
