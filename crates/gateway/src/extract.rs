//! What is read from a request apart from its body: who may enter, which shop, which SKU, which
//! idempotency key, how long the caller waits.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{
        FromRequestParts, OriginalUri, Query, RawPathParams, Request, State, path::ErrorKind,
        rejection::PathRejection,
    },
    http::{HeaderMap, HeaderName, Uri, header, request::Parts},
    middleware::Next,
    response::Response,
};
use events::{
    id::{CommandId, OrderId, ParseError, Shop, Sku},
    proto,
    time::Timestamp,
};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::Span;

use crate::{
    door::Door,
    fields::{Errors, Fields, Path, object, text},
    json::Node,
    problem::{Code, FieldError, Problem},
    trace::{Traceparent, new_id},
};

/// The longest idempotency key, in characters.
const KEY_LIMIT: usize = 255;
/// The longest that `Prefer: wait` is honoured.
const WAIT_LIMIT: Duration = Duration::from_mins(1);
/// The length of a page when the caller does not say.
const PAGE: i64 = 100;
/// The longest page.
const PAGE_LIMIT: i64 = 1000;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static PREFER: HeaderName = HeaderName::from_static("prefer");

/// Lets in who has the API key, and no more at once than can be served.
pub(crate) async fn admit(
    State(door): State<Arc<Door>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if !bearer(request.headers()).is_some_and(|key| door.opens_with(key)) {
        let detail = "send the header `Authorization: Bearer <api key>`";
        return Err(Problem::new(Code::Unauthorized, detail));
    }
    let Ok(_slot) = door.slots.try_acquire() else {
        return Err(Problem::new(Code::Overloaded, "send it again in a moment"));
    };
    Ok(next.run(request).await)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// What a request says apart from its body.
#[derive(Debug)]
pub(crate) struct Call {
    /// The shop that it is about.
    pub(crate) shop: Shop,
    /// How long the caller waits for the end of what it begins.
    pub(crate) wait: Option<Duration>,
    /// When it came.
    pub(crate) received: Instant,
    traceparent: String,
    key: Option<String>,
    /// The digest of the method and the path, to go on with the body.
    digest: Sha256,
}

impl<S: Send + Sync> FromRequestParts<S> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let shop = path_parameter(parts, state, "shop", Shop::parse).await?;
        Span::current().record("shop.name", shop.as_str());
        let path = parts.extensions.get().map_or(&parts.uri, |OriginalUri(uri)| uri).path();
        let digest = Sha256::new()
            .chain_update(parts.method.as_str())
            .chain_update("\n")
            .chain_update(path)
            .chain_update("\n");
        let traceparent = parts.extensions.get().map(|Traceparent(text)| text.clone());
        Ok(Self {
            shop,
            wait: prefer_wait(&parts.headers),
            received: Instant::now(),
            traceparent: traceparent.unwrap_or_default(),
            key: idempotency_key(&parts.headers)?,
            digest,
        })
    }
}

impl Call {
    /// The envelope of the command that `bytes` of the body ask for. `part` counts the commands
    /// of a request that leads to several.
    pub(crate) fn command(
        &self,
        part: Option<usize>,
        bytes: &[u8],
        body: proto::command::Body,
    ) -> proto::Command {
        let id = match (&self.key, part) {
            (None, _) => CommandId(new_id()),
            (Some(key), None) => CommandId::from_key(&self.shop, key),
            (Some(key), Some(part)) => CommandId::from_key(&self.shop, &format!("{key}/{part}")),
        };
        proto::Command {
            id: id.to_string(),
            shop: self.shop.to_string(),
            time: Some(Timestamp::now().into()),
            fingerprint: hexadecimal(&self.digest.clone().chain_update(bytes).finalize()),
            traceparent: self.traceparent.clone(),
            after_catalog: 0,
            body: Some(body),
        }
    }

    /// Whether the same request may come again under the same key.
    pub(crate) fn is_keyed(&self) -> bool {
        self.key.is_some()
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

/// An order's id in the path.
pub(crate) struct OrderPath(pub(crate) OrderId);

impl<S: Send + Sync> FromRequestParts<S> for OrderPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "id", OrderId::parse).await.map(Self)
    }
}

async fn path_parameter<T, S: Send + Sync>(
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

/// The parameter of the path that does not decode: all of them are refused together.
async fn broken_parameter<S: Send + Sync>(parts: &mut Parts, state: &S) -> Option<String> {
    let all = axum::extract::Path::<Vec<(String, String)>>::from_request_parts(parts, state).await;
    let Err(PathRejection::FailedToDeserializePathParams(error)) = all else { return None };
    match error.into_kind() {
        ErrorKind::InvalidUtf8InPathParam { key } => Some(key),
        _ => None,
    }
}

/// Where a page of a list begins, and how long it is.
pub(crate) struct Page {
    /// The last SKU of the page before; empty for the first page.
    pub(crate) after: String,
    pub(crate) limit: i64,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        query(&parts.uri, |fields| {
            let after = fields.optional("after", text(Sku::parse));
            let limit = fields.optional("limit", text(page_length));
            Some(Self {
                after: after.map(String::from).unwrap_or_default(),
                limit: limit.unwrap_or(PAGE),
            })
        })
    }
}

fn page_length(text: &str) -> Result<i64, ParseError> {
    let error = || ParseError::new("limit", "must be 1 to 1000", text);
    text.parse().ok().filter(|limit| (1..=PAGE_LIMIT).contains(limit)).ok_or_else(error)
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
        (1..=KEY_LIMIT).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
    };
    if let Some(key) = value.to_str().ok().filter(is_key) {
        return Ok(Some(key.to_owned()));
    }
    let detail = format!("Idempotency-Key must be 1 to {KEY_LIMIT} visible ASCII characters");
    let error = FieldError { field: "Idempotency-Key".to_owned(), detail: detail.clone() };
    Err(Problem::new(Code::InvalidHeader, detail).naming(vec![error]))
}

/// The `wait` among the preferences (RFC 7240), no longer than is honoured. A preference that
/// cannot be read is not one.
fn prefer_wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(&PREFER).iter().filter_map(|value| value.to_str().ok());
    let preferences = values.flat_map(|value| value.split(','));
    let mut waits = preferences.filter_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let is_wait = name.trim().eq_ignore_ascii_case("wait");
        is_wait.then(|| value.trim().trim_matches('"').parse().ok())?
    });
    waits.next().map(|seconds| Duration::from_secs(seconds).min(WAIT_LIMIT))
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
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
        assert_eq!(wait(&["wait=3600"]), Some(60), "no longer than is honoured");
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
    fn the_key_is_that_of_the_bearer() {
        let key = |value: &'static str| bearer(&headers("authorization", &[value])).map(str::len);
        assert_eq!(key("Bearer 123"), Some(3));
        assert_eq!(key("bearer 123"), Some(3));
        assert_eq!(key("Basic 123"), None);
        assert_eq!(key("Bearer"), None);
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
        let call = |path: &str, key: Option<&str>| Call {
            shop: Shop::parse("acme").unwrap(),
            wait: None,
            received: Instant::now(),
            traceparent: String::new(),
            key: key.map(str::to_owned),
            digest: Sha256::new().chain_update(path),
        };
        let body = || proto::command::Body::CancelOrder(proto::CancelOrder::default());
        let command = |path, key, part, bytes| call(path, key).command(part, bytes, body());

        let first = command("a", Some("k"), None, b"1");
        assert_eq!(first.fingerprint, events::id::fingerprint(b"a1"));
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
