//! What surrounds every request besides its trace: its time limit, and the answer when its handler
//! panics.

use std::{any::Any, sync::Arc};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    openapi,
    problem::{Code, Problem},
    state::AppState,
};

/// Ends a request that takes too long.
pub(crate) async fn time_out(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let limit = state.limits.request_timeout;
    tokio::time::timeout(limit, next.run(request)).await.map_err(|_| {
        let detail = format!(
            "the request took more than {limit:?} and may have had its effect: send it again with \
             the same Idempotency-Key, or in several parts"
        );
        Problem::new(Code::TimedOut, detail)
    })
}

/// Checks in builds for tests that each answer is one that the description of the API has.
pub(crate) async fn check_answer(request: Request, next: Next) -> Response {
    if !cfg!(debug_assertions) {
        return next.run(request).await;
    }
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let response = next.run(request).await;
    if let Some(route) = route {
        let (route, status) = (route.as_str(), response.status());
        debug_assert!(
            openapi::may_answer(&method, route, status),
            "{method} {route} answers {status}, which its description does not have"
        );
    }
    response
}

/// Answers for a handler that panicked. The panic itself is on the standard error stream.
pub(crate) fn answer_panic(_panic: Box<dyn Any + Send>) -> Response {
    Problem::internal(&Panicked).into_response()
}

#[derive(Debug, thiserror::Error)]
#[error("the handler panicked")]
struct Panicked;
