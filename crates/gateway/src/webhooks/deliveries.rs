//! What was and is to be delivered to an endpoint: read, sent once more, given up, and counted.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use events::{
    http::webhooks::{DeliveryView, ProofView},
    proto::notify::{self, ReplaySelection, change_webhooks::Request},
};
use protocol::{
    id::{ParseError, Shop},
    time::Timestamp,
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    EndpointPath,
    answers::{respond, send, to_endpoint},
    endpoint_id, read,
    replays::{Part, StartedReplay, start},
    since::{Since, first_since},
    view,
};
use crate::{
    cursors::{self, List},
    extract::{DEFAULT_PAGE_LENGTH, RequestContext, page_length, path_parameter, query},
    fields::{code, text},
    problem::Problem,
    state::AppState,
};

/// The states of deliveries, by name.
const STATES: [&str; 8] = [
    "pending",
    "in_flight",
    "retry_at",
    "delivered",
    "exhausted",
    "held",
    "held_behind",
    "aborted",
];

/// Which deliveries a client asks for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveryPage {
    /// The `next` of a page with the same filters; without it, the first page.
    after: Option<String>,
    /// The first `endpoint_seq`.
    #[param(required = false)]
    from: u64,
    /// The last `endpoint_seq`; 0 for the last that there is.
    #[param(required = false)]
    to: u64,
    /// Only those that were scheduled at this time or later.
    since: Option<Timestamp>,
    /// Only those in this state: `pending`, `in_flight`, `retry_at`, `delivered`, `exhausted`, `held`, `held_behind` or
    /// `aborted`.
    #[param(
        required = false,
        pattern = "^(pending|in_flight|retry_at|delivered|exhausted|held|held_behind|aborted)$"
    )]
    state: String,
    /// Only those of events of this type, such as `order.paid`, `order.*` or `*`.
    #[param(required = false, rename = "type", example = "order.*")]
    event_type: String,
    /// The most deliveries of the page.
    #[param(required = false, minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

/// A page of the deliveries to an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryList {
    /// The deliveries, by `endpoint_seq`.
    deliveries: Vec<DeliveryView>,
    /// The `after` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for DeliveryPage {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        query(&parts.uri, |fields| {
            let after = fields.optional("after", code(|text| Ok(text.to_owned())));
            let from = fields.optional("from", text(seq_text("from")));
            let to = fields.optional("to", text(seq_text("to")));
            let since = fields.optional("since", text(Timestamp::parse_rfc3339));
            let state = fields.optional("state", text(state));
            let event_type = fields.optional("type", text(read::event_type));
            let limit = fields.optional("limit", text(page_length));
            Some(Self {
                after,
                from: from.unwrap_or_default(),
                to: to.unwrap_or_default(),
                since,
                state: state.unwrap_or_default(),
                event_type: event_type.unwrap_or_default(),
                limit: limit.unwrap_or(DEFAULT_PAGE_LENGTH),
            })
        })
    }
}

impl DeliveryPage {
    /// The list that the page is of.
    fn list(&self, shop: &Shop, endpoint_id: &str) -> List {
        let Self { from, to, since, state, event_type, .. } = self;
        let range = format!("{from}-{to}");
        let since = since.map(|since| since.millis().to_string()).unwrap_or_default();
        List::named(shop, &["deliveries", endpoint_id, &range, &since, state, event_type])
    }
}

/// The rule of an end of a range of deliveries, as text: 0 is the first or the last that there is.
fn seq_text(what: &'static str) -> impl FnOnce(&str) -> Result<u64, ParseError> {
    move |text| text.parse().map_err(|_| ParseError::new(what, "must be an endpoint_seq", text))
}

/// The rule of the number of one delivery, as text. In a range 0 is all of them, so it never names one.
pub(crate) fn path_seq(text: &str) -> Result<u64, ParseError> {
    let error = || ParseError::new("seq", "must be an endpoint_seq: 1 or more", text);
    text.parse::<u64>().ok().filter(|seq| *seq > 0).ok_or_else(error)
}

fn state(text: &str) -> Result<String, ParseError> {
    let rule =
        "must be pending, in_flight, retry_at, delivered, exhausted, held, held_behind or aborted";
    let error = || ParseError::new("state", rule, text);
    STATES.contains(&text).then(|| text.to_owned()).ok_or_else(error)
}

/// Lists the deliveries to an endpoint.
#[utoipa::path(
    get,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}/deliveries",
    operation_id = "list_deliveries",
    tag = "Webhooks",
    params(DeliveryPage),
    responses((status = 200, description = "A page of the deliveries, by `endpoint_seq`.", body = DeliveryList)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn list_deliveries(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
    wanted: DeliveryPage,
) -> Result<Json<DeliveryList>, Problem> {
    let found = page(&state, &context, &id, wanted).await?;
    let found = found.ok_or_else(|| Problem::not_found("webhook endpoint", &id));
    let (deliveries, next) = found?;
    let deliveries = deliveries.into_iter().map(view::delivery);
    Ok(Json(DeliveryList { deliveries: deliveries.collect::<Result<_, _>>()?, next }))
}

/// A page of the deliveries to an endpoint, and the cursor of the next one; none when there is no such endpoint.
pub(crate) async fn page(
    state: &AppState,
    context: &RequestContext,
    id: &str,
    wanted: DeliveryPage,
) -> Result<Option<(Vec<notify::Delivery>, Option<String>)>, Problem> {
    let list = wanted.list(&context.shop, id);
    let after = wanted.after.as_deref().map(|cursor| list.place::<u64>(cursor)).transpose();
    let after = after.map_err(|error| cursors::refused(&error))?;
    let since = match (after, wanted.since) {
        (None, Some(time)) => first_since(state, context, id, &Since::Time(time)).await?.0,
        (after, _) => after.unwrap_or_default(),
    };
    let question = notify::ListDeliveries {
        endpoint_id: id.to_owned(),
        from: wanted.from.max(since),
        to: wanted.to,
        state: wanted.state,
        event_type: wanted.event_type,
        stream: String::new(),
        limit: wanted.limit,
    };
    let found = state.services.query(context, question).await?;
    Ok(found.map(|found| (found.deliveries, (found.next > 0).then(|| list.cursor(&found.next)))))
}

/// An endpoint and one of its deliveries, in the path.
pub(crate) struct DeliveryPath {
    endpoint_id: String,
    seq: u64,
}

impl<S: Send + Sync> FromRequestParts<S> for DeliveryPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let endpoint_id = path_parameter(parts, state, "endpoint_id", endpoint_id).await?;
        let seq = path_parameter(parts, state, "seq", path_seq).await?;
        Ok(Self { endpoint_id, seq })
    }
}

/// Shows a delivery with its attempts of the last 30 days.
#[utoipa::path(
    get,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}/deliveries/{seq}",
    operation_id = "get_delivery",
    tag = "Webhooks",
    responses((status = 200, description = "The delivery.", body = DeliveryView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get_delivery(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    DeliveryPath { endpoint_id, seq }: DeliveryPath,
) -> Result<Json<DeliveryView>, Problem> {
    let question = notify::GetDelivery { endpoint_id, endpoint_seq: seq };
    let found = state.services.query(&context, question).await?.unwrap_or_default();
    let unknown = || Problem::not_found("delivery of this endpoint", &seq.to_string());
    view::delivery_with_attempts(found)?.map(Json).ok_or_else(unknown)
}

/// Sends a delivery once more, with the same `webhook-id` and the same bytes.
#[utoipa::path(
    post,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}/deliveries/{seq}/resend",
    operation_id = "resend_delivery",
    tag = "Webhooks",
    responses((status = 202, description = "It will be sent, as a replay of this one delivery.", body = StartedReplay, headers(
        ("Location" = String, description = "Where the replay is."),
    ))),
    extensions(("x-problems" = json!(["not_found", "endpoint_disabled", "too_many_webhooks"]))),
)]
pub(crate) async fn resend(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    DeliveryPath { endpoint_id, seq }: DeliveryPath,
) -> Result<Response, Problem> {
    let selection = ReplaySelection::All;
    let part = Part { from: seq, to: seq, selection, max_per_second: None };
    start(&state, &context, endpoint_id, part).await
}

/// Gives a delivery up: no further attempt is made.
#[utoipa::path(
    post,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}/deliveries/{seq}/abort",
    operation_id = "abort_delivery",
    tag = "Webhooks",
    responses((status = 204, description = "No further attempt is made.")),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn abort(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    DeliveryPath { endpoint_id, seq }: DeliveryPath,
) -> Result<Response, Problem> {
    let request = Request::AbortDelivery(notify::AbortDelivery { endpoint_seq: seq });
    let command = to_endpoint(&context, endpoint_id.clone(), request);
    respond(send(&state, &context, command).await?, &endpoint_id, |_| {
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

/// The deliveries that a proof is about.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProofRange {
    /// The first `endpoint_seq`; the first that there is unless it is given.
    #[param(required = false)]
    from: u64,
    /// The last `endpoint_seq`; the last that there is unless it is given.
    #[param(required = false)]
    to: u64,
}

impl<S: Send + Sync> FromRequestParts<S> for ProofRange {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        query(&parts.uri, |fields| {
            let from = fields.optional("from", text(seq_text("from")));
            let to = fields.optional("to", text(seq_text("to")));
            Some(Self { from: from.unwrap_or_default(), to: to.unwrap_or_default() })
        })
    }
}

/// Counts what matched an endpoint, was sent and was accepted, and lists what is open.
#[utoipa::path(
    get,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}/proof",
    operation_id = "get_proof",
    tag = "Webhooks",
    params(ProofRange),
    responses((status = 200, description = "What a receiver compares with what it has.", body = ProofView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn proof(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
    ProofRange { from, to }: ProofRange,
) -> Result<Json<ProofView>, Problem> {
    let question = notify::GetProof { endpoint_id: id.clone(), from, to };
    let found = state.services.query(&context, question).await?;
    let found = found.ok_or_else(|| Problem::not_found("webhook endpoint", &id))?;
    Ok(Json(view::proof(found)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_delivery_is_never_that_of_all() {
        assert_eq!(path_seq("1").ok(), Some(1));
        for wrong in ["0", "00", "-1", "", "x"] {
            assert!(path_seq(wrong).is_err(), "{wrong}");
        }
    }
}
