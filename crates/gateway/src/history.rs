//! `…/history`: the events of an aggregate, the newest first, each as it leaves the system.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::request::Parts,
};
use engine::Aggregate;
use events::{cloud_events, id::Location};
use protocol::id::Shop;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::{
    cursors::{self, List},
    extract::{
        CategoryPath, DEFAULT_PAGE_LENGTH, ListingPath, LocationPath, OrderPath, RequestContext,
        SkuPath, page_length, query,
    },
    fields::{code, text},
    openapi::messages::CloudEvent,
    payments::PaymentPath,
    problem::Problem,
    state::AppState,
};

/// The part of a history that a client asks for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryPage {
    /// Of the stock of a SKU: its location, `main` unless it is given. Without a meaning for others.
    #[param(required = false)]
    location: Location,
    /// The `next` of the page before; without it, the first page.
    after: Option<String>,
    /// The most events of the page.
    #[param(required = false, minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

/// A page of the events of an aggregate.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct History {
    /// The events, the newest first.
    #[schema(value_type = Vec<CloudEvent>)]
    events: Vec<Value>,
    /// The `after` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for HistoryPage {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        query(&parts.uri, |fields| {
            let location = fields.optional("location", text(Location::parse));
            let after = fields.optional("after", code(|text| Ok(text.to_owned())));
            let limit = fields.optional("limit", text(page_length));
            Some(Self {
                location: location.unwrap_or_else(Location::main),
                after,
                limit: limit.unwrap_or(DEFAULT_PAGE_LENGTH),
            })
        })
    }
}

/// The list of the events of an aggregate.
pub(crate) fn list_of(shop: &Shop, aggregate: &Aggregate) -> List {
    List::named(shop, &["history", aggregate.kind, &aggregate.id])
}

/// Lists the events of a product.
#[utoipa::path(
    get,
    path = "/shops/{shop}/products/{sku}/history",
    operation_id = "get_history_of_product",
    tag = "Products",
    params(HistoryPage),
    responses((status = 200, description = "A page of the events, the newest first.", body = History)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn of_product(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    SkuPath(sku): SkuPath,
    page: HistoryPage,
) -> Result<Json<History>, Problem> {
    read(&state, &context, "catalog", Aggregate::new("product", sku), &page).await
}

/// Lists the events of a category.
#[utoipa::path(
    get,
    path = "/shops/{shop}/categories/{category_key}/history",
    operation_id = "get_history_of_category",
    tag = "Categories",
    params(HistoryPage),
    responses((status = 200, description = "A page of the events, the newest first.", body = History)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn of_category(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    CategoryPath(key): CategoryPath,
    page: HistoryPage,
) -> Result<Json<History>, Problem> {
    read(&state, &context, "catalog", Aggregate::new("category", key), &page).await
}

/// Lists the events of a listing.
#[utoipa::path(
    get,
    path = "/shops/{shop}/listings/{listing_key}/history",
    operation_id = "get_history_of_listing",
    tag = "Listings",
    params(HistoryPage),
    responses((status = 200, description = "A page of the events, the newest first.", body = History)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn of_listing(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    ListingPath(key): ListingPath,
    page: HistoryPage,
) -> Result<Json<History>, Problem> {
    read(&state, &context, "catalog", Aggregate::new("listing", key), &page).await
}

/// Lists the events of the stock of a SKU at a location.
#[utoipa::path(
    get,
    path = "/shops/{shop}/inventory/{sku}/history",
    operation_id = "get_history_of_stock",
    tag = "Inventory",
    params(HistoryPage),
    responses((status = 200, description = "A page of the events, the newest first.", body = History)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn of_stock(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    SkuPath(sku): SkuPath,
    page: HistoryPage,
) -> Result<Json<History>, Problem> {
    let stock = format!("{sku}@{}", page.location);
    read(&state, &context, "inventory", Aggregate::new("stock", stock), &page).await
}

/// Lists the events of a location.
#[utoipa::path(
    get,
    path = "/shops/{shop}/locations/{code}/history",
    operation_id = "get_history_of_location",
    tag = "Inventory",
    params(HistoryPage),
    responses((status = 200, description = "A page of the events, the newest first.", body = History)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn of_location(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    LocationPath(code): LocationPath,
    page: HistoryPage,
) -> Result<Json<History>, Problem> {
    read(&state, &context, "inventory", Aggregate::new("location", code), &page).await
}

/// Lists the events of an order.
#[utoipa::path(
    get,
    path = "/shops/{shop}/orders/{id}/history",
    operation_id = "get_history_of_order",
    tag = "Orders",
    params(HistoryPage),
    responses((status = 200, description = "A page of the events, the newest first.", body = History)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn of_order(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    OrderPath(id): OrderPath,
    page: HistoryPage,
) -> Result<Json<History>, Problem> {
    read(&state, &context, "order", Aggregate::new("order", id), &page).await
}

/// Lists what the inventory did for an order.
#[utoipa::path(
    get,
    path = "/shops/{shop}/orders/{id}/reservation/history",
    operation_id = "get_history_of_reservation",
    tag = "Orders",
    params(HistoryPage),
    responses((status = 200, description = "A page of the events, the newest first.", body = History)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn of_reservation(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    OrderPath(id): OrderPath,
    page: HistoryPage,
) -> Result<Json<History>, Problem> {
    read(&state, &context, "inventory", Aggregate::new("reservation", id), &page).await
}

/// Lists the events of a payment.
#[utoipa::path(
    get,
    path = "/shops/{shop}/payments/{payment_id}/history",
    operation_id = "get_history_of_payment",
    tag = "Payments",
    params(HistoryPage),
    responses((status = 200, description = "A page of the events, the newest first.", body = History)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn of_payment(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    PaymentPath(id): PaymentPath,
    page: HistoryPage,
) -> Result<Json<History>, Problem> {
    read(&state, &context, "payment", Aggregate::new("payment", id), &page).await
}

/// Lists the events of the shop itself.
#[utoipa::path(
    get,
    path = "/shops/{shop}/history",
    operation_id = "get_history_of_shop",
    tag = "Shops",
    params(HistoryPage),
    responses((status = 200, description = "A page of the events, the newest first.", body = History)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn of_shop(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    page: HistoryPage,
) -> Result<Json<History>, Problem> {
    let shop = Aggregate::new("shop", &context.shop);
    read(&state, &context, "shop", shop, &page).await
}

async fn read(
    state: &AppState,
    context: &RequestContext,
    service: &str,
    aggregate: Aggregate,
    page: &HistoryPage,
) -> Result<Json<History>, Problem> {
    let list = list_of(&context.shop, &aggregate);
    let before = page.after.as_deref().map(|cursor| list.place::<u64>(cursor)).transpose();
    let before = before.map_err(|error| cursors::refused(&error))?.unwrap_or_default();
    let found = state.services.history(context, service, &aggregate, (before, page.limit));
    let Some((events, next)) = found.await? else {
        return Err(Problem::not_found(aggregate.kind, &aggregate.id));
    };
    let events = events.iter().map(|event| cloud_events::render(event)).collect::<Result<_, _>>();
    let events = events.map_err(|error| Problem::internal(&error))?;
    Ok(Json(History { events, next: (next > 0).then(|| list.cursor(&next)) }))
}
