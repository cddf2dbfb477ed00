//! What happens to stocks: to the wire and back.

use engine::WireError;
use events::{
    id::{Location, OrderId, TransferId},
    proto::inventory::{self, inventory_event::Kind},
};

use super::{
    super::{document, encode_document, encode_limits, limits},
    decode_line, encode_line, stock_id,
};
use crate::domain::{Event, Level, ShortOrders, StockFact, StockId};

#[expect(clippy::too_many_lines, reason = "an arm for each fact, with all its fields")]
pub(super) fn encode(id: &StockId, fact: &StockFact) -> Kind {
    let (sku, location) = (id.sku.to_string(), id.location.to_string());
    match fact {
        StockFact::Counted { document, quantity, before, after } => {
            Kind::Counted(inventory::Counted {
                sku,
                location,
                document: Some(encode_document(document)),
                quantity: *quantity,
                on_hand_before: *before,
                on_hand: after.on_hand,
                held: after.held,
                allocated: after.allocated,
            })
        }
        StockFact::Adjusted { document, delta, reason, after } => {
            Kind::Adjusted(inventory::Adjusted {
                sku,
                location,
                document: Some(encode_document(document)),
                delta: *delta,
                reason: reason.clone(),
                on_hand: after.on_hand,
                held: after.held,
                allocated: after.allocated,
            })
        }
        StockFact::Sent { document, transfer, to, quantity, in_count, after, incoming } => {
            Kind::TransferSent(inventory::TransferSent {
                sku,
                location,
                document: Some(encode_document(document)),
                transfer: transfer.to_string(),
                to: to.to_string(),
                quantity: *quantity,
                in_count: *in_count,
                on_hand: after.on_hand,
                held: after.held,
                allocated: after.allocated,
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
            after,
            incoming,
        } => Kind::TransferReceived(inventory::TransferReceived {
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
            on_hand: after.on_hand,
            held: after.held,
            allocated: after.allocated,
            incoming: *incoming,
        }),
        StockFact::LimitsChanged { before, after, level } => {
            Kind::LimitsChanged(inventory::LimitsChanged {
                sku,
                location,
                before: Some(encode_limits(*before)),
                after: Some(encode_limits(*after)),
                on_hand: level.on_hand,
                held: level.held,
                allocated: level.allocated,
            })
        }
        StockFact::Short { on_hand, promised, backorder_limit, orders } => {
            let ShortOrders { part, units_before, named, is_truncated } = orders;
            let order = |(order_id, quantity): &(OrderId, i64)| inventory::ShortOrder {
                order_id: order_id.to_string(),
                quantity: *quantity,
            };
            Kind::Short(inventory::Short {
                sku,
                location,
                on_hand: *on_hand,
                promised: *promised,
                backorder_limit: *backorder_limit,
                missing: (promised - on_hand - backorder_limit).max(0),
                orders: named.iter().map(order).collect(),
                truncated: *is_truncated,
                part: *part,
                units_before: *units_before,
            })
        }
        StockFact::Shipped {
            document,
            order_id,
            line_id,
            quantity,
            from_allocation,
            from_expired,
            freed,
            in_count,
            after,
        } => Kind::Shipped(inventory::Shipped {
            sku,
            location,
            document: Some(encode_document(document)),
            order_id: order_id.to_string(),
            line_id: line_id.clone(),
            quantity: *quantity,
            from_allocation: *from_allocation,
            excess: quantity - from_allocation,
            from_expired: *from_expired,
            freed: freed.iter().map(|(line, after)| encode_line(line, *after)).collect(),
            in_count: *in_count,
            on_hand: after.on_hand,
            held: after.held,
            allocated: after.allocated,
        }),
    }
}

pub(super) fn decode_counted(it: inventory::Counted) -> Result<Event, WireError> {
    let fact = StockFact::Counted {
        document: document(it.document)?,
        quantity: it.quantity,
        before: it.on_hand_before,
        after: Level { on_hand: it.on_hand, held: it.held, allocated: it.allocated },
    };
    Ok(Event::Stock(stock_id(&it.sku, &it.location)?, fact))
}

pub(super) fn decode_adjusted(it: inventory::Adjusted) -> Result<Event, WireError> {
    let fact = StockFact::Adjusted {
        document: document(it.document)?,
        delta: it.delta,
        reason: it.reason,
        after: Level { on_hand: it.on_hand, held: it.held, allocated: it.allocated },
    };
    Ok(Event::Stock(stock_id(&it.sku, &it.location)?, fact))
}

pub(super) fn decode_limits_changed(it: &inventory::LimitsChanged) -> Result<Event, WireError> {
    let fact = StockFact::LimitsChanged {
        before: limits(it.before),
        after: limits(it.after),
        level: Level { on_hand: it.on_hand, held: it.held, allocated: it.allocated },
    };
    Ok(Event::Stock(stock_id(&it.sku, &it.location)?, fact))
}

pub(super) fn decode_short(it: &inventory::Short) -> Result<Event, WireError> {
    let order = |order: &inventory::ShortOrder| {
        Ok::<_, WireError>((OrderId::parse(&order.order_id)?, order.quantity))
    };
    let fact = StockFact::Short {
        on_hand: it.on_hand,
        promised: it.promised,
        backorder_limit: it.backorder_limit,
        orders: ShortOrders {
            part: it.part,
            units_before: it.units_before,
            named: it.orders.iter().map(order).collect::<Result<_, _>>()?,
            is_truncated: it.truncated,
        },
    };
    Ok(Event::Stock(stock_id(&it.sku, &it.location)?, fact))
}

pub(super) fn decode_shipped(it: inventory::Shipped) -> Result<Event, WireError> {
    let fact = StockFact::Shipped {
        document: document(it.document)?,
        order_id: OrderId::parse(&it.order_id)?,
        line_id: it.line_id,
        quantity: it.quantity,
        from_allocation: it.from_allocation,
        from_expired: it.from_expired,
        freed: it.freed.iter().map(decode_line).collect::<Result<_, _>>()?,
        in_count: it.in_count,
        after: Level { on_hand: it.on_hand, held: it.held, allocated: it.allocated },
    };
    Ok(Event::Stock(stock_id(&it.sku, &it.location)?, fact))
}

pub(super) fn decode_sent(it: inventory::TransferSent) -> Result<Event, WireError> {
    let fact = StockFact::Sent {
        document: document(it.document)?,
        transfer: TransferId::parse(&it.transfer)?,
        to: Location::parse(&it.to)?,
        quantity: it.quantity,
        in_count: it.in_count,
        after: Level { on_hand: it.on_hand, held: it.held, allocated: it.allocated },
        incoming: it.incoming,
    };
    Ok(Event::Stock(stock_id(&it.sku, &it.location)?, fact))
}

pub(super) fn decode_received(it: inventory::TransferReceived) -> Result<Event, WireError> {
    let fact = StockFact::Received {
        document: document(it.document)?,
        transfer: TransferId::parse(&it.transfer)?,
        from: Location::parse(&it.from)?,
        quantity: it.quantity,
        excess: it.excess,
        missing: it.missing,
        is_last: it.complete,
        in_count: it.in_count,
        after: Level { on_hand: it.on_hand, held: it.held, allocated: it.allocated },
        incoming: it.incoming,
    };
    Ok(Event::Stock(stock_id(&it.sku, &it.location)?, fact))
}
