//! Categories.

use engine::WireError;
use events::{
    id::CategoryKey,
    proto::catalog::{self, catalog_event::Kind},
};
use protocol::id::ParseError;

use crate::domain::categories::{
    Category, CategoryResult, CategoryRow, Delete, Event, Fact, Outcome, Put,
};

pub(super) fn put(put: catalog::PutCategory) -> Result<Put, WireError> {
    let catalog::PutCategory { category, expected_version } = put;
    let category = parse(category)?;
    if category.title.chars().any(char::is_control) {
        let rule = "must have no control characters";
        return Err(ParseError::new("title", rule, &category.title).into());
    }
    Ok(Put { category, expected_version })
}

pub(super) fn delete(delete: &catalog::DeleteCategory) -> Result<Delete, WireError> {
    let key = CategoryKey::parse(&delete.key)?;
    Ok(Delete { key, expected_version: delete.expected_version })
}

pub(super) fn encode(event: &Event) -> Kind {
    let category = Some(to_wire(&event.category));
    match &event.fact {
        Fact::Created => Kind::CategoryCreated(catalog::CategoryCreated { category }),
        Fact::Updated { before } => {
            let (before, after) = (Some(to_wire(before)), category);
            let changed = vec!["title".to_owned()];
            Kind::CategoryUpdated(catalog::CategoryUpdated { before, after, changed })
        }
        Fact::Moved { before } => {
            let (before, after) = (Some(to_wire(before)), category);
            Kind::CategoryMoved(catalog::CategoryMoved { before, after })
        }
        Fact::Deleted => Kind::CategoryDeleted(catalog::CategoryDeleted { before: category }),
    }
}

pub(super) fn created(it: catalog::CategoryCreated) -> Result<Event, WireError> {
    Ok(Event { fact: Fact::Created, category: parse(it.category)? })
}

pub(super) fn updated(it: catalog::CategoryUpdated) -> Result<Event, WireError> {
    let fact = Fact::Updated { before: parse(it.before)? };
    Ok(Event { fact, category: parse(it.after)? })
}

pub(super) fn moved(it: catalog::CategoryMoved) -> Result<Event, WireError> {
    let fact = Fact::Moved { before: parse(it.before)? };
    Ok(Event { fact, category: parse(it.after)? })
}

pub(super) fn deleted(it: catalog::CategoryDeleted) -> Result<Event, WireError> {
    Ok(Event { fact: Fact::Deleted, category: parse(it.before)? })
}

pub(super) fn encode_put(outcome: Outcome) -> catalog::PutCategoryAnswer {
    let Outcome { result, version } = outcome;
    catalog::PutCategoryAnswer { result: encode_result(result).into(), version }
}

pub(super) fn encode_delete(outcome: Outcome) -> catalog::DeleteCategoryAnswer {
    let Outcome { result, version } = outcome;
    catalog::DeleteCategoryAnswer { result: encode_result(result).into(), version }
}

fn encode_result(result: CategoryResult) -> catalog::CategoryResult {
    match result {
        CategoryResult::Created => catalog::CategoryResult::Created,
        CategoryResult::Changed => catalog::CategoryResult::Changed,
        CategoryResult::Unchanged => catalog::CategoryResult::Unchanged,
        CategoryResult::Deleted => catalog::CategoryResult::Deleted,
        CategoryResult::Unknown => catalog::CategoryResult::Unknown,
        CategoryResult::OtherVersion => catalog::CategoryResult::OtherVersion,
        CategoryResult::UnknownParent => catalog::CategoryResult::UnknownParent,
        CategoryResult::Cycle => catalog::CategoryResult::Cycle,
        CategoryResult::TooDeep => catalog::CategoryResult::TooDeep,
        CategoryResult::TooMany => catalog::CategoryResult::TooMany,
        CategoryResult::HasChildren => catalog::CategoryResult::HasChildren,
        CategoryResult::HasListings => catalog::CategoryResult::HasListings,
    }
}

pub(super) fn stored(row: &CategoryRow) -> catalog::StoredCategory {
    catalog::StoredCategory {
        category: Some(to_wire(&row.category)),
        version: row.revision.version,
        // A category has so few that they are counted.
        children: u32::try_from(row.children.len()).unwrap_or(u32::MAX),
        listings: row.listings,
    }
}

fn to_wire(category: &Category) -> catalog::Category {
    let Category { key, title, parent_key, place } = category.clone();
    let parent_key = parent_key.map(Into::into);
    catalog::Category { key: key.into(), title, parent_key, place }
}

fn parse(category: Option<catalog::Category>) -> Result<Category, WireError> {
    let category = category.ok_or(WireError::Missing("category"))?;
    let catalog::Category { key, title, parent_key, place } = category;
    let parent_key = parent_key.map(|key| CategoryKey::parse(&key)).transpose()?;
    Ok(Category { key: CategoryKey::parse(&key)?, title, parent_key, place })
}
