//! Connectors and rejected lines.

use events::{
    http::{
        ConnectorView, InvalidLineView, LastLineView, LineErrorView, RejectionView,
        SequenceGapView, StockLineView,
    },
    proto::inventory::{self, StockResult, stock_document::Change},
};
use protocol::time::Timestamp;

use super::ViewError;
use crate::inventory::outcome;

/// A connector, as it is at a time.
pub(crate) fn connector(
    stored: inventory::Connector,
    now: Timestamp,
) -> Result<ConnectorView, ViewError> {
    let heard = Timestamp::parse(stored.heard.as_ref())?;
    let last = match (stored.last, stored.last_time) {
        (Some(last), Some(time)) => {
            let occurred_at = Timestamp::parse_optional(last.occurred_at.as_ref())?;
            let time = Timestamp::parse(Some(&time))?;
            Some(LastLineView {
                document: last.id,
                document_line: text(last.line),
                epoch: last.epoch,
                sequence: last.sequence,
                occurred_at,
                time,
                lag_seconds: occurred_at.map(|occurred_at| seconds(occurred_at, time)),
            })
        }
        _ => None,
    };
    let gap = |run: inventory::SequenceRun| SequenceGapView { first: run.first, last: run.last };
    Ok(ConnectorView {
        connector: stored.connector,
        last,
        epoch: stored.epoch,
        sequence: stored.sequence,
        applied: stored.applied,
        repeated: stored.repeated,
        rejected: stored.rejected,
        rejections: stored.rejections,
        displaced: stored.displaced,
        gaps: stored.gaps.into_iter().map(gap).collect(),
        forgotten_gaps: stored.forgotten_gaps,
        heard,
        silent_seconds: seconds(heard, now),
    })
}

/// The whole seconds from one time to another; 0 where there are none.
fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    (to.millis().saturating_sub(from.millis()).max(0) / 1_000).unsigned_abs()
}

/// A rejected line.
pub(crate) fn rejection(stored: inventory::Rejection) -> Result<RejectionView, ViewError> {
    let rejected = stored.rejected.unwrap_or_default();
    let shown = StockResult::try_from(rejected.reason).ok().and_then(|it| outcome(it).ok());
    let (reason, detail) = match shown {
        Some(shown) => (shown.result.to_owned(), shown.detail.unwrap_or_default()),
        // One of a later version.
        None => (rejected.reason.to_string(), ""),
    };
    let line = rejected.line.map(stock_line).transpose()?;
    let invalid = rejected.invalid.map(invalid_line);
    let of_line = line.as_ref().map(|line| &line.connector);
    let connector = of_line.or(invalid.as_ref().map(|line| &line.connector));
    Ok(RejectionView {
        id: format!("{}.{}", connector.map_or("", |it| it), rejected.number),
        reason,
        detail: detail.to_owned(),
        on_hand: rejected.on_hand,
        line,
        invalid,
        first_time: Timestamp::parse(stored.first_time.as_ref())?,
        last_time: Timestamp::parse(stored.last_time.as_ref())?,
        times: stored.times,
    })
}

fn invalid_line(line: inventory::InvalidLine) -> InvalidLineView {
    let error = |error: inventory::LineError| LineErrorView {
        field: error.field,
        pointer: text(error.pointer),
        detail: error.detail,
    };
    InvalidLineView {
        connector: line.connector,
        document: text(line.document),
        document_line: text(line.document_line),
        sku: text(line.sku),
        upload_line: line.upload_line,
        text: line.text,
        errors: line.errors.into_iter().map(error).collect(),
    }
}

/// A stock line, as a connector sends it.
pub(crate) fn stock_line(line: inventory::StockDocument) -> Result<StockLineView, ViewError> {
    let document = line.document.unwrap_or_default();
    let time = Timestamp::parse_optional(document.occurred_at.as_ref())?;
    let mut shown = StockLineView {
        sku: line.sku,
        location: line.location,
        expected: line.expected,
        occurred_at: time,
        connector: document.connector,
        document: document.id,
        document_line: text(document.line),
        sequence: document.sequence,
        epoch: Some(document.epoch).filter(|epoch| *epoch > 0),
        ..StockLineView::default()
    };
    let kind = match line.change {
        Some(Change::Count(quantity)) => {
            shown.quantity = Some(quantity);
            (shown.as_of, shown.occurred_at) = (time, None);
            "count"
        }
        Some(Change::Adjustment(adjustment)) => {
            (shown.delta, shown.reason) = (Some(adjustment.delta), Some(adjustment.reason));
            "adjustment"
        }
        Some(Change::GoodsIssue(issue)) => {
            (shown.order_id, shown.line_id) = (Some(issue.order_id), text(issue.line_id));
            shown.quantity = Some(issue.quantity);
            "goods_issue"
        }
        Some(Change::TransferOut(out)) => {
            (shown.transfer, shown.to) = (Some(out.transfer), Some(out.to));
            shown.quantity = Some(out.quantity);
            "transfer_out"
        }
        Some(Change::TransferIn(into)) => {
            (shown.transfer, shown.quantity) = (Some(into.transfer), Some(into.quantity));
            shown.complete = Some(into.complete).filter(|complete| *complete);
            "transfer_in"
        }
        None => "other",
    };
    kind.clone_into(&mut shown.kind);
    Ok(shown)
}

fn text(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
