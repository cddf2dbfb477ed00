//! `GET /orders`: all orders of a shop, by what they are looked for.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use events::{
    http::{FulfilmentStatus, OrderStatus, OrderSummary, PaymentStatus},
    id::{CustomerId, Reference, Sku},
    proto::order::{self, ListOrders, ListedOrders},
};
use protocol::{
    id::{ParseError, Shop},
    time::Timestamp,
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    cursors::List,
    extract::{DEFAULT_PAGE_LENGTH, RequestContext, page_length, query},
    fields::{Fields, Sort, code, named, oldest_first, text, words},
    problem::Problem,
    state::AppState,
    view::{self, ViewError},
};

/// A page of the orders.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrderList {
    /// The orders, by when they were placed.
    orders: Vec<OrderSummary>,
    /// The `after` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// The parameters of the list, as they are described; `question` reads them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct OrderParameters {
    /// Their status.
    status: Option<OrderStatus>,
    /// What is paid.
    payment_status: Option<PaymentStatus>,
    /// What has shipped.
    fulfilment_status: Option<FulfilmentStatus>,
    /// Who orders.
    customer_id: Option<CustomerId>,
    /// A line of theirs is of it.
    sku: Option<Sku>,
    /// The caller's own order number, also one that a cancelled order has given back.
    reference: Option<Reference>,
    /// Their number or their reference in full, or a part of their reference, whatever its case. Those that are found in
    /// full come first. A page of those found by a part looks at 10,000 orders, so it may be empty and not the last.
    #[param(min_length = 1, max_length = 128)]
    q: Option<String>,
    /// `true`: those that are on hold.
    on_hold: Option<bool>,
    /// Placed at that time or later.
    placed_from: Option<Timestamp>,
    /// Placed before that time.
    placed_until: Option<Timestamp>,
    /// Which come first.
    #[param(inline, default = "newest")]
    sort: Option<Sort>,
    /// The `next` of a page with the same filters and the same `sort`; without it, the first page.
    after: Option<String>,
    /// The most orders of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Lists the orders of the shop, the newest first.
///
/// Those that match all filters that are given, without their lines and without what is personal in them. Paging while
/// orders are placed and change misses none that matched all the time, and shows none twice.
#[utoipa::path(
    get,
    path = "/shops/{shop}/orders",
    operation_id = "list_orders",
    tag = "Orders",
    params(OrderParameters),
    responses((status = 200, description = "A page of the orders; that there are none is no error.", body = OrderList)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<OrderList>, Problem> {
    let (question, list) = query(&uri, |fields| Some(question(fields, &context.shop)))?;
    let ListedOrders { orders, next } = state.services.query_all(&context, question).await?;
    let next = next.map(|place| list.cursor(&place));
    let orders = orders.into_iter().map(view::order_summary).collect::<Result<_, ViewError>>()?;
    Ok(Json(OrderList { orders, next }))
}

fn question(fields: &mut Fields<'_, '_>, shop: &Shop) -> (ListOrders, List) {
    let status = fields.optional("status", text(status));
    let payment_status = fields.optional("payment_status", text(payment_status));
    let fulfilment_status = fields.optional("fulfilment_status", text(fulfilment_status));
    let customer_id = fields.optional("customer_id", text(CustomerId::parse));
    let sku = fields.optional("sku", code(Sku::parse));
    let reference = fields.optional("reference", text(Reference::parse));
    let searched_for = fields.optional("q", text(searched));
    let on_hold = fields.optional("on_hold", text(is_true));
    let placed_from = fields.optional("placed_from", text(Timestamp::parse_rfc3339));
    let placed_until = fields.optional("placed_until", text(Timestamp::parse_rfc3339));
    let sort = fields.optional("sort", text(oldest_first));
    let filtered = ListOrders {
        status: status.unwrap_or_default().into(),
        payment_status: payment_status.unwrap_or_default().into(),
        fulfilment_status: fulfilment_status.unwrap_or_default().into(),
        customer_id: customer_id.map(String::from).unwrap_or_default(),
        sku: sku.map(String::from).unwrap_or_default(),
        reference: reference.map(String::from).unwrap_or_default(),
        text: searched_for.unwrap_or_default(),
        on_hold: on_hold.is_some(),
        placed_from: placed_from.map(Into::into),
        placed_until: placed_until.map(Into::into),
        oldest_first: sort.unwrap_or_default(),
        after: None,
        limit: 0,
    };
    let list = List::of(shop, filtered.clone());
    let after = fields.optional("after", code(|text| list.place(text)));
    let limit = fields.optional("limit", text(page_length));
    let limit = limit.unwrap_or(DEFAULT_PAGE_LENGTH);
    (ListOrders { after, limit, ..filtered }, list)
}

fn status(name: &str) -> Result<order::OrderStatus, ParseError> {
    let rule = "must be placed, confirmed, completed or cancelled";
    named("ORDER_STATUS_", order::OrderStatus::from_str_name, name)
        .ok_or_else(|| ParseError::new("status", rule, name))
}

fn payment_status(name: &str) -> Result<order::PaymentStatus, ParseError> {
    let rule = "must be pending, action_required, authorized, paid, partially_refunded, refunded or failed";
    named("PAYMENT_STATUS_", order::PaymentStatus::from_str_name, name)
        .ok_or_else(|| ParseError::new("payment_status", rule, name))
}

fn fulfilment_status(name: &str) -> Result<order::FulfilmentStatus, ParseError> {
    let rule = "must be unfulfilled, partial, fulfilled, partially_returned or returned";
    named("FULFILMENT_STATUS_", order::FulfilmentStatus::from_str_name, name)
        .ok_or_else(|| ParseError::new("fulfilment_status", rule, name))
}

fn searched(value: &str) -> Result<String, ParseError> {
    words("q", "must be 1 to 128 characters without control characters", 128, value)
}

fn is_true(value: &str) -> Result<(), ParseError> {
    match value {
        "true" => Ok(()),
        _ => Err(ParseError::new("on_hold", "must be true", value)),
    }
}
