//! Bytes to domain and back: the only file that sees protobuf.

mod questions;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use engine::{Encoded, Wire, WireError};
use events::{
    id::{Connector, DocumentId, DocumentLine, Location, OrderId, Quantity, Sku, TransferId},
    names,
    proto::{
        self, AnswerBody, answer_body,
        inventory::{inventory_event::Kind, stock_document::Change},
    },
    shop::Settings,
};
use prost::Message as _;
use protocol::{id::ParseError, time::Timestamp};

use crate::{
    Inventory,
    domain::{
        Answer, Document, DocumentKey, Event, Input, Level, Levels, Limits, LimitsResult, Line, Lines,
        LocationDetails, LocationFact, LocationKind, LocationResult, ReleaseReason,
        ReservationFact, Sequence, Shortage, StockFact, StockId, StockLine, StockResult, Units,
        Wanted,
    },
    query::{Found, Question},
};

/// The most lines of one command: a line brings at most two events, and a command's events go into
/// one atomic batch, which takes 1,000.
const MAX_LINES: usize = 500;

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
        let body = encode(fact);
        let name = names::event_name(&body).unwrap_or_default();
        let event = proto::Event { body: Some(body), ..Default::default() };
        Encoded { occurred_at: occurred_at(fact), ..Encoded::new(name, event.encode_to_vec()) }
    }

    fn decode(payload: &[u8]) -> Result<Event, WireError> {
        decode(proto::EventFact::decode(payload)?)
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
        | Event::Location(..) => None,
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
        Answer::Location(result) => {
            let result = match result {
                LocationResult::Created => proto::inventory::LocationResult::Created,
                LocationResult::Changed => proto::inventory::LocationResult::Changed,
                LocationResult::Unchanged => proto::inventory::LocationResult::Unchanged,
                LocationResult::TooMany => proto::inventory::LocationResult::TooMany,
            };
            let result = result.into();
            answer_body::Answer::PutLocation(proto::inventory::PutLocationAnswer { result })
        }
        Answer::Limits(result) => {
            use proto::inventory::StockLimitsResult as Wire;
            let result = match result {
                LimitsResult::Changed => Wire::Changed,
                LimitsResult::Unchanged => Wire::Unchanged,
                LimitsResult::UnknownSku => Wire::UnknownSku,
                LimitsResult::UnknownLocation => Wire::UnknownLocation,
            };
            let result = result.into();
            answer_body::Answer::SetStockLimits(proto::inventory::SetStockLimitsAnswer { result })
        }
    }
}

fn encode_result(result: StockResult) -> proto::inventory::StockResult {
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
        StockResult::Mismatch { .. } => proto::inventory::StockResult::Mismatch,
    }
}

/// Turns a command into an input.
fn command(command: proto::Command) -> Result<Input, WireError> {
    use proto::command::Body;
    match command.body.ok_or(WireError::Missing("body"))? {
        Body::RecordStock(record) => {
            let mut lines = record.lines;
            if lines.len() > MAX_LINES {
                let value = lines.len().to_string();
                return Err(ParseError::new("lines", "must be at most 500", &value).into());
            }
            let mut unlocated = Vec::new();
            for (index, line) in lines.iter_mut().enumerate() {
                if line.location.is_empty() {
                    line.location = Location::main().into();
                    unlocated.push(index);
                }
            }
            let lines = lines.into_iter().map(stock_line).collect::<Result<_, _>>()?;
            Ok(Input::RecordStock { lines, unlocated })
        }
        Body::PutLocation(put) => Ok(Input::PutLocation {
            code: Location::parse(&put.code)?,
            details: location(put.location)?,
        }),
        Body::SetStockLimits(set) => Ok(Input::SetLimits {
            stock: stock_id(&set.sku, &set.location)?,
            limits: limits(set.limits),
        }),
        other => Err(WireError::Unexpected(names::command_name(&other).1)),
    }
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
            if into.complete && into.quantity == 0 { 0 } else { Quantity::parse(into.quantity)?.get() },
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
    let occurred_at = occurred_at.map(|time| Timestamp::parse(Some(&time))).transpose()?;
    let line = if line.is_empty() { None } else { Some(DocumentLine::parse(&line)?) };
    let (connector, id) = (Connector::parse(&connector)?, DocumentId::parse(&id)?);
    let number = i64::try_from(sequence).map_err(|_| {
        ParseError::new("sequence", "must be 0 to 9223372036854775807", &sequence.to_string())
    })?;
    let key = DocumentKey { connector, id, line };
    Ok(Document { key, sequence: Sequence { epoch, number }, occurred_at })
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
        Body::Engine(_) | Body::Inventory(_) | Body::Payment(_) | Body::Notify(_) => {
            Err(unexpected)
        }
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

/// Turns an event into its wire form.
fn encode(event: &Event) -> proto::event::Body {
    let kind = match event {
        Event::Stock(id, fact) => encode_stock(id, fact),
        Event::Reservation(order_id, fact) => encode_reservation(*order_id, fact),
        Event::Location(code, fact) => encode_location_fact(code, fact),
    };
    proto::event::Body::Inventory(proto::inventory::InventoryEvent { kind: Some(kind) })
}

fn encode_location_fact(code: &Location, fact: &LocationFact) -> Kind {
    let code = code.to_string();
    match fact {
        LocationFact::Created(details) => {
            let location = Some(encode_location(details));
            Kind::LocationCreated(proto::inventory::LocationCreated { code, location })
        }
        LocationFact::Changed { before, after } => {
            let (before, after) = (Some(encode_location(before)), Some(encode_location(after)));
            Kind::LocationChanged(proto::inventory::LocationChanged { code, before, after })
        }
    }
}

fn encode_stock(id: &StockId, fact: &StockFact) -> Kind {
    let (sku, location) = (id.sku.to_string(), id.location.to_string());
    match fact {
        StockFact::Counted { document, quantity, on_hand } => {
            let document = Some(encode_document(document));
            let (quantity, on_hand) = (*quantity, *on_hand);
            Kind::Counted(proto::inventory::Counted { sku, location, document, quantity, on_hand })
        }
        StockFact::Adjusted { document, delta, reason, on_hand } => {
            let document = Some(encode_document(document));
            let (delta, reason, on_hand) = (*delta, reason.clone(), *on_hand);
            Kind::Adjusted(proto::inventory::Adjusted {
                sku,
                location,
                document,
                delta,
                reason,
                on_hand,
            })
        }
        StockFact::Sent { document, transfer, to, quantity, in_count, on_hand, incoming } => {
            Kind::TransferSent(proto::inventory::TransferSent {
                sku,
                location,
                document: Some(encode_document(document)),
                transfer: transfer.to_string(),
                to: to.to_string(),
                quantity: *quantity,
                in_count: *in_count,
                on_hand: *on_hand,
                incoming: *incoming,
            })
        }
        StockFact::Received {
            document,
            transfer,
            from,
            quantity,
            excess,
            missing,
            is_last,
            in_count,
            on_hand,
            incoming,
        } => Kind::TransferReceived(proto::inventory::TransferReceived {
            sku,
            location,
            document: Some(encode_document(document)),
            transfer: transfer.to_string(),
            from: from.to_string(),
            quantity: *quantity,
            excess: *excess,
            missing: *missing,
            complete: *is_last,
            in_count: *in_count,
            on_hand: *on_hand,
            incoming: *incoming,
        }),
        StockFact::LimitsChanged { before, after } => {
            let (before, after) = (Some(encode_limits(*before)), Some(encode_limits(*after)));
            Kind::LimitsChanged(proto::inventory::LimitsChanged { sku, location, before, after })
        }
        StockFact::Short { on_hand, promised, backorder_limit, order_ids, is_truncated } => {
            Kind::Short(proto::inventory::Short {
                sku,
                location,
                on_hand: *on_hand,
                promised: *promised,
                backorder_limit: *backorder_limit,
                missing: promised - on_hand - backorder_limit,
                order_ids: order_ids.iter().map(OrderId::to_string).collect(),
                truncated: *is_truncated,
            })
        }
        StockFact::Shipped {
            document,
            order_id,
            line_id,
            quantity,
            from_allocation,
            freed,
            in_count,
            after,
        } => Kind::Shipped(proto::inventory::Shipped {
            sku,
            location,
            document: Some(encode_document(document)),
            order_id: order_id.to_string(),
            line_id: line_id.clone(),
            quantity: *quantity,
            from_allocation: *from_allocation,
            excess: quantity - from_allocation,
            freed: freed.iter().map(|(line, after)| encode_line(line, *after)).collect(),
            in_count: *in_count,
            on_hand: after.on_hand,
            held: after.held,
            allocated: after.allocated,
        }),
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

fn encode_reservation(order_id: OrderId, fact: &ReservationFact) -> Kind {
    let order_id = order_id.to_string();
    match fact {
        ReservationFact::Reserved { lines, after, expires_at } => {
            let (lines, expires_at) = (encode_lines(lines, after), Some((*expires_at).into()));
            Kind::Reserved(proto::inventory::Reserved { order_id, lines, expires_at })
        }
        ReservationFact::Refused { shortages } => {
            let shortages = encode_shortages(shortages);
            Kind::Refused(proto::inventory::Refused { order_id, shortages })
        }
        ReservationFact::Allocated { lines, after } => {
            let lines = encode_lines(lines, after);
            Kind::Allocated(proto::inventory::Allocated { order_id, lines })
        }
        ReservationFact::Lost { shortages } => {
            Kind::Lost(proto::inventory::Lost { order_id, shortages: encode_shortages(shortages) })
        }
        ReservationFact::Released { lines, after, reason } => {
            let reason = match reason {
                ReleaseReason::Cancelled => proto::inventory::ReleaseReason::Cancelled,
                ReleaseReason::Expired => proto::inventory::ReleaseReason::Expired,
            };
            let (lines, reason) = (encode_lines(lines, after), reason.into());
            Kind::Released(proto::inventory::Released { order_id, lines, reason })
        }
    }
}

fn encode_lines(lines: &Lines, after: &Levels) -> Vec<proto::inventory::StockLine> {
    lines.iter().zip(after.iter()).map(|(line, after)| encode_line(line, *after)).collect()
}

fn encode_line(line: &Line, after: Level) -> proto::inventory::StockLine {
    let Level { on_hand, held, allocated } = after;
    proto::inventory::StockLine {
        sku: line.stock.sku.to_string(),
        location: line.stock.location.to_string(),
        quantity: line.units,
        on_hand,
        held,
        allocated,
    }
}

fn encode_shortages(shortages: &[Shortage]) -> Vec<proto::inventory::Shortage> {
    let shortage = |shortage: &Shortage| proto::inventory::Shortage {
        sku: shortage.sku.to_string(),
        requested: shortage.requested,
        available: shortage.available,
        location: shortage.location.as_ref().map(Location::to_string).unwrap_or_default(),
    };
    shortages.iter().map(shortage).collect()
}

/// Turns the wire form back into the event.
fn decode(event: proto::EventFact) -> Result<Event, WireError> {
    use proto::event::Body;
    let event = match event.body.ok_or(WireError::Missing("body"))? {
        Body::Inventory(event) => event,
        other => {
            return Err(WireError::Unexpected(names::event_name(&other).unwrap_or("no kind")));
        }
    };
    let reservation = |order_id: &str, fact| {
        Ok::<_, WireError>(Event::Reservation(OrderId::parse(order_id)?, fact))
    };
    match event.kind.ok_or(WireError::Missing("kind"))? {
        Kind::Counted(counted) => {
            let (quantity, on_hand) = (counted.quantity, counted.on_hand);
            let document = document(counted.document)?;
            let fact = StockFact::Counted { document, quantity, on_hand };
            Ok(Event::Stock(stock_id(&counted.sku, &counted.location)?, fact))
        }
        Kind::Adjusted(adjusted) => {
            let (delta, reason, on_hand) = (adjusted.delta, adjusted.reason, adjusted.on_hand);
            let document = document(adjusted.document)?;
            let fact = StockFact::Adjusted { document, delta, reason, on_hand };
            Ok(Event::Stock(stock_id(&adjusted.sku, &adjusted.location)?, fact))
        }
        Kind::Short(short) => {
            let (on_hand, promised) = (short.on_hand, short.promised);
            let order_ids = short.order_ids.iter().map(|id| OrderId::parse(id));
            let order_ids = order_ids.collect::<Result<_, _>>()?;
            let is_truncated = short.truncated;
            let backorder_limit = short.backorder_limit;
            let fact =
                StockFact::Short { on_hand, promised, backorder_limit, order_ids, is_truncated };
            Ok(Event::Stock(stock_id(&short.sku, &short.location)?, fact))
        }
        Kind::Shipped(shipped) => {
            let proto::inventory::Shipped { on_hand, held, allocated, .. } = shipped;
            let fact = StockFact::Shipped {
                document: document(shipped.document)?,
                order_id: OrderId::parse(&shipped.order_id)?,
                line_id: shipped.line_id,
                quantity: shipped.quantity,
                from_allocation: shipped.from_allocation,
                freed: shipped.freed.into_iter().map(decode_line).collect::<Result<_, _>>()?,
                in_count: shipped.in_count,
                after: Level { on_hand, held, allocated },
            };
            Ok(Event::Stock(stock_id(&shipped.sku, &shipped.location)?, fact))
        }
        Kind::TransferSent(sent) => decode_sent(sent),
        Kind::TransferReceived(received) => decode_received(received),
        Kind::LocationCreated(created) => {
            let fact = LocationFact::Created(location(created.location)?);
            Ok(Event::Location(Location::parse(&created.code)?, fact))
        }
        Kind::LocationChanged(changed) => {
            let (before, after) = (location(changed.before)?, location(changed.after)?);
            let fact = LocationFact::Changed { before, after };
            Ok(Event::Location(Location::parse(&changed.code)?, fact))
        }
        Kind::LimitsChanged(changed) => {
            let (before, after) = (limits(changed.before), limits(changed.after));
            let fact = StockFact::LimitsChanged { before, after };
            Ok(Event::Stock(stock_id(&changed.sku, &changed.location)?, fact))
        }
        Kind::Reserved(reserved) => {
            let expires_at = Timestamp::parse(reserved.expires_at.as_ref())?;
            let (lines, after) = decode_lines(reserved.lines)?;
            let fact = ReservationFact::Reserved { lines, after, expires_at };
            reservation(&reserved.order_id, fact)
        }
        Kind::Refused(refused) => {
            let shortages = decode_shortages(refused.shortages)?;
            reservation(&refused.order_id, ReservationFact::Refused { shortages })
        }
        Kind::Allocated(allocated) => {
            let (lines, after) = decode_lines(allocated.lines)?;
            reservation(&allocated.order_id, ReservationFact::Allocated { lines, after })
        }
        Kind::Lost(lost) => {
            let shortages = decode_shortages(lost.shortages)?;
            reservation(&lost.order_id, ReservationFact::Lost { shortages })
        }
        Kind::Released(released) => {
            let reason = release_reason(released.reason())?;
            let (lines, after) = decode_lines(released.lines)?;
            reservation(&released.order_id, ReservationFact::Released { lines, after, reason })
        }
    }
}

fn decode_sent(sent: proto::inventory::TransferSent) -> Result<Event, WireError> {
    let fact = StockFact::Sent {
        document: document(sent.document)?,
        transfer: TransferId::parse(&sent.transfer)?,
        to: Location::parse(&sent.to)?,
        quantity: sent.quantity,
        in_count: sent.in_count,
        on_hand: sent.on_hand,
        incoming: sent.incoming,
    };
    Ok(Event::Stock(stock_id(&sent.sku, &sent.location)?, fact))
}

fn decode_received(received: proto::inventory::TransferReceived) -> Result<Event, WireError> {
    let fact = StockFact::Received {
        document: document(received.document)?,
        transfer: TransferId::parse(&received.transfer)?,
        from: Location::parse(&received.from)?,
        quantity: received.quantity,
        excess: received.excess,
        missing: received.missing,
        is_last: received.complete,
        in_count: received.in_count,
        on_hand: received.on_hand,
        incoming: received.incoming,
    };
    Ok(Event::Stock(stock_id(&received.sku, &received.location)?, fact))
}

fn release_reason(reason: proto::inventory::ReleaseReason) -> Result<ReleaseReason, WireError> {
    match reason {
        proto::inventory::ReleaseReason::Unspecified => Err(WireError::Missing("reason")),
        proto::inventory::ReleaseReason::Cancelled => Ok(ReleaseReason::Cancelled),
        proto::inventory::ReleaseReason::Expired => Ok(ReleaseReason::Expired),
    }
}

fn decode_lines(lines: Vec<proto::inventory::StockLine>) -> Result<(Lines, Levels), ParseError> {
    let lines = lines.into_iter().map(decode_line).collect::<Result<Vec<_>, _>>()?;
    let (lines, after): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
    Ok((lines.into(), after.into()))
}

fn decode_line(line: proto::inventory::StockLine) -> Result<(Line, Level), ParseError> {
    let proto::inventory::StockLine { quantity, on_hand, held, allocated, .. } = line;
    let stock = stock_id(&line.sku, &line.location)?;
    Ok((Line { stock, units: quantity }, Level { on_hand, held, allocated }))
}

fn decode_shortages(
    shortages: Vec<proto::inventory::Shortage>,
) -> Result<Vec<Shortage>, ParseError> {
    let shortage = |proto::inventory::Shortage { sku, requested, available, location }| {
        let location = if location.is_empty() { None } else { Some(Location::parse(&location)?) };
        Ok(Shortage { sku: Sku::parse(&sku)?, requested, available, location })
    };
    shortages.into_iter().map(shortage).collect()
}
