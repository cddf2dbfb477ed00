//! Which requests are handled: those with an API key or token that allows them, to a shop that there is, no more a
//! second than its key and its shop may, and no more at once than its class.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::StreamExt;

use crate::{
    api_key::{Caller, Scope},
    body::{Media, media},
    extract::{prefer_wait, shop_parameter, shop_segment},
    jwt,
    key_text::Presented,
    limits::RequestClass,
    metrics,
    position::SeenPositions,
    problem::{Code, Problem},
    state::AppState,
};

/// The scopes of which one is needed to follow a command.
const COMMAND_SCOPES: [Scope; 6] =
    [Scope::Read, Scope::Orders, Scope::Erp, Scope::Fulfilment, Scope::Webhooks, Scope::Admin];

/// Refuses a request without an API key or token, and one that these do not allow; notes whose it is.
pub(crate) async fn authenticate(
    State(state): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let caller = identify(&state, request.headers()).await?;
    if caller.has_expired(state.clock.now()) {
        let detail = "the API key or token has expired: use another one";
        return Err(Problem::new(Code::Unauthorized, detail));
    }
    authorize(&caller, request.method(), request.uri())?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Whose key or token it is.
async fn identify(state: &AppState, headers: &HeaderMap) -> Result<Caller, Problem> {
    let given = bearer(headers).unwrap_or_default();
    // Without keys of its own, the installation has made none.
    if state.sealing.has_keys()
        && let Some(presented) = Presented::parse(given)
    {
        let (services, now) = ((&state.services, &state.sealing), state.clock.now());
        if let Some(caller) = state.managed_keys.caller(services, &presented, now).await? {
            return Ok(caller);
        }
    }
    match (state.api_keys.find(given), &state.jwt) {
        (Some(caller), _) => Ok(caller.clone()),
        (None, Some(jwt)) if jwt::is_token(given) => jwt.verify(given).await,
        (None, _) => {
            let detail = "send the header `Authorization: Bearer <api key>`";
            Err(Problem::new(Code::Unauthorized, detail))
        }
    }
}

/// Refuses what the caller's key is not for.
fn authorize(caller: &Caller, method: &Method, uri: &Uri) -> Result<(), Problem> {
    let scopes = required_scopes(method, uri.path());
    if !scopes.is_empty() && !scopes.iter().any(|scope| caller.may(*scope)) {
        let names: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
        return Err(Problem::missing_scope(&names, "the API key does not allow this"));
    }
    let shop = shop_segment(uri);
    // Which API keys a key manages is decided where they are known.
    if !scopes.is_empty() && !is_of_keys(uri.path()) && !caller.is_for(shop) {
        let detail = match shop {
            "" => "the API key is for some shops, and this is about all of them".to_owned(),
            shop => format!("the API key is not for the shop {shop}: use one that is"),
        };
        return Err(Problem::new(Code::Forbidden, detail));
    }
    Ok(())
}

/// The scopes of which a request needs one; none where any key will do. What a new route needs that is not
/// named here is the scope of administrators, unless it only reads.
pub(crate) fn required_scopes(method: &Method, path: &str) -> &'static [Scope] {
    let is_read = [Method::GET, Method::HEAD].contains(method);
    let segments: Vec<_> = segments(path).collect();
    match segments.as_slice() {
        [] | ["event-types", ..] => &[],
        ["keys", ..] | ["shops"] => &[Scope::Admin],
        [_, _, "webhook-endpoints", ..] => &[Scope::Webhooks],
        // A connector asks what came of its own lines.
        [_, _, "rejections" | "connectors", ..] => &[Scope::Erp],
        // Whose commands a key may follow that has one of them alone is decided where they are known.
        [_, _, "commands", ..] if is_read => &COMMAND_SCOPES,
        [_, _, "orders", _, "payments", ..] if is_read => &[Scope::Read],
        [_, _, "orders" | "inventory" | "fulfilments" | "locations", ..] if is_read => {
            &[Scope::Read, Scope::Fulfilment]
        }
        _ if is_read => &[Scope::Read],
        [_, _, "orders" | "mails", ..] => &[Scope::Orders],
        // Which lines a key may send that has one of them alone is decided where they are read.
        [_, _, "inventory" | "fulfilments"] => &[Scope::Erp, Scope::Fulfilment],
        [_, _, "products" | "categories" | "listings" | "inventory" | "locations", ..] => {
            &[Scope::Erp]
        }
        _ => &[Scope::Admin],
    }
}

/// The segments of a path, below the version of the API.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    // The first one alone: it is also a name that a shop may have.
    let path = path.strip_prefix("/v1/").unwrap_or(path);
    path.split('/').filter(|segment| !segment.is_empty())
}

fn is_of_keys(path: &str) -> bool {
    segments(path).next() == Some("keys")
}

/// Refuses a request of a key or to a shop that sends more than it may. Every response says how much is left.
pub(crate) async fn limit_rate(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let caller = request.extensions().get::<Caller>();
    let key = caller.map(Caller::name).unwrap_or_default();
    let standing = state.rates.check(&key, shop_segment(request.uri()));
    let mut response = match &standing.refused {
        None => next.run(request).await,
        Some(refused) => {
            metrics::rate_limited(refused.limit);
            refused.problem().into_response()
        }
    };
    state.rates.show(&standing, response.headers_mut());
    response
}

/// Refuses a request to a shop that there is not, or that is suspended.
pub(crate) async fn require_shop(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let shop = shop_parameter(&mut parts, &state).await?;
    let seen: SeenPositions = parts.extensions.get().cloned().unwrap_or_default();
    seen.check(|| state.services.partition(&shop))?;
    let facts = state.shops.require(&state.services, &shop, seen.of_service("shop")).await?;
    // The handlers need not read them again.
    parts.extensions.insert(shop);
    parts.extensions.insert(facts);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Refuses a request whose class is at its limit.
pub(crate) async fn limit_concurrency(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let headers = request.headers();
    let is_upload = media(headers).is_ok_and(|media| media != Media::Json);
    let waits = prefer_wait(headers).is_some();
    let path = request.uri().path();
    let class = RequestClass::of(request.method(), path, is_upload, waits);
    let permit = state.concurrency.try_acquire(class, shop_segment(request.uri()))?;
    let response = next.run(request).await;
    if !matches!(class, RequestClass::Upload | RequestClass::Feed) {
        return Ok(response);
    }
    // The report of an upload, or a page of events, is in memory until its last byte is sent: it counts
    // until then.
    Ok(response.map(|body| {
        let frames = body.into_data_stream();
        Body::from_stream(frames.inspect(move |_| _ = &permit))
    }))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn each_request_needs_a_scope() {
        let needs = |method: Method, path| {
            let scopes = required_scopes(&method, path).iter().map(|scope| scope.as_str());
            Some(scopes.collect::<Vec<_>>().join(" or ")).filter(|scopes| !scopes.is_empty())
        };
        for (method, path, scope) in [
            (Method::GET, "/v1/event-types", None),
            (Method::GET, "/v1/shops", Some("admin")),
            (Method::GET, "/v1/keys", Some("admin")),
            (Method::GET, "/keys/0123456789abcdef", Some("admin")),
            (Method::POST, "/v1/keys/0123456789abcdef/rotate", Some("admin")),
            (Method::GET, "/v1/shops/acme", Some("read")),
            (Method::PUT, "/v1/shops/acme", Some("admin")),
            (Method::GET, "/v1/shops/acme/orders", Some("read or fulfilment")),
            (Method::GET, "/v1/shops/acme/orders/1/history", Some("read or fulfilment")),
            (Method::GET, "/v1/shops/acme/orders/1/payments", Some("read")),
            (Method::GET, "/v1/shops/acme/inventory/MUG/movements", Some("read or fulfilment")),
            (Method::GET, "/v1/shops/acme/fulfilments", Some("read or fulfilment")),
            (Method::GET, "/v1/shops/acme/products/MUG", Some("read")),
            (Method::HEAD, "/shops/acme/events", Some("read")),
            (
                Method::GET,
                "/v1/shops/acme/commands/1",
                Some("read or orders or erp or fulfilment or webhooks or admin"),
            ),
            (Method::POST, "/v1/shops/acme/orders", Some("orders")),
            (Method::POST, "/v1/shops/acme/orders/1/refunds", Some("orders")),
            (Method::PUT, "/v1/shops/acme/products/MUG", Some("erp")),
            (Method::PUT, "/v1/shops/acme/categories/mugs", Some("erp")),
            (Method::DELETE, "/v1/shops/acme/listings/mug", Some("erp")),
            (Method::POST, "/v1/shops/acme/inventory", Some("erp or fulfilment")),
            (Method::POST, "/v1/shops/acme/fulfilments", Some("erp or fulfilment")),
            (Method::PUT, "/v1/shops/acme/inventory/MUG/limits", Some("erp")),
            (Method::PUT, "/v1/shops/acme/locations/main", Some("erp")),
            (Method::POST, "/v1/shops/acme/rejections/redrive", Some("erp")),
            (Method::POST, "/v1/shops/acme/rejections/erp.1/drop", Some("erp")),
            (Method::GET, "/v1/shops/acme/connectors", Some("erp")),
            (Method::GET, "/v1/shops/acme/webhook-endpoints", Some("webhooks")),
            (Method::POST, "/v1/shops/acme/webhook-endpoints/1/test", Some("webhooks")),
            (Method::GET, "/v1/shops/acme/mails", Some("read")),
            (Method::POST, "/v1/shops/acme/mails/7/resend", Some("orders")),
            (Method::PUT, "/v1/shops/acme/mail", Some("admin")),
            (Method::POST, "/v1/shops/acme/something-new", Some("admin")),
            (Method::DELETE, "/v1/shops/acme", Some("admin")),
            (Method::GET, "/v1/shops/v1/webhook-endpoints", Some("webhooks")),
            (Method::POST, "/shops/v1/orders", Some("orders")),
        ] {
            assert_eq!(needs(method.clone(), path).as_deref(), scope, "{method} {path}");
        }
    }

    #[test]
    fn the_key_is_that_of_the_bearer() {
        let key = |value: &'static str| {
            let headers = [(header::AUTHORIZATION, HeaderValue::from_static(value))];
            bearer(&HeaderMap::from_iter(headers)).map(str::len)
        };
        assert_eq!(key("Bearer 123"), Some(3));
        assert_eq!(key("bearer 123"), Some(3));
        assert_eq!(key("Basic 123"), None);
        assert_eq!(key("Bearer"), None);
    }
}
