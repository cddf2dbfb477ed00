//! The id, the trace context and the span of every request, and the one log line when it fails on
//! the side of the server. No body and no personal data is logged.

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument, Span, debug, error, field::Empty, info_span};
use uuid::Uuid;

use crate::problem::Cause;

pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The longest `tracestate` that is passed on, in bytes: the least that the W3C asks for.
const MAX_TRACESTATE_BYTES: usize = 512;
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The W3C trace context of a request. Every event that the request leads to carries it.
#[derive(Debug, Clone, Default)]
pub(crate) struct TraceContext {
    pub(crate) traceparent: String,
    /// What the caller sent with its `traceparent`; empty when it sent none.
    pub(crate) tracestate: String,
}

/// Gives a request its id and its span. The id is always a new one: what a client sends as
/// `X-Request-Id` would have to be trusted in the log.
pub(crate) async fn trace_request(mut request: Request, next: Next) -> Response {
    let id = new_id();
    let given = request.headers().get(&TRACEPARENT).and_then(|value| value.to_str().ok());
    let given = given.filter(|value| trace_context::is_valid(value)).map(str::to_owned);
    let tracestate = request.headers().get(&TRACESTATE).and_then(|value| value.to_str().ok());
    let tracestate = tracestate
        .filter(|state| given.is_some() && state.len() <= MAX_TRACESTATE_BYTES)
        .unwrap_or_default()
        .to_owned();
    let span = span(&request, id);
    if let Some(given) = &given {
        trace_context::attach(&span, given, &tracestate);
    }
    let own = trace_context::traceparent_of(&span);
    // The caller gets back what it sent; what follows from the request continues its span.
    let returned = given.or_else(|| own.clone()).unwrap_or_else(|| new_traceparent(id));
    let traceparent = own.unwrap_or_else(|| returned.clone());
    request.extensions_mut().insert(TraceContext { traceparent, tracestate });

    let mut response = next.run(request).instrument(span.clone()).await;
    record_response(&span, &response);
    let headers = response.headers_mut();
    for (name, value) in [(&REQUEST_ID, id.to_string()), (&TRACEPARENT, returned)] {
        headers.extend(HeaderValue::from_str(&value).map(|value| (name.clone(), value)));
    }
    response
}

/// A new id, for the request or for what it creates, ordered by time.
#[expect(clippy::disallowed_methods, reason = "the edge, where new ids are made")]
pub(crate) fn new_id() -> Uuid {
    Uuid::now_v7()
}

fn span(request: &Request, id: Uuid) -> Span {
    let path = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
    info_span!(
        "gateway.request",
        request.id = %id,
        http.request.method = %request.method(),
        http.route = path,
        http.response.status_code = Empty,
        shop.name = Empty,
    )
}

/// Records the status in the span, and logs a failure on the side of the server with its cause.
fn record_response(span: &Span, response: &Response) {
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.in_scope(|| {
            if let Some(Cause(cause)) = response.extensions().get::<Cause>() {
                error!(%cause, "request failed");
            } else {
                // The response says it all, such as that the process is not ready yet, which is asked often.
                debug!("request failed");
            }
        });
    }
}

/// The context of a new trace, whose id is that of the request. Nobody records it.
fn new_traceparent(id: Uuid) -> String {
    let (_, parent) = id.as_u64_pair();
    format!("00-{}-{parent:016x}-00", id.simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_trace_context_is_valid_and_not_recorded() {
        let traceparent = new_traceparent(new_id());
        assert!(trace_context::is_valid(&traceparent) && !trace_context::is_sampled(&traceparent));
    }
}
