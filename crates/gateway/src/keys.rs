//! `/v1/keys`: the API keys that the installation has made.
//!
//! The secret of a key is made here, and shown in one answer; what enters the inbox is what it is checked
//! by ([`key_text`]). Who may not do something itself gives no key that may: see
//! [`Caller::may_manage`].

mod read;
mod view;

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, Request, State},
    http::{StatusCode, Uri, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use data_encoding::HEXLOWER;
use engine::Aggregate;
use events::{
    answers::CommandAnswer,
    http::keys::{KeyHistory, KeyList, KeyView, NewKeyView},
    proto::{
        self,
        command::Body,
        shop::{
            AddKey, AddKeyAnswer, GetKey, GetShop, Key, KeyResult, KeySettings, ListKeys,
            RevokeKey, RevokeKeyAnswer, RotateKey, RotateKeyAnswer,
        },
    },
    shop::MAX_REASON_LENGTH,
};
use futures::future::try_join_all;
use protocol::{
    id::{ParseError, Shop},
    subject::Lane,
    time::Timestamp,
};
use secrecy::ExposeSecret;
use utoipa::IntoParams;

use self::read::{keep_old_s, new_key};
use crate::{
    api_key::{Caller, Scope},
    body::JsonBytes,
    cursors::List,
    extract::{DEFAULT_PAGE_LENGTH, RequestContext, page_length, path_parameter, query},
    fields::{self, Path, code, integer, object, text, words},
    history,
    key_text::{self, NewKey},
    openapi::bodies,
    problem::{Code, FieldError, Problem},
    services::{Answer, AnswerError, Reply},
    state::AppState,
};

/// For how long the old secret of a key is accepted, unless a client says otherwise: a day.
const KEEP_OLD_S: u32 = 86_400;
/// What is said to the one who gets a secret, and to those who get none.
const SHOWN_ONCE: &str = "store the secret now: it is shown in this answer alone";
const NOT_SHOWN: &str = "the secret was shown in the first answer to this Idempotency-Key, and is not shown \
    again: if it is lost, rotate the key to get another one";

/// What is asked of keys is asked of no shop.
pub(crate) async fn of_installation(mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Shop::installation());
    next.run(request).await
}

/// A key's id in the path.
pub(crate) struct KeyPath(String);

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "key_id", key_id).await.map(Self)
    }
}

fn key_id(text: &str) -> Result<String, ParseError> {
    let error = || ParseError::new("key_id", "must be 16 characters of 0-9 and a-v", text);
    key_text::is_id(text).then(|| text.to_owned()).ok_or_else(error)
}

impl Caller {
    /// Whether the caller may see a key: one for shops that its own is for.
    pub(crate) fn may_see(&self, settings: &KeySettings) -> bool {
        match settings.shops.as_slice() {
            [] => self.is_for(""),
            shops => shops.iter().all(|shop| self.is_for(shop)),
        }
    }

    /// Whether the caller may make, rotate or revoke such a key: one that allows nothing which its own
    /// does not.
    fn may_manage(&self, settings: &KeySettings) -> bool {
        let mut scopes = settings.scopes.iter().map(|scope| Scope::parse(scope));
        self.may_see(settings) && scopes.all(|scope| scope.is_some_and(|scope| self.may(scope)))
    }

    /// Refuses to manage a key that allows what the caller's own does not.
    fn require_management(&self, settings: &KeySettings) -> Result<(), Problem> {
        if self.may_manage(settings) {
            return Ok(());
        }
        let detail =
            "an API key manages only keys for its own shops, with scopes that it has itself";
        Err(Problem::new(Code::Forbidden, detail))
    }

    /// Refuses to make a secret of a key that ends later than the caller's own key or token.
    fn require_end(&self, settings: &KeySettings) -> Result<(), Problem> {
        let end = settings.expires_at.as_ref();
        let end = end.map(|at| Timestamp::parse(Some(at))).transpose();
        if self.lasts_until(end.map_err(|error| Problem::internal(&error))?) {
            return Ok(());
        }
        let detail = "expires_at must be no later than the end of the API key or token that makes the secret: name \
            an earlier one, or use an API key that lasts longer";
        let error = FieldError::of_member("expires_at", detail);
        Err(Problem::new(Code::Forbidden, detail).naming(vec![error]))
    }
}

/// Adds an API key.
///
/// Its secret is in this answer alone; the answer to a repeated request has none. A key is for the shops that it names
/// or for all, and gives nothing that the caller's own does not, nor for longer.
#[utoipa::path(
    post,
    path = "/keys",
    operation_id = "add_key",
    tag = "API keys",
    request_body = bodies::NewKey,
    responses((status = 201, description = "The key is new.", body = NewKeyView, headers(
        ("Location" = String, description = "Where it is."),
    ))),
    extensions(("x-problems" = json!(["no_person_keys"]))),
)]
pub(crate) async fn post(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let settings = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| new_key(fields, now))
    })?;
    context.caller.require_management(&settings)?;
    context.caller.require_end(&settings)?;
    require_shops(&state, &settings.shops).await?;
    let add =
        |key_id, digest| Body::AddKey(AddKey { key_id, settings: Some(settings.clone()), digest });
    // Of the command without its secret: the same request is the same command.
    let mut command = context.command(None, add(String::new(), String::new()));
    let id = key_text::id_of_command(&command.id);
    let new = NewKey::generate(&state.sealing, &id).await?;
    command.body = Some(add(id.clone(), HEXLOWER.encode(&new.digest)));
    let answer: Answer<AddKeyAnswer> = match send(&state, &context, &id, command).await? {
        Ok(answer) => answer,
        Err(accepted) => return Ok(accepted),
    };
    let result = answer.body.result();
    let key = changed(result, answer.body.key.clone(), &id)?;
    let view = with_secret(&answer, view::key(key, now)?, &new);
    let location = [(header::LOCATION, format!("/v1/keys/{id}"))];
    Ok(answer.mark((StatusCode::CREATED, location, Json(view))))
}

/// The part of the API keys that a client asks for, as it is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct KeyPage {
    /// The `next` of the page before; without it, the first page.
    after: Option<String>,
    /// The most keys of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Lists the API keys.
///
/// Those of other shops than the caller's key is for are left out: a page may be shorter than `limit` though others follow.
#[utoipa::path(
    get,
    path = "/keys",
    operation_id = "list_keys",
    tag = "API keys",
    params(KeyPage),
    responses((status = 200, description = "A page of the keys, by id.", body = KeyList)),
)]
pub(crate) async fn list_all(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<KeyList>, Problem> {
    let list = List::of(&context.shop, ListKeys::default());
    let (after, limit) = query(&uri, |fields| {
        let after = fields.optional("after", code(|text| list.name(text, key_id)));
        let limit = fields.optional("limit", text(page_length));
        Some((after.unwrap_or_default(), limit.unwrap_or(DEFAULT_PAGE_LENGTH)))
    })?;
    let found = state.services.query_all(&context, ListKeys { after, limit }).await?;
    let next = found.keys.last().filter(|_| found.has_more).map(|key| list.cursor(&key.id));
    let is_seen = |key: &Key| key.settings.as_ref().is_some_and(|it| context.caller.may_see(it));
    let now = state.clock.now();
    let keys = found.keys.into_iter().filter(is_seen).map(|key| view::key(key, now));
    Ok(Json(KeyList { keys: keys.collect::<Result<_, _>>()?, next }))
}

/// Shows an API key; never its secret.
#[utoipa::path(
    get,
    path = "/keys/{key_id}",
    operation_id = "get_key",
    tag = "API keys",
    responses((status = 200, description = "The key, with when it was used last.", body = KeyView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    KeyPath(id): KeyPath,
) -> Result<Json<KeyView>, Problem> {
    let key = find(&state, &context, &id).await?;
    Ok(Json(view::key(key, state.clock.now())?))
}

/// Gives an API key another secret.
///
/// It is in this answer alone. The secret that the key has is accepted for a time as well, and one before that no more.
#[utoipa::path(
    post,
    path = "/keys/{key_id}/rotate",
    operation_id = "rotate_key",
    tag = "API keys",
    request_body = bodies::KeyRotation,
    responses((status = 200, description = "The key, with its new secret.", body = NewKeyView)),
    extensions(("x-problems" = json!(["not_found", "key_ended", "no_person_keys"]))),
)]
pub(crate) async fn rotate(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    KeyPath(id): KeyPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let keep_old_seconds = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| {
            Some(fields.optional("keep_old_s", integer(keep_old_s)).unwrap_or(KEEP_OLD_S))
        })
    })?;
    let settings = find(&state, &context, &id).await?.settings.unwrap_or_default();
    context.caller.require_management(&settings)?;
    context.caller.require_end(&settings)?;
    let rotate =
        |digest| Body::RotateKey(RotateKey { key_id: id.clone(), digest, keep_old_seconds });
    let mut command = context.command(None, rotate(String::new()));
    let new = NewKey::generate(&state.sealing, &id).await?;
    command.body = Some(rotate(HEXLOWER.encode(&new.digest)));
    let answer: Answer<RotateKeyAnswer> = match send(&state, &context, &id, command).await? {
        Ok(answer) => answer,
        Err(accepted) => return Ok(accepted),
    };
    let key = changed(answer.body.result(), answer.body.key.clone(), &id)?;
    let view = with_secret(&answer, view::key(key, state.clock.now())?, &new);
    Ok(answer.mark(Json(view)))
}

/// Revokes an API key, for good.
#[utoipa::path(
    post,
    path = "/keys/{key_id}/revoke",
    operation_id = "revoke_key",
    tag = "API keys",
    request_body = bodies::KeyRevocation,
    responses((status = 200, description = "The key, which is refused from now on: by all gateways within 5 seconds.",
        body = KeyView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn revoke(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    KeyPath(id): KeyPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let rule = "must be 1 to 500 characters without control characters";
    let reason = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| {
            let reason = text(|reason| words("reason", rule, MAX_REASON_LENGTH, reason));
            Some(fields.optional("reason", reason))
        })
    })?;
    let known = find(&state, &context, &id).await?;
    context.caller.require_management(&known.settings.unwrap_or_default())?;
    let revoke = RevokeKey { key_id: id.clone(), reason };
    let command = context.command(None, Body::RevokeKey(revoke));
    let answer: Answer<RevokeKeyAnswer> = match send(&state, &context, &id, command).await? {
        Ok(answer) => answer,
        Err(accepted) => return Ok(accepted),
    };
    let key = changed(answer.body.result(), answer.body.key.clone(), &id)?;
    Ok(answer.mark(Json(view::key(key, state.clock.now())?)))
}

/// The part of the history of a key that a client asks for, as it is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct KeyHistoryPage {
    /// The `next` of the page before; without it, the newest events.
    after: Option<String>,
    /// The most events of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Shows what happened to an API key, and who asked for it.
#[utoipa::path(
    get,
    path = "/keys/{key_id}/history",
    operation_id = "get_key_history",
    tag = "API keys",
    params(KeyHistoryPage),
    responses((status = 200, description = "Its events, the newest first.", body = KeyHistory)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn history(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    KeyPath(id): KeyPath,
    uri: Uri,
) -> Result<Json<KeyHistory>, Problem> {
    let key = Aggregate::new("key", &id);
    let list = history::list_of(&context.shop, &key);
    let page = query(&uri, |fields| {
        let before = fields.optional("after", code(|text| list.place::<u64>(text)));
        let limit = fields.optional("limit", text(page_length));
        Some((before.unwrap_or_default(), limit.unwrap_or(DEFAULT_PAGE_LENGTH)))
    })?;
    find(&state, &context, &id).await?;
    let found = state.services.history(&context, "shop", &key, page).await?;
    let (events, next) = found.ok_or_else(|| unknown(&id))?;
    let events = events.iter().map(|event| view::event(event)).collect::<Result<_, _>>()?;
    Ok(Json(KeyHistory { events, next: (next > 0).then(|| list.cursor(&next)) }))
}

/// Refuses names of shops that there are not: a key for one of those would be a mistake.
async fn require_shops(state: &AppState, shops: &[String]) -> Result<(), Problem> {
    let found = shops.iter().enumerate().map(async |(number, name)| {
        let Ok(shop) = Shop::parse(name) else { return Ok(Some((number, name))) };
        let found = state.services.ask(&shop, GetShop {}, 0).await?;
        Ok::<_, Problem>(found.is_none().then_some((number, name)))
    });
    let missing = try_join_all(found).await?.into_iter().flatten().map(|(number, name)| {
        let detail = format!("there is no shop {name}: create it first, or correct its name");
        FieldError::at(&Path::Item(&Path::Member(&Path::BODY, "shops"), number), detail)
    });
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() { Ok(()) } else { Err(Problem::fields(missing)) }
}

/// The key, if the caller may see it.
async fn find(state: &AppState, context: &RequestContext, id: &str) -> Result<Key, Problem> {
    let found = state.services.query(context, GetKey { key_id: id.to_owned() }).await?;
    let is_seen = |key: &Key| key.settings.as_ref().is_some_and(|it| context.caller.may_see(it));
    found.filter(is_seen).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no API key {id} that this one may see"))
}

/// Sends a command about a key: its answer, or the response where none came in time.
async fn send<A: CommandAnswer>(
    state: &AppState,
    context: &RequestContext,
    id: &str,
    command: proto::Command,
) -> Result<Result<Answer<A>, Response>, Problem> {
    let sent = state.services.send(context, Lane::Live, command, state.answer_timeout).await;
    // Here, what has changed holds at once.
    state.managed_keys.forget(id);
    Ok(match sent? {
        Reply::Answered(answer) => Ok(answer),
        Reply::Pending(accepted) => Err(accepted.of_key(id.to_owned()).into_response()),
    })
}

/// The key after a command that was carried out, or was so before.
fn changed(result: KeyResult, key: Option<Key>, id: &str) -> Result<Key, Problem> {
    match result {
        KeyResult::Added | KeyResult::Changed | KeyResult::Unchanged => {
            key.ok_or_else(|| AnswerError::Unknown.into())
        }
        KeyResult::Exists => {
            let detail = "use a new Idempotency-Key: an API key was added with this one before";
            Err(Problem::new(Code::IdempotencyKeyReused, detail))
        }
        KeyResult::Unknown => Err(unknown(id)),
        KeyResult::Ended => {
            let detail = "the API key was revoked or has expired: add another one";
            Err(Problem::new(Code::KeyEnded, detail))
        }
        KeyResult::Unspecified => Err(AnswerError::Unknown.into()),
    }
}

/// The key, and its secret unless the request was answered before: then that is another one.
fn with_secret<A>(answer: &Answer<A>, key: KeyView, new: &NewKey) -> NewKeyView {
    let secret = (!answer.replayed).then(|| new.text.expose_secret().to_owned());
    let notice = if answer.replayed { NOT_SHOWN } else { SHOWN_ONCE };
    NewKeyView { key, secret, notice: notice.to_owned() }
}
