//! `/v1/shops/{shop}/listings`: what several SKUs share.

mod read;

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use events::{
    http::ListingView,
    id::ListingKey,
    proto::{
        catalog::{self, ArchiveListingAnswer, ListingResult, PutListingAnswer},
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
    extract::{DEFAULT_PAGE_LENGTH, ListingPath, RequestContext, page_length, query},
    fields::{self, Fields, Path, code, object, text},
    openapi::bodies::NewListing,
    precondition::{Precondition, entity_tag, other_version},
    problem::{Code, FieldError, Problem},
    services::Reply,
    state::AppState,
    view,
};

/// The parameters of the list, as they are described; `question` reads them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct ListingParameters {
    /// Whether archived listings are listed as well.
    #[param(default = false)]
    archived: Option<bool>,
    /// The `next` of a page of the same list; without it, the first page.
    after: Option<String>,
    /// The most listings of the page. It may hold fewer, at most 100 and about 500,000 bytes, and have a `next`.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// A page of the listings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListingList {
    /// The listings, by key.
    listings: Vec<ListingView>,
    /// The `after` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// A listing that was put.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PutListingView {
    #[serde(flatten)]
    listing: ListingView,
    /// What became of it: `created`, `updated` or `unchanged`.
    result: &'static str,
}

/// A listing that is archived.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ArchivedListingView {
    /// Its name among machines.
    key: ListingKey,
    /// Counts its changes, from 1.
    version: u64,
    /// What became of it: `archived`, or `unchanged` if it was before.
    result: &'static str,
}

/// Lists the listings.
///
/// Paging while listings are put misses none that was there all the time, and shows none twice.
#[utoipa::path(
    get,
    path = "/shops/{shop}/listings",
    operation_id = "list_listings",
    tag = "Listings",
    params(ListingParameters),
    responses((status = 200, description = "A page of the listings, by key.", body = ListingList)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<ListingList>, Problem> {
    let (question, list) = query(&uri, |fields| Some(question(fields, &context.shop)))?;
    let catalog::StoredListings { listings, next } =
        state.services.query_all(&context, question).await?;
    let listings = listings.into_iter().map(view::listing).collect::<Result<_, _>>()?;
    let next = (!next.is_empty()).then(|| list.cursor(&next));
    Ok(Json(ListingList { listings, next }))
}

fn question(fields: &mut Fields<'_, '_>, shop: &Shop) -> (catalog::ListListings, List) {
    let with_archived = fields.optional("archived", text(archived)).unwrap_or_default();
    let all = catalog::ListListings { with_archived, ..Default::default() };
    let list = List::of(shop, all.clone());
    let after = fields.optional("after", code(|text| list.name(text, ListingKey::parse)));
    let limit = fields.optional("limit", text(page_length)).unwrap_or(DEFAULT_PAGE_LENGTH);
    let after = after.map(String::from).unwrap_or_default();
    (catalog::ListListings { after, limit, ..all }, list)
}

fn archived(value: &str) -> Result<bool, ParseError> {
    value.parse().map_err(|_| ParseError::new("archived", "must be true or false", value))
}

/// Shows a listing, archived or not.
#[utoipa::path(
    get,
    path = "/shops/{shop}/listings/{listing_key}",
    operation_id = "get_listing",
    tag = "Listings",
    responses((status = 200, description = "The listing.", body = ListingView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`."),
    ))),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    ListingPath(key): ListingPath,
) -> Result<Response, Problem> {
    let question = catalog::GetListing { key: key.to_string() };
    let found = state.services.query(&context, question).await?;
    let found = found.ok_or_else(|| Problem::not_found("listing", key.as_str()))?;
    let view = view::listing(found)?;
    Ok(([entity_tag(view.version)], Json(view)).into_response())
}

/// Puts a listing: creates it, or replaces it. One that is archived is shown again.
#[utoipa::path(
    put,
    path = "/shops/{shop}/listings/{listing_key}",
    operation_id = "put_listing",
    tag = "Listings",
    params(
        ("If-Match" = Option<String>, Header, pattern = "^\"[0-9]{1,18}\"$",
            description = "Only if the listing has the version of this `ETag`."),
        ("If-None-Match" = Option<String>, Header, pattern = "^\\*$",
            description = "`*`: only if there is none yet, archived or not."),
    ),
    request_body = NewListing,
    responses(
        (status = 200, description = "The listing was there.", body = PutListingView, headers(
            ("ETag" = String, description = "Its version, for `If-Match`."),
        )),
        (status = 201, description = "The listing is new.", body = PutListingView, headers(
            ("ETag" = String, description = "Its version, for `If-Match`."),
        )),
    ),
    extensions(("x-problems" = json!([
        "unknown_category", "unknown_sku", "sku_of_other_listing", "precondition_failed"
    ]))),
)]
pub(crate) async fn put(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    ListingPath(key): ListingPath,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let expected_version = Precondition::version_to_put(&headers)?;
    let listing = fields::body(&bytes, |node, path, errors| {
        let listing = object(node, path, errors, |fields| read::listing(fields, &key))?;
        read::check_size(&listing, path, errors)?;
        Some(listing)
    })?;
    let put = catalog::PutListing { listing: Some(listing.clone()), expected_version };
    let command = context.command(None, command::Body::PutListing(put));
    let services = &state.services;
    let reply =
        services.send::<PutListingAnswer>(&context, Lane::Live, command, state.answer_timeout);
    let answer = match reply.await? {
        Reply::Answered(answer) => answer,
        Reply::Pending(accepted) => return Ok(accepted.into_response()),
    };
    let version = answer.body.version;
    let (status, result) = match answer.body.result() {
        ListingResult::Created => (StatusCode::CREATED, "created"),
        ListingResult::Updated => (StatusCode::OK, "updated"),
        // A change that is there already fulfils `If-Match` (RFC 9110, 13.1.1), but not this condition (13.1.2).
        ListingResult::Unchanged if expected_version == Some(0) => {
            return Err(other_version("listing", version));
        }
        ListingResult::Unchanged => (StatusCode::OK, "unchanged"),
        ListingResult::OtherVersion => return Err(other_version("listing", version)),
        ListingResult::Refused => return Err(refused(&answer.body, &listing)),
        ListingResult::Archived | ListingResult::Unknown | ListingResult::Unspecified => {
            return Err(UnknownResult.into());
        }
    };
    let stored = catalog::StoredListing { listing: Some(listing), version, archived: false };
    let shown = PutListingView { listing: view::listing(stored)?, result };
    Ok(answer.mark((status, [entity_tag(version)], Json(shown))))
}

/// What a listing names and the shop does not have. The code is that of the first of them.
fn refused(answer: &PutListingAnswer, listing: &catalog::Listing) -> Problem {
    let mut errors = Vec::new();
    let mut first = None;
    let mut add = |code: Code, error: FieldError| {
        first.get_or_insert(code);
        errors.push(error);
    };
    let categories = Path::Member(&Path::BODY, "category_keys");
    for place in answer.unknown_categories.iter().map(|place| *place as usize) {
        let key = listing.category_keys.get(place).map_or("", String::as_str);
        let detail = format!("the shop has no category {key}: put it first");
        add(Code::UnknownCategory, FieldError::at(&Path::Item(&categories, place), detail));
    }
    let variants = Path::Member(&Path::BODY, "variants");
    let mut add_sku = |code: Code, place: u32, what: &str| {
        let place = place as usize;
        let sku = listing.variants.get(place).map_or("", |variant| &variant.sku);
        let detail = what.replace("{sku}", sku).replace("{key}", &listing.key);
        let variant = Path::Item(&variants, place);
        add(code, FieldError::at(&Path::Member(&variant, "sku"), detail));
    };
    for place in &answer.unknown_skus {
        let detail = "the shop has no product {sku}: put it first, with the listing_key {key}";
        add_sku(Code::UnknownSku, *place, detail);
    }
    for place in &answer.skus_of_others {
        let detail = "the product {sku} does not have the listing_key {key}: put it so first";
        add_sku(Code::SkuOfOtherListing, *place, detail);
    }
    let detail = match errors.as_slice() {
        [only] => only.detail.clone(),
        all => format!("the shop does not have {} things that errors names", all.len()),
    };
    Problem::new(first.unwrap_or(Code::InvalidFields), detail).naming(errors)
}

/// Archives a listing: it is not shown any more. Its products are as they were.
#[utoipa::path(
    delete,
    path = "/shops/{shop}/listings/{listing_key}",
    operation_id = "archive_listing",
    tag = "Listings",
    params(("If-Match" = Option<String>, Header, pattern = "^(\\*|\"[0-9]{1,18}\")$",
        description = "Only if the listing has the version of this `ETag`.")),
    responses((status = 200, description = "The listing is archived.", body = ArchivedListingView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`."),
    ))),
    extensions(("x-problems" = json!(["not_found", "precondition_failed"]))),
)]
pub(crate) async fn archive(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    ListingPath(key): ListingPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let expected_version = Precondition::version(&headers)?;
    let archive = catalog::ArchiveListing { key: key.to_string(), expected_version };
    let command = context.command(None, command::Body::ArchiveListing(archive));
    let services = &state.services;
    let reply =
        services.send::<ArchiveListingAnswer>(&context, Lane::Live, command, state.answer_timeout);
    let answer = match reply.await? {
        Reply::Answered(answer) => answer,
        Reply::Pending(accepted) => return Ok(accepted.into_response()),
    };
    let version = answer.body.version;
    let result = match answer.body.result() {
        ListingResult::Archived => "archived",
        ListingResult::Unchanged => "unchanged",
        ListingResult::Unknown => return Err(Problem::not_found("listing", key.as_str())),
        ListingResult::OtherVersion => return Err(other_version("listing", version)),
        ListingResult::Created
        | ListingResult::Updated
        | ListingResult::Refused
        | ListingResult::Unspecified => return Err(UnknownResult.into()),
    };
    let shown = ArchivedListingView { key, version, result };
    Ok(answer.mark(([entity_tag(version)], Json(shown))))
}
