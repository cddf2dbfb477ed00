//! What the documents of an ERP change: counts, adjustments, goods issues and transfers.

use events::proto::inventory::{self, Document};
use protocol::time::Timestamp;

use super::{
    MAIN, StockLog,
    change::{Change, DocumentRecord, Moment, Source, StockId},
};
use crate::{LogPosition, scratch::fingerprint, trade::OrderKey};

/// The units of a SKU of a transfer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TransferUnits {
    sent: i64,
    received: i64,
    /// Said not to come.
    missing: i64,
}

impl TransferUnits {
    fn on_their_way(self) -> i64 {
        (self.sent - self.received - self.missing).max(0)
    }
}

impl StockLog {
    /// A document of the ERP had its effect.
    pub(super) fn observe_document(
        &mut self,
        position: LogPosition,
        id: &StockId,
        document: Option<&Document>,
        change: impl FnOnce(Source) -> Change,
    ) {
        let Some(Document { connector, id: document, sequence, line, epoch, occurred_at }) =
            document
        else {
            return self.findings.add(format!("{position}: {id} changes without a document"));
        };
        let at = self.numbers.pack(position);
        let document = fingerprint((&id.shop, connector, document, line));
        self.documents.push(document, &DocumentRecord { document, at }.write());
        let is_known =
            id.location == MAIN || self.locations.contains(&(id.shop.clone(), id.location.clone()));
        self.findings
            .expect(is_known, || format!("{position}: {id} is at no location of the shop"));
        let occurred_at = occurred_at.and_then(|time| Timestamp::parse(Some(&time)).ok());
        let connector = self.connectors.number(connector.as_str(), |name| name.into());
        let change = change(Source { connector, epoch: *epoch, sequence: *sequence });
        // What does not say when it happened, or names a time to come, is of the moment when it came.
        let said = occurred_at.map(Timestamp::millis).filter(|millis| *millis <= self.now);
        let moment = Moment { millis: said.unwrap_or(self.now), is_said: said.is_some() };
        self.push_at(position, id, moment, change);
    }

    pub(super) fn observe_shipped(
        &mut self,
        position: LogPosition,
        shop: &str,
        it: &inventory::Shipped,
    ) {
        let id = StockId::new(shop, &it.sku, &it.location);
        let order = OrderKey::of(&it.order_id);
        let inventory::Shipped { quantity, on_hand, in_count, held, allocated, .. } = *it;
        let elsewhere = it.freed.iter().map(|line| line.quantity).sum::<i64>();
        self.findings.expect(quantity == it.from_allocation + it.excess && it.excess >= 0, || {
            format!(
                "{position}: {quantity} units of {id} are not {} and {}",
                it.from_allocation, it.excess
            )
        });
        let change = |source| Change::Issue { source, quantity, on_hand, in_count };
        self.observe_document(position, &id, it.document.as_ref(), change);
        self.findings.expect((0..=it.excess).contains(&it.from_expired), || {
            format!("{position}: {} of {} in excess are of a hold", it.from_expired, it.excess)
        });
        if it.from_expired != 0 {
            // Of a hold that ran out nothing is promised any more, here or elsewhere.
            self.push(position, &id, Change::TakenUnpromised { quantity: it.from_expired });
            return self.push(position, &id, Change::Promised { held, allocated });
        }
        let was_held = self.held.contains(&order);
        let own = it.from_allocation - elsewhere;
        if own != 0 {
            self.push(position, &id, Change::Take { order, quantity: own, was_held });
        }
        if elsewhere != 0 {
            self.push(position, &id, Change::TakenUnpromised { quantity: elsewhere });
        }
        for line in &it.freed {
            let is_elsewhere = line.sku == it.sku && line.location != it.location;
            self.findings.expect(is_elsewhere, || {
                format!("{position}: frees {} at {}, shipping {id}", line.sku, line.location)
            });
            let (of, quantity) = (StockId::new(shop, &line.sku, &line.location), line.quantity);
            self.push(position, &of, Change::Release { order, quantity, was_held });
        }
        self.push(position, &id, Change::Promised { held, allocated });
    }

    pub(super) fn observe_sent(
        &mut self,
        position: LogPosition,
        shop: &str,
        it: &inventory::TransferSent,
    ) {
        let id = StockId::new(shop, &it.sku, &it.location);
        let inventory::TransferSent { quantity, in_count, on_hand, held, allocated, .. } = *it;
        let change = |source| Change::Transfer { source, delta: -quantity, on_hand, in_count };
        self.observe_document(position, &id, it.document.as_ref(), change);
        self.push(position, &id, Change::Units { on_hand, held, allocated });
        let transfer = fingerprint((shop, &it.transfer, &it.sku));
        let units = self.transfers.entry(transfer).or_default();
        let before = units.on_their_way();
        units.sent += quantity;
        let delta = units.on_their_way() - before;
        let target = StockId::new(shop, &it.sku, &it.to);
        self.push(position, &target, Change::Incoming { delta, incoming: it.incoming });
    }

    pub(super) fn observe_received(
        &mut self,
        position: LogPosition,
        shop: &str,
        it: &inventory::TransferReceived,
    ) {
        let id = StockId::new(shop, &it.sku, &it.location);
        let inventory::TransferReceived { quantity, in_count, on_hand, held, allocated, .. } = *it;
        let change = |source| Change::Transfer { source, delta: quantity, on_hand, in_count };
        self.observe_document(position, &id, it.document.as_ref(), change);
        self.push(position, &id, Change::Units { on_hand, held, allocated });
        let transfer = fingerprint((shop, &it.transfer, &it.sku));
        let units = self.transfers.entry(transfer).or_default();
        let before = units.on_their_way();
        let arrived = before.min(quantity);
        let (excess, missing) = (quantity - arrived, before - arrived);
        let missing = if it.complete { missing } else { 0 };
        self.findings.expect((it.excess, it.missing) == (excess, missing), || {
            format!(
                "{position}: of {quantity} received {} were not on their way and {} are missing; \
                 {before} were on their way",
                it.excess, it.missing
            )
        });
        units.received += quantity;
        units.missing += missing - excess.min(units.missing);
        let delta = units.on_their_way() - before;
        self.push(position, &id, Change::Incoming { delta, incoming: it.incoming });
    }
}
