//! `/v1/shops/{shop}/inventory` and `/fulfilments`: takes counts, adjustments and goods issues from ERP
//! connectors and warehouses, and shows stock levels.

pub(crate) mod fulfilments;
mod invalid;
pub(crate) mod levels;
mod line;
mod upload;

use std::sync::Arc;

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};

pub(crate) use self::upload::outcome;
use self::upload::{
    Accepted, AllLines, GoodsIssues, JsonBody, StockUpload, WarehouseLines, json_body,
};
use crate::{
    api_key::Scope,
    body::read_json,
    bulk::{self, MaybeUpload},
    extract::RequestContext,
    fields,
    openapi::bodies::{FulfilmentBody, StockBody, StockReport, UploadParameters},
    problem::Problem,
    state::AppState,
};

/// Records counts, adjustments, goods issues and transfers of an ERP.
///
/// One document as JSON, up to 10,000 as `{"lines": […]}` (1 MB), or a document a line, as NDJSON or CSV, also compressed
/// by gzip. The answer has the result of each line, with `Accept: application/x-ndjson` while the upload runs; a line that is wrong does not hinder the others. A line that comes again has no
/// second effect.
#[utoipa::path(
    post,
    path = "/shops/{shop}/inventory",
    operation_id = "record_stock",
    tag = "Inventory",
    params(UploadParameters),
    request_body(content((StockBody = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"))),
    responses(
        (status = 200, description = "The result of each line.", content((StockReport = "application/json"), (String = "application/x-ndjson"))),
        (status = 202, description = "Not all lines were handled, or some are stored and not yet answered: `status` says which, and `next_line` from where to go on.", body = StockReport),
    ),
)]
pub(crate) async fn post(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    upload: MaybeUpload,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let upload = (upload, &headers);
    if context.may(Scope::Erp) {
        post_lines::<AllLines>(state, context, upload, body).await
    } else {
        post_lines::<WarehouseLines>(state, context, upload, body).await
    }
}

/// Records goods issues: what has left for orders.
///
/// The same as goods issues that are sent to `/inventory`, except that they need not say what they are. One as JSON, up to 10,000
/// as `{"lines": […]}` (1 MB), or one a line, as NDJSON or CSV, also compressed by gzip.
#[utoipa::path(
    post,
    path = "/shops/{shop}/fulfilments",
    operation_id = "record_fulfilments",
    tag = "Inventory",
    params(UploadParameters),
    request_body(content((FulfilmentBody = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"))),
    responses(
        (status = 200, description = "The result of each line.", content((StockReport = "application/json"), (String = "application/x-ndjson"))),
        (status = 202, description = "Not all lines were handled, or some are stored and not yet answered: `status` says which, and `next_line` from where to go on.", body = StockReport),
    ),
)]
pub(crate) async fn post_fulfilments(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    upload: MaybeUpload,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    post_lines::<GoodsIssues>(state, context, (upload, &headers), body).await
}

async fn post_lines<A: Accepted>(
    state: Arc<AppState>,
    context: RequestContext,
    (MaybeUpload(options), headers): (MaybeUpload, &HeaderMap),
    body: Body,
) -> Result<Response, Problem> {
    if let Some(options) = options {
        return bulk::upload::<StockUpload<A>>(state, context, (headers, options), body).await;
    }
    let bytes = read_json(headers, body).await?;
    match fields::body(&bytes, json_body::<A>)? {
        JsonBody::One(line) => bulk::single::<StockUpload<A>>(state, context, *line).await,
        JsonBody::Many(lines) => bulk::list::<StockUpload<A>>(state, context, lines).await,
    }
}
