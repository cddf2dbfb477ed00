//! Uploads of stock lines: which lines are accepted, how they are sent, and what became of each.

use std::marker::PhantomData;

use events::proto::{
    self,
    inventory::{InvalidLine, Mismatch, RecordStockAnswer, StockDocument, StockResult},
};
use protocol::id::ParseError;

use crate::{
    bulk::{self, LineName, LineOutcome, ReadLine, UnknownResult, Upload},
    extract::RequestContext,
    fields::{Errors, Fields, Path, object, text},
    inventory::{
        invalid::{invalid_line, with_connectors},
        line::{self, Kind},
    },
    json::Node,
    lines::SentText,
    problem::FieldError,
};

/// Which lines a sender may upload.
pub(super) trait Accepted: Send + Sync + 'static {
    /// The kind of a line; the error is added where it has none that is accepted.
    fn kind(fields: &mut Fields<'_, '_>) -> Option<Kind>;
}

/// Lines of every kind.
pub(super) struct AllLines;

impl Accepted for AllLines {
    fn kind(fields: &mut Fields<'_, '_>) -> Option<Kind> {
        fields.required("type", text(Kind::parse))
    }
}

/// What a warehouse may record: with the scope `fulfilment` alone.
pub(super) struct WarehouseLines;

impl Accepted for WarehouseLines {
    fn kind(fields: &mut Fields<'_, '_>) -> Option<Kind> {
        fields.required("type", text(warehouse_kind))
    }
}

fn warehouse_kind(name: &str) -> Result<Kind, ParseError> {
    match Kind::parse(name)? {
        kind @ (Kind::GoodsIssue | Kind::TransferOut | Kind::TransferIn) => Ok(kind),
        Kind::Count | Kind::Adjustment => {
            let rule = "must be goods_issue, transfer_out or transfer_in: an API key with the scope erp may send others";
            Err(ParseError::new("type", rule, name))
        }
    }
}

/// Goods issues, which need not say that they are.
pub(super) struct GoodsIssues;

impl Accepted for GoodsIssues {
    fn kind(fields: &mut Fields<'_, '_>) -> Option<Kind> {
        fields.optional("type", text(goods_issue_kind));
        Some(Kind::GoodsIssue)
    }
}

fn goods_issue_kind(name: &str) -> Result<(), ParseError> {
    let rule = "must be goods_issue, or absent: send other lines as stock";
    if name == "goods_issue" { Ok(()) } else { Err(ParseError::new("type", rule, name)) }
}

/// A JSON body: one stock document or a list.
pub(super) enum JsonBody<A: Accepted> {
    One(Box<StockDocument>),
    Many(Vec<ReadLine<StockUpload<A>>>),
}

pub(super) fn json_body<A: Accepted>(
    node: &Node<'_>,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Option<JsonBody<A>> {
    let is_list = match node {
        Node::Object(members) => members.iter().any(|(name, _)| name == "lines"),
        _ => false,
    };
    if is_list {
        object(node, path, errors, |fields| bulk::items::<StockUpload<A>>(fields, "lines"))
            .map(JsonBody::Many)
    } else {
        StockUpload::<A>::read(node, path, errors).map(Box::new).map(JsonBody::One)
    }
}

/// Uploads of stock lines.
pub(super) struct StockUpload<A>(PhantomData<A>);

impl<A: Accepted> Upload for StockUpload<A> {
    type Line = StockDocument;
    type Invalid = InvalidLine;
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

    fn read(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<StockDocument> {
        object(node, path, errors, |fields| {
            let kind = A::kind(fields);
            line::read(fields, kind)
        })
    }

    fn name(line: &StockDocument) -> LineName {
        let document = line.document.as_ref();
        LineName {
            sku: line.sku.clone(),
            document: document.map(|document| document.id.clone()),
            document_line: document.map(|it| it.line.clone()).filter(|line| !line.is_empty()),
        }
    }

    fn invalid(line: usize, sent: &SentText<'_>, errors: &[FieldError]) -> Option<InvalidLine> {
        Some(invalid_line(line, sent, errors, Self::COLUMNS))
    }

    fn command(
        context: &RequestContext,
        lines: Vec<StockDocument>,
        invalid: Vec<(usize, InvalidLine)>,
    ) -> proto::command::Body {
        let invalid = with_connectors(context, &lines, invalid);
        proto::command::Body::RecordStock(proto::inventory::RecordStock { lines, invalid })
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
        StockResult::Invalid => {
            let detail = "it is no stock line: correct it, and send it again under the same name";
            ("invalid", bulk::REJECTED, Some(detail))
        }
        StockResult::Unspecified => return Err(UnknownResult),
    };
    Ok(LineOutcome::new(result, count, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields;

    #[test]
    fn a_json_body_is_one_line_or_a_list_of_lines() {
        let one = r#"{"type":"count","sku":"A","quantity":1,"connector":"e","document":"d",
            "sequence":1}"#;
        assert!(matches!(
            fields::body(one.as_bytes(), json_body::<AllLines>),
            Ok(JsonBody::One(_))
        ));
        let many = format!(r#"{{"lines":[{one},{{"type":"count"}}]}}"#);
        let Ok(JsonBody::Many(lines)) = fields::body(many.as_bytes(), json_body::<AllLines>) else {
            panic!("is a list")
        };
        assert!(matches!(lines.as_slice(), [Ok(_), Err(refused)] if refused.errors.len() == 5));
        assert!(fields::body(br#"{"lines":[],"more":1}"#, json_body::<AllLines>).is_err());
    }
}
