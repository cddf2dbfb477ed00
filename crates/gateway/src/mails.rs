//! `/v1/shops/{shop}/mail` and `/mails`: which mails a shop sends to the customers of its orders, and what became
//! of each.
//!
//! Mails are deliveries to an endpoint of the shop's own; what is read and sent once more of them is read and
//! sent as of a webhook endpoint.

mod read;

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use events::{
    http::{
        mails::{
            MailAttemptView, MailList, MailResend, MailSettingsView, MailTemplateView, MailView,
            SenderView,
        },
        webhooks::EndpointStatistics,
    },
    proto::notify::{
        self, ChangeWebhooksAnswer, EndpointResult, ReplaySelection, change_webhooks::Request,
    },
    webhooks::mail_endpoint_id,
};
use protocol::time::Timestamp;
use tokio::task::spawn_blocking;

use crate::{
    body::JsonBytes,
    bulk::UnknownResult,
    extract::{RequestContext, path_parameter},
    fields,
    not_modified::TagOfPart,
    openapi::bodies::NewMailSettings,
    precondition::{Precondition, entity_tag, other_version},
    problem::{Code, Problem},
    state::AppState,
    view::ViewError,
    webhooks::{
        answers::{respond_or, send, to_endpoint},
        deliveries::{DeliveryPage, page, path_seq},
        replays::{Part, start_replay},
        statistics,
    },
};

/// Shows how the shop sends mails.
#[utoipa::path(
    get,
    path = "/shops/{shop}/mail",
    operation_id = "get_mail_settings",
    tag = "Mails",
    responses((status = 200, description = "The settings, and what became of the mails.", body = MailSettingsView, headers(
        ("ETag" = String, description = "The version of the settings."),
    ))),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get_settings(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
) -> Result<Response, Problem> {
    let question = notify::GetEndpoint { endpoint_id: mail_endpoint_id(&context.shop) };
    let found = state.services.query(&context, question).await?;
    let view = settings_view(found.ok_or_else(no_mails)?)?;
    // What becomes of the mails does not change the version.
    Ok(([entity_tag(view.version)], Extension(TagOfPart), Json(view)).into_response())
}

/// Says how the shop sends mails to the customers of its orders.
///
/// The body is all settings: what is absent has its default.
#[utoipa::path(
    put,
    path = "/shops/{shop}/mail",
    operation_id = "put_mail_settings",
    tag = "Mails",
    params(
        ("If-Match" = Option<String>, Header, pattern = "^\"[0-9]{1,18}\"$",
            description = "Only if the settings have the version of this `ETag`."),
        ("If-None-Match" = Option<String>, Header, pattern = "^\\*$",
            description = "`*`: only if there are none yet."),
    ),
    request_body = NewMailSettings,
    responses(
        (status = 200, description = "The settings as they are now.", body = MailSettingsView, headers(
            ("ETag" = String, description = "The version of the settings."),
        )),
        (status = 201, description = "The shop sends mails from now on.", body = MailSettingsView, headers(
            ("ETag" = String, description = "The version of the settings."),
        )),
    ),
    extensions(("x-problems" = json!(["not_found", "too_many_webhooks", "precondition_failed"]))),
)]
pub(crate) async fn put_settings(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let expected_version = Precondition::version_to_put(&headers)?;
    // Templates are rendered, which may take a second: longer than a thread of the runtime may be held.
    let reading = spawn_blocking(move || fields::body(&bytes, read::settings)).await;
    let settings = reading.map_err(|error| Problem::internal(&error))??;
    let set = notify::SetMail { expected_version, ..settings };
    let id = mail_endpoint_id(&context.shop);
    let command = to_endpoint(&context, id, Request::SetMail(set));
    respond_or(send(&state, &context, command).await?, refusal, |answer| {
        let view = settings_view(answer.body.endpoint.clone().unwrap_or_default())?;
        let is_new = answer.body.result() == EndpointResult::Created;
        let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, [entity_tag(view.version)], Json(view)).into_response())
    })
}

/// Lists the mails.
#[utoipa::path(
    get,
    path = "/shops/{shop}/mails",
    operation_id = "list_mails",
    tag = "Mails",
    params(DeliveryPage),
    responses((status = 200, description = "A page of the mails, by number.", body = MailList)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    wanted: DeliveryPage,
) -> Result<Json<MailList>, Problem> {
    let id = mail_endpoint_id(&context.shop);
    let (deliveries, next) = page(&state, &context, &id, wanted).await?.ok_or_else(no_mails)?;
    let mails = deliveries.into_iter().map(|it| mail_view(it, None));
    let mails = mails.collect::<Result<_, _>>()?;
    Ok(Json(MailList { mails, next }))
}

/// The number of a mail, in the path.
pub(crate) struct MailPath(u64);

impl<S: Send + Sync> FromRequestParts<S> for MailPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "seq", path_seq).await.map(Self)
    }
}

/// Shows a mail with its attempts of the last 30 days; never its text or its receiver.
#[utoipa::path(
    get,
    path = "/shops/{shop}/mails/{seq}",
    operation_id = "get_mail",
    tag = "Mails",
    responses((status = 200, description = "The mail.", body = MailView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    MailPath(seq): MailPath,
) -> Result<Json<MailView>, Problem> {
    let endpoint_id = mail_endpoint_id(&context.shop);
    let question = notify::GetDelivery { endpoint_id, endpoint_seq: seq };
    let found = state.services.query(&context, question).await?.unwrap_or_default();
    let unknown = || Problem::not_found("mail", &seq.to_string());
    let delivery = found.delivery.ok_or_else(unknown)?;
    let attempts = found.attempts.into_iter().map(attempt_view).collect::<Result<_, _>>()?;
    Ok(Json(mail_view(delivery, Some(attempts))?))
}

/// Sends a mail once more.
#[utoipa::path(
    post,
    path = "/shops/{shop}/mails/{seq}/resend",
    operation_id = "resend_mail",
    tag = "Mails",
    responses((status = 202, description = "It will be sent.", body = MailResend, headers(
        ("Location" = String, description = "Where the mail is."),
    ))),
    extensions(("x-problems" = json!(["not_found", "too_many_webhooks"]))),
)]
pub(crate) async fn resend(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    MailPath(seq): MailPath,
) -> Result<Response, Problem> {
    let selection = ReplaySelection::All;
    let part = Part { from: seq, to: seq, selection, max_per_second: None };
    let id = mail_endpoint_id(&context.shop);
    let (reply, _) = start_replay(&state, &context, &id, part).await?;
    respond_or(reply, refusal, |_| {
        let location = format!("/v1/shops/{}/mails/{seq}", context.shop);
        let resend = Json(MailResend { seq });
        Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], resend).into_response())
    })
}

fn no_mails() -> Problem {
    Problem::new(Code::NotFound, "the shop sends no mails: PUT its settings at /mail first")
}

fn refusal(answer: &ChangeWebhooksAnswer) -> Problem {
    match answer.result() {
        EndpointResult::Unknown if answer.endpoint.is_some() => {
            Problem::new(Code::NotFound, "there is no such mail")
        }
        EndpointResult::Unknown => no_mails(),
        EndpointResult::TooMany => {
            let detail = "ten mails are being sent once more: wait until they are";
            Problem::new(Code::TooManyWebhooks, detail)
        }
        EndpointResult::OtherVersion => {
            let version = answer.endpoint.as_ref().map_or(0, |endpoint| endpoint.version);
            other_version("settings of mails", version)
        }
        EndpointResult::Created
        | EndpointResult::Changed
        | EndpointResult::Unchanged
        | EndpointResult::Disabled
        | EndpointResult::Exists
        | EndpointResult::Unspecified => UnknownResult.into(),
    }
}

fn settings_view(endpoint: notify::Endpoint) -> Result<MailSettingsView, ViewError> {
    let statistics: EndpointStatistics = statistics(&endpoint);
    let settings = endpoint.settings.unwrap_or_default();
    let mail = *settings.mail.unwrap_or_default();
    let template = |it: notify::MailTemplate| MailTemplateView {
        event: it.event_type,
        subject: it.subject,
        text: it.text,
        html: it.html,
    };
    Ok(MailSettingsView {
        events: settings.event_types,
        sender: SenderView { name: mail.sender_name, address: mail.sender_address },
        language: mail.language,
        templates: mail.templates.into_iter().map(template).collect(),
        version: endpoint.version,
        created_at: Timestamp::parse(endpoint.created_at.as_ref())?,
        updated_at: Timestamp::parse(endpoint.updated_at.as_ref())?,
        statistics,
        paused_until: Timestamp::parse_optional(endpoint.paused_until.as_ref())?,
    })
}

fn mail_view(
    delivery: notify::Delivery,
    attempts: Option<Vec<MailAttemptView>>,
) -> Result<MailView, ViewError> {
    Ok(MailView {
        seq: delivery.endpoint_seq,
        event_type: delivery.event_type,
        position: delivery.position,
        state: delivery.state,
        failed_attempts: delivery.failed_attempts,
        due_at: Timestamp::parse_optional(delivery.due_at.as_ref())?,
        last_error: delivery.error_class,
        last_code: Some(delivery.status).filter(|code| *code > 0),
        scheduled_at: Timestamp::parse(delivery.scheduled_at.as_ref())?,
        attempts,
    })
}

fn attempt_view(attempt: notify::Attempt) -> Result<MailAttemptView, ViewError> {
    Ok(MailAttemptView {
        number: attempt.number,
        at: Timestamp::parse(attempt.at.as_ref())?,
        latency_us: attempt.latency_us,
        code: Some(attempt.status).filter(|code| *code > 0),
        enhanced_code: attempt.response_excerpt,
        error: attempt.error_class,
        is_resend: attempt.is_replay,
        message_id: attempt.message_id,
    })
}
