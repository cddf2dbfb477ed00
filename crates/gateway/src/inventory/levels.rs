//! Stock levels and what changed them.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use events::{
    http::{LevelView, MovementView, StockView},
    id::{Location, Sku},
    proto::inventory,
};
use protocol::id::{ParseError, Shop};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    cursors::List,
    extract::{DEFAULT_PAGE_LENGTH, RequestContext, SkuPath, page_length, query},
    fields::{Fields, code, text},
    problem::Problem,
    state::AppState,
    view,
};

/// The part of the stock levels that a client asks for, as it is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct LevelPage {
    /// The `next` of the page before; without it, the first page.
    after: Option<String>,
    /// The most levels of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// A page of the stock levels.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LevelList {
    /// The levels, by SKU and location.
    levels: Vec<LevelView>,
    /// The `after` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// The part of the movements of a SKU that a client asks for, as it is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct MovementPage {
    /// Only the movements at this location; without it, at all of them.
    location: Option<Location>,
    /// The `next` of a page of the same list; without it, the first page.
    after: Option<String>,
    /// The most movements of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// A page of the movements of a SKU.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MovementList {
    /// The stock keeping unit.
    sku: Sku,
    /// The movements, the newest first.
    movements: Vec<MovementView>,
    /// The `after` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

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

/// Lists what changed the units on hand of a SKU.
///
/// Each unit is traced to its order, its document or its transfer.
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
    uri: Uri,
) -> Result<Json<MovementList>, Problem> {
    let read = |fields: &mut Fields<'_, '_>| Some(movements_of(fields, &context.shop, &sku));
    let (question, list) = query(&uri, read)?;
    let limit = question.limit as usize;
    let found = state.services.query_all(&context, question).await?.movements;
    let end = found.last().filter(|_| found.len() >= limit);
    let next = end.map(|end| list.cursor(&end.position));
    let movements = found.into_iter().map(view::movement).collect::<Result<_, _>>()?;
    Ok(Json(MovementList { sku, movements, next }))
}

fn movements_of(
    fields: &mut Fields<'_, '_>,
    shop: &Shop,
    sku: &Sku,
) -> (inventory::ListMovements, List) {
    let location = fields.optional("location", text(Location::parse));
    let location = location.map(String::from).unwrap_or_default();
    // Not the list of its question: cursors of that one had another place once, which would pass for this one.
    let list = List::named(shop, &["movements", sku.as_str(), &location]);
    let before = fields.optional("after", code(|text| list.place::<u64>(text)));
    let limit = fields.optional("limit", text(page_length)).unwrap_or(DEFAULT_PAGE_LENGTH);
    let before = before.unwrap_or_default();
    let sku = sku.to_string();
    (inventory::ListMovements { sku, location, before, limit }, list)
}

/// Lists the stock at every location.
///
/// Paging while stock changes misses none that was there all the time, and shows none twice.
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
    uri: Uri,
) -> Result<Json<LevelList>, Problem> {
    let list = List::of(&context.shop, inventory::ListLevels::default());
    let question = query(&uri, |fields| {
        let after = fields.optional("after", code(|text| list.name(text, stock)));
        let limit = fields.optional("limit", text(page_length)).unwrap_or(DEFAULT_PAGE_LENGTH);
        let (after, after_location) = after.unwrap_or_default();
        Some(inventory::ListLevels { after, limit, after_location })
    })?;
    let limit = question.limit as usize;
    let found = state.services.query_all(&context, question).await?.levels;
    let end = found.last().filter(|_| found.len() >= limit);
    let next = end.map(|end| list.cursor(&format!("{}@{}", end.sku, end.location)));
    let levels = found.iter().map(view::level).collect::<Result<_, _>>()?;
    Ok(Json(LevelList { levels, next }))
}

/// A SKU, and a location of it.
fn stock(text: &str) -> Result<(String, String), ParseError> {
    let error = || ParseError::new("stock", "must be a SKU, @ and a location", text);
    let (sku, location) = text.rsplit_once('@').ok_or_else(error)?;
    Ok((Sku::parse(sku)?.into(), Location::parse(location)?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_the_list_as_it_was_once_is_refused() {
        let shop = Shop::parse("acme").expect("a name");
        let sku = Sku::parse("MUG").expect("a SKU");
        let read = |parameters: &str| {
            let uri: Uri = format!("/?location=main{parameters}").parse().expect("a URI");
            query(&uri, |fields| Some(movements_of(fields, &shop, &sku)))
        };
        let after = |list: &List| read(&format!("&after={}", list.cursor(&7_u64)));
        let (_, list) = read("").expect("it has no cursor");
        let (question, _) = after(&list).expect("it is of this list");
        assert_eq!((question.before, question.location.as_str()), (7, "main"));
        // Its place was a version.
        let asked = inventory::ListMovements {
            sku: "MUG".to_owned(),
            location: "main".to_owned(),
            ..Default::default()
        };
        assert!(after(&List::of(&shop, asked)).is_err());
    }
}
