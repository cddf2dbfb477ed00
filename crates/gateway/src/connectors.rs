//! `/v1/shops/{shop}/connectors`: what has come from each ERP connector.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::request::Parts,
};
use events::{
    http::{ConnectorView, ConnectorsView},
    id::Connector,
    proto::inventory,
};
use utoipa::IntoParams;

use crate::{
    extract::{DEFAULT_PAGE_LENGTH, RequestContext, page_length, path_parameter, query},
    fields::text,
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

/// The part of the connectors that a client asks for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConnectorQuery {
    /// The `next` of the page before.
    after: Option<Connector>,
    /// The most connectors of the page.
    #[param(required = false, minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

impl<S: Send + Sync> FromRequestParts<S> for ConnectorQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        query(&parts.uri, |fields| {
            let after = fields.optional("after", text(Connector::parse));
            let limit = fields.optional("limit", text(page_length));
            Some(Self { after, limit: limit.unwrap_or(DEFAULT_PAGE_LENGTH) })
        })
    }
}

/// Lists the ERP connectors, with what has come from each.
#[utoipa::path(
    get,
    path = "/shops/{shop}/connectors",
    operation_id = "list_connectors",
    tag = "Inventory",
    params(ConnectorQuery),
    responses((status = 200, description = "A page of them, by name.", body = ConnectorsView)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    ConnectorQuery { after, limit }: ConnectorQuery,
) -> Result<Json<ConnectorsView>, Problem> {
    let after = after.map(String::from).unwrap_or_default();
    let question = inventory::ListConnectors { after, limit };
    let found = state.services.query_all(&context, question).await?.connectors;
    let now = state.clock.now();
    let shown = found.into_iter().map(|stored| view::connector(stored, now));
    let connectors = shown.collect::<Result<Vec<_>, _>>()?;
    let last = connectors.last().filter(|_| connectors.len() >= limit as usize);
    let next = last.map(|last| last.connector.clone());
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
