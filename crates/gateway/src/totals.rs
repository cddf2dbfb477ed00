//! `GET /v1/shops/{shop}/totals`: what the services count over a shop, for reports and checks.

use std::sync::Arc;

use axum::{Json, extract::State};
use futures::future::try_join3;
use serde_json::{Value, json};

use crate::{door::Door, extract::Call, problem::Problem};

/// `GET /v1/shops/{shop}/totals`.
pub(crate) async fn get(State(door): State<Arc<Door>>, call: Call) -> Result<Json<Value>, Problem> {
    let totals = |service| door.ask(service, &call.shop, "totals", json!({}), 0);
    let (orders, payments, inventory) =
        try_join3(totals("order"), totals("payment"), totals("inventory")).await?;
    Ok(Json(json!({"orders": orders, "payments": payments, "inventory": inventory})))
}
