//! The response for a command that is stored and was not answered in time.

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use events::id::OrderId;
use protocol::id::Shop;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::RETRY_AFTER_S;

/// What is said where a command about an API key was not answered in time.
const NO_SECRET: &str = "the request will be carried out; the secret of a key that it makes or rotates is lost: \
    when the command is answered, rotate the key to get another one";

/// A command that is stored and will be handled. What became of it is at [`Accepted::url`].
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    shop: Shop,
    /// The one that the command is for: others may know another command of its id.
    service: &'static str,
    command_id: String,
    order_id: Option<OrderId>,
    refund_id: Option<String>,
    key_id: Option<String>,
}

/// A request that is stored and will be handled; it was not answered in time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Accepted)]
pub(crate) struct AcceptedView {
    /// The id of the command.
    command_id: String,
    /// Where the command can be followed; also in the header `Location`.
    command_url: String,
    /// The order that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<OrderId>,
    /// The refund that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_id: Option<String>,
    /// The API key that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    /// What is to be done about the secret of that key, which is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<&'static str>,
}

impl Accepted {
    pub(crate) fn new(shop: &Shop, service: &'static str, command_id: String) -> Self {
        let shop = shop.clone();
        Self { shop, service, command_id, order_id: None, refund_id: None, key_id: None }
    }

    /// Names the order that the command is about.
    pub(crate) fn of_order(self, id: OrderId) -> Self {
        Self { order_id: Some(id), ..self }
    }

    /// Names the refund that the command asks for.
    pub(crate) fn of_refund(self, id: String) -> Self {
        Self { refund_id: Some(id), ..self }
    }

    /// Names the API key that the command is about.
    pub(crate) fn of_key(self, id: String) -> Self {
        Self { key_id: Some(id), ..self }
    }

    /// Where the command can be followed.
    pub(crate) fn url(&self) -> String {
        if self.shop == Shop::installation() {
            return format!("/v1/keys/commands/{}", self.command_id);
        }
        let Self { shop, service, command_id, .. } = self;
        format!("/v1/shops/{shop}/commands/{command_id}?service={service}")
    }
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let url = self.url();
        let headers =
            [(header::LOCATION, url.clone()), (header::RETRY_AFTER, RETRY_AFTER_S.to_string())];
        let Self { command_id, order_id, refund_id, key_id, .. } = self;
        let notice = key_id.as_ref().map(|_| NO_SECRET);
        let command_url = url;
        let body = AcceptedView { command_id, command_url, order_id, refund_id, key_id, notice };
        (StatusCode::ACCEPTED, headers, Json(body)).into_response()
    }
}
