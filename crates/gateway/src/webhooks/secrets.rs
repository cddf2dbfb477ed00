//! The secrets of endpoints: made or chosen, sealed, and rotated.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use events::{
    http::webhooks::EndpointView,
    proto::notify::{self, change_webhooks::Request},
    webhooks::sealing_context,
};
use protocol::id::{ParseError, Shop};
use webhook_http::Secret;

use super::{
    EndpointPath,
    answers::{body, respond, send},
    read::{Changes, secret},
    view,
};
use crate::{
    body::JsonBytes,
    extract::RequestContext,
    fields::{self, integer, object, within},
    openapi::bodies::SecretRotation,
    precondition::{Precondition, entity_tag},
    problem::Problem,
    sealing::Sealing,
    state::AppState,
};

/// For how long the old secrets of an endpoint sign as well, unless a client says otherwise: a day.
const KEEP_OLD_SECRETS_S: u32 = 86_400;
/// The longest time for which they can: 30 days.
const MAX_KEEP_OLD_SECRETS_S: i64 = 30 * 86_400;

impl Sealing {
    /// Seals a value of an endpoint: it opens for this endpoint alone.
    pub(super) fn seal_secret(
        &self,
        shop: &Shop,
        id: &str,
        value: &str,
    ) -> Result<notify::SealedValue, Problem> {
        let (key_name, ciphertext) =
            self.seal_value(&sealing_context(shop, id), value.as_bytes())?;
        Ok(notify::SealedValue { key_name, ciphertext })
    }

    /// Seals the values of headers.
    pub(super) fn seal_headers(
        &self,
        shop: &Shop,
        id: &str,
        headers: &[(String, String)],
    ) -> Result<Vec<notify::Header>, Problem> {
        let sealed = headers.iter().map(|(name, value)| {
            let value = Some(self.seal_secret(shop, id, value)?);
            Ok(notify::Header { name: name.clone(), value })
        });
        sealed.collect()
    }
}

/// Gives a webhook endpoint a new secret.
///
/// The answer has it, this once. The secrets before it sign as well for a while.
#[utoipa::path(
    post,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}/rotate-secret",
    operation_id = "rotate_webhook_secret",
    tag = "Webhooks",
    params(("If-Match" = Option<String>, Header, pattern = "^(\\*|\"[0-9]{1,18}\")$",
        description = "Only if the endpoint has the version of this `ETag`.")),
    request_body = SecretRotation,
    responses((status = 200, description = "The endpoint with its new secret.", body = EndpointView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`."),
    ))),
    extensions(("x-problems" = json!(["not_found", "too_many_webhooks", "precondition_failed", "no_person_keys"]))),
)]
pub(crate) async fn rotate_secret(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let expected = Precondition::version(&headers)?;
    let (chosen, keep_old_s) = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| {
            let chosen = fields.optional("secret", secret);
            Some((chosen, fields.optional("keep_old_s", integer(keep_old_s))))
        })
    })?;
    let keep_old_s = keep_old_s.unwrap_or(KEEP_OLD_SECRETS_S);
    let secret = chosen_or_new(chosen.as_deref())?;
    let public_key = secret.public_key().unwrap_or_default();
    let rotate = |secret| {
        let public_key = public_key.clone();
        Request::RotateSecret(notify::RotateSecret { secret, keep_old_s, public_key })
    };
    let mut command = context.command(None, body(id.clone(), rotate(None), expected));
    if let Some(chosen) = &chosen {
        state.sealing.fingerprint(&mut command, chosen.expose().as_bytes()).await?;
    }
    let sealed = state.sealing.seal_secret(&context.shop, &id, secret.expose())?;
    command.body = Some(body(id.clone(), rotate(Some(sealed)), expected));
    respond(send(&state, &context, command).await?, &id, |answer| {
        let mut view = view::endpoint(answer.body.endpoint.clone().unwrap_or_default())?;
        view.secret = (!answer.replayed).then(|| secret.expose().to_owned());
        Ok(([entity_tag(view.version)], Json(view)).into_response())
    })
}

/// The secret that a client chose, or a new one.
pub(super) fn chosen_or_new(chosen: Option<&Secret>) -> Result<Secret, Problem> {
    match chosen {
        Some(chosen) => Ok(chosen.clone()),
        None => Secret::generate().map_err(|error| Problem::internal(&error)),
    }
}

fn keep_old_s(seconds: i64) -> Result<u32, ParseError> {
    let rule = "must be 0 to 2592000 seconds; 0 revokes the old secrets now";
    within("keep_old_s", rule, 0..=MAX_KEEP_OLD_SECRETS_S, seconds).map(|it| it as u32)
}

impl Changes {
    /// What of a request is not in its command in the clear, for its fingerprint.
    pub(super) fn hidden(&self, secret: Option<&Secret>) -> Vec<u8> {
        let mut hidden = secret.map(|it| it.expose().as_bytes().to_vec()).unwrap_or_default();
        for (name, value) in self.headers.iter().flatten() {
            // Neither can hold a line break.
            hidden.extend(format!("\n{name}:{value}").bytes());
        }
        hidden
    }
}
