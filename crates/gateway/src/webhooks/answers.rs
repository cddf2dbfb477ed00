//! Commands to endpoints, and what is responded to their answers.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use events::{
    http::webhooks::EndpointView,
    proto::{
        self, command,
        notify::{ChangeWebhooks, ChangeWebhooksAnswer, EndpointResult, change_webhooks::Request},
    },
};
use protocol::subject::Lane;

use super::view;
use crate::{
    bulk::UnknownResult,
    extract::RequestContext,
    precondition::entity_tag,
    problem::{Code, Problem},
    services::{Answer, Reply},
    state::AppState,
};

/// What a command asks of an endpoint, which must have that version if one is given.
pub(super) fn body(
    endpoint_id: String,
    request: Request,
    expected_version: Option<u64>,
) -> command::Body {
    let request = Some(request);
    command::Body::ChangeWebhooks(ChangeWebhooks { endpoint_id, request, expected_version })
}

/// A command to an endpoint.
pub(crate) fn to_endpoint(
    context: &RequestContext,
    id: String,
    request: Request,
) -> proto::Command {
    context.command(None, body(id, request, None))
}

/// Sends a command to an endpoint, and waits for its answer.
pub(crate) async fn send(
    state: &AppState,
    context: &RequestContext,
    command: proto::Command,
) -> Result<Reply<ChangeWebhooksAnswer>, Problem> {
    state.services.send(context, Lane::Live, command, state.answer_timeout).await
}

/// Responds to a command: by `shown` when it was done or was so already, and else as `refused` says.
pub(crate) fn respond_or(
    reply: Reply<ChangeWebhooksAnswer>,
    refused: impl FnOnce(&ChangeWebhooksAnswer) -> Problem,
    shown: impl FnOnce(&Answer<ChangeWebhooksAnswer>) -> Result<Response, Problem>,
) -> Result<Response, Problem> {
    let answer = match reply {
        Reply::Answered(answer) => answer,
        Reply::Pending(accepted) => return Ok(accepted.into_response()),
    };
    match answer.body.result() {
        EndpointResult::Created | EndpointResult::Changed | EndpointResult::Unchanged => {
            let response = shown(&answer)?;
            Ok(answer.mark(response))
        }
        _ => Err(refused(&answer.body)),
    }
}

/// Responds to a command to a webhook endpoint: by `shown` when it was done or was so already.
pub(super) fn respond(
    reply: Reply<ChangeWebhooksAnswer>,
    id: &str,
    shown: impl FnOnce(&Answer<ChangeWebhooksAnswer>) -> Result<Response, Problem>,
) -> Result<Response, Problem> {
    respond_or(reply, |answer| refusal(answer, id), shown)
}

fn refusal(answer: &ChangeWebhooksAnswer, id: &str) -> Problem {
    match answer.result() {
        EndpointResult::Unknown if answer.endpoint.is_some() => {
            Problem::new(Code::NotFound, "the endpoint has no such replay or delivery")
        }
        EndpointResult::Unknown => Problem::not_found("webhook endpoint", id),
        EndpointResult::OtherVersion => {
            let version = answer.endpoint.as_ref().map_or(0, |endpoint| endpoint.version);
            let detail = "the endpoint was changed meanwhile: read it and send the change again";
            Problem::new(Code::PreconditionFailed, detail).with("version", version)
        }
        EndpointResult::TooMany => {
            let detail = "a shop has 1,000 endpoints at most, and an endpoint 10 secrets and 10 \
                replays that are under way";
            Problem::new(Code::TooManyWebhooks, detail)
        }
        EndpointResult::Disabled => {
            let detail = "nothing is sent to the endpoint while it is disabled: enable it first";
            Problem::new(Code::EndpointDisabled, detail)
        }
        // The same request, after its answer was forgotten: what the endpoint has become since is not said.
        EndpointResult::Exists => {
            let detail =
                "use a new Idempotency-Key: a webhook endpoint was created with this one before";
            Problem::new(Code::IdempotencyKeyReused, detail)
        }
        EndpointResult::Created
        | EndpointResult::Changed
        | EndpointResult::Unchanged
        | EndpointResult::Unspecified => UnknownResult.into(),
    }
}

/// The endpoint as it is after a command.
pub(super) fn shown(answer: &Answer<ChangeWebhooksAnswer>) -> Result<Response, Problem> {
    let view: EndpointView = view::endpoint(answer.body.endpoint.clone().unwrap_or_default())?;
    Ok(([entity_tag(view.version)], Json(view)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_is_created_again_after_its_answer_was_forgotten_is_refused() {
        let result = EndpointResult::Exists.into();
        let answer = ChangeWebhooksAnswer { result, ..ChangeWebhooksAnswer::default() };
        assert_eq!(refusal(&answer, "we_1").code(), Code::IdempotencyKeyReused);
    }
}
