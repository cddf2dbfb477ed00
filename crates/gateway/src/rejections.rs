//! `/v1/shops/{shop}/rejections`: the stock lines that were rejected: lists them, tries them again, drops
//! them.

mod handle;

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use events::{
    http::{RejectionResultView, RejectionResultsView, RejectionView, RejectionsView},
    id::{Connector, DocumentId, Sku},
    proto::inventory::{self, ListRejections, StockResult},
};
use protocol::id::{ParseError, fingerprint};
use tokio::time::Instant;

use self::handle::{Act, Handled, NOT_ANSWERED, NOT_FOUND, PENDING, UNANSWERED, handle, shown};
use crate::{
    body::JsonBytes,
    bulk::report_deadline,
    cursors::List,
    extract::{DEFAULT_PAGE_LENGTH, RequestContext, page_length, path_parameter, query},
    fields::{self, Fields, code, object, text, words},
    inventory::outcome,
    openapi::bodies::{RejectionDrop, RejectionParameters, RejectionsDrop, RejectionsRedrive},
    problem::{Problem, RETRY_AFTER_S},
    services::mark_replayed,
    state::AppState,
    view,
};

/// The most rejections that one request tries again, or drops.
const MAX_HANDLED: u32 = 1_000;
/// The most of them in one command.
const MAX_COMMAND_REJECTIONS: usize = 100;
/// The longest reason, in characters.
const MAX_REASON_LENGTH: usize = 200;

/// The id of a rejection: `<connector>.<number>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RejectionId {
    connector: Connector,
    number: u64,
}

impl RejectionId {
    fn parse(value: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("id", "must be the `id` of a rejection", value);
        let (connector, number) = value.rsplit_once('.').ok_or_else(error)?;
        let connector = Connector::parse(connector).map_err(|_| error())?;
        Ok(Self { connector, number: number.parse().map_err(|_| error())? })
    }
}

impl std::fmt::Display for RejectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.connector, self.number)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RejectionId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "rejection_id", Self::parse).await
    }
}

/// Reads which rejections are meant, and where their list goes on.
fn wanted(
    fields: &mut Fields<'_, '_>,
    filter: ListRejections,
    context: &RequestContext,
) -> (ListRejections, List) {
    let list = List::of(&context.shop, filter.clone());
    let after = fields.optional("after", code(|text| list.name(text, RejectionId::parse)));
    let (after_connector, after_number) =
        after.map(|after| (after.connector.into(), after.number)).unwrap_or_default();
    (ListRejections { after_connector, after_number, ..filter }, list)
}

/// Reads which rejections are meant.
fn filter(fields: &mut Fields<'_, '_>) -> ListRejections {
    let connector = fields.optional("connector", text(Connector::parse));
    let document = fields.optional("document", code(DocumentId::parse));
    let sku = fields.optional("sku", code(Sku::parse));
    let reason = fields.optional("reason", text(reason));
    ListRejections {
        connector: connector.map(String::from).unwrap_or_default(),
        document: document.map(String::from).unwrap_or_default(),
        sku: sku.map(String::from).unwrap_or_default(),
        reason: reason.unwrap_or_default().into(),
        ..ListRejections::default()
    }
}

/// A result that a line can be rejected with.
fn reason(name: &str) -> Result<StockResult, ParseError> {
    let wire = format!("STOCK_RESULT_{}", name.to_ascii_uppercase());
    let known = StockResult::from_str_name(&wire).filter(|result| is_rejection(*result));
    let rule = "must be the result of a rejected line, such as unknown_sku";
    known.ok_or_else(|| ParseError::new("reason", rule, name))
}

fn is_rejection(result: StockResult) -> bool {
    outcome(result).is_ok_and(|outcome| outcome.count == crate::bulk::REJECTED)
}

/// Lists the stock lines that were rejected and are kept.
#[utoipa::path(
    get,
    path = "/shops/{shop}/rejections",
    operation_id = "list_rejections",
    tag = "Inventory",
    params(RejectionParameters),
    responses((status = 200, description = "A page of them, by connector, in the order in which they were rejected first.", body = RejectionsView)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<RejectionsView>, Problem> {
    let (question, list) = query(&uri, |fields| {
        let filter = filter(fields);
        let (wanted, list) = wanted(fields, filter, &context);
        let limit = fields.optional("limit", text(page_length)).unwrap_or(DEFAULT_PAGE_LENGTH);
        Some((ListRejections { limit, ..wanted }, list))
    })?;
    let (rejections, next) = read(&state, &context, question, &list).await?;
    let rejections = rejections.into_iter().map(view::rejection).collect::<Result<_, _>>()?;
    Ok(Json(RejectionsView { rejections, next }))
}

/// Rejections, and the cursor of the next page when there may be one.
async fn read(
    state: &AppState,
    context: &RequestContext,
    question: ListRejections,
    list: &List,
) -> Result<(Vec<inventory::Rejection>, Option<String>), Problem> {
    let inventory::Rejections { rejections, has_more } =
        state.services.query_all(context, question).await?;
    let end = rejections.last().filter(|_| has_more).map(id).transpose()?;
    Ok((rejections, end.map(|end| list.cursor(&end.to_string()))))
}

fn id(rejection: &inventory::Rejection) -> Result<RejectionId, Problem> {
    let rejected = rejection.rejected.as_ref();
    let document = rejected.and_then(|it| it.line.as_ref()?.document.as_ref());
    let of_line = document.map(|it| it.connector.as_str());
    let of_invalid = || rejected.and_then(|it| Some(it.invalid.as_ref()?.connector.as_str()));
    let connector = of_line.or_else(of_invalid).unwrap_or_default();
    let connector = Connector::parse(connector).map_err(|error| Problem::internal(&error))?;
    Ok(RejectionId { connector, number: rejected.map(|it| it.number).unwrap_or_default() })
}

/// Shows a rejected stock line.
#[utoipa::path(
    get,
    path = "/shops/{shop}/rejections/{rejection_id}",
    operation_id = "get_rejection",
    tag = "Inventory",
    responses((status = 200, description = "The line, and why it was rejected.", body = RejectionView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    id: RejectionId,
) -> Result<Json<RejectionView>, Problem> {
    let RejectionId { connector, number } = id.clone();
    let question = inventory::GetRejection { connector: connector.into(), number };
    match state.services.query(&context, question).await? {
        Some(found) => Ok(Json(view::rejection(found)?)),
        None => Err(Problem::not_found("rejection", &id.to_string())),
    }
}

/// Tries a rejected stock line again.
#[utoipa::path(
    post,
    path = "/shops/{shop}/rejections/{rejection_id}/redrive",
    operation_id = "redrive_rejection",
    tag = "Inventory",
    responses((status = 200, description = "What became of it.", body = RejectionResultView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn redrive_one(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    id: RejectionId,
) -> Result<Response, Problem> {
    one(&state, &context, id, &Act::Redrive).await
}

/// Drops a rejected stock line: it is not kept any more.
#[utoipa::path(
    post,
    path = "/shops/{shop}/rejections/{rejection_id}/drop",
    operation_id = "drop_rejection",
    tag = "Inventory",
    request_body = RejectionDrop,
    responses((status = 200, description = "It is dropped.", body = RejectionResultView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn drop_one(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    id: RejectionId,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let reason = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| fields.required("reason", text(drop_reason)))
    })?;
    one(&state, &context, id, &Act::Drop(reason)).await
}

async fn one(
    state: &AppState,
    context: &RequestContext,
    id: RejectionId,
    act: &Act,
) -> Result<Response, Problem> {
    let of = (&id.connector, std::slice::from_ref(&id.number));
    match handle(state, context, (None, state.answer_timeout), of, act).await? {
        Handled::Pending(accepted) => Ok(accepted.into_response()),
        Handled::Results { mut results, replayed } => match results.pop() {
            Some(result) if result.result != NOT_FOUND => {
                Ok(marked(Json(result).into_response(), replayed))
            }
            _ => Err(Problem::not_found("rejection", &id.to_string())),
        },
    }
}

/// Tries rejected stock lines again: up to 1,000 that a filter names.
///
/// What cannot be sent in the time of the request is on the next page.
#[utoipa::path(
    post,
    path = "/shops/{shop}/rejections/redrive",
    operation_id = "redrive_rejections",
    tag = "Inventory",
    request_body = RejectionsRedrive,
    responses(
        (status = 200, description = "What became of each.", body = RejectionResultsView),
        (status = 202, description = "What became of each: some are not answered.", body = RejectionResultsView),
    ),
)]
pub(crate) async fn redrive_all(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let some = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| Some(some(fields, &context)))
    })?;
    all(&state, &context, some, &Act::Redrive).await
}

/// Drops rejected stock lines: up to 1,000 that a filter names.
///
/// What cannot be sent in the time of the request is on the next page.
#[utoipa::path(
    post,
    path = "/shops/{shop}/rejections/drop",
    operation_id = "drop_rejections",
    tag = "Inventory",
    request_body = RejectionsDrop,
    responses(
        (status = 200, description = "What became of each.", body = RejectionResultsView),
        (status = 202, description = "What became of each: some are not answered.", body = RejectionResultsView),
    ),
)]
pub(crate) async fn drop_all(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let (some, reason) = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| {
            let reason = fields.required("reason", text(drop_reason));
            Some((some(fields, &context), reason?))
        })
    })?;
    all(&state, &context, some, &Act::Drop(reason)).await
}

/// Reads which rejections are to be handled. Without a filter, all are.
fn some(fields: &mut Fields<'_, '_>, context: &RequestContext) -> (ListRejections, List) {
    let of = fields.optional("filter", |node, path, errors| {
        object(node, path, errors, |fields| Some(filter(fields)))
    });
    let (wanted, list) = wanted(fields, of.unwrap_or_default(), context);
    (ListRejections { limit: MAX_HANDLED, ..wanted }, list)
}

fn drop_reason(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 200 characters without control characters";
    words("reason", rule, MAX_REASON_LENGTH, value)
}

async fn all(
    state: &AppState,
    context: &RequestContext,
    (question, list): (ListRejections, List),
    act: &Act,
) -> Result<Response, Problem> {
    let deadline = report_deadline(state, context);
    let (found, next) = read(state, context, question, &list).await?;
    let ids = found.iter().map(id).collect::<Result<Vec<_>, _>>()?;
    let mut report = Report { is_replayed: !ids.is_empty(), ..Report::default() };
    let of_connectors = ids.chunk_by(|a, b| a.connector == b.connector);
    for some in of_connectors.flat_map(|ids| ids.chunks(MAX_COMMAND_REJECTIONS)) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() && !report.results.is_empty() {
            break;
        }
        let numbers: Vec<_> = some.iter().map(|id| id.number).collect();
        let of = (&some[0].connector, numbers.as_slice());
        let part = Some(part(&some[0].connector, &numbers));
        let timeout = state.answer_timeout.min(left);
        report.add(some, handle(state, context, (part, timeout), of, act).await)?;
        if report.is_interrupted {
            break;
        }
    }
    // What was not sent is on the next page.
    let next = match ids.get(..report.results.len()) {
        Some([.., handled]) if report.results.len() < ids.len() => {
            Some(list.cursor(&handled.to_string()))
        }
        _ => next,
    };
    let Report { results, is_open, is_replayed, .. } = report;
    let status = if is_open { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut response = (status, Json(RejectionResultsView { results, next })).into_response();
    if is_open {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
    }
    Ok(marked(response, is_replayed))
}

/// What became of the rejections that a request is about, so far.
#[derive(Debug, Default)]
struct Report {
    results: Vec<RejectionResultView>,
    /// Whether it is not known of some what became of them.
    is_open: bool,
    /// Whether a command failed: no more are sent.
    is_interrupted: bool,
    /// Whether an earlier request under the same key did it all.
    is_replayed: bool,
}

impl Report {
    /// Adds what the command about `some` came to. Its failure is that of the request when it is the first.
    fn add(
        &mut self,
        some: &[RejectionId],
        handled: Result<Handled, Problem>,
    ) -> Result<(), Problem> {
        let (result, detail, url) = match handled {
            Ok(Handled::Results { results: of_each, replayed }) => {
                self.results.extend(of_each);
                self.is_replayed &= replayed;
                return Ok(());
            }
            Ok(Handled::Pending(accepted)) => {
                (PENDING, NOT_ANSWERED.to_owned(), Some(accepted.url()))
            }
            Err(problem) if self.results.is_empty() => return Err(problem),
            Err(problem) => {
                self.is_interrupted = true;
                let (_, detail) = problem.code_and_detail();
                (UNANSWERED, detail, problem.command_url().map(str::to_owned))
            }
        };
        (self.is_open, self.is_replayed) = (true, false);
        self.results.extend(some.iter().map(|id| RejectionResultView {
            command_url: url.clone(),
            ..shown(id, result, Some(&detail))
        }));
        Ok(())
    }
}

fn marked(mut response: Response, replayed: bool) -> Response {
    if replayed {
        mark_replayed(&mut response);
    }
    response
}

/// Tells the commands of a request apart: by the rejections that each is about, because a request that is
/// repeated finds fewer of them.
fn part(connector: &Connector, numbers: &[u64]) -> usize {
    const DIGITS: usize = 12;
    let digest = fingerprint(format!("{connector} {numbers:?}").as_bytes());
    digest.get(..DIGITS).and_then(|it| usize::from_str_radix(it, 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;

    #[test]
    fn an_id_is_a_connector_and_a_number() {
        let id = RejectionId::parse("erp-1.17").expect("is one");
        assert_eq!((id.connector.as_str(), id.number), ("erp-1", 17));
        assert_eq!(RejectionId::parse(&id.to_string()), Ok(id));
        for wrong in ["", "erp", "erp.", "erp.x", "ERP.1", "a.b.1"] {
            assert!(RejectionId::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_same_rejections_are_the_same_part() {
        let erp = Connector::parse("erp").expect("valid");
        assert_eq!(part(&erp, &[1, 2]), part(&erp, &[1, 2]));
        assert_ne!(part(&erp, &[1, 2]), part(&erp, &[1, 3]));
        assert_ne!(part(&erp, &[1]), part(&Connector::parse("till").expect("valid"), &[1]));
    }

    #[test]
    fn what_was_done_is_said_though_a_later_command_fails() {
        let ids = ["erp.1", "tills.1"].map(|id| RejectionId::parse(id).expect("is one"));
        let url = "/v1/shops/acme/commands/7?service=inventory";
        let failed = || {
            let problem = Problem::new(Code::Unavailable, "send it again");
            Err(problem.with("command_id", "7").with("command_url", url))
        };
        let mut report = Report::default();
        let refused = report.add(&ids[..1], failed()).expect_err("nothing was done");
        assert_eq!(refused.code(), Code::Unavailable);

        let applied = vec![shown(&ids[0], "applied", None)];
        let done = Handled::Results { results: applied.clone(), replayed: true };
        let mut report = Report { is_replayed: true, ..Report::default() };
        report.add(&ids[..1], Ok(done)).expect("it is answered");
        assert!(report.is_replayed && !report.is_open);
        report.add(&ids[1..], failed()).expect("the first is answered");
        assert!(report.is_open && report.is_interrupted && !report.is_replayed);
        let unanswered = RejectionResultView {
            command_url: Some(url.to_owned()),
            ..shown(&ids[1], UNANSWERED, Some("send it again"))
        };
        assert_eq!(report.results, [applied, vec![unanswered]].concat());
    }

    #[test]
    fn a_reason_is_one_that_lines_are_rejected_for() {
        assert_eq!(reason("unknown_sku"), Ok(StockResult::UnknownSku));
        assert_eq!(reason("invalid"), Ok(StockResult::Invalid));
        for wrong in ["applied", "stale", "unspecified", "UNKNOWN", ""] {
            assert!(reason(wrong).is_err(), "{wrong}");
        }
    }
}
