//! What is read from a request apart from its body: the shop, the SKU or the order in its path, the
//! idempotency key, how long the client waits.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, Query, RawPathParams, path::ErrorKind, rejection::PathRejection},
    http::{HeaderMap, HeaderName, Uri, request::Parts},
};
use events::id::{CategoryKey, ListingKey, Location, OrderId, Sku};
use protocol::id::{ParseError, Shop};
use tokio::time::Instant;
use tracing::Span;

use crate::{
    fields::{Errors, Fields, Path, object},
    json::Node,
    position::SeenPositions,
    problem::{Code, FieldError, Problem},
    state::AppState,
    trace::TraceContext,
};

pub(crate) use crate::request::RequestContext;

/// The longest idempotency key, in characters.
const MAX_IDEMPOTENCY_KEY_LENGTH: usize = 255;
/// The longest wait that a client can ask for with `Prefer: wait`.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// The length of a page when the client names none.
pub(crate) const DEFAULT_PAGE_LENGTH: u32 = 100;
/// The longest page.
const MAX_PAGE_LENGTH: u32 = 1000;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static PREFER: HeaderName = HeaderName::from_static("prefer");

impl FromRequestParts<Arc<AppState>> for RequestContext {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<AppState>) -> Result<Self, Problem> {
        let shop = match parts.extensions.get::<Shop>() {
            Some(shop) => shop.clone(),
            None => shop_parameter(parts, state).await?,
        };
        Span::current().record("shop.name", shop.as_str());
        let seen: SeenPositions = parts.extensions.get().cloned().unwrap_or_default();
        seen.check(|| state.services.partition(&shop))?;
        let trace = parts.extensions.get::<TraceContext>().cloned();
        Ok(Self {
            shop,
            shop_facts: parts.extensions.get().copied().unwrap_or_default(),
            seen,
            wait: prefer_wait(&parts.headers),
            received: Instant::now(),
            time: state.clock.now(),
            trace: trace.unwrap_or_default(),
            idempotency_key: idempotency_key(&parts.headers)?,
            // No request comes here that has no key.
            caller: parts.extensions.get().cloned().unwrap_or_default(),
        })
    }
}

/// The shop in the path. It stands there as it is: what limits the requests to a shop reads it before anything
/// is decoded, and another way to write it would be another shop for that.
pub(crate) async fn shop_parameter<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<Shop, Problem> {
    let shop = path_parameter(parts, state, "shop", Shop::parse).await?;
    if shop.as_str() == shop_segment(&parts.uri) {
        return Ok(shop);
    }
    let detail = format!("shop must be written as it is, {shop}, without percent-encoding");
    Err(Problem::fields(vec![FieldError::named("shop", detail)]))
}

/// The shop in the path of a request, as it stands there; empty where there is none.
pub(crate) fn shop_segment(uri: &Uri) -> &str {
    let mut segments = uri.path().split('/').skip_while(|segment| *segment != "shops");
    segments.nth(1).unwrap_or_default()
}

/// A SKU in the path.
pub(crate) struct SkuPath(pub(crate) Sku);

impl<S: Send + Sync> FromRequestParts<S> for SkuPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "sku", Sku::parse).await.map(Self)
    }
}

/// A category's key in the path.
pub(crate) struct CategoryPath(pub(crate) CategoryKey);

impl<S: Send + Sync> FromRequestParts<S> for CategoryPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "category_key", CategoryKey::parse).await.map(Self)
    }
}

/// A listing's key in the path.
pub(crate) struct ListingPath(pub(crate) ListingKey);

impl<S: Send + Sync> FromRequestParts<S> for ListingPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "listing_key", ListingKey::parse).await.map(Self)
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
    let wrong = |name: &str, detail: String| Problem::fields(vec![FieldError::named(name, detail)]);
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

/// Reads the length of a page.
pub(crate) fn page_length(text: &str) -> Result<u32, ParseError> {
    let error = || ParseError::new("limit", "must be 1 to 1000", text);
    text.parse().ok().filter(|limit| (1..=MAX_PAGE_LENGTH).contains(limit)).ok_or_else(error)
}

/// Reads the parameters of a query, like the text fields of a body.
pub(crate) fn query<T>(
    uri: &Uri,
    read: impl FnOnce(&mut Fields<'_, '_>) -> Option<T>,
) -> Result<T, Problem> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let Query(pairs) =
        pairs.map_err(|error| Problem::fields(vec![FieldError::named("", error.to_string())]))?;
    let text = |(name, value): (String, String)| (name.into(), Node::Text(value.into()));
    let node = Node::Object(pairs.into_iter().map(text).collect());
    let mut errors = Errors::default();
    let value = object(&node, &Path::Named("the query"), &mut errors, read);
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
    let error = FieldError::named("Idempotency-Key", &*detail);
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
    use crate::fields::text;

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let name = HeaderName::from_static(name);
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_shop_is_that_of_the_path() {
        for (path, expected) in
            [("/shops/acme/orders", "acme"), ("/v1/shops/b", "b"), ("/shops/", ""), ("/other", "")]
        {
            assert_eq!(shop_segment(&Uri::from_static(path)), expected, "{path}");
        }
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
}
