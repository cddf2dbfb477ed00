//! Events: to the wire and back.

mod stock;

use engine::WireError;
use events::{
    id::{Location, OrderId, Sku},
    names,
    proto::{self, inventory::inventory_event::Kind},
};
use protocol::{id::ParseError, time::Timestamp};

use super::{connectors, encode_location, location, stock_id};
use crate::domain::{
    Event, Level, Levels, Line, Lines, LocationFact, ReleaseReason, ReservationFact, Shortage,
};

/// Turns an event into its wire form.
pub(super) fn encode(event: &Event) -> proto::event::Body {
    let kind = match event {
        Event::Stock(id, fact) => stock::encode(id, fact),
        Event::Reservation(order_id, fact) => encode_reservation(*order_id, fact),
        Event::Location(code, fact) => encode_location_fact(code, fact),
        Event::Connector(connector, fact) => connectors::encode(connector, fact),
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
pub(super) fn decode(event: proto::EventFact) -> Result<Event, WireError> {
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
        Kind::Counted(counted) => stock::decode_counted(counted),
        Kind::Adjusted(adjusted) => stock::decode_adjusted(adjusted),
        Kind::Short(short) => stock::decode_short(&short),
        Kind::Shipped(shipped) => stock::decode_shipped(shipped),
        Kind::TransferSent(sent) => stock::decode_sent(sent),
        Kind::TransferReceived(received) => stock::decode_received(received),
        Kind::LimitsChanged(changed) => stock::decode_limits_changed(&changed),
        Kind::LocationCreated(created) => {
            let fact = LocationFact::Created(location(created.location)?);
            Ok(Event::Location(Location::parse(&created.code)?, fact))
        }
        Kind::LocationChanged(changed) => {
            let (before, after) = (location(changed.before)?, location(changed.after)?);
            let fact = LocationFact::Changed { before, after };
            Ok(Event::Location(Location::parse(&changed.code)?, fact))
        }
        Kind::LinesRejected(rejected) => connectors::decode_rejected(rejected),
        Kind::LinesRepeated(repeated) => connectors::decode_repeated(&repeated),
        Kind::RejectionsClosed(closed) => connectors::decode_closed(closed),
        Kind::Reserved(reserved) => {
            let expires_at = Timestamp::parse(reserved.expires_at.as_ref())?;
            let (lines, after) = decode_lines(&reserved.lines)?;
            let fact = ReservationFact::Reserved { lines, after, expires_at };
            reservation(&reserved.order_id, fact)
        }
        Kind::Refused(refused) => {
            let shortages = decode_shortages(refused.shortages)?;
            reservation(&refused.order_id, ReservationFact::Refused { shortages })
        }
        Kind::Allocated(allocated) => {
            let (lines, after) = decode_lines(&allocated.lines)?;
            reservation(&allocated.order_id, ReservationFact::Allocated { lines, after })
        }
        Kind::Lost(lost) => {
            let shortages = decode_shortages(lost.shortages)?;
            reservation(&lost.order_id, ReservationFact::Lost { shortages })
        }
        Kind::Released(released) => {
            let reason = release_reason(released.reason())?;
            let (lines, after) = decode_lines(&released.lines)?;
            reservation(&released.order_id, ReservationFact::Released { lines, after, reason })
        }
    }
}

fn release_reason(reason: proto::inventory::ReleaseReason) -> Result<ReleaseReason, WireError> {
    match reason {
        proto::inventory::ReleaseReason::Unspecified => Err(WireError::Missing("reason")),
        proto::inventory::ReleaseReason::Cancelled => Ok(ReleaseReason::Cancelled),
        proto::inventory::ReleaseReason::Expired => Ok(ReleaseReason::Expired),
    }
}

fn decode_lines(lines: &[proto::inventory::StockLine]) -> Result<(Lines, Levels), ParseError> {
    let lines = lines.iter().map(decode_line).collect::<Result<Vec<_>, _>>()?;
    let (lines, after): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
    Ok((lines.into(), after.into()))
}

fn decode_line(line: &proto::inventory::StockLine) -> Result<(Line, Level), ParseError> {
    let proto::inventory::StockLine { quantity, on_hand, held, allocated, .. } = *line;
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
