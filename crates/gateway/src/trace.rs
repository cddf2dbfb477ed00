//! What surrounds every request: its id, its trace context, its span, its time limit, and the one log
//! line when it failed on our side. No body and nothing of a person is logged.

use std::{panic::AssertUnwindSafe, time::Duration};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use tracing::{Instrument, Span, error, field::Empty, info_span};
use uuid::Uuid;

use crate::problem::{Cause, Code, Problem};

/// The longest that a request may take, its upload included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);

pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The W3C trace context of a request, which goes into what it leads to.
#[derive(Debug, Clone)]
pub(crate) struct Traceparent(pub(crate) String);

/// Surrounds a request.
pub(crate) async fn surround(mut request: Request, next: Next) -> Response {
    let id = new_id();
    let given = request.headers().get(&TRACEPARENT).and_then(|value| value.to_str().ok());
    let traceparent =
        given.filter(|value| is_valid(value)).map_or_else(|| new_traceparent(id), str::to_owned);
    let span = span(&request, id, &traceparent);
    request.extensions_mut().insert(Traceparent(traceparent.clone()));

    let mut response = limited(next.run(request)).instrument(span.clone()).await;
    conclude(&span, &response);
    let headers = response.headers_mut();
    for (name, value) in [(&REQUEST_ID, id.to_string()), (&TRACEPARENT, traceparent)] {
        headers.extend(HeaderValue::from_str(&value).map(|value| (name.clone(), value)));
    }
    response
}

/// A new id, for the request or for what it creates: ordered by time.
#[expect(clippy::disallowed_methods, reason = "the edge, where new ids come into being")]
pub(crate) fn new_id() -> Uuid {
    Uuid::now_v7()
}

fn span(request: &Request, id: Uuid, traceparent: &str) -> Span {
    let path = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
    info_span!(
        "gateway.answer",
        request.id = %id,
        request.method = %request.method(),
        request.path = path,
        request.traceparent = traceparent,
        shop.name = Empty,
        response.status = Empty,
    )
}

/// Ends a request that takes too long, and turns a panic into an answer.
async fn limited(answering: impl Future<Output = Response>) -> Response {
    let answering = AssertUnwindSafe(tokio::time::timeout(REQUEST_TIMEOUT, answering));
    match answering.catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            let seconds = REQUEST_TIMEOUT.as_secs();
            let detail = format!(
                "it took more than {seconds} s, and may have had its effect: send it again with \
                 the same Idempotency-Key, or less at once"
            );
            Problem::new(Code::TimedOut, detail).into_response()
        }
        Err(_) => Problem::internal(&Panicked).into_response(),
    }
}

/// Says in the span how it ended, and in the log when that is our fault.
fn conclude(span: &Span, response: &Response) {
    let status = response.status();
    span.record("response.status", status.as_u16());
    if status.is_server_error() {
        let cause = response.extensions().get::<Cause>().map_or("", |cause| &*cause.0);
        span.in_scope(|| error!(cause, "request failed"));
    }
}

/// The code behind a route panicked; the panic itself is on the standard error stream.
#[derive(Debug, thiserror::Error)]
#[error("the request's code panicked")]
struct Panicked;

/// Tells whether a trace context is one of version 00.
fn is_valid(traceparent: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |text: &str, length: usize| {
        text.len() == length && is_hex(text) && text.bytes().any(|b| b != b'0')
    };
    let mut parts = traceparent.split('-');
    let [version, trace, parent, flags] = std::array::from_fn(|_| parts.next().unwrap_or(""));
    let is_whole = parts.next().is_none() && flags.len() == 2 && is_hex(flags);
    version == "00" && is_id(trace, 32) && is_id(parent, 16) && is_whole
}

/// Begins a trace that the request's id names.
fn new_traceparent(id: Uuid) -> String {
    let (_, parent) = id.as_u64_pair();
    format!("00-{}-{parent:016x}-01", id.simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_context_of_version_00_is_taken_and_any_other_is_not() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = "00f067aa0ba902b7";
        assert!(is_valid(&format!("00-{trace}-{parent}-01")));
        for wrong in [
            String::new(),
            format!("01-{trace}-{parent}-01"),
            format!("00-{trace}-{parent}"),
            format!("00-{trace}-{parent}-1"),
            format!("00-{trace}-{parent}-01-more"),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}0-{parent}-01"),
        ] {
            assert!(!is_valid(&wrong), "{wrong:?} passed");
        }
    }

    #[test]
    fn a_new_trace_context_is_valid() {
        assert!(is_valid(&new_traceparent(new_id())));
    }
}
