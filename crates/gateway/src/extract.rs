//! What is read from a request apart from its body: the shop, the SKU or the order in its path, the
//! idempotency key, how long the client waits.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{
        FromRequestParts, OriginalUri, Query, RawPathParams, path::ErrorKind,
        rejection::PathRejection,
    },
    http::{HeaderMap, HeaderName, Uri, request::Parts},
};
use events::{
    http::{LevelView, MovementView},
    id::{Location, OrderId, Sku},
    proto,
};
use protocol::{
    id::{CommandId, ParseError, Shop, hex},
    proto::Actor,
    time::Timestamp,
};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::Span;

use crate::{
    fields::{Errors, Fields, Path, object, text},
    json::Node,
    position::SeenPositions,
    problem::{Code, FieldError, Problem},
    services::Page,
    state::AppState,
    trace::{TraceContext, new_id},
};

/// The longest idempotency key, in characters.
const MAX_IDEMPOTENCY_KEY_LENGTH: usize = 255;
/// The longest wait that a client can ask for with `Prefer: wait`.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// The length of a page when the client names none.
pub(crate) const DEFAULT_PAGE_LENGTH: u32 = 100;
/// The longest page.
const MAX_PAGE_LENGTH: u32 = 1000;

/// The id of the one API key that an installation has.
const API_KEY_ID: &str = "default";

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static PREFER: HeaderName = HeaderName::from_static("prefer");

/// What a request below a shop has in common with all others.
#[derive(Debug)]
pub(crate) struct RequestContext {
    /// The shop that it is about.
    pub(crate) shop: Shop,
    /// How much of the services' logs its client has seen.
    pub(crate) seen: SeenPositions,
    /// How long the client waits for the order that it places to be paid or cancelled.
    pub(crate) wait: Option<Duration>,
    /// When its head had been read.
    pub(crate) received: Instant,
    /// The same by the clock, for the commands.
    time: Timestamp,
    trace: TraceContext,
    idempotency_key: Option<String>,
    /// The digest of the method and the path; the fingerprint of a command adds its body.
    digest: Sha256,
}

impl FromRequestParts<Arc<AppState>> for RequestContext {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<AppState>) -> Result<Self, Problem> {
        let shop = path_parameter(parts, state, "shop", Shop::parse).await?;
        Span::current().record("shop.name", shop.as_str());
        let path = parts.extensions.get().map_or(&parts.uri, |OriginalUri(uri)| uri).path();
        let digest = Sha256::new()
            .chain_update(parts.method.as_str())
            .chain_update("\n")
            .chain_update(path)
            .chain_update("\n");
        let seen: SeenPositions = parts.extensions.get().cloned().unwrap_or_default();
        seen.check(|| state.services.partition(&shop))?;
        let trace = parts.extensions.get::<TraceContext>().cloned();
        Ok(Self {
            shop,
            seen,
            wait: prefer_wait(&parts.headers),
            received: Instant::now(),
            time: state.clock.now(),
            trace: trace.unwrap_or_default(),
            idempotency_key: idempotency_key(&parts.headers)?,
            digest,
        })
    }
}

impl RequestContext {
    /// The command for `bytes` of the body. `part` numbers the commands of a request that leads to
    /// several, and is `None` for the only one.
    pub(crate) fn command(
        &self,
        part: Option<usize>,
        bytes: &[u8],
        body: proto::command::Body,
    ) -> proto::Command {
        let id = match (&self.idempotency_key, part) {
            (None, _) => CommandId(new_id()),
            (Some(key), None) => CommandId::from_key(&self.shop, key),
            (Some(key), Some(part)) => CommandId::from_key(&self.shop, &format!("{key}/{part}")),
        };
        proto::Command {
            id: id.to_string(),
            shop: self.shop.to_string(),
            time: Some(self.time.into()),
            fingerprint: hex(&self.digest.clone().chain_update(bytes).finalize()),
            traceparent: self.trace.traceparent.clone(),
            tracestate: self.trace.tracestate.clone(),
            actor: Some(Actor { kind: "api_key".to_owned(), id: API_KEY_ID.to_owned() }),
            after: self.seen.by_service(),
            body: Some(body),
        }
    }

    /// Whether the request has an idempotency key.
    pub(crate) fn is_keyed(&self) -> bool {
        self.idempotency_key.is_some()
    }
}

/// A SKU in the path.
pub(crate) struct SkuPath(pub(crate) Sku);

impl<S: Send + Sync> FromRequestParts<S> for SkuPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "sku", Sku::parse).await.map(Self)
    }
}

/// A location's code in the path.
pub(crate) struct LocationPath(pub(crate) Location);

impl<S: Send + Sync> FromRequestParts<S> for LocationPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "code", Location::parse).await.map(Self)
    }
}

/// An order's id in the path.
pub(crate) struct OrderPath(pub(crate) OrderId);

impl<S: Send + Sync> FromRequestParts<S> for OrderPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "id", OrderId::parse).await.map(Self)
    }
}

pub(crate) async fn path_parameter<T, S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, ParseError>,
) -> Result<T, Problem> {
    let wrong = |name: &str, detail: String| {
        Problem::fields(vec![FieldError { field: name.to_owned(), detail }])
    };
    let Ok(parameters) = RawPathParams::from_request_parts(parts, state).await else {
        let broken = broken_parameter(parts, state).await;
        let name = broken.as_deref().unwrap_or(name);
        return Err(wrong(name, format!("the percent-encoding of {name} must be that of UTF-8")));
    };
    let value = parameters.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value);
    parse(value).map_err(|error| wrong(name, error.to_string()))
}

/// The parameter of the path that does not decode: axum rejects all of them together.
async fn broken_parameter<S: Send + Sync>(parts: &mut Parts, state: &S) -> Option<String> {
    let all = axum::extract::Path::<Vec<(String, String)>>::from_request_parts(parts, state).await;
    let Err(PathRejection::FailedToDeserializePathParams(error)) = all else { return None };
    match error.into_kind() {
        ErrorKind::InvalidUtf8InPathParam { key } => Some(key),
        _ => None,
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        query(&parts.uri, |fields| {
            let after = fields.optional("after", text(Sku::parse));
            let limit = fields.optional("limit", text(page_length));
            Some(Self {
                after: after.map(String::from).unwrap_or_default(),
                limit: limit.unwrap_or(DEFAULT_PAGE_LENGTH),
            })
        })
    }
}

/// Reads the length of a page.
pub(crate) fn page_length(text: &str) -> Result<u32, ParseError> {
    let error = || ParseError::new("limit", "must be 1 to 1000", text);
    text.parse().ok().filter(|limit| (1..=MAX_PAGE_LENGTH).contains(limit)).ok_or_else(error)
}

/// The part of the stock levels that a client asks for: `after` is what `next` of the page before says,
/// `<sku>@<location>`.
#[derive(Debug)]
pub(crate) struct LevelPage {
    /// The SKU of the last level of the page before; empty for the first page.
    pub(crate) after: String,
    /// Its location.
    pub(crate) after_location: String,
    pub(crate) limit: u32,
}

impl LevelPage {
    /// What the next page begins after, when there may be one.
    pub(crate) fn next(&self, levels: &[LevelView]) -> Option<String> {
        let is_full = levels.len() >= self.limit as usize;
        let last = levels.last().filter(|_| is_full)?;
        Some(format!("{}@{}", last.sku, last.location))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for LevelPage {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        query(&parts.uri, |fields| {
            let after = fields.optional("after", text(level_cursor));
            let limit = fields.optional("limit", text(page_length));
            let (after, after_location) = after.unwrap_or_default();
            let limit = limit.unwrap_or(DEFAULT_PAGE_LENGTH);
            Some(Self { after, after_location, limit })
        })
    }
}

/// The part of the movements of a SKU that a client asks for.
#[derive(Debug)]
pub(crate) struct MovementPage {
    pub(crate) location: Location,
    /// What `next` of the page before says; 0 for the first page.
    pub(crate) before: u64,
    pub(crate) limit: u32,
}

impl MovementPage {
    /// The version before which the next page begins, when there may be one.
    pub(crate) fn next(&self, movements: &[MovementView]) -> Option<u64> {
        let is_full = movements.len() >= self.limit as usize;
        movements.last().filter(|_| is_full).map(|last| last.version)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MovementPage {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        query(&parts.uri, |fields| {
            let location = fields.optional("location", text(Location::parse));
            let before = fields.optional("before", text(version));
            let limit = fields.optional("limit", text(page_length));
            Some(Self {
                location: location.unwrap_or_else(Location::main),
                before: before.unwrap_or_default(),
                limit: limit.unwrap_or(DEFAULT_PAGE_LENGTH),
            })
        })
    }
}

fn version(text: &str) -> Result<u64, ParseError> {
    let error = |_| ParseError::new("before", "must be the `next` of the page before", text);
    text.parse().map_err(error)
}

/// A SKU, and a location of it.
fn level_cursor(text: &str) -> Result<(String, String), ParseError> {
    let error = || ParseError::new("after", "must be the `next` of the page before", text);
    let (sku, location) = text.rsplit_once('@').ok_or_else(error)?;
    let (sku, location) = (Sku::parse(sku), Location::parse(location));
    Ok((sku.map_err(|_| error())?.into(), location.map_err(|_| error())?.into()))
}

/// Reads the parameters of a query, like the text fields of a body.
pub(crate) fn query<T>(
    uri: &Uri,
    read: impl FnOnce(&mut Fields<'_, '_>) -> Option<T>,
) -> Result<T, Problem> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let Query(pairs) = pairs.map_err(|error| {
        let detail = error.to_string();
        Problem::fields(vec![FieldError { field: String::new(), detail }])
    })?;
    let text = |(name, value): (String, String)| (name.into(), Node::Text(value.into()));
    let node = Node::Object(pairs.into_iter().map(text).collect());
    let mut errors = Errors::default();
    let value = object(&node, &Path::Root("the query"), &mut errors, read);
    errors.check(value).map_err(Problem::fields)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(&IDEMPOTENCY_KEY) else { return Ok(None) };
    let is_key = |key: &&str| {
        (1..=MAX_IDEMPOTENCY_KEY_LENGTH).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_graphic())
    };
    if let Some(key) = value.to_str().ok().filter(is_key) {
        return Ok(Some(key.to_owned()));
    }
    let detail = format!(
        "Idempotency-Key must be 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} visible ASCII characters"
    );
    let error = FieldError { field: "Idempotency-Key".to_owned(), detail: detail.clone() };
    Err(Problem::new(Code::InvalidHeader, detail).naming(vec![error]))
}

/// The `wait` among the preferences (RFC 7240), at most [`MAX_WAIT`]. One that cannot be parsed is
/// ignored, as that standard asks.
pub(crate) fn prefer_wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(&PREFER).iter().filter_map(|value| value.to_str().ok());
    let preferences = values.flat_map(|value| value.split(','));
    let mut waits = preferences.filter_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let is_wait = name.trim().eq_ignore_ascii_case("wait");
        is_wait.then(|| value.trim().trim_matches('"').parse().ok())?
    });
    waits.next().map(|seconds| Duration::from_secs(seconds).min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let name = HeaderName::from_static(name);
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_wait_is_found_among_the_preferences() {
        let wait = |values: &[&'static str]| {
            prefer_wait(&headers("prefer", values)).map(|wait| wait.as_secs())
        };
        assert_eq!(wait(&["wait=10"]), Some(10));
        assert_eq!(wait(&["respond-async, Wait = \"5\"; x=y"]), Some(5));
        assert_eq!(wait(&["return=minimal", "wait=3"]), Some(3));
        assert_eq!(wait(&["wait=3600"]), Some(60), "at most a minute");
        for none in ["wait", "wait=soon", "wait=-1", "waiting=3", ""] {
            assert_eq!(wait(&[none]), None, "{none:?}");
        }
    }

    #[test]
    fn an_idempotency_key_is_visible_ascii() {
        let key = |values: &[&'static str]| idempotency_key(&headers("idempotency-key", values));
        assert_eq!(key(&[]).expect("none is fine"), None);
        assert_eq!(key(&["order/17"]).expect("is visible"), Some("order/17".to_owned()));
        assert!(key(&[""]).is_err());
        assert!(key(&["a b"]).is_err());
        let long: &str = Box::leak("k".repeat(256).into_boxed_str());
        assert!(key(&[long]).is_err());
        assert!(key(&[&long[..255]]).is_ok());
    }

    #[test]
    fn the_parameters_of_a_query_are_read_like_fields() {
        let page = |uri: &'static str| {
            query(&Uri::from_static(uri), |fields| fields.optional("limit", text(page_length)))
        };
        assert_eq!(page("/?limit=7").expect("is good"), 7);
        for wrong in ["/?limit=0", "/?limit=1001", "/?limit=x", "/?limit=1&limit=2", "/?lim=1"] {
            assert!(page(wrong).is_err(), "{wrong} passed");
        }
    }

    #[test]
    fn the_same_key_with_another_body_or_path_has_another_fingerprint() {
        let context = |path: &str, key: Option<&str>| RequestContext {
            shop: Shop::parse("acme").unwrap(),
            seen: SeenPositions::default(),
            wait: None,
            received: Instant::now(),
            time: Timestamp::from_millis(7),
            trace: TraceContext::default(),
            idempotency_key: key.map(str::to_owned),
            digest: Sha256::new().chain_update(path),
        };
        let body = || proto::command::Body::CancelOrder(proto::order::CancelOrder::default());
        let command = |path, key, part, bytes| context(path, key).command(part, bytes, body());

        let first = command("a", Some("k"), None, b"1");
        assert_eq!(first.time, Some(Timestamp::from_millis(7).into()));
        assert_eq!(first.fingerprint, protocol::id::fingerprint(b"a1"));
        let again = command("a", Some("k"), None, b"1");
        assert_eq!((&again.id, &again.fingerprint), (&first.id, &first.fingerprint));
        let other_body = command("a", Some("k"), None, b"2");
        assert_eq!(other_body.id, first.id);
        assert_ne!(other_body.fingerprint, first.fingerprint);
        assert_ne!(command("b", Some("k"), None, b"1").fingerprint, first.fingerprint);

        let part = command("a", Some("k"), Some(1), b"1");
        assert_eq!(part.id, command("a", Some("k/1"), None, b"1").id);
        assert_ne!(part.id, first.id);
        assert_ne!(command("a", None, None, b"1").id, command("a", None, None, b"1").id);
    }
}
