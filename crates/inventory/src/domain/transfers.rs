//! Goods on their way between two locations: sent from one, received at the other.

use std::fmt;

use events::id::{Location, Sku, TransferId};
use serde::{Deserialize, Serialize};

use super::{
    State, Stock, StockFact, StockId, StockLine, StockResult, Units,
    effect::{Effect, in_range, is_zero},
};

/// A SKU of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferKey {
    /// The transfer.
    pub transfer: TransferId,
    /// The stock keeping unit.
    pub sku: Sku,
}

impl fmt::Display for TransferKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.transfer, self.sku)
    }
}

/// What is known of a SKU of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The location that it comes from.
    pub from: Location,
    /// The location that it is for.
    pub to: Location,
    /// The units that have left.
    pub sent: i64,
    /// The units that have come.
    pub received: i64,
    /// The units that have left and will not come.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing: i64,
}

impl Transfer {
    /// One of which nothing has left yet.
    fn begun(from: &Location, to: &Location) -> Self {
        Self { from: from.clone(), to: to.clone(), sent: 0, received: 0, missing: 0 }
    }

    /// The units that are on their way.
    fn on_their_way(&self) -> i64 {
        (self.sent - self.received - self.missing).max(0)
    }
}

/// Copies into `draft` the rows of a transfer that a line looks at or changes.
pub(super) fn copy(draft: &mut State, state: &State, id: &StockId, units: &Units) {
    let (transfer, to) = match units {
        Units::Sent(transfer, to, _) => (transfer, Some(to)),
        Units::Received(transfer, ..) => (transfer, None),
        Units::Counted(_) | Units::Added(_) | Units::Issued(..) => return,
    };
    let key = TransferKey { transfer: transfer.clone(), sku: id.sku.clone() };
    if draft.transfers.get(&key).is_none()
        && let Some(row) = state.transfers.get(&key)
    {
        draft.transfers.loaded(key, row.clone());
    }
    if let Some(to) = to {
        let target = StockId { sku: id.sku.clone(), location: to.clone() };
        if draft.stocks.get(&target).is_none()
            && let Some(row) = state.stocks.get(&target)
        {
            draft.stocks.loaded(target, row.clone());
        }
    }
}

/// Units have left for another location, which cannot be undone by a refusal.
pub(super) fn send(
    draft: &State,
    stock: &Stock,
    line: &StockLine,
    (transfer, to): (&TransferId, &Location),
    (quantity, in_count): (i64, bool),
) -> Result<Effect, StockResult> {
    let StockLine { stock: id, document, .. } = line;
    let key = TransferKey { transfer: transfer.clone(), sku: id.sku.clone() };
    // A transfer's name stands for one way of each SKU.
    let known = draft.transfers.get(&key);
    let is_another = known.is_some_and(|known| (&known.from, &known.to) != (&id.location, to));
    if is_another || *to == id.location {
        return Err(StockResult::DocumentReused);
    }
    let left = if in_count { 0 } else { quantity };
    let target = StockId { sku: id.sku.clone(), location: to.clone() };
    let begun = || Transfer::begun(&id.location, to);
    let mut after = known.cloned().unwrap_or_else(begun);
    let on_their_way = after.on_their_way();
    after.sent += quantity;
    let incoming = draft.stocks.get(&target).map_or(0, |target| target.incoming);
    let fact = StockFact::Sent {
        document: document.clone(),
        transfer: transfer.clone(),
        to: to.clone(),
        quantity,
        in_count,
        after: stock.level_with(in_range(stock.on_hand, -left)?),
        incoming: incoming + after.on_their_way() - on_their_way,
    };
    Ok((StockResult::Applied, fact))
}

/// Units have come from another location. What has not come with the last of them is missing.
pub(super) fn receive(
    draft: &State,
    stock: &Stock,
    line: &StockLine,
    transfer: &TransferId,
    (quantity, is_last, in_count): (i64, bool, bool),
) -> Result<Effect, StockResult> {
    let StockLine { stock: id, document, .. } = line;
    let key = TransferKey { transfer: transfer.clone(), sku: id.sku.clone() };
    let known = draft.transfers.get(&key).filter(|known| known.to == id.location);
    let known = known.ok_or(StockResult::UnknownTransfer)?;
    let on_their_way = known.on_their_way();
    let arrived = quantity.min(on_their_way);
    let excess = quantity - arrived;
    let missing = if is_last { on_their_way - arrived } else { 0 };
    let come = if in_count { 0 } else { quantity };
    let fact = StockFact::Received {
        document: document.clone(),
        transfer: transfer.clone(),
        from: known.from.clone(),
        quantity,
        excess,
        missing,
        is_last,
        in_count,
        after: stock.level_with(in_range(stock.on_hand, come)?),
        incoming: stock.incoming - arrived - missing,
    };
    Ok((result_of_receipt(excess, missing), fact))
}

/// What became of units that have come.
pub(super) fn result_of_receipt(excess: i64, missing: i64) -> StockResult {
    match (excess, missing) {
        (0, 0) => StockResult::Applied,
        (0, _) => StockResult::AppliedIncomplete,
        _ => StockResult::AppliedInExcess,
    }
}

/// Folds units that have left into the state.
pub(super) fn apply_sent(
    state: &mut State,
    transfer: &TransferId,
    from: &StockId,
    to: &Location,
    units: i64,
) {
    let key = TransferKey { transfer: transfer.clone(), sku: from.sku.clone() };
    if state.transfers.get(&key).is_none() {
        state.transfers.put(key.clone(), Transfer::begun(&from.location, to));
    }
    let Some(row) = state.transfers.change(&key) else { return };
    let before = row.on_their_way();
    row.sent += units;
    let more = row.on_their_way() - before;
    let target = StockId { sku: from.sku.clone(), location: to.clone() };
    state.stocks.change_or_default(&target).incoming += more;
}

/// Folds units that have come into the state, and those that will not come.
pub(super) fn apply_received(
    state: &mut State,
    transfer: &TransferId,
    at: &StockId,
    units: i64,
    missing: i64,
) {
    let key = TransferKey { transfer: transfer.clone(), sku: at.sku.clone() };
    let Some(row) = state.transfers.change(&key) else { return };
    let before = row.on_their_way();
    row.received += units;
    // What comes after all is missing no longer.
    let excess = (units - before).max(0);
    row.missing += missing - excess.min(row.missing);
    let fewer = before - row.on_their_way();
    state.stocks.change_or_default(at).incoming -= fewer;
}
