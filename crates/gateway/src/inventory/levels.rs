//! Stock levels and what changed them.

use std::sync::Arc;

use axum::{Json, extract::State};
use events::{http::StockView, proto::inventory};

use crate::{
    extract::{LevelList, LevelPage, MovementList, MovementPage, RequestContext, SkuPath},
    problem::Problem,
    state::AppState,
    view,
};

/// Shows the stock of a SKU, at all locations together and at each.
#[utoipa::path(
    get,
    path = "/shops/{shop}/inventory/{sku}",
    operation_id = "get_stock",
    tag = "Inventory",
    responses((status = 200, description = "The stock.", body = StockView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    SkuPath(sku): SkuPath,
) -> Result<Json<StockView>, Problem> {
    let question = inventory::GetLevels { sku: sku.to_string() };
    match state.services.query(&context, question).await? {
        Some(found) => Ok(Json(view::stock(sku, &found.levels)?)),
        None => Err(Problem::not_found("stock of", sku.as_str())),
    }
}

/// Lists what changed the units on hand of a SKU at a location.
#[utoipa::path(
    get,
    path = "/shops/{shop}/inventory/{sku}/movements",
    operation_id = "list_movements",
    tag = "Inventory",
    params(MovementPage),
    responses((status = 200, description = "A page of the movements, the newest first.", body = MovementList)),
)]
pub(crate) async fn movements(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    SkuPath(sku): SkuPath,
    page: MovementPage,
) -> Result<Json<MovementList>, Problem> {
    let MovementPage { location, before, limit } = &page;
    let question = inventory::ListMovements {
        sku: sku.to_string(),
        location: location.to_string(),
        before: *before,
        limit: *limit,
    };
    let found = state.services.query_all(&context, question).await?.movements;
    let movements = found.into_iter().map(view::movement).collect::<Result<Vec<_>, _>>()?;
    let next = page.next(&movements);
    Ok(Json(MovementList { sku, location: page.location, movements, next }))
}

/// Lists the stock at every location.
#[utoipa::path(
    get,
    path = "/shops/{shop}/inventory",
    operation_id = "list_levels",
    tag = "Inventory",
    params(LevelPage),
    responses((status = 200, description = "A page of the levels, by SKU and location.", body = LevelList)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    page: LevelPage,
) -> Result<Json<LevelList>, Problem> {
    let LevelPage { after, after_location, limit } = &page;
    let question = inventory::ListLevels {
        after: after.clone(),
        limit: *limit,
        after_location: after_location.clone(),
    };
    let found = state.services.query_all(&context, question).await?.levels;
    let levels = found.iter().map(view::level).collect::<Result<Vec<_>, _>>()?;
    let next = page.next(&levels);
    Ok(Json(LevelList { levels, next }))
}
