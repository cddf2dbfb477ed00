//! Whether the process is up, and whether it can do its work.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{door::Door, problem::Problem};

/// `GET /healthz`: the process is up.
pub(crate) async fn up() -> Json<Value> {
    Json(json!({"status": "up"}))
}

/// `GET /readyz`: NATS is connected, and its streams answer.
pub(crate) async fn ready(State(door): State<Arc<Door>>) -> Result<Json<Value>, Problem> {
    door.ready().await?;
    Ok(Json(json!({"status": "ready"})))
}
