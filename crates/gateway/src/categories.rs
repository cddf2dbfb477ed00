//! `/v1/shops/{shop}/categories`: the tree in which listings are shown.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use events::{
    http::CategoryView,
    id::CategoryKey,
    proto::{
        catalog::{self, CategoryResult, DeleteCategoryAnswer, PutCategoryAnswer},
        command,
    },
};
use protocol::{
    id::{ParseError, Shop},
    subject::Lane,
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    body::JsonBytes,
    bulk::UnknownResult,
    cursors::List,
    extract::{CategoryPath, DEFAULT_PAGE_LENGTH, RequestContext, page_length, query},
    fields::{self, Fields, code, integer, object, text, words},
    openapi::bodies::NewCategory,
    precondition::{Precondition, entity_tag, other_version},
    problem::{Code, FieldError, Problem},
    services::Reply,
    state::AppState,
    view,
};

/// The longest title, in characters.
const MAX_TITLE_LENGTH: usize = 200;

/// The parameters of the list, as they are described; `question` reads them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct CategoryParameters {
    /// The `next` of a page of the same list; without it, the first page.
    after: Option<String>,
    /// The most categories of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// A page of the categories.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CategoryList {
    /// The categories, by key.
    categories: Vec<CategoryView>,
    /// The `after` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// A category that was put.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PutCategoryView {
    /// Its name among machines.
    key: CategoryKey,
    /// The title, for people.
    title: String,
    /// The category that it is a part of; absent at the top of the tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_key: Option<String>,
    /// Its place among the categories of the same parent.
    place: u32,
    /// Counts its changes, from 1.
    version: u64,
    /// What became of it: `created`, `changed` or `unchanged`.
    result: &'static str,
}

/// Lists the categories.
///
/// Paging while categories are put misses none that was there all the time, and shows none twice.
#[utoipa::path(
    get,
    path = "/shops/{shop}/categories",
    operation_id = "list_categories",
    tag = "Categories",
    params(CategoryParameters),
    responses((status = 200, description = "A page of the categories, by key.", body = CategoryList)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<CategoryList>, Problem> {
    let (question, list) = query(&uri, |fields| Some(question(fields, &context.shop)))?;
    let catalog::StoredCategories { categories, next } =
        state.services.query_all(&context, question).await?;
    let categories = categories.into_iter().map(view::category).collect::<Result<_, _>>()?;
    let next = (!next.is_empty()).then(|| list.cursor(&next));
    Ok(Json(CategoryList { categories, next }))
}

fn question(fields: &mut Fields<'_, '_>, shop: &Shop) -> (catalog::ListCategories, List) {
    let list = List::of(shop, catalog::ListCategories::default());
    let after = fields.optional("after", code(|text| list.name(text, CategoryKey::parse)));
    let limit = fields.optional("limit", text(page_length)).unwrap_or(DEFAULT_PAGE_LENGTH);
    let after = after.map(String::from).unwrap_or_default();
    (catalog::ListCategories { after, limit }, list)
}

/// Shows a category.
#[utoipa::path(
    get,
    path = "/shops/{shop}/categories/{category_key}",
    operation_id = "get_category",
    tag = "Categories",
    responses((status = 200, description = "The category.", body = CategoryView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`."),
    ))),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    CategoryPath(key): CategoryPath,
) -> Result<Response, Problem> {
    let question = catalog::GetCategory { key: key.to_string() };
    let found = state.services.query(&context, question).await?;
    let found = found.ok_or_else(|| Problem::not_found("category", key.as_str()))?;
    let view = view::category(found)?;
    Ok(([entity_tag(view.version)], Json(view)).into_response())
}

/// Puts a category: creates it, changes it, or moves it with all that is below it.
#[utoipa::path(
    put,
    path = "/shops/{shop}/categories/{category_key}",
    operation_id = "put_category",
    tag = "Categories",
    params(
        ("If-Match" = Option<String>, Header, pattern = "^\"[0-9]{1,18}\"$",
            description = "Only if the category has the version of this `ETag`."),
        ("If-None-Match" = Option<String>, Header, pattern = "^\\*$",
            description = "`*`: only if there is none yet."),
    ),
    request_body = NewCategory,
    responses(
        (status = 200, description = "The category was there.", body = PutCategoryView, headers(
            ("ETag" = String, description = "Its version, for `If-Match`."),
        )),
        (status = 201, description = "The category is new.", body = PutCategoryView, headers(
            ("ETag" = String, description = "Its version, for `If-Match`."),
        )),
    ),
    extensions(("x-problems" = json!([
        "unknown_category", "category_cycle", "category_too_deep", "too_many_categories", "precondition_failed"
    ]))),
)]
pub(crate) async fn put(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    CategoryPath(key): CategoryPath,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let expected_version = Precondition::version_to_put(&headers)?;
    let category = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| category(fields, &key))
    })?;
    let put = catalog::PutCategory { category: Some(category.clone()), expected_version };
    let command = context.command(None, command::Body::PutCategory(put));
    let services = &state.services;
    let reply =
        services.send::<PutCategoryAnswer>(&context, Lane::Live, command, state.answer_timeout);
    let answer = match reply.await? {
        Reply::Answered(answer) => answer,
        Reply::Pending(accepted) => return Ok(accepted.into_response()),
    };
    let version = answer.body.version;
    let (status, result) = match answer.body.result() {
        CategoryResult::Created => (StatusCode::CREATED, "created"),
        CategoryResult::Changed => (StatusCode::OK, "changed"),
        // A change that is there already fulfils `If-Match` (RFC 9110, 13.1.1), but not this condition (13.1.2).
        CategoryResult::Unchanged if expected_version == Some(0) => {
            return Err(other_version("category", version));
        }
        CategoryResult::Unchanged => (StatusCode::OK, "unchanged"),
        other => return Err(refused(other, &category, version)),
    };
    let catalog::Category { title, parent_key, place, .. } = category;
    let shown = PutCategoryView { key, title, parent_key, place, version, result };
    Ok(answer.mark((status, [entity_tag(version)], Json(shown))))
}

/// Why a category was not put, or not deleted.
fn refused(result: CategoryResult, category: &catalog::Category, version: u64) -> Problem {
    let of_parent = |code: Code, detail: String| {
        Problem::new(code, detail.clone()).naming(vec![FieldError::of_member("parent_key", detail)])
    };
    let key = &category.key;
    let parent = category.parent_key.as_deref().unwrap_or_default();
    match result {
        CategoryResult::OtherVersion => other_version("category", version),
        CategoryResult::Unknown => Problem::not_found("category", key),
        CategoryResult::UnknownParent => {
            let detail = format!("the shop has no category {parent}: put it first");
            of_parent(Code::UnknownCategory, detail)
        }
        CategoryResult::Cycle => {
            let detail = format!("{parent} is {key} itself, or below it: move it elsewhere first");
            of_parent(Code::CategoryCycle, detail)
        }
        CategoryResult::TooDeep => {
            let detail = "the tree may have 10 levels: choose a parent that is nearer to the top";
            of_parent(Code::CategoryTooDeep, detail.to_owned())
        }
        CategoryResult::TooMany => {
            let detail = "a shop may have 10000 categories, and a category 1000 right below it: \
                          delete some first";
            Problem::new(Code::TooManyCategories, detail)
        }
        CategoryResult::HasChildren => {
            let detail = "categories are below it: move or delete them first";
            Problem::new(Code::CategoryHasChildren, detail)
        }
        CategoryResult::HasListings => {
            let detail = "listings are in it: put them without it, or archive them, first";
            Problem::new(Code::CategoryHasListings, detail)
        }
        CategoryResult::Created
        | CategoryResult::Changed
        | CategoryResult::Unchanged
        | CategoryResult::Deleted
        | CategoryResult::Unspecified => UnknownResult.into(),
    }
}

/// Deletes a category that has none below it, and no listing that is shown.
#[utoipa::path(
    delete,
    path = "/shops/{shop}/categories/{category_key}",
    operation_id = "delete_category",
    tag = "Categories",
    params(("If-Match" = Option<String>, Header, pattern = "^(\\*|\"[0-9]{1,18}\")$",
        description = "Only if the category has the version of this `ETag`.")),
    responses((status = 204, description = "There is no such category any more.")),
    extensions(("x-problems" = json!([
        "not_found", "category_has_children", "category_has_listings", "precondition_failed"
    ]))),
)]
pub(crate) async fn delete(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    CategoryPath(key): CategoryPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let expected_version = Precondition::version(&headers)?;
    let delete = catalog::DeleteCategory { key: key.to_string(), expected_version };
    let command = context.command(None, command::Body::DeleteCategory(delete));
    let services = &state.services;
    let reply =
        services.send::<DeleteCategoryAnswer>(&context, Lane::Live, command, state.answer_timeout);
    let answer = match reply.await? {
        Reply::Answered(answer) => answer,
        Reply::Pending(accepted) => return Ok(accepted.into_response()),
    };
    match answer.body.result() {
        CategoryResult::Deleted => Ok(answer.mark(StatusCode::NO_CONTENT)),
        other => {
            let category = catalog::Category { key: key.into(), ..Default::default() };
            Err(refused(other, &category, answer.body.version))
        }
    }
}

/// Reads a category.
fn category(fields: &mut Fields<'_, '_>, key: &CategoryKey) -> Option<catalog::Category> {
    let title = fields.required("title", text(title));
    let parent_key = fields.optional("parent_key", code(CategoryKey::parse));
    let place = fields.optional("place", integer(place)).unwrap_or_default();
    let parent_key = parent_key.map(Into::into);
    Some(catalog::Category { key: key.to_string(), title: title?, parent_key, place })
}

fn title(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 200 characters without control characters";
    words("title", rule, MAX_TITLE_LENGTH, value)
}

fn place(number: i64) -> Result<u32, ParseError> {
    let refused = |_| ParseError::new("place", "must be 0 to 4294967295", &number.to_string());
    u32::try_from(number).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(body: &str) -> Result<catalog::Category, Vec<String>> {
        let key = CategoryKey::parse("mugs").expect("valid");
        let read = fields::line(body.as_bytes(), |node, path, errors| {
            object(node, path, errors, |fields| category(fields, &key))
        });
        read.map_err(|errors| errors.into_iter().map(|error| error.field).collect())
    }

    #[test]
    fn a_category_is_at_the_top_and_first_unless_it_says_otherwise() {
        let (key, title) = ("mugs".to_owned(), "Mugs".to_owned());
        let top = catalog::Category { key, title, parent_key: None, place: 0 };
        assert_eq!(read(r#"{"title":"Mugs"}"#), Ok(top.clone()));
        let below = catalog::Category { parent_key: Some("kitchen".into()), place: 7, ..top };
        assert_eq!(read(r#"{"title":"Mugs","parent_key":"kitchen","place":7}"#), Ok(below));
    }

    #[test]
    fn every_wrong_field_of_a_category_is_named() {
        let wrong = r#"{"title":"4111 1111 1111 1111","parent_key":"a b","place":-1,"more":1}"#;
        let names = ["title", "parent_key", "place", "more"];
        assert_eq!(read(wrong), Err(names.map(str::to_owned).to_vec()));
    }
}
