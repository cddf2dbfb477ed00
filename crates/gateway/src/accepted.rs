//! The response for a command that is stored and was not answered in time.

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use protocol::id::Shop;
use serde_json::{Value, json};

use crate::problem::RETRY_AFTER_S;

/// A command that is stored and will be handled. What became of it is at [`Accepted::url`].
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    shop: Shop,
    command_id: String,
}

impl Accepted {
    pub(crate) fn new(shop: &Shop, command_id: String) -> Self {
        Self { shop: shop.clone(), command_id }
    }

    /// Where the command can be followed.
    pub(crate) fn url(&self) -> String {
        format!("/v1/shops/{}/commands/{}", self.shop, self.command_id)
    }

    /// 202 with the command's id, where it can be followed, and what else is known of it.
    pub(crate) fn respond(self, mut body: Value) -> Response {
        let headers =
            [(header::LOCATION, self.url()), (header::RETRY_AFTER, RETRY_AFTER_S.to_string())];
        body["command_url"] = json!(self.url());
        body["command_id"] = json!(self.command_id);
        (StatusCode::ACCEPTED, headers, Json(body)).into_response()
    }
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        self.respond(json!({}))
    }
}
