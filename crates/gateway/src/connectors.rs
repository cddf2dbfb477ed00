//! `/v1/shops/{shop}/connectors`: what has come from each ERP connector.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{Uri, request::Parts},
};
use events::{
    http::{ConnectorView, ConnectorsView},
    id::Connector,
    proto::inventory,
};
use utoipa::IntoParams;

use crate::{
    cursors::List,
    extract::{DEFAULT_PAGE_LENGTH, RequestContext, page_length, path_parameter, query},
    fields::{code, text},
    problem::Problem,
    state::AppState,
    view,
};

/// A connector in the path.
pub(crate) struct ConnectorPath(Connector);

impl<S: Send + Sync> FromRequestParts<S> for ConnectorPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "connector", Connector::parse).await.map(Self)
    }
}

/// The part of the connectors that a client asks for, as it is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct ConnectorPage {
    /// The `next` of the page before; without it, the first page.
    after: Option<String>,
    /// The most connectors of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Lists the ERP connectors, with what has come from each.
///
/// A page ends before it is too large, also with fewer than `limit`.
#[utoipa::path(
    get,
    path = "/shops/{shop}/connectors",
    operation_id = "list_connectors",
    tag = "Inventory",
    params(ConnectorPage),
    responses((status = 200, description = "A page of them, by name.", body = ConnectorsView)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<ConnectorsView>, Problem> {
    let list = List::of(&context.shop, inventory::ListConnectors::default());
    let question = query(&uri, |fields| {
        let after = fields.optional("after", code(|text| list.name(text, Connector::parse)));
        let limit = fields.optional("limit", text(page_length));
        Some(inventory::ListConnectors {
            after: after.map(String::from).unwrap_or_default(),
            limit: limit.unwrap_or(DEFAULT_PAGE_LENGTH),
        })
    })?;
    let inventory::Connectors { connectors, has_more } =
        state.services.query_all(&context, question).await?;
    let next = connectors.last().filter(|_| has_more).map(|last| list.cursor(&last.connector));
    let now = state.clock.now();
    let shown = connectors.into_iter().map(|stored| view::connector(stored, now));
    let connectors = shown.collect::<Result<Vec<_>, _>>()?;
    Ok(Json(ConnectorsView { connectors, next }))
}

/// Shows what has come from an ERP connector.
#[utoipa::path(
    get,
    path = "/shops/{shop}/connectors/{connector}",
    operation_id = "get_connector",
    tag = "Inventory",
    responses((status = 200, description = "What has come.", body = ConnectorView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    ConnectorPath(connector): ConnectorPath,
) -> Result<Json<ConnectorView>, Problem> {
    let question = inventory::GetConnector { connector: connector.to_string() };
    match state.services.query(&context, question).await? {
        Some(found) => Ok(Json(view::connector(found, state.clock.now())?)),
        None => Err(Problem::not_found("connector", connector.as_str())),
    }
}
