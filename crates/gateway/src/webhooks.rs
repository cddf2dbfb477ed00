//! `/v1/shops/{shop}/webhook-endpoints`: where the events of a shop are delivered to.
//!
//! The secrets of endpoints and the values of their headers are sealed here, with a master key of the
//! configuration, before they enter the inbox.

pub(crate) mod answers;
pub(crate) mod deliveries;
pub(crate) mod event_types;
mod read;
pub(crate) mod replays;
pub(crate) mod secrets;
mod since;
mod view;

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use events::{
    http::webhooks::EndpointView,
    proto::notify::{self, change_webhooks::Request},
    webhooks::{MAX_TEXT_LENGTH, is_mail_endpoint, parse_id},
};
use protocol::id::ParseError;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

pub(crate) use self::view::statistics;
use self::{
    answers::{body, respond, send, shown, to_endpoint},
    read::{Changes, secret},
    secrets::chosen_or_new,
};
use crate::{
    body::JsonBytes,
    cursors::List,
    extract::{DEFAULT_PAGE_LENGTH, RequestContext, page_length, path_parameter, query},
    fields::{self, code, flag, object, text, words},
    not_modified::TagOfPart,
    openapi::bodies::{EndpointChanges, EndpointDisabling, EndpointEnabling, NewEndpoint},
    precondition::{Precondition, entity_tag},
    problem::Problem,
    state::AppState,
};

/// An endpoint's id in the path.
pub(crate) struct EndpointPath(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for EndpointPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "endpoint_id", endpoint_id).await.map(Self)
    }
}

/// The rule of the id of a webhook endpoint: the mails of a shop are none.
fn endpoint_id(text: &str) -> Result<String, ParseError> {
    let id = parse_id("endpoint_id", text)?;
    if is_mail_endpoint(&id) {
        let rule = "must be that of a webhook endpoint; mails are at /mails";
        return Err(ParseError::new("endpoint_id", rule, text));
    }
    Ok(id)
}

/// The webhook endpoints of a shop.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndpointList {
    /// The endpoints, by id.
    endpoints: Vec<EndpointView>,
    /// The `after` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// The part of the webhook endpoints that a client asks for, as it is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct EndpointPage {
    /// The `next` of the page before; without it, the first page.
    after: Option<String>,
    /// The most endpoints of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// A test that was scheduled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduledTest {
    /// The number of its delivery.
    endpoint_seq: u64,
}

/// Lists the webhook endpoints.
///
/// A page ends before it is too large, also with fewer than `limit`.
#[utoipa::path(
    get,
    path = "/shops/{shop}/webhook-endpoints",
    operation_id = "list_webhook_endpoints",
    tag = "Webhooks",
    params(EndpointPage),
    responses((status = 200, description = "A page of them, by id.", body = EndpointList)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<EndpointList>, Problem> {
    let list = List::of(&context.shop, notify::ListEndpoints::default());
    let question = query(&uri, |fields| {
        let after = fields.optional("after", code(|text| list.name(text, endpoint_id)));
        let limit = fields.optional("limit", text(page_length)).unwrap_or(DEFAULT_PAGE_LENGTH);
        Some(notify::ListEndpoints { after: after.unwrap_or_default(), limit })
    })?;
    let notify::Endpoints { endpoints, has_more } =
        state.services.query_all(&context, question).await?;
    let next = endpoints.last().filter(|_| has_more).map(|last| list.cursor(&last.id));
    let endpoints = endpoints.into_iter().map(view::endpoint).collect::<Result<_, _>>()?;
    Ok(Json(EndpointList { endpoints, next }))
}

/// Shows a webhook endpoint.
#[utoipa::path(
    get,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}",
    operation_id = "get_webhook_endpoint",
    tag = "Webhooks",
    responses((status = 200, description = "The endpoint; never its secret.", body = EndpointView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`."),
    ))),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
) -> Result<Response, Problem> {
    let view = view::endpoint(find(&state, &context, &id).await?)?;
    // The version is that of the settings: what is delivered does not change it.
    Ok(([entity_tag(view.version)], Extension(TagOfPart), Json(view)).into_response())
}

async fn find(
    state: &AppState,
    context: &RequestContext,
    id: &str,
) -> Result<notify::Endpoint, Problem> {
    let question = notify::GetEndpoint { endpoint_id: id.to_owned() };
    let found = state.services.query(context, question).await?;
    found.ok_or_else(|| Problem::not_found("webhook endpoint", id))
}

/// Creates a webhook endpoint.
///
/// The answer has its secret, which is shown this once.
#[utoipa::path(
    post,
    path = "/shops/{shop}/webhook-endpoints",
    operation_id = "create_webhook_endpoint",
    tag = "Webhooks",
    request_body = NewEndpoint,
    responses((status = 201, description = "The endpoint is there, and active.", body = EndpointView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`."),
        ("Location" = String, description = "Where the endpoint is."),
    ))),
    extensions(("x-problems" = json!(["too_many_webhooks", "no_person_keys"]))),
)]
pub(crate) async fn post(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let policy = &state.webhooks;
    let (changes, chosen) = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| {
            let chosen = fields.optional("secret", secret);
            Some((Changes::read_new(fields, policy)?, chosen))
        })
    })?;
    let settings = changes.apply(notify::EndpointSettings::default());
    let secret = chosen_or_new(chosen.as_deref())?;
    let public_key = secret.public_key().unwrap_or_default();
    let create = |settings, secret| {
        let public_key = public_key.clone();
        Request::Create(notify::CreateEndpoint { settings: Some(settings), secret, public_key })
    };
    let mut command = to_endpoint(&context, String::new(), create(settings.clone(), None));
    // What is sealed looks different each time; whether a request is repeated does not follow from it.
    let hidden = changes.hidden(chosen.as_deref());
    if !hidden.is_empty() {
        state.sealing.fingerprint(&mut command, &hidden).await?;
    }
    // Sent again under the same idempotency key, the request is about the same endpoint.
    let id = format!("we_{}", command.id.replace('-', ""));
    let (sealing, shop) = (&state.sealing, &context.shop);
    let headers =
        sealing.seal_headers(shop, &id, changes.headers.as_deref().unwrap_or_default())?;
    let sealed = sealing.seal_secret(shop, &id, secret.expose())?;
    let request = create(notify::EndpointSettings { headers, ..settings }, Some(sealed));
    command.body = Some(body(id.clone(), request, None));
    let reply = send(&state, &context, command).await?;
    respond(reply, &id, |answer| {
        let mut view = view::endpoint(answer.body.endpoint.clone().unwrap_or_default())?;
        // The secret of a repeated request is another one.
        view.secret = (!answer.replayed).then(|| secret.expose().to_owned());
        let location = format!("/v1/shops/{}/webhook-endpoints/{id}", context.shop);
        let headers = [(header::LOCATION, location), entity_tag(view.version)];
        Ok((StatusCode::CREATED, headers, Json(view)).into_response())
    })
}

/// Changes a webhook endpoint.
///
/// What the body does not name stays as it is; null takes a limit away.
#[utoipa::path(
    patch,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}",
    operation_id = "change_webhook_endpoint",
    tag = "Webhooks",
    params(("If-Match" = Option<String>, Header, pattern = "^(\\*|\"[0-9]{1,18}\")$",
        description = "Only if the endpoint has the version of this `ETag`.")),
    request_body = EndpointChanges,
    responses((status = 200, description = "The endpoint as it is now.", body = EndpointView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`."),
    ))),
    extensions(("x-problems" = json!(["not_found", "precondition_failed", "no_person_keys"]))),
)]
pub(crate) async fn patch(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let expected = Precondition::version(&headers)?;
    let changes = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| Some(Changes::read(fields, &state.webhooks)))
    })?;
    let known = find(&state, &context, &id).await?;
    let mut settings = changes.apply(known.settings.unwrap_or_default());
    // Without a condition of the client, it is that nobody else changes it meanwhile.
    let expected_version = Some(expected.unwrap_or(known.version));
    if let Some(headers) = &changes.headers {
        settings.headers = state.sealing.seal_headers(&context.shop, &id, headers)?;
    }
    let change = notify::ChangeEndpoint { settings: Some(settings), expected_version };
    let mut command = to_endpoint(&context, id.clone(), Request::Change(change));
    // The settings that there are say nothing of whether the request is repeated, and its own success changes them.
    command.fingerprint = changes.fingerprint(&id, expected);
    let hidden = changes.hidden(None);
    if !hidden.is_empty() {
        state.sealing.fingerprint(&mut command, &hidden).await?;
    }
    respond(send(&state, &context, command).await?, &id, shown)
}

/// Deletes a webhook endpoint. What waits is not delivered.
#[utoipa::path(
    delete,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}",
    operation_id = "delete_webhook_endpoint",
    tag = "Webhooks",
    params(("If-Match" = Option<String>, Header, pattern = "^(\\*|\"[0-9]{1,18}\")$",
        description = "Only if the endpoint has the version of this `ETag`.")),
    responses((status = 204, description = "There is no such endpoint any more.")),
    extensions(("x-problems" = json!(["not_found", "precondition_failed"]))),
)]
pub(crate) async fn delete(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let expected = Precondition::version(&headers)?;
    let request = Request::Delete(notify::DeleteEndpoint {});
    let command = context.command(None, body(id.clone(), request, expected));
    let reply = send(&state, &context, command).await?;
    respond(reply, &id, |_| Ok(StatusCode::NO_CONTENT.into_response()))
}

/// Disables a webhook endpoint: what matches it is held.
#[utoipa::path(
    post,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}/disable",
    operation_id = "disable_webhook_endpoint",
    tag = "Webhooks",
    params(("If-Match" = Option<String>, Header, pattern = "^(\\*|\"[0-9]{1,18}\")$",
        description = "Only if the endpoint has the version of this `ETag`.")),
    request_body = EndpointDisabling,
    responses((status = 200, description = "The endpoint as it is now.", body = EndpointView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`."),
    ))),
    extensions(("x-problems" = json!(["not_found", "precondition_failed"]))),
)]
pub(crate) async fn disable(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let expected = Precondition::version(&headers)?;
    let rule = "must be 1 to 500 characters without control characters";
    let note = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| {
            Some(fields.optional("note", text(|note| words("note", rule, MAX_TEXT_LENGTH, note))))
        })
    })?;
    let request = Request::Disable(notify::DisableEndpoint { note: note.unwrap_or_default() });
    let command = context.command(None, body(id.clone(), request, expected));
    respond(send(&state, &context, command).await?, &id, shown)
}

/// Enables a webhook endpoint.
#[utoipa::path(
    post,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}/enable",
    operation_id = "enable_webhook_endpoint",
    tag = "Webhooks",
    params(("If-Match" = Option<String>, Header, pattern = "^(\\*|\"[0-9]{1,18}\")$",
        description = "Only if the endpoint has the version of this `ETag`.")),
    request_body = EndpointEnabling,
    responses((status = 200, description = "The endpoint as it is now.", body = EndpointView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`."),
    ))),
    extensions(("x-problems" = json!(["not_found", "precondition_failed"]))),
)]
pub(crate) async fn enable(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let expected = Precondition::version(&headers)?;
    let deliver_held = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| Some(fields.optional("deliver_held", flag)))
    })?;
    let enable = notify::EnableEndpoint { deliver_held: deliver_held.unwrap_or(true) };
    let command = context.command(None, body(id.clone(), Request::Enable(enable), expected));
    respond(send(&state, &context, command).await?, &id, shown)
}

/// Sends an endpoint a delivery of the type `webhook.test`.
#[utoipa::path(
    post,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}/test",
    operation_id = "test_webhook_endpoint",
    tag = "Webhooks",
    responses((status = 202, description = "The delivery is scheduled.", body = ScheduledTest, headers(
        ("Location" = String, description = "Where the delivery is."),
    ))),
    extensions(("x-problems" = json!(["not_found", "endpoint_disabled"]))),
)]
pub(crate) async fn test(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
) -> Result<Response, Problem> {
    let command = to_endpoint(&context, id.clone(), Request::SendTest(notify::SendTest {}));
    respond(send(&state, &context, command).await?, &id, |answer| {
        let endpoint_seq = answer.body.endpoint_seq;
        let shop = &context.shop;
        let location = format!("/v1/shops/{shop}/webhook-endpoints/{id}/deliveries/{endpoint_seq}");
        let scheduled = Json(ScheduledTest { endpoint_seq });
        Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], scheduled).into_response())
    })
}
