//! Connectors and rejected lines: to the wire and back.

use engine::WireError;
use events::{
    id::{Connector, DocumentId, DocumentLine, Sku},
    proto::inventory::{self, inventory_event::Kind, stock_document::Change},
};
use protocol::time::Timestamp;

use super::{encode_document, encode_result, sequence_number, stock_line};
use crate::domain::{
    ConnectorFact, ConnectorRow, Event, InvalidLine, LineError, Rejected, RejectedLine, Rejection,
    RejectionOutcome, Sequence, SequenceRun, StockLine, StockResult, Units,
};

pub(super) fn encode(connector: &Connector, fact: &ConnectorFact) -> Kind {
    let connector = connector.to_string();
    match fact {
        ConnectorFact::Rejected { lines, displaced } => {
            let lines = lines.iter().map(|it| rejected(it.number, &it.content)).collect();
            let displaced = displaced.clone();
            Kind::LinesRejected(inventory::LinesRejected { connector, lines, displaced })
        }
        ConnectorFact::Repeated { duplicates, stale_lines, stale } => {
            Kind::LinesRepeated(inventory::LinesRepeated {
                connector,
                duplicates: *duplicates,
                stale: *stale_lines,
                stale_sequences: stale.iter().map(encode_run).collect(),
            })
        }
        ConnectorFact::Closed { numbers, outcome, reason } => {
            let outcome = match outcome {
                RejectionOutcome::Redriven => inventory::RejectionOutcome::Redriven,
                RejectionOutcome::Resent => inventory::RejectionOutcome::Resent,
                RejectionOutcome::Dropped => inventory::RejectionOutcome::Dropped,
            };
            let (numbers, outcome, reason) = (numbers.clone(), outcome.into(), reason.clone());
            let closed = inventory::RejectionsClosed { connector, numbers, outcome, reason };
            Kind::RejectionsClosed(closed)
        }
    }
}

fn rejected(number: u64, content: &Rejected) -> inventory::RejectedLine {
    let on_hand = match content.reason() {
        StockResult::Mismatch { on_hand, .. } => Some(on_hand),
        _ => None,
    };
    let (line, invalid) = match content {
        Rejected::Line(line, _) => (Some(encode_line(line)), None),
        Rejected::Invalid(line) => (None, Some(encode_invalid(line))),
    };
    let reason = encode_result(content.reason()).into();
    inventory::RejectedLine { number, line, reason, on_hand, invalid }
}

pub(super) fn encode_invalid(invalid: &InvalidLine) -> inventory::InvalidLine {
    let InvalidLine { connector, document, line, sku, sequence, upload_line, text, errors } =
        invalid;
    let error = |error: &LineError| {
        let LineError { field, pointer, detail } = error.clone();
        inventory::LineError { field, pointer, detail }
    };
    inventory::InvalidLine {
        connector: connector.to_string(),
        document: document.as_ref().map(DocumentId::to_string).unwrap_or_default(),
        document_line: line.as_ref().map(DocumentLine::to_string).unwrap_or_default(),
        sku: sku.as_ref().map(Sku::to_string).unwrap_or_default(),
        sequence: sequence.map(|it| it.number.unsigned_abs()),
        epoch: sequence.map(|it| it.epoch).unwrap_or_default(),
        text: text.clone(),
        errors: errors.iter().map(error).collect(),
        upload_line: *upload_line,
    }
}

/// A line that is no stock line, as the domain has it.
pub(super) fn invalid_line(sent: inventory::InvalidLine) -> Result<InvalidLine, WireError> {
    let inventory::InvalidLine { epoch, text, upload_line, .. } = sent;
    let sequence = sent.sequence.map(sequence_number).transpose()?;
    let error = |error: inventory::LineError| {
        let inventory::LineError { field, pointer, detail } = error;
        LineError { field, pointer, detail }
    };
    Ok(InvalidLine {
        connector: Connector::parse(&sent.connector)?,
        document: given(&sent.document).map(DocumentId::parse).transpose()?,
        line: given(&sent.document_line).map(DocumentLine::parse).transpose()?,
        sku: given(&sent.sku).map(Sku::parse).transpose()?,
        sequence: sequence.map(|number| Sequence { epoch, number }),
        upload_line,
        text,
        errors: sent.errors.into_iter().map(error).collect(),
    })
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn encode_line(line: &StockLine) -> inventory::StockDocument {
    let StockLine { stock, document, units, expected, reason, line_id } = line;
    let change = match units.clone() {
        Units::Counted(quantity) => Change::Count(quantity),
        Units::Added(delta) => {
            Change::Adjustment(inventory::Adjustment { delta, reason: reason.clone() })
        }
        Units::Issued(order_id, quantity) => {
            let (order_id, line_id) = (order_id.to_string(), line_id.clone());
            Change::GoodsIssue(inventory::GoodsIssue { order_id, line_id, quantity })
        }
        Units::Sent(transfer, to, quantity) => {
            let (transfer, to) = (transfer.into(), to.into());
            Change::TransferOut(inventory::TransferOut { transfer, to, quantity })
        }
        Units::Received(transfer, quantity, complete) => {
            let transfer = transfer.into();
            Change::TransferIn(inventory::TransferIn { transfer, quantity, complete })
        }
    };
    inventory::StockDocument {
        sku: stock.sku.to_string(),
        location: stock.location.to_string(),
        document: Some(encode_document(document)),
        change: Some(change),
        expected: *expected,
    }
}

pub(super) fn decode_rejected(event: inventory::LinesRejected) -> Result<Event, WireError> {
    let line = |rejected: inventory::RejectedLine| {
        let number = rejected.number;
        let content = match reason(&rejected)? {
            StockResult::Invalid => {
                let invalid = rejected.invalid.ok_or(WireError::Missing("invalid"))?;
                Rejected::Invalid(invalid_line(invalid)?)
            }
            reason => {
                let line = rejected.line.ok_or(WireError::Missing("line"))?;
                Rejected::Line(stock_line(line)?, reason)
            }
        };
        Ok::<_, WireError>(RejectedLine { number, content })
    };
    let lines = event.lines.into_iter().map(line).collect::<Result<_, _>>()?;
    let fact = ConnectorFact::Rejected { lines, displaced: event.displaced };
    Ok(Event::Connector(Connector::parse(&event.connector)?, fact))
}

/// Why a line was rejected.
fn reason(rejected: &inventory::RejectedLine) -> Result<StockResult, WireError> {
    use inventory::StockResult as Wire;
    Ok(match rejected.reason() {
        Wire::UnknownSku => StockResult::UnknownSku,
        Wire::DocumentReused => StockResult::DocumentReused,
        Wire::OutOfRange => StockResult::OutOfRange,
        Wire::UnknownOrder => StockResult::UnknownOrder,
        Wire::UnknownLocation => StockResult::UnknownLocation,
        Wire::UnknownTransfer => StockResult::UnknownTransfer,
        Wire::Invalid => StockResult::Invalid,
        Wire::Mismatch => {
            let expected = rejected.line.as_ref().and_then(|line| line.expected);
            let expected = expected.ok_or(WireError::Missing("expected"))?;
            let on_hand = rejected.on_hand.ok_or(WireError::Missing("on_hand"))?;
            StockResult::Mismatch { expected, on_hand }
        }
        Wire::Unspecified => return Err(WireError::Missing("reason")),
        Wire::Applied
        | Wire::Duplicate
        | Wire::Stale
        | Wire::AppliedInExcess
        | Wire::AppliedElsewhere
        | Wire::AppliedIncomplete => return Err(WireError::Unexpected("a line that is good")),
    })
}

fn encode_run(run: &SequenceRun) -> inventory::SequenceRun {
    let SequenceRun { epoch, first, last } = *run;
    inventory::SequenceRun { epoch, first: first.unsigned_abs(), last: last.unsigned_abs() }
}

fn decode_run(run: &inventory::SequenceRun) -> Result<SequenceRun, WireError> {
    let (first, last) = (sequence_number(run.first)?, sequence_number(run.last)?);
    Ok(SequenceRun { epoch: run.epoch, first, last })
}

pub(super) fn decode_repeated(event: &inventory::LinesRepeated) -> Result<Event, WireError> {
    let fact = ConnectorFact::Repeated {
        duplicates: event.duplicates,
        stale_lines: event.stale,
        stale: event.stale_sequences.iter().map(decode_run).collect::<Result<_, _>>()?,
    };
    Ok(Event::Connector(Connector::parse(&event.connector)?, fact))
}

pub(super) fn decode_closed(event: inventory::RejectionsClosed) -> Result<Event, WireError> {
    let outcome = match event.outcome() {
        inventory::RejectionOutcome::Unspecified => return Err(WireError::Missing("outcome")),
        inventory::RejectionOutcome::Redriven => RejectionOutcome::Redriven,
        inventory::RejectionOutcome::Resent => RejectionOutcome::Resent,
        inventory::RejectionOutcome::Dropped => RejectionOutcome::Dropped,
    };
    let connector = Connector::parse(&event.connector)?;
    let (numbers, reason) = (event.numbers, event.reason);
    Ok(Event::Connector(connector, ConnectorFact::Closed { numbers, outcome, reason }))
}

/// A rejection, as it is shown.
pub(super) fn rejection(row: &Rejection) -> inventory::Rejection {
    inventory::Rejection {
        rejected: Some(rejected(row.number, &row.content)),
        first_time: Some(Timestamp::from_millis(row.first_time).into()),
        last_time: Some(Timestamp::from_millis(row.last_time).into()),
        times: row.times,
    }
}

/// A connector, as it is shown.
pub(super) fn connector((name, row): (String, ConnectorRow)) -> inventory::Connector {
    let last = row.last.map(|last| {
        let document = inventory::Document {
            connector: name.clone(),
            id: last.id.into(),
            sequence: last.sequence.number.unsigned_abs(),
            line: last.line.map(String::from).unwrap_or_default(),
            epoch: last.sequence.epoch,
            occurred_at: last.occurred_at.map(|time| Timestamp::from_millis(time).into()),
        };
        (document, Timestamp::from_millis(last.time).into())
    });
    let (last, last_time) = last.unzip();
    let largest = row.arrivals.largest.unwrap_or(Sequence { epoch: 0, number: 0 });
    let gap = |(first, last): &(i64, i64)| {
        encode_run(&SequenceRun { epoch: largest.epoch, first: *first, last: *last })
    };
    inventory::Connector {
        connector: name,
        last,
        last_time,
        epoch: largest.epoch,
        sequence: largest.number.unsigned_abs(),
        gaps: row.arrivals.gaps.iter().map(gap).collect(),
        forgotten_gaps: row.arrivals.forgotten_gaps,
        applied: row.applied,
        repeated: row.repeated,
        rejected: row.rejected,
        rejections: row.kept,
        displaced: row.displaced,
        heard: Some(Timestamp::from_millis(row.heard).into()),
    }
}

/// The reason that a filter names; empty: any.
pub(super) fn reason_name(reason: inventory::StockResult) -> String {
    match reason {
        inventory::StockResult::Unspecified => String::new(),
        other => {
            let name = other.as_str_name().trim_start_matches("STOCK_RESULT_");
            name.to_ascii_lowercase()
        }
    }
}
