//! Lists what has left for orders.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use events::{http::FulfilmentView, id::OrderId, proto::inventory};
use protocol::id::Shop;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    cursors::List,
    extract::{DEFAULT_PAGE_LENGTH, RequestContext, page_length, query},
    fields::{Fields, code, text},
    problem::Problem,
    state::AppState,
    view,
};

/// The part of the goods issues that a client asks for, as it is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct FulfilmentPage {
    /// Only those of this order; without it, of all orders.
    order_id: Option<OrderId>,
    /// The `next` of a page of the same list; without it, the first page.
    after: Option<String>,
    /// The most goods issues of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// A page of the goods issues.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FulfilmentList {
    /// The goods issues, the newest first.
    fulfilments: Vec<FulfilmentView>,
    /// The `after` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// Lists what has left for orders: the goods issues that had their effect, of all orders or of one.
#[utoipa::path(
    get,
    path = "/shops/{shop}/fulfilments",
    operation_id = "list_fulfilments",
    tag = "Inventory",
    params(FulfilmentPage),
    responses((status = 200, description = "A page of the goods issues, the newest first.", body = FulfilmentList)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<FulfilmentList>, Problem> {
    let (question, list) = query(&uri, |fields| Some(asked(fields, &context.shop)))?;
    let limit = question.limit as usize;
    let found = state.services.query_all(&context, question).await?.movements;
    let end = found.last().filter(|_| found.len() >= limit);
    let next = end.map(|end| list.cursor(&end.position));
    let fulfilments = found.into_iter().map(view::fulfilment).collect::<Result<_, _>>()?;
    Ok(Json(FulfilmentList { fulfilments, next }))
}

fn asked(fields: &mut Fields<'_, '_>, shop: &Shop) -> (inventory::ListGoodsIssues, List) {
    let order_id = fields.optional("order_id", text(OrderId::parse));
    let order_id = order_id.map(|id| id.to_string()).unwrap_or_default();
    let list = List::named(shop, &["fulfilments", &order_id]);
    let before = fields.optional("after", code(|text| list.place::<u64>(text)));
    let limit = fields.optional("limit", text(page_length)).unwrap_or(DEFAULT_PAGE_LENGTH);
    (inventory::ListGoodsIssues { order_id, before: before.unwrap_or_default(), limit }, list)
}
