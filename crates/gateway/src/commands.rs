//! `GET /v1/shops/{shop}/commands/{command_id}`, and `GET /v1/keys/commands/{command_id}` for those about API keys:
//! what has become of a command that was not answered in time, or whose response was lost.

use std::{slice, sync::Arc};

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{Uri, request::Parts},
};
use engine::CommandState;
use events::{
    answers::is_refusal,
    json,
    names::COMMANDED_SERVICES,
    proto::{self, answer_body, shop::KeySettings},
    webhooks::is_mail_endpoint,
};
use futures::future::join_all;
use prost::Message;
use protocol::{
    id::{CommandId, ParseError},
    proto::Reply,
};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::{
    api_key::Scope,
    extract::{RequestContext, path_parameter, query},
    fields::code,
    openapi::messages::Answer,
    problem::{FieldError, Problem},
    state::AppState,
};

/// What has become of a command.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Command)]
pub(crate) struct CommandView {
    /// Its id.
    command_id: String,
    /// The service that it is for.
    service: &'static str,
    /// What has become of it.
    status: CommandStatus,
    /// What the service answered: `tradewind.events.v1.AnswerBody` as protobuf JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Answer>)]
    answer: Option<Value>,
    /// Why it is parked, or was dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// How far a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CommandStatus {
    /// It is in the inbox, and is handled in its turn.
    Stored,
    /// It could not be handled, and waits for an operator.
    Parked,
    /// It could not be handled, and an operator dropped it: nothing has changed. Sent again, it is decided on.
    Dropped,
    /// It was handled.
    Answered,
    /// It was handled, and what it asked for was refused: nothing has changed.
    Refused,
}

/// Which service is asked, as it is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct CommandQuery {
    /// The service that the command is for, as `command_url` names it. A key that was used for requests to several
    /// services is the id of a command of each; without `service`, such an id is refused.
    service: Option<String>,
}

/// A command's id in the path.
pub(crate) struct CommandPath(CommandId);

impl<S: Send + Sync> FromRequestParts<S> for CommandPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "command_id", CommandId::parse).await.map(Self)
    }
}

/// Shows what has become of a command.
///
/// The id of a command is in the answer 202, and in a 503 after which it may be stored all the same. That of a request
/// with an `Idempotency-Key` follows from shop and key: it is the UUID version 5 of `tradewind:<shop>:<key>` in the
/// namespace of URLs (RFC 9562). A key without the scope `read` follows the commands of services that it may write to. A
/// command whose answer shows a webhook endpoint is shown to keys with the scope `webhooks` alone. It is answered also
/// while the shop is suspended.
#[utoipa::path(
    get,
    path = "/shops/{shop}/commands/{command_id}",
    operation_id = "get_command",
    tag = "Commands",
    params(CommandQuery),
    responses((status = 200, description = "What has become of it.", body = CommandView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    CommandPath(id): CommandPath,
    uri: Uri,
) -> Result<Json<CommandView>, Problem> {
    let service = query(&uri, |fields| Some(fields.optional("service", code(service))))?;
    state.shops.find(&state.services, &context.shop, context.seen.of_service("shop")).await?;
    let asked = service.as_ref().map_or(&COMMANDED_SERVICES[..], slice::from_ref);
    let shown: Vec<_> = asked.iter().copied().filter(|it| may_follow(&context, it)).collect();
    if let (Some(service), []) = (service, &*shown) {
        let scopes: Vec<_> = writing_scopes(service).iter().map(|it| it.as_str()).collect();
        let what = format!("the API key does not allow to follow a command of {service}");
        return Err(Problem::missing_scope(&[&["read"], &*scopes].concat(), &what));
    }
    let (service, found) = find(&state, &context, &id, &shown).await?;
    if let CommandState::Answered(reply) = &found
        && shows_endpoint(reply)
        && !context.may(Scope::Webhooks)
    {
        return Err(Problem::not_found("command", &id.to_string()));
    }
    Ok(Json(view(id.to_string(), service, found)?))
}

/// Shows what has become of a command about an API key. A secret that it made is not shown.
#[utoipa::path(
    get,
    path = "/keys/commands/{command_id}",
    operation_id = "get_key_command",
    tag = "API keys",
    responses((status = 200, description = "What has become of it.", body = CommandView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get_of_key(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    CommandPath(id): CommandPath,
) -> Result<Json<CommandView>, Problem> {
    let (service, found) = find(&state, &context, &id, &["shop"]).await?;
    if let CommandState::Answered(reply) = &found
        && let Some(settings) = key_settings(reply)
        && !context.caller.may_see(&settings)
    {
        return Err(Problem::not_found("command", &id.to_string()));
    }
    Ok(Json(view(id.to_string(), service, found)?))
}

/// Whether the caller may follow the commands of a service: it may read, or write there itself.
fn may_follow(context: &RequestContext, service: &str) -> bool {
    context.may(Scope::Read) || writing_scopes(service).iter().any(|scope| context.may(*scope))
}

/// The scopes with which requests lead to commands of a service.
fn writing_scopes(service: &str) -> &'static [Scope] {
    match service {
        "catalog" => &[Scope::Erp],
        "inventory" => &[Scope::Erp, Scope::Fulfilment],
        "order" => &[Scope::Orders],
        "payment" => &[Scope::Orders, Scope::Admin],
        // Mails are sent anew by those who place orders, and set up by administrators.
        "notify" => &[Scope::Webhooks, Scope::Orders, Scope::Admin],
        _ => &[Scope::Admin],
    }
}

/// Whether an answer shows a webhook endpoint, whose URL may be a secret. The settings of mails are none.
fn shows_endpoint(reply: &Reply) -> bool {
    let answer = proto::AnswerBody::decode(&*reply.body).ok().and_then(|body| body.answer);
    let Some(answer_body::Answer::ChangeWebhooks(answer)) = answer else { return false };
    answer.endpoint.is_some_and(|endpoint| !is_mail_endpoint(&endpoint.id))
}

/// What the key of an answer is for.
fn key_settings(reply: &Reply) -> Option<KeySettings> {
    let key = match proto::AnswerBody::decode(&*reply.body).ok()?.answer? {
        answer_body::Answer::AddKey(answer) => answer.key,
        answer_body::Answer::RotateKey(answer) => answer.key,
        answer_body::Answer::RevokeKey(answer) => answer.key,
        _ => None,
    };
    key?.settings
}

/// A service that takes commands.
fn service(text: &str) -> Result<&'static str, ParseError> {
    let known = COMMANDED_SERVICES.into_iter().find(|service| *service == text);
    let rule = "must be catalog, inventory, notify, order, payment or shop";
    known.ok_or_else(|| ParseError::new("service", rule, text))
}

/// The service of these that a command is for, and what has become of it. The answer reflects the log of each
/// service at least as far as the client of the request has seen it.
async fn find(
    state: &AppState,
    context: &RequestContext,
    id: &CommandId,
    services: &[&'static str],
) -> Result<(&'static str, CommandState), Problem> {
    let (client, id) = (state.services.client(), id.to_string());
    let asked = services.iter().map(|service| {
        let (client, id, shop) = (&client, &id, &context.shop);
        let at_least = context.seen.of_service(service);
        async move { (*service, client.command_state(service, shop, id, at_least).await) }
    });
    let (mut known, mut silent) = (Vec::new(), None);
    for (service, state) in join_all(asked).await {
        match state {
            Ok(Some(found)) => known.push((service, found)),
            Ok(None) => {}
            Err(error) => silent = Some(error),
        }
    }
    if known.len() > 1 {
        let names: Vec<_> = known.iter().map(|(service, _)| *service).collect();
        let detail = format!("several commands have this id: name one of {}", names.join(", "));
        return Err(Problem::fields(vec![FieldError::named("service", detail)]));
    }
    // The one that knows it answers for all: a service that is not run says nothing of the others' commands.
    match (known.pop(), silent) {
        (Some(found), _) => Ok(found),
        (None, Some(error)) => Err(Problem::unavailable(&error)),
        (None, None) => Err(Problem::not_found("command", &id)),
    }
}

fn view(
    command_id: String,
    service: &'static str,
    state: CommandState,
) -> Result<CommandView, Problem> {
    let of = |status| CommandView { command_id, service, status, answer: None, reason: None };
    Ok(match state {
        CommandState::Stored => of(CommandStatus::Stored),
        CommandState::Parked { reason } => {
            CommandView { reason: Some(reason), ..of(CommandStatus::Parked) }
        }
        CommandState::Dropped { reason } => {
            CommandView { reason: Some(reason), ..of(CommandStatus::Dropped) }
        }
        CommandState::Answered(Reply { body, .. }) => {
            let unreadable = |error: &dyn std::error::Error| Problem::internal(error);
            let decoded = proto::AnswerBody::decode(&*body).map_err(|error| unreadable(&error))?;
            let is_refused = decoded.answer.as_ref().is_some_and(is_refusal);
            let mut answer = json::to_json("tradewind.events.v1.AnswerBody", &body)
                .map_err(|error| unreadable(&error))?;
            remove_sealed(&mut answer);
            let status = if is_refused { CommandStatus::Refused } else { CommandStatus::Answered };
            CommandView { answer: Some(answer), ..of(status) }
        }
    })
}

/// Removes what is sealed from an answer: nobody outside can open it.
fn remove_sealed(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| member.get("ciphertext").is_none());
            members.values_mut().for_each(remove_sealed);
        }
        Value::Array(items) => {
            items.retain(|item| item.get("ciphertext").is_none());
            items.iter_mut().for_each(remove_sealed);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_sealed_is_not_shown() {
        let sealed = json!({"keyName": "k", "ciphertext": "AQID"});
        let mut value = json!({"endpoint": {"id": "we_1", "secrets": [sealed], "secret": sealed}});
        remove_sealed(&mut value);
        assert_eq!(value, json!({"endpoint": {"id": "we_1", "secrets": []}}));
    }
}
