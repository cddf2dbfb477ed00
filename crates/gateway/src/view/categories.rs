//! Categories.

use events::{http::CategoryView, id::CategoryKey, proto::catalog};

use super::ViewError;

/// A category.
pub(crate) fn category(stored: catalog::StoredCategory) -> Result<CategoryView, ViewError> {
    let catalog::StoredCategory { category, version, children, listings } = stored;
    let catalog::Category { key, title, parent_key, place } = category.unwrap_or_default();
    let parent_key = parent_key.map(|key| CategoryKey::parse(&key)).transpose()?;
    let key = CategoryKey::parse(&key)?;
    Ok(CategoryView { key, title, parent_key, place, children, listings, version })
}
