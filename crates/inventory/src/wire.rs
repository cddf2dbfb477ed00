//! Bytes to domain and back: the only file that sees protobuf.

mod connectors;
mod facts;
mod questions;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use engine::{Encoded, Wire, WireError};
use events::{
    id::{Connector, DocumentId, DocumentLine, Location, OrderId, Quantity, Sku, TransferId},
    names,
    proto::{self, AnswerBody, answer_body, inventory::stock_document::Change},
    shop::Settings,
};
use prost::Message as _;
use protocol::{id::ParseError, time::Timestamp};

use crate::{
    Inventory,
    domain::{
        Answer, Document, DocumentKey, Event, Input, Limits, LimitsResult, LocationDetails,
        LocationKind, LocationResult, Sequence, StockFact, StockId, StockLine, StockResult, Units,
        Wanted,
    },
    query::{Found, Question},
};

/// The most lines of one command: a line brings at most three events, two of its stock and one of its
/// connector, and a command's events go into one atomic batch, which takes 1,000.
const MAX_LINES: usize = 300;

const TOO_MANY: &str = "must be at most 300";

/// The most invalid lines of one command: they are in one event, which has to fit into a message.
const MAX_INVALID_LINES: usize = 100;

impl Wire for Inventory {
    type Input = Input;
    type Event = Event;
    type Answer = Answer;
    type Question = Question;
    type Found = Found;

    fn command(payload: &[u8]) -> Result<Input, WireError> {
        command(proto::Command::decode(payload)?)
    }

    fn foreign(payload: &[u8]) -> Result<Input, WireError> {
        foreign(proto::EventFact::decode(payload)?)
    }

    fn encode(fact: &Event) -> Encoded {
        let body = facts::encode(fact);
        let name = names::event_name(&body).unwrap_or_default();
        let event = proto::Event { body: Some(body), ..Default::default() };
        Encoded { occurred_at: occurred_at(fact), ..Encoded::new(name, event.encode_to_vec()) }
    }

    fn decode(payload: &[u8]) -> Result<Event, WireError> {
        facts::decode(proto::EventFact::decode(payload)?)
    }

    fn encode_answer(answer: &Answer) -> Vec<u8> {
        AnswerBody { answer: Some(encode_answer(answer)) }.encode_to_vec()
    }

    fn question(payload: &[u8]) -> Result<Question, WireError> {
        questions::decode(payload)
    }

    fn encode_found(found: Found) -> Vec<u8> {
        questions::encode(found)
    }
}

/// When an event happened, where its connector says so.
fn occurred_at(event: &Event) -> Option<Timestamp> {
    match event {
        Event::Stock(
            _,
            StockFact::Counted { document, .. }
            | StockFact::Adjusted { document, .. }
            | StockFact::Sent { document, .. }
            | StockFact::Received { document, .. }
            | StockFact::Shipped { document, .. },
        ) => document.occurred_at,
        Event::Stock(_, StockFact::LimitsChanged { .. } | StockFact::Short { .. })
        | Event::Reservation(..)
        | Event::Location(..)
        | Event::Connector(..) => None,
    }
}

fn encode_answer(answer: &Answer) -> answer_body::Answer {
    match answer {
        Answer::Stock(results) => {
            let mismatch = |(line, result): (usize, &StockResult)| match *result {
                StockResult::Mismatch { expected, on_hand } => {
                    Some(proto::inventory::Mismatch { line: line as u32, expected, on_hand })
                }
                _ => None,
            };
            answer_body::Answer::RecordStock(proto::inventory::RecordStockAnswer {
                mismatches: results.iter().enumerate().filter_map(mismatch).collect(),
                results: results.iter().map(|result| encode_result(*result).into()).collect(),
            })
        }
        Answer::Location(result, version) => {
            let result = match result {
                LocationResult::Created => proto::inventory::LocationResult::Created,
                LocationResult::Changed => proto::inventory::LocationResult::Changed,
                LocationResult::Unchanged => proto::inventory::LocationResult::Unchanged,
                LocationResult::TooMany => proto::inventory::LocationResult::TooMany,
                LocationResult::OtherVersion => proto::inventory::LocationResult::OtherVersion,
            };
            let (result, version) = (result.into(), *version);
            answer_body::Answer::PutLocation(proto::inventory::PutLocationAnswer {
                result,
                version,
            })
        }
        Answer::Limits(result) => {
            use proto::inventory::StockLimitsResult as Wire;
            let (result, found) = match result {
                LimitsResult::Changed => (Wire::Changed, None),
                LimitsResult::Unchanged => (Wire::Unchanged, None),
                LimitsResult::UnknownSku => (Wire::UnknownSku, None),
                LimitsResult::UnknownLocation => (Wire::UnknownLocation, None),
                LimitsResult::Other(found) => (Wire::OtherLimits, Some(encode_limits(*found))),
            };
            let result = result.into();
            answer_body::Answer::SetStockLimits(proto::inventory::SetStockLimitsAnswer {
                result,
                found,
            })
        }
        Answer::Redriven(results) => {
            let result = |result: &Option<StockResult>| {
                let unknown = proto::inventory::StockResult::Unspecified;
                result.map_or(unknown, encode_result).into()
            };
            let results = results.iter().map(result).collect();
            let answer = proto::inventory::RedriveRejectionsAnswer { results };
            answer_body::Answer::RedriveRejections(answer)
        }
        Answer::Dropped(dropped) => {
            let dropped = dropped.clone();
            answer_body::Answer::DropRejections(proto::inventory::DropRejectionsAnswer { dropped })
        }
    }
}

fn encode_document(document: &Document) -> proto::inventory::Document {
    let Document { key: DocumentKey { connector, id, line }, sequence, occurred_at } = document;
    proto::inventory::Document {
        connector: connector.to_string(),
        id: id.to_string(),
        sequence: sequence.number as u64,
        line: line.as_ref().map(DocumentLine::to_string).unwrap_or_default(),
        epoch: sequence.epoch,
        occurred_at: occurred_at.map(Into::into),
    }
}

pub(super) fn encode_result(result: StockResult) -> proto::inventory::StockResult {
    match result {
        StockResult::Applied => proto::inventory::StockResult::Applied,
        StockResult::Duplicate => proto::inventory::StockResult::Duplicate,
        StockResult::Stale => proto::inventory::StockResult::Stale,
        StockResult::UnknownSku => proto::inventory::StockResult::UnknownSku,
        StockResult::DocumentReused => proto::inventory::StockResult::DocumentReused,
        StockResult::OutOfRange => proto::inventory::StockResult::OutOfRange,
        StockResult::AppliedInExcess => proto::inventory::StockResult::AppliedInExcess,
        StockResult::AppliedElsewhere => proto::inventory::StockResult::AppliedElsewhere,
        StockResult::UnknownOrder => proto::inventory::StockResult::UnknownOrder,
        StockResult::UnknownLocation => proto::inventory::StockResult::UnknownLocation,
        StockResult::AppliedIncomplete => proto::inventory::StockResult::AppliedIncomplete,
        StockResult::UnknownTransfer => proto::inventory::StockResult::UnknownTransfer,
        StockResult::Invalid => proto::inventory::StockResult::Invalid,
        StockResult::Mismatch { .. } => proto::inventory::StockResult::Mismatch,
    }
}

/// Turns a command into an input.
fn command(command: proto::Command) -> Result<Input, WireError> {
    use proto::command::Body;
    match command.body.ok_or(WireError::Missing("body"))? {
        Body::RecordStock(record) => record_stock(record),
        Body::PutLocation(put) => Ok(Input::PutLocation {
            code: Location::parse(&put.code)?,
            details: location(put.location)?,
            expected_version: put.expected_version,
        }),
        Body::SetStockLimits(set) => Ok(Input::SetLimits {
            stock: stock_id(&set.sku, &set.location)?,
            limits: limits(set.limits),
            expected: set.expected.map(|expected| limits(Some(expected))),
        }),
        Body::RedriveRejections(redrive) => Ok(Input::Redrive {
            connector: Connector::parse(&redrive.connector)?,
            numbers: rejection_numbers(redrive.numbers)?,
        }),
        Body::DropRejections(drop) => Ok(Input::DropRejections {
            connector: Connector::parse(&drop.connector)?,
            numbers: rejection_numbers(drop.numbers)?,
            reason: drop.reason,
        }),
        other => Err(WireError::Unexpected(names::command_name(&other).1)),
    }
}

fn record_stock(record: proto::inventory::RecordStock) -> Result<Input, WireError> {
    let proto::inventory::RecordStock { mut lines, invalid } = record;
    let count = lines.len() + invalid.len();
    if count > MAX_LINES {
        return Err(ParseError::new("lines", TOO_MANY, &count.to_string()).into());
    }
    if invalid.len() > MAX_INVALID_LINES {
        let count = invalid.len().to_string();
        return Err(ParseError::new("invalid", "must be at most 100", &count).into());
    }
    let mut unlocated = Vec::new();
    for (index, line) in lines.iter_mut().enumerate() {
        if line.location.is_empty() {
            line.location = Location::main().into();
            unlocated.push(index);
        }
    }
    let lines = lines.into_iter().map(stock_line).collect::<Result<_, _>>()?;
    let invalid = invalid.into_iter().map(|sent| {
        let line = connectors::invalid_line(sent.line.ok_or(WireError::Missing("line"))?)?;
        Ok::<_, WireError>((sent.lines_before as usize, line))
    });
    Ok(Input::RecordStock { lines, unlocated, invalid: invalid.collect::<Result<_, _>>()? })
}

fn rejection_numbers(numbers: Vec<u64>) -> Result<Vec<u64>, WireError> {
    if numbers.len() > MAX_LINES {
        return Err(ParseError::new("numbers", TOO_MANY, &numbers.len().to_string()).into());
    }
    Ok(numbers)
}

fn stock_line(line: proto::inventory::StockDocument) -> Result<StockLine, WireError> {
    let (mut reason, mut line_id) = (String::new(), String::new());
    let units = match line.change.ok_or(WireError::Missing("change"))? {
        Change::Count(quantity) => Units::Counted(quantity),
        Change::Adjustment(adjustment) => {
            reason = adjustment.reason;
            Units::Added(adjustment.delta)
        }
        Change::GoodsIssue(issue) => {
            line_id = issue.line_id;
            let quantity = Quantity::parse(issue.quantity)?;
            Units::Issued(OrderId::parse(&issue.order_id)?, quantity.get())
        }
        Change::TransferOut(out) => Units::Sent(
            TransferId::parse(&out.transfer)?,
            Location::parse(&out.to)?,
            Quantity::parse(out.quantity)?.get(),
        ),
        // Nothing at all may have come, if nothing will.
        Change::TransferIn(into) => Units::Received(
            TransferId::parse(&into.transfer)?,
            if into.complete && into.quantity == 0 {
                0
            } else {
                Quantity::parse(into.quantity)?.get()
            },
            into.complete,
        ),
    };
    let (stock, document) = (stock_id(&line.sku, &line.location)?, document(line.document)?);
    Ok(StockLine { stock, document, units, expected: line.expected, reason, line_id })
}

fn location(location: Option<proto::inventory::Location>) -> Result<LocationDetails, WireError> {
    use proto::inventory::LocationKind as Wire;
    let location = location.ok_or(WireError::Missing("location"))?;
    let kind = match location.kind() {
        Wire::Warehouse => LocationKind::Warehouse,
        Wire::Store => LocationKind::Store,
        // What a later version adds is something else for this one.
        Wire::Other | Wire::Unspecified => LocationKind::Other,
    };
    let proto::inventory::Location { priority, fulfils_online, country, active, .. } = location;
    Ok(LocationDetails { kind, priority, fulfils_online, country, active })
}

pub(super) fn encode_location(details: &LocationDetails) -> proto::inventory::Location {
    let kind = match details.kind {
        LocationKind::Warehouse => proto::inventory::LocationKind::Warehouse,
        LocationKind::Store => proto::inventory::LocationKind::Store,
        LocationKind::Other => proto::inventory::LocationKind::Other,
    };
    let LocationDetails { priority, fulfils_online, country, active, .. } = details.clone();
    proto::inventory::Location { kind: kind.into(), priority, fulfils_online, country, active }
}

fn limits(limits: Option<proto::inventory::StockLimits>) -> Limits {
    let proto::inventory::StockLimits { safety_stock, backorder_limit } =
        limits.unwrap_or_default();
    Limits { safety_stock, backorder_limit }
}

pub(super) fn encode_limits(limits: Limits) -> proto::inventory::StockLimits {
    let Limits { safety_stock, backorder_limit } = limits;
    proto::inventory::StockLimits { safety_stock, backorder_limit }
}

fn stock_id(sku: &str, location: &str) -> Result<StockId, ParseError> {
    Ok(StockId { sku: Sku::parse(sku)?, location: Location::parse(location)? })
}

fn document(document: Option<proto::inventory::Document>) -> Result<Document, WireError> {
    let proto::inventory::Document { connector, id, sequence, line, epoch, occurred_at } =
        document.ok_or(WireError::Missing("document"))?;
    let occurred_at = Timestamp::parse_optional(occurred_at.as_ref())?;
    let line = if line.is_empty() { None } else { Some(DocumentLine::parse(&line)?) };
    let (connector, id) = (Connector::parse(&connector)?, DocumentId::parse(&id)?);
    let number = sequence_number(sequence)?;
    let key = DocumentKey { connector, id, line };
    Ok(Document { key, sequence: Sequence { epoch, number }, occurred_at })
}

/// A connector's own number, as the domain has it.
fn sequence_number(number: u64) -> Result<i64, ParseError> {
    let rule = "must be 0 to 9223372036854775807";
    i64::try_from(number).map_err(|_| ParseError::new("sequence", rule, &number.to_string()))
}

/// Turns an event of the order service or of the catalogue into an input.
fn foreign(event: proto::EventFact) -> Result<Input, WireError> {
    use proto::{
        catalog::catalog_event::Kind as Catalog, event::Body, order::order_event::Kind as Order,
        shop::shop_event::Kind as Shop,
    };
    let body = event.body.ok_or(WireError::Missing("body"))?;
    let unexpected = WireError::Unexpected(names::event_name(&body).unwrap_or("no kind"));
    match body {
        Body::Order(order) => {
            let order_id = OrderId::parse(&event.aggregate_id)?;
            match order.kind.ok_or(WireError::Missing("kind"))? {
                Order::Placed(placed) => {
                    Ok(Input::Placed { order_id, wanted: ordered(&placed.lines)? })
                }
                Order::Authorized(_) => Ok(Input::Authorized { order_id }),
                Order::Cancelled(_) => Ok(Input::Cancelled { order_id }),
                Order::PaymentDue(_)
                | Order::PaymentFailed(_)
                | Order::ActionRequired(_)
                | Order::Confirmed(_)
                | Order::PartCaptured(_)
                | Order::Paid(_)
                | Order::Shipped(_)
                | Order::Completed(_)
                | Order::Refunded(_)
                | Order::PutOnHold(_)
                | Order::TakenOffHold(_) => Err(unexpected),
            }
        }
        Body::Catalog(product) => {
            let product = match product.kind.ok_or(WireError::Missing("kind"))? {
                Catalog::Created(created) => created.product,
                Catalog::Updated(updated) => updated.after,
                Catalog::Archived(archived) => archived.after,
                Catalog::CategoryCreated(_)
                | Catalog::CategoryUpdated(_)
                | Catalog::CategoryMoved(_)
                | Catalog::CategoryDeleted(_)
                | Catalog::ListingCreated(_)
                | Catalog::ListingUpdated(_)
                | Catalog::ListingArchived(_) => return Err(unexpected),
            };
            let sku = product.ok_or(WireError::Missing("product"))?.sku;
            Ok(Input::ProductKnown { sku: Sku::parse(&sku)? })
        }
        Body::ShopEvent(shop) => {
            let settings = match shop.kind.ok_or(WireError::Missing("kind"))? {
                Shop::Created(created) => created.settings,
                Shop::Changed(changed) => changed.after,
                Shop::Suspended(_) | Shop::Resumed(_) => return Err(unexpected),
            };
            let settings = Settings::read(&settings.ok_or(WireError::Missing("settings"))?)?;
            Ok(Input::SettingsKnown(settings.into()))
        }
        Body::Engine(_)
        | Body::Inventory(_)
        | Body::Payment(_)
        | Body::Notify(_)
        | Body::Key(_) => Err(unexpected),
    }
}

/// What is ordered, one entry for each SKU, by SKU.
fn ordered(lines: &[proto::order::Line]) -> Result<Wanted, ParseError> {
    let mut units: BTreeMap<Sku, i64> = BTreeMap::new();
    for line in lines {
        *units.entry(Sku::parse(&line.sku)?).or_default() += Quantity::parse(line.quantity)?.get();
    }
    Ok(units.into_iter().collect())
}
