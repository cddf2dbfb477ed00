//! `…/history`: the events of an aggregate, the newest first, each as it leaves the system.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::request::Parts,
};
use engine::Aggregate;
use events::{cloud_events, id::Location};
use protocol::id::ParseError;
use serde_json::{Value, json};

use crate::{
    extract::{
        DEFAULT_PAGE_LENGTH, LocationPath, OrderPath, RequestContext, SkuPath, page_length, query,
    },
    fields::text,
    payments::PaymentPath,
    problem::Problem,
    state::AppState,
};

/// The part of a history that a client asks for.
#[derive(Debug)]
pub(crate) struct HistoryPage {
    /// Where a SKU is, for the history of its stock.
    location: Location,
    /// What `next` of the page before says; 0 for the first page.
    before: u64,
    limit: u32,
}

impl<S: Send + Sync> FromRequestParts<S> for HistoryPage {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        query(&parts.uri, |fields| {
            let location = fields.optional("location", text(Location::parse));
            let before = fields.optional("before", text(position));
            let limit = fields.optional("limit", text(page_length));
            Some(Self {
                location: location.unwrap_or_else(Location::main),
                before: before.unwrap_or_default(),
                limit: limit.unwrap_or(DEFAULT_PAGE_LENGTH),
            })
        })
    }
}

fn position(text: &str) -> Result<u64, ParseError> {
    let error = || ParseError::new("before", "must be the `next` of the page before", text);
    text.parse().ok().filter(|position| *position > 0).ok_or_else(error)
}

/// `GET /products/{sku}/history`.
pub(crate) async fn of_product(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    SkuPath(sku): SkuPath,
    page: HistoryPage,
) -> Result<Json<Value>, Problem> {
    read(&state, &context, "catalog", Aggregate::new("product", sku), &page).await
}

/// `GET /inventory/{sku}/history?location=main`.
pub(crate) async fn of_stock(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    SkuPath(sku): SkuPath,
    page: HistoryPage,
) -> Result<Json<Value>, Problem> {
    let stock = format!("{sku}@{}", page.location);
    read(&state, &context, "inventory", Aggregate::new("stock", stock), &page).await
}

/// `GET /locations/{code}/history`.
pub(crate) async fn of_location(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    LocationPath(code): LocationPath,
    page: HistoryPage,
) -> Result<Json<Value>, Problem> {
    read(&state, &context, "inventory", Aggregate::new("location", code), &page).await
}

/// `GET /orders/{id}/history`.
pub(crate) async fn of_order(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    OrderPath(id): OrderPath,
    page: HistoryPage,
) -> Result<Json<Value>, Problem> {
    read(&state, &context, "order", Aggregate::new("order", id), &page).await
}

/// `GET /orders/{id}/reservation/history`: what inventory did for an order.
pub(crate) async fn of_reservation(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    OrderPath(id): OrderPath,
    page: HistoryPage,
) -> Result<Json<Value>, Problem> {
    read(&state, &context, "inventory", Aggregate::new("reservation", id), &page).await
}

/// `GET /payments/{payment_id}/history`.
pub(crate) async fn of_payment(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    PaymentPath(id): PaymentPath,
    page: HistoryPage,
) -> Result<Json<Value>, Problem> {
    read(&state, &context, "payment", Aggregate::new("payment", id), &page).await
}

/// `GET /history`: the events of the shop itself.
pub(crate) async fn of_shop(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    page: HistoryPage,
) -> Result<Json<Value>, Problem> {
    let shop = Aggregate::new("shop", &context.shop);
    read(&state, &context, "shop", shop, &page).await
}

async fn read(
    state: &AppState,
    context: &RequestContext,
    service: &str,
    aggregate: Aggregate,
    page: &HistoryPage,
) -> Result<Json<Value>, Problem> {
    let found = state.services.history(context, service, &aggregate, (page.before, page.limit));
    let Some((events, next)) = found.await? else {
        return Err(Problem::not_found(aggregate.kind, &aggregate.id));
    };
    let events = events.iter().map(|event| cloud_events::render(event)).collect::<Result<_, _>>();
    let events: Vec<_> = events.map_err(|error| Problem::internal(&error))?;
    Ok(Json(json!({"events": events, "next": (next > 0).then_some(next)})))
}
