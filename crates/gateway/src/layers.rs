//! What surrounds every request besides its trace: its time limit, and the answer when its handler
//! panics.

use std::{any::Any, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
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

/// Answers for a handler that panicked. The panic itself is on the standard error stream.
pub(crate) fn answer_panic(_panic: Box<dyn Any + Send>) -> Response {
    Problem::internal(&Panicked).into_response()
}

#[derive(Debug, thiserror::Error)]
#[error("the handler panicked")]
struct Panicked;
