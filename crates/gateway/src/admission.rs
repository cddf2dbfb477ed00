//! Which requests are handled: those with an API key, and no more at once than their class may.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Uri, header},
    middleware::Next,
    response::Response,
};
use futures::StreamExt;

use crate::{
    body::{Media, media},
    extract::prefer_wait,
    limits::RequestClass,
    problem::{Code, Problem},
    state::AppState,
};

/// Refuses a request without an API key; notes whose it is.
pub(crate) async fn authenticate(
    State(state): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Some(caller) = bearer(request.headers()).and_then(|key| state.api_keys.find(key)) {
        request.extensions_mut().insert(caller.clone());
        return Ok(next.run(request).await);
    }
    let detail = "send the header `Authorization: Bearer <api key>`";
    Err(Problem::new(Code::Unauthorized, detail))
}

/// Refuses a request whose class is at its limit.
pub(crate) async fn limit_concurrency(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let headers = request.headers();
    let is_ndjson = media(headers).is_ok_and(|media| media == Media::Ndjson);
    let waits = prefer_wait(headers).is_some();
    let path = request.uri().path();
    let class = RequestClass::of(request.method(), path, is_ndjson, waits);
    let permit = state.concurrency.try_acquire(class, shop(request.uri()))?;
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

/// The shop in the path of a request, as it stands there; empty where there is none.
pub(crate) fn shop(uri: &Uri) -> &str {
    let mut segments = uri.path().split('/').skip_while(|segment| *segment != "shops");
    segments.nth(1).unwrap_or_default()
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
    fn the_shop_is_that_of_the_path() {
        for (path, expected) in
            [("/shops/acme/orders", "acme"), ("/v1/shops/b", "b"), ("/shops/", ""), ("/other", "")]
        {
            assert_eq!(shop(&Uri::from_static(path)), expected, "{path}");
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
