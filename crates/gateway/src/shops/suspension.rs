//! `POST /v1/shops/{shop}/suspend` and `/resume`: whether a shop takes requests. Both are answered also while it
//! takes no others.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use events::{
    answers::CommandAnswer,
    proto::{
        command::Body,
        shop::{self, ResumeShop, ResumeShopAnswer, ShopResult, SuspendShop, SuspendShopAnswer},
    },
    shop::MAX_REASON_LENGTH,
};
use protocol::subject::Lane;

use super::{PutShopView, precondition_failed, shown, unknown};
use crate::{
    body::JsonBytes,
    extract::RequestContext,
    fields::{self, object, text, words},
    openapi::bodies::ShopSuspension,
    precondition::Precondition,
    problem::Problem,
    services::{AnswerError, Reply},
    state::AppState,
};

/// Suspends a shop: it takes no requests until it is resumed.
///
/// What has begun, such as an order that is placed, goes on. Other gateways know it within 15 seconds.
#[utoipa::path(
    post,
    path = "/shops/{shop}/suspend",
    operation_id = "suspend_shop",
    tag = "Shops",
    params(("If-Match" = Option<String>, Header, pattern = "^(\\*|\"[0-9]{1,18}\")$",
        description = "Only if the shop has the version of this `ETag`.")),
    request_body = ShopSuspension,
    responses((status = 200, description = "The shop as it is now.", body = PutShopView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`."),
    ))),
    extensions(("x-problems" = json!(["unknown_shop", "precondition_failed"]))),
)]
pub(crate) async fn suspend(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let expected_version = Precondition::version(&headers)?;
    let body = Body::SuspendShop(SuspendShop { reason: reason(&bytes)?, expected_version });
    send(&state, &context, body, |it: SuspendShopAnswer| (it.result(), it.shop)).await
}

/// Lets a suspended shop take requests again.
#[utoipa::path(
    post,
    path = "/shops/{shop}/resume",
    operation_id = "resume_shop",
    tag = "Shops",
    params(("If-Match" = Option<String>, Header, pattern = "^(\\*|\"[0-9]{1,18}\")$",
        description = "Only if the shop has the version of this `ETag`.")),
    request_body = ShopSuspension,
    responses((status = 200, description = "The shop as it is now.", body = PutShopView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`."),
    ))),
    extensions(("x-problems" = json!(["unknown_shop", "precondition_failed"]))),
)]
pub(crate) async fn resume(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let expected_version = Precondition::version(&headers)?;
    let body = Body::ResumeShop(ResumeShop { reason: reason(&bytes)?, expected_version });
    send(&state, &context, body, |it: ResumeShopAnswer| (it.result(), it.shop)).await
}

/// Why, for those who read the log later.
fn reason(bytes: &[u8]) -> Result<Option<String>, Problem> {
    let rule = "must be 1 to 500 characters without control characters";
    let read = |value: &str| words("reason", rule, MAX_REASON_LENGTH, value);
    fields::body(bytes, |node, path, errors| {
        object(node, path, errors, |fields| Some(fields.optional("reason", text(read))))
    })
}

/// Sends a command, and responds with the shop as it is then.
async fn send<A: CommandAnswer + Clone>(
    state: &AppState,
    context: &RequestContext,
    body: Body,
    read: impl FnOnce(A) -> (ShopResult, Option<shop::Shop>),
) -> Result<Response, Problem> {
    let command = context.command(None, body);
    let timeout = state.answer_timeout;
    let reply: Reply<A> = state.services.send(context, Lane::Live, command, timeout).await?;
    let answer = match reply {
        Reply::Answered(answer) => answer,
        Reply::Pending(accepted) => return Ok(accepted.into_response()),
    };
    let (result, shop) = read(answer.body.clone());
    let result = match result {
        ShopResult::Changed => "changed",
        ShopResult::Unchanged => "unchanged",
        ShopResult::Unknown => return Err(unknown(&context.shop)),
        ShopResult::OtherVersion => {
            return Err(precondition_failed(&context.shop, shop.as_ref()));
        }
        ShopResult::Unspecified | ShopResult::Created | ShopResult::Exists => {
            return Err(AnswerError::Unknown.into());
        }
    };
    shown(state, context, (StatusCode::OK, result), shop, &answer)
}
