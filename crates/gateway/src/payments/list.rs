//! `GET /payments`: all payments of a shop, by what they are looked for.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use events::{
    http::PaymentSummary,
    id::OrderId,
    proto::payment::{self, ListPayments, PaymentPlace},
};
use protocol::{
    id::{ParseError, Shop},
    time::Timestamp,
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    cursors::List,
    extract::{DEFAULT_PAGE_LENGTH, RequestContext, page_length, query},
    fields::{Fields, Sort, code, named, oldest_first, text, words},
    problem::Problem,
    state::AppState,
    view::{self, ViewError},
};

/// The longest reference of a provider that is looked for, in characters.
const MAX_REFERENCE_LENGTH: usize = 250;

/// A page of the payments.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PaymentList {
    /// The payments, by when they were begun.
    payments: Vec<PaymentSummary>,
    /// The `after` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// The parameters of the list, as they are described; `question` reads them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct PaymentParameters {
    /// Their status, such as `captured`.
    #[param(example = "captured")]
    status: Option<String>,
    /// Why an operation of it does not come to an end: `uncertain` or `stuck`.
    #[param(example = "uncertain")]
    trouble: Option<String>,
    /// The order that is paid.
    order_id: Option<OrderId>,
    /// The provider's name for the authorisation, in full.
    #[param(min_length = 1, max_length = 250)]
    provider_reference: Option<String>,
    /// Begun at that time or later.
    begun_from: Option<Timestamp>,
    /// Begun before that time.
    begun_until: Option<Timestamp>,
    /// Which come first.
    #[param(inline, default = "newest")]
    sort: Option<Sort>,
    /// The `next` of a page with the same filters and the same `sort`; without it, the first page.
    after: Option<String>,
    /// The most payments of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Lists the payments of the shop, the newest first.
///
/// Those that match all filters that are given, without their transactions. Paging while payments are begun and change
/// misses none that matched all the time, and shows none twice.
#[utoipa::path(
    get,
    path = "/shops/{shop}/payments",
    operation_id = "list_payments",
    tag = "Payments",
    params(PaymentParameters),
    responses((status = 200, description = "A page of the payments; that there are none is no error.", body = PaymentList)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<PaymentList>, Problem> {
    let (question, list) = query(&uri, |fields| Some(question(fields, &context.shop)))?;
    let payment::ListedPayments { payments: found, has_more } =
        state.services.query_all(&context, question).await?;
    let next = found.last().filter(|_| has_more).map(|last| list.cursor(&place(last)));
    let payments =
        found.into_iter().map(view::payment_summary).collect::<Result<_, ViewError>>()?;
    Ok(Json(PaymentList { payments, next }))
}

fn place(payment: &payment::ListedPayment) -> PaymentPlace {
    PaymentPlace { begun_at: payment.begun_at, payment_id: payment.payment_id.clone() }
}

fn question(fields: &mut Fields<'_, '_>, shop: &Shop) -> (ListPayments, List) {
    let status = fields.optional("status", text(status));
    let trouble = fields.optional("trouble", text(trouble));
    let order_id = fields.optional("order_id", text(OrderId::parse));
    let provider_reference = fields.optional("provider_reference", code(provider_reference));
    let begun_from = fields.optional("begun_from", text(Timestamp::parse_rfc3339));
    let begun_until = fields.optional("begun_until", text(Timestamp::parse_rfc3339));
    let sort = fields.optional("sort", text(oldest_first));
    let filtered = ListPayments {
        status: status.unwrap_or_default().into(),
        trouble: trouble.unwrap_or_default().into(),
        order_id: order_id.map(|id| id.to_string()).unwrap_or_default(),
        provider_reference: provider_reference.unwrap_or_default(),
        begun_from: begun_from.map(Into::into),
        begun_until: begun_until.map(Into::into),
        oldest_first: sort.unwrap_or_default(),
        after: None,
        limit: 0,
    };
    let list = List::of(shop, filtered.clone());
    let after = fields.optional("after", code(|text| list.place(text)));
    let limit = fields.optional("limit", text(page_length));
    let limit = limit.unwrap_or(DEFAULT_PAGE_LENGTH);
    (ListPayments { after, limit, ..filtered }, list)
}

fn status(name: &str) -> Result<payment::PaymentStatus, ParseError> {
    let rule = "must be the status of a payment, such as authorized, captured or failed";
    named("PAYMENT_STATUS_", payment::PaymentStatus::from_str_name, name)
        .ok_or_else(|| ParseError::new("status", rule, name))
}

fn trouble(name: &str) -> Result<payment::PaymentTrouble, ParseError> {
    named("PAYMENT_TROUBLE_", payment::PaymentTrouble::from_str_name, name)
        .ok_or_else(|| ParseError::new("trouble", "must be uncertain or stuck", name))
}

fn provider_reference(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 250 characters without control characters";
    words("provider_reference", rule, MAX_REFERENCE_LENGTH, value)
}
