//! What each event says of stocks, as changes of them.

use std::collections::HashSet;

use events::proto::{
    self,
    inventory::{self, StockLine, inventory_event::Kind},
};
use protocol::time::Timestamp;

use super::{StockLog, change::Change};
use crate::{LogPosition, StockId, trade::OrderKey};

/// The most orders that one `short` names.
const MAX_SHORT_ORDERS: usize = 250;

impl StockLog {
    pub(crate) fn observe(
        &mut self,
        position: LogPosition,
        event: &proto::Event,
        kind: Option<&Kind>,
    ) {
        self.events += 1;
        self.now = Timestamp::parse(event.time.as_ref()).unwrap_or_default().millis();
        let (shop, aggregate) = (&event.shop, &event.aggregate_id);
        let named = kind.and_then(order_of).unwrap_or(aggregate);
        self.findings
            .expect(named == aggregate, || format!("{position}: is of {aggregate}, names {named}"));
        match kind {
            Some(Kind::Counted(counted)) => {
                let id = StockId::new(shop, &counted.sku, &counted.location);
                let inventory::Counted { quantity, on_hand, held, allocated, .. } = *counted;
                self.push(position, &id, Change::Before { on_hand: counted.on_hand_before });
                let change = |source| Change::Count { source, quantity, on_hand };
                self.observe_document(position, &id, counted.document.as_ref(), change);
                self.push(position, &id, Change::Units { on_hand, held, allocated });
            }
            Some(Kind::Adjusted(adjusted)) => {
                let id = StockId::new(shop, &adjusted.sku, &adjusted.location);
                let inventory::Adjusted { delta, on_hand, held, allocated, .. } = *adjusted;
                let change = |source| Change::Adjust { source, delta, on_hand };
                self.observe_document(position, &id, adjusted.document.as_ref(), change);
                self.push(position, &id, Change::Units { on_hand, held, allocated });
            }
            Some(Kind::Shipped(shipped)) => self.observe_shipped(position, shop, shipped),
            Some(Kind::TransferSent(sent)) => self.observe_sent(position, shop, sent),
            Some(Kind::TransferReceived(received)) => {
                self.observe_received(position, shop, received);
            }
            Some(Kind::LimitsChanged(changed)) => {
                let id = StockId::new(shop, &changed.sku, &changed.location);
                let inventory::StockLimits { safety_stock, backorder_limit } =
                    changed.after.unwrap_or_default();
                self.push(position, &id, Change::Limits { safety_stock, backorder_limit });
                let inventory::LimitsChanged { on_hand, held, allocated, .. } = *changed;
                self.push(position, &id, Change::Units { on_hand, held, allocated });
            }
            Some(Kind::LocationCreated(_) | Kind::LocationChanged(_)) => {
                self.locations.insert((shop.clone(), aggregate.clone()));
            }
            Some(Kind::Short(short)) => self.observe_short(position, shop, short),
            Some(kind) => self.observe_order(position, shop, aggregate, kind),
            None => self.findings.add(format!("{position}: an event without a fact")),
        }
    }

    fn observe_short(&mut self, position: LogPosition, shop: &str, short: &inventory::Short) {
        self.shorts += 1;
        let id = StockId::new(shop, &short.sku, &short.location);
        let inventory::Short { on_hand, promised, part, units_before, missing, .. } = *short;
        let known = promised - on_hand - short.backorder_limit;
        // Before a later part, enough may have come.
        let expected = if part > 1 { known.max(0) } else { known };
        self.findings.expect(missing == expected, || {
            format!(
                "{position}: {missing} of {id} are missing; {promised} are promised, {on_hand} on hand, {} may be more",
                short.backorder_limit
            )
        });
        let sum = short.orders.iter().map(|order| order.quantity).sum::<i64>() + units_before;
        let last = short.orders.last().map_or(0, |order| order.quantity);
        let is_full = short.orders.len() == MAX_SHORT_ORDERS;
        let is_enough = sum >= missing.min(promised);
        let is_right = if short.truncated { is_full && !is_enough } else { is_enough };
        self.findings.expect(is_right && (last == 0 || sum - last < missing), || {
            format!(
                "{position}: {missing} of {id} are missing; {} orders are named, which have {sum} with those \
                 before, truncated: {}",
                short.orders.len(),
                short.truncated
            )
        });
        let names: HashSet<_> = short.orders.iter().map(|order| &order.order_id).collect();
        self.findings.expect(names.len() == short.orders.len(), || {
            format!("{position}: short names an order of {id} twice")
        });
        let (promised, is_truncated) = (promised - short.backorder_limit, short.truncated);
        self.push(position, &id, Change::Short { on_hand, promised, part, is_truncated });
        self.push(position, &id, Change::ShortBefore { units: units_before });
        for order in &short.orders {
            let (order, quantity) = (OrderKey::of(&order.order_id), order.quantity);
            self.push(position, &id, Change::ShortOrder { order, quantity });
        }
    }

    /// An event of an order's reservation. Whether it may come after those before it, the order's
    /// history tells; here it moves units.
    fn observe_order(&mut self, position: LogPosition, shop: &str, order: &str, kind: &Kind) {
        let order = OrderKey::of(order);
        match kind {
            Kind::Counted(_)
            | Kind::Adjusted(_)
            | Kind::Shipped(_)
            | Kind::TransferSent(_)
            | Kind::TransferReceived(_)
            | Kind::LimitsChanged(_)
            | Kind::LocationCreated(_)
            | Kind::LocationChanged(_)
            | Kind::LinesRejected(_)
            | Kind::LinesRepeated(_)
            | Kind::RejectionsClosed(_)
            | Kind::Short(_) => {}
            Kind::Reserved(event) => {
                self.held.insert(order);
                self.push_lines(position, shop, &event.lines, |quantity| Change::Hold {
                    order,
                    quantity,
                });
            }
            Kind::Refused(event) => {
                self.refused += 1;
                self.push_shortages(position, shop, &event.shortages);
            }
            Kind::Allocated(event) => {
                let was_held = self.held.remove(&order);
                self.push_lines(position, shop, &event.lines, |quantity| Change::Allocate {
                    order,
                    quantity,
                    was_held,
                });
            }
            Kind::Lost(event) => {
                self.held.remove(&order);
                self.push_shortages(position, shop, &event.shortages);
            }
            Kind::Released(event) => {
                let was_held = self.held.remove(&order);
                self.push_lines(position, shop, &event.lines, |quantity| Change::Release {
                    order,
                    quantity,
                    was_held,
                });
            }
        }
    }

    fn push_lines(
        &mut self,
        position: LogPosition,
        shop: &str,
        lines: &[StockLine],
        change: impl Fn(i64) -> Change,
    ) {
        for line in lines {
            let id = StockId::new(shop, &line.sku, &line.location);
            self.push(position, &id, change(line.quantity));
        }
    }

    fn push_shortages(
        &mut self,
        position: LogPosition,
        shop: &str,
        shortages: &[inventory::Shortage],
    ) {
        self.findings
            .expect(!shortages.is_empty(), || format!("{position}: refused, with no reason"));
        for shortage in shortages {
            let inventory::Shortage { sku, requested, available, location } = shortage;
            self.findings.expect(requested > available, || {
                format!("{position}: refuses {requested} of {sku}, of which {available} are free")
            });
            // What is free at all locations together is of no stock.
            if !location.is_empty() {
                let (requested, available) = (*requested, *available);
                let id = StockId::new(shop, sku, location);
                self.push(position, &id, Change::Shortage { requested, available });
            }
        }
    }
}

/// The order that an event is about, if it is.
fn order_of(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::Counted(_)
        | Kind::Adjusted(_)
        | Kind::Shipped(_)
        | Kind::TransferSent(_)
        | Kind::TransferReceived(_)
        | Kind::LimitsChanged(_)
        | Kind::LocationCreated(_)
        | Kind::LocationChanged(_)
        | Kind::LinesRejected(_)
        | Kind::LinesRepeated(_)
        | Kind::RejectionsClosed(_)
        | Kind::Short(_) => None,
        Kind::Reserved(event) => Some(&event.order_id),
        Kind::Refused(event) => Some(&event.order_id),
        Kind::Allocated(event) => Some(&event.order_id),
        Kind::Lost(event) => Some(&event.order_id),
        Kind::Released(event) => Some(&event.order_id),
    }
}
