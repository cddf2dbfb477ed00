//! A stock line as an ERP sends it: its fields, by its kind.

use events::{
    id::{
        Connector, DocumentId, DocumentLine, LineId, Location, MAX_UNITS, OrderId, Quantity, Sku,
        TransferId,
    },
    proto::{self, inventory::stock_document::Change},
};
use protocol::{id::ParseError, time::Timestamp};
use serde::{Deserialize, de::value::StrDeserializer};

use crate::fields::{Fields, code, flag, integer, text, within, words};

/// The longest reason, in characters: 500 adjustments fit a message of 1 MB, whatever their
/// reasons.
const MAX_REASON_LENGTH: usize = 200;

/// Reads a stock document of that kind; the error of its kind was added where there is none.
pub(super) fn read(
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
    let line_id = fields.optional("line_id", code(LineId::parse));
    let quantity = fields.required("quantity", integer(Quantity::parse));
    Some(Change::GoodsIssue(proto::inventory::GoodsIssue {
        order_id: order_id?.to_string(),
        line_id: line_id.map(LineId::into).unwrap_or_default(),
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

/// What a line records.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Count,
    Adjustment,
    GoodsIssue,
    TransferOut,
    TransferIn,
}

impl Kind {
    pub(super) fn parse(value: &str) -> Result<Self, ParseError> {
        match value {
            "count" => Ok(Self::Count),
            "adjustment" => Ok(Self::Adjustment),
            "goods_issue" => Ok(Self::GoodsIssue),
            "transfer_out" => Ok(Self::TransferOut),
            "transfer_in" => Ok(Self::TransferIn),
            _ => {
                let rule = "must be count, adjustment, goods_issue, transfer_out or transfer_in";
                Err(ParseError::new("type", rule, value))
            }
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

fn reason(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 200 characters without control characters";
    words("reason", rule, MAX_REASON_LENGTH, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fields::{Errors, Path, line as read_line, object},
        json::Node,
    };

    fn read_any(
        node: &Node<'_>,
        path: &Path<'_>,
        errors: &mut Errors,
    ) -> Option<proto::inventory::StockDocument> {
        object(node, path, errors, |fields| {
            let kind = fields.required("type", text(Kind::parse));
            read(fields, kind)
        })
    }

    #[track_caller]
    fn check(line: &str, wrong: &[&str]) {
        let errors = read_line(line.as_bytes(), read_any).expect_err("is wrong");
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
            read_line(count, read_any),
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
            read_line(adjustment, read_any),
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
        let line = read_line(count, read_any).expect("is valid");
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
            read_line(issue, read_any),
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
    fn the_line_of_a_goods_issue_is_one_that_an_order_can_have() {
        for line_id in ["Pos 10", "10\u{e4}"] {
            check(
                &format!(
                    r#"{{"type":"goods_issue","sku":"A","connector":"e","document":"d","sequence":1,
                        "order_id":"018f0000-0000-7000-8000-000000000001","line_id":"{line_id}",
                        "quantity":1}}"#
                ),
                &["line_id"],
            );
        }
    }

    #[test]
    fn a_reason_holds_no_number_of_a_card_and_a_bar_code_is_a_sku() {
        check(
            r#"{"type":"adjustment","sku":"5012345601090","connector":"e","document":"5555555555554444",
                "sequence":1,"delta":1,"reason":"paid by 5555555555554444"}"#,
            &["reason"],
        );
    }
}
