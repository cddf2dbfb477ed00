//! `/v1/shops/{shop}/inventory`: takes counts, adjustments and goods issues from ERP connectors, and
//! shows stock levels.

pub(crate) mod levels;

use std::sync::Arc;

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};
use events::{
    id::{
        Connector, DocumentId, DocumentLine, Location, MAX_UNITS, OrderId, Quantity, Sku,
        TransferId,
    },
    proto::{
        self,
        inventory::{Mismatch, RecordStockAnswer, StockResult, stock_document::Change},
    },
};
use protocol::{id::ParseError, time::Timestamp};
use serde::{Deserialize, de::value::StrDeserializer};

use crate::{
    api_key::Scope,
    body::read_json,
    bulk::{self, LineName, LineOutcome, MaybeUpload, UnknownResult, Upload},
    extract::RequestContext,
    fields::{self, Errors, Fields, Path, code, flag, integer, object, text, within, words},
    json::Node,
    openapi::bodies::{StockBody, StockReport, UploadParameters},
    problem::{FieldError, Problem},
    state::AppState,
};

/// The longest reason, in characters: 500 adjustments fit a message of 1 MB, whatever their
/// reasons.
const MAX_REASON_LENGTH: usize = 200;

/// The longest id of an order's line, in characters.
const MAX_LINE_ID_LENGTH: usize = 64;

/// A JSON body: one stock document or a list.
enum JsonBody {
    One(Box<proto::inventory::StockDocument>),
    Many(Vec<Result<proto::inventory::StockDocument, Vec<FieldError>>>),
}

/// Records counts, adjustments, goods issues and transfers of an ERP.
///
/// One document as JSON, up to 10,000 as `{"lines": […]}` (1 MB), or a document a line, as NDJSON or CSV, also compressed
/// by gzip. The answer has the result of each line, with `Accept: application/x-ndjson` while the upload runs; a line that is wrong does not hinder the others. A line that comes again has no
/// second effect.
#[utoipa::path(
    post,
    path = "/shops/{shop}/inventory",
    operation_id = "record_stock",
    tag = "Inventory",
    params(UploadParameters),
    request_body(content((StockBody = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"))),
    responses(
        (status = 200, description = "The result of each line.", content((StockReport = "application/json"), (String = "application/x-ndjson"))),
        (status = 202, description = "Some lines are stored and not yet answered: send it again under the same idempotency key to see their results.", body = StockReport),
    ),
)]
pub(crate) async fn post(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    upload: MaybeUpload,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let upload = (upload, &headers);
    if context.may(Scope::Erp) {
        post_lines::<Stock>(state, context, upload, body).await
    } else {
        post_lines::<Movements>(state, context, upload, body).await
    }
}

/// The same of goods issues, which need not say that they are. Only by NATS.
pub(crate) async fn post_shipments(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    upload: MaybeUpload,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    post_lines::<Shipments>(state, context, (upload, &headers), body).await
}

async fn post_lines<U: Upload<Line = proto::inventory::StockDocument>>(
    state: Arc<AppState>,
    context: RequestContext,
    (MaybeUpload(options), headers): (MaybeUpload, &HeaderMap),
    body: Body,
) -> Result<Response, Problem> {
    if let Some(options) = options {
        return bulk::upload::<U>(state, context, (headers, options), body).await;
    }
    let bytes = read_json(headers, body).await?;
    match fields::body(&bytes, json_body::<U>)? {
        JsonBody::One(line) => bulk::single::<U>(state, context, *line).await,
        JsonBody::Many(lines) => bulk::list::<U>(state, context, lines).await,
    }
}

fn json_body<U: Upload<Line = proto::inventory::StockDocument>>(
    node: &Node<'_>,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Option<JsonBody> {
    let is_list = match node {
        Node::Object(members) => members.iter().any(|(name, _)| name == "lines"),
        _ => false,
    };
    if is_list {
        object(node, path, errors, |fields| bulk::items::<U>(fields, "lines")).map(JsonBody::Many)
    } else {
        U::read(node, path, errors).map(Box::new).map(JsonBody::One)
    }
}

/// Uploads of stock lines.
struct Stock;

impl Upload for Stock {
    type Line = proto::inventory::StockDocument;
    type Answer = RecordStockAnswer;
    const COLUMNS: &'static [&'static str] = &[
        "type",
        "sku",
        "location",
        "quantity",
        "delta",
        "reason",
        "order_id",
        "line_id",
        "transfer",
        "to",
        "complete",
        "expected",
        "as_of",
        "occurred_at",
        "connector",
        "document",
        "document_line",
        "sequence",
        "epoch",
    ];
    const COUNTS: &'static [&'static str] = &["applied", "unchanged", bulk::REJECTED];

    fn read(
        node: &Node<'_>,
        path: &Path<'_>,
        errors: &mut Errors,
    ) -> Option<proto::inventory::StockDocument> {
        object(node, path, errors, |fields| {
            let kind = fields.required("type", text(kind));
            line(fields, kind)
        })
    }

    fn name(line: &proto::inventory::StockDocument) -> LineName {
        let document = line.document.as_ref();
        LineName {
            sku: line.sku.clone(),
            document: document.map(|document| document.id.clone()),
            document_line: document.map(|it| it.line.clone()).filter(|line| !line.is_empty()),
        }
    }

    fn command(
        _context: &RequestContext,
        lines: Vec<proto::inventory::StockDocument>,
    ) -> proto::command::Body {
        proto::command::Body::RecordStock(proto::inventory::RecordStock { lines })
    }

    fn outcomes(answer: RecordStockAnswer) -> Result<Vec<LineOutcome>, UnknownResult> {
        let mut outcomes = answer.results().map(outcome).collect::<Result<Vec<_>, _>>()?;
        for Mismatch { line, expected, on_hand } in answer.mismatches {
            if let Some(outcome) = outcomes.get_mut(line as usize) {
                outcome.mismatch = Some(bulk::Mismatch { expected, on_hand });
            }
        }
        Ok(outcomes)
    }
}

/// What became of a line, for its sender.
pub(crate) fn outcome(result: StockResult) -> Result<LineOutcome, UnknownResult> {
    let (result, count, detail) = match result {
        StockResult::Applied => ("applied", "applied", None),
        StockResult::Duplicate => ("duplicate", "unchanged", None),
        StockResult::Stale => ("stale", "unchanged", None),
        StockResult::UnknownSku => {
            let detail = "the catalogue has no such product: add it, and send the line again";
            ("unknown_sku", bulk::REJECTED, Some(detail))
        }
        StockResult::DocumentReused => {
            let detail = "a document with this id and other content came before: use a new id";
            ("document_reused", bulk::REJECTED, Some(detail))
        }
        StockResult::OutOfRange => {
            let detail = "the units on hand would be out of range: send a count";
            ("out_of_range", bulk::REJECTED, Some(detail))
        }
        StockResult::AppliedInExcess => {
            let detail = "more units left than the order had, or came than were on their way";
            ("applied_in_excess", "applied", Some(detail))
        }
        StockResult::AppliedElsewhere => {
            let detail = "the order had the units at another location, where they are free again";
            ("applied_elsewhere", "applied", Some(detail))
        }
        StockResult::UnknownOrder => {
            let detail = "there is no such order: send the line again when it is placed";
            ("unknown_order", bulk::REJECTED, Some(detail))
        }
        StockResult::UnknownLocation => {
            let detail = "the shop has no such location: put it, and send the line again";
            ("unknown_location", bulk::REJECTED, Some(detail))
        }
        StockResult::AppliedIncomplete => {
            let detail = "fewer units have come by the transfer than had left: the rest is missing";
            ("applied_incomplete", "applied", Some(detail))
        }
        StockResult::UnknownTransfer => {
            let detail = "nothing of it has left by that transfer: send the line again when it has";
            ("unknown_transfer", bulk::REJECTED, Some(detail))
        }
        StockResult::Mismatch => {
            let detail = "other units are on hand than the line expects";
            ("mismatch", bulk::REJECTED, Some(detail))
        }
        StockResult::Unspecified => return Err(UnknownResult),
    };
    Ok(LineOutcome::new(result, count, detail))
}

/// Uploads of what a warehouse may record: with the scope `fulfilment` alone.
struct Movements;

impl Upload for Movements {
    type Line = proto::inventory::StockDocument;
    type Answer = RecordStockAnswer;
    const COLUMNS: &'static [&'static str] = Stock::COLUMNS;
    const COUNTS: &'static [&'static str] = Stock::COUNTS;

    fn read(
        node: &Node<'_>,
        path: &Path<'_>,
        errors: &mut Errors,
    ) -> Option<proto::inventory::StockDocument> {
        object(node, path, errors, |fields| {
            let kind = fields.required("type", text(movement_kind));
            line(fields, kind)
        })
    }

    fn name(line: &proto::inventory::StockDocument) -> LineName {
        Stock::name(line)
    }

    fn command(
        context: &RequestContext,
        lines: Vec<proto::inventory::StockDocument>,
    ) -> proto::command::Body {
        Stock::command(context, lines)
    }

    fn outcomes(answer: RecordStockAnswer) -> Result<Vec<LineOutcome>, UnknownResult> {
        Stock::outcomes(answer)
    }
}

fn movement_kind(name: &str) -> Result<Kind, ParseError> {
    match kind(name)? {
        kind @ (Kind::GoodsIssue | Kind::TransferOut | Kind::TransferIn) => Ok(kind),
        Kind::Count | Kind::Adjustment => {
            let rule = "must be goods_issue, transfer_out or transfer_in: an API key with the scope erp may send others";
            Err(ParseError::new("type", rule, name))
        }
    }
}

/// Uploads of goods issues.
struct Shipments;

impl Upload for Shipments {
    type Line = proto::inventory::StockDocument;
    type Answer = RecordStockAnswer;
    const COLUMNS: &'static [&'static str] = Stock::COLUMNS;
    const COUNTS: &'static [&'static str] = Stock::COUNTS;

    fn read(
        node: &Node<'_>,
        path: &Path<'_>,
        errors: &mut Errors,
    ) -> Option<proto::inventory::StockDocument> {
        object(node, path, errors, |fields| {
            fields.optional("type", text(goods_issue_kind));
            line(fields, Some(Kind::GoodsIssue))
        })
    }

    fn name(line: &proto::inventory::StockDocument) -> LineName {
        Stock::name(line)
    }

    fn command(
        context: &RequestContext,
        lines: Vec<proto::inventory::StockDocument>,
    ) -> proto::command::Body {
        Stock::command(context, lines)
    }

    fn outcomes(answer: RecordStockAnswer) -> Result<Vec<LineOutcome>, UnknownResult> {
        Stock::outcomes(answer)
    }
}

fn goods_issue_kind(name: &str) -> Result<(), ParseError> {
    let rule = "must be goods_issue, or absent: send other lines as stock";
    if name == "goods_issue" { Ok(()) } else { Err(ParseError::new("type", rule, name)) }
}

/// Reads a stock document of that kind; the error of its kind was added where there is none.
fn line(
    fields: &mut Fields<'_, '_>,
    kind: Option<Kind>,
) -> Option<proto::inventory::StockDocument> {
    let sku = fields.required("sku", code(Sku::parse));
    let (mut occurred_at, mut expected) = (None, None);
    let change = match kind {
        Some(Kind::Count) => {
            occurred_at = fields.optional("as_of", text(time));
            expected = fields.optional("expected", integer(on_hand));
            fields.required("quantity", integer(counted)).map(Change::Count)
        }
        Some(Kind::Adjustment) => adjustment(fields),
        Some(Kind::GoodsIssue) => goods_issue(fields),
        Some(Kind::TransferOut) => transfer_out(fields),
        Some(Kind::TransferIn) => transfer_in(fields),
        // Without its type it is not known which of these fields belong to the document, so that
        // an error about them would mislead: the only error is that of the type.
        None => {
            fields.ignore(&["quantity", "delta", "reason", "order_id", "line_id"]);
            fields.ignore(&["as_of", "occurred_at", "expected", "transfer", "to", "complete"]);
            None
        }
    };
    if kind.is_some_and(|kind| !matches!(kind, Kind::Count)) {
        occurred_at = fields.optional("occurred_at", text(time));
    }
    if matches!(kind, Some(Kind::Adjustment)) {
        expected = fields.optional("expected", integer(on_hand));
    }
    let connector = fields.required("connector", text(Connector::parse));
    let document = fields.required("document", code(DocumentId::parse));
    let document_line = fields.optional("document_line", code(DocumentLine::parse));
    let sequence = fields.required("sequence", integer(sequence));
    let epoch = fields.optional("epoch", integer(epoch));
    let location = fields.optional("location", text(Location::parse));
    Some(proto::inventory::StockDocument {
        sku: sku?.into(),
        location: location.map(Location::into).unwrap_or_default(),
        document: Some(proto::inventory::Document {
            connector: connector?.into(),
            id: document?.into(),
            sequence: sequence?,
            line: document_line.map(DocumentLine::into).unwrap_or_default(),
            epoch: epoch.unwrap_or_default(),
            occurred_at: occurred_at.map(Into::into),
        }),
        change: Some(change?),
        expected,
    })
}

fn adjustment(fields: &mut Fields<'_, '_>) -> Option<Change> {
    let delta = fields.required("delta", integer(delta));
    let reason = fields.required("reason", text(reason));
    Some(Change::Adjustment(proto::inventory::Adjustment { delta: delta?, reason: reason? }))
}

fn goods_issue(fields: &mut Fields<'_, '_>) -> Option<Change> {
    let order_id = fields.required("order_id", text(OrderId::parse));
    let line_id = fields.optional("line_id", code(line_id));
    let quantity = fields.required("quantity", integer(Quantity::parse));
    Some(Change::GoodsIssue(proto::inventory::GoodsIssue {
        order_id: order_id?.to_string(),
        line_id: line_id.unwrap_or_default(),
        quantity: quantity?.get(),
    }))
}

fn transfer_out(fields: &mut Fields<'_, '_>) -> Option<Change> {
    let transfer = fields.required("transfer", code(TransferId::parse));
    let to = fields.required("to", text(Location::parse));
    let quantity = fields.required("quantity", integer(Quantity::parse));
    Some(Change::TransferOut(proto::inventory::TransferOut {
        transfer: transfer?.into(),
        to: to?.into(),
        quantity: quantity?.get(),
    }))
}

fn transfer_in(fields: &mut Fields<'_, '_>) -> Option<Change> {
    let transfer = fields.required("transfer", code(TransferId::parse));
    let quantity = fields.required("quantity", integer(counted));
    let complete = fields.optional("complete", flag).unwrap_or_default();
    if quantity == Some(0) && !complete {
        fields.wrong("quantity", "must be 1 or more, unless the transfer is complete with it");
    }
    let (transfer, quantity) = (transfer?.into(), quantity?);
    Some(Change::TransferIn(proto::inventory::TransferIn { transfer, quantity, complete }))
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Count,
    Adjustment,
    GoodsIssue,
    TransferOut,
    TransferIn,
}

fn kind(value: &str) -> Result<Kind, ParseError> {
    match value {
        "count" => Ok(Kind::Count),
        "adjustment" => Ok(Kind::Adjustment),
        "goods_issue" => Ok(Kind::GoodsIssue),
        "transfer_out" => Ok(Kind::TransferOut),
        "transfer_in" => Ok(Kind::TransferIn),
        _ => {
            let rule = "must be count, adjustment, goods_issue, transfer_out or transfer_in";
            Err(ParseError::new("type", rule, value))
        }
    }
}

fn counted(units: i64) -> Result<i64, ParseError> {
    within("quantity", "must be 0 to 1000000000", 0..=MAX_UNITS, units)
}

fn delta(units: i64) -> Result<i64, ParseError> {
    within("delta", "must be -1000000000 to 1000000000", -MAX_UNITS..=MAX_UNITS, units)
}

fn sequence(number: i64) -> Result<u64, ParseError> {
    let rule = "must be 0 to 9223372036854775807";
    within("sequence", rule, 0..=i64::MAX, number).map(i64::unsigned_abs)
}

/// The units on hand that a line expects; below 0 when more was taken than there was.
fn on_hand(units: i64) -> Result<i64, ParseError> {
    within("expected", "must be -1000000000 to 1000000000", -MAX_UNITS..=MAX_UNITS, units)
}

fn time(text: &str) -> Result<Timestamp, ParseError> {
    let read = StrDeserializer::<serde::de::value::Error>::new(text);
    Timestamp::deserialize(read)
        .map_err(|_| ParseError::new("a time", "must be as in RFC 3339", text))
}

fn epoch(number: i64) -> Result<u32, ParseError> {
    let refused = |_| ParseError::new("epoch", "must be 0 to 4294967295", &number.to_string());
    u32::try_from(number).map_err(refused)
}

fn line_id(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 64 characters without control characters";
    words("line_id", rule, MAX_LINE_ID_LENGTH, value)
}

fn reason(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 200 characters without control characters";
    words("reason", rule, MAX_REASON_LENGTH, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, wrong: &[&str]) {
        let errors = fields::line(line.as_bytes(), Stock::read).expect_err("is wrong");
        let named: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(named, wrong);
    }

    #[test]
    fn a_count_and_an_adjustment_are_read() {
        let document = |id: &str, sequence| {
            let (connector, id) = ("erp".into(), id.into());
            Some(proto::inventory::Document { connector, id, sequence, ..Default::default() })
        };
        let count = br#"{"type":"count","sku":"A","quantity":0,"connector":"erp","document":"D1",
            "sequence":7}"#;
        assert_eq!(
            fields::line(count, Stock::read),
            Ok(proto::inventory::StockDocument {
                sku: "A".into(),
                location: String::new(),
                document: document("D1", 7),
                change: Some(Change::Count(0)),
                expected: None,
            })
        );
        let adjustment = br#"{"type":"adjustment","sku":"A","delta":-3,"reason":"damaged",
            "connector":"erp","document":"D2","sequence":8,"location":"shelf","expected":-2}"#;
        let change = proto::inventory::Adjustment { delta: -3, reason: "damaged".into() };
        assert_eq!(
            fields::line(adjustment, Stock::read),
            Ok(proto::inventory::StockDocument {
                sku: "A".into(),
                location: "shelf".into(),
                document: document("D2", 8),
                change: Some(Change::Adjustment(change)),
                expected: Some(-2),
            })
        );
    }

    #[test]
    fn a_line_may_say_when_it_happened() {
        let count = br#"{"type":"count","sku":"A","quantity":3,"connector":"erp","document":"D1",
            "sequence":7,"as_of":"2026-11-21T09:30:00.250+01:00","expected":5}"#;
        let line = fields::line(count, Stock::read).expect("is valid");
        let time = line.document.expect("is there").occurred_at;
        assert_eq!(time, Some(Timestamp::from_millis(1_795_249_800_250).into()));
        assert_eq!(line.expected, Some(5));
        check(
            r#"{"type":"adjustment","sku":"A","delta":1,"reason":"r","connector":"e","document":"d",
                "sequence":1,"occurred_at":"yesterday","as_of":"2026-11-21T09:30:00Z"}"#,
            &["occurred_at", "as_of"],
        );
    }

    #[test]
    fn a_goods_issue_is_read() {
        let issue = br#"{"type":"goods_issue","sku":"A","quantity":4,"connector":"erp",
            "document":"GI-1","document_line":"10","sequence":7,"epoch":2,
            "order_id":"018F0000-0000-7000-8000-000000000001","line_id":"1"}"#;
        let order_id = "018f0000-0000-7000-8000-000000000001".into();
        let issued = proto::inventory::GoodsIssue { order_id, line_id: "1".into(), quantity: 4 };
        assert_eq!(
            fields::line(issue, Stock::read),
            Ok(proto::inventory::StockDocument {
                sku: "A".into(),
                location: String::new(),
                document: Some(proto::inventory::Document {
                    connector: "erp".into(),
                    id: "GI-1".into(),
                    sequence: 7,
                    line: "10".into(),
                    epoch: 2,
                    occurred_at: None,
                }),
                change: Some(Change::GoodsIssue(issued)),
                expected: None,
            })
        );
    }

    #[test]
    fn every_wrong_field_of_a_line_is_named() {
        check("{}", &["type", "sku", "connector", "document", "sequence"]);
        check(
            r#"{"type":"count","sku":"","quantity":-1,"connector":"ERP","document":"a b",
                "sequence":-1,"location":"X","delta":1}"#,
            &["sku", "quantity", "connector", "document", "sequence", "location", "delta"],
        );
        check(
            r#"{"type":"move","sku":"A","delta":1,"connector":"e","document":"d","sequence":1}"#,
            &["type"],
        );
        check(
            r#"{"type":"adjustment","sku":"A","connector":"e","document":"d","sequence":1}"#,
            &["delta", "reason"],
        );
        check(
            r#"{"type":"goods_issue","sku":"A","connector":"e","document":"d","sequence":1,
                "order_id":"4711","line_id":"","quantity":0,"document_line":"a b","epoch":-1}"#,
            &["order_id", "line_id", "quantity", "document_line", "epoch"],
        );
    }

    #[test]
    fn a_reason_holds_no_number_of_a_card_and_a_bar_code_is_a_sku() {
        check(
            r#"{"type":"adjustment","sku":"5012345601090","connector":"e","document":"5555555555554444",
                "sequence":1,"delta":1,"reason":"paid by 5555555555554444"}"#,
            &["reason"],
        );
    }

    #[test]
    fn a_json_body_is_one_line_or_a_list_of_lines() {
        let one = r#"{"type":"count","sku":"A","quantity":1,"connector":"e","document":"d",
            "sequence":1}"#;
        assert!(matches!(fields::body(one.as_bytes(), json_body::<Stock>), Ok(JsonBody::One(_))));
        let many = format!(r#"{{"lines":[{one},{{"type":"count"}}]}}"#);
        let Ok(JsonBody::Many(lines)) = fields::body(many.as_bytes(), json_body::<Stock>) else {
            panic!("is a list")
        };
        assert!(matches!(lines.as_slice(), [Ok(_), Err(errors)] if errors.len() == 5));
        assert!(fields::body(br#"{"lines":[],"more":1}"#, json_body::<Stock>).is_err());
    }
}
