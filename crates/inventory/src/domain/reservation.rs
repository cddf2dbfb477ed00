//! What the stock does for an order: hold, allocate, release; all lines or none.

use engine::{Context, Revision};
use events::id::{Location, OrderId, Sku};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Levels, Line, Lines, ReleaseReason, ReservationFact, State, Stock, StockId, Wanted, locations,
    orders, settings::HoldTerms,
};

/// A SKU that an order wanted and did not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The stock keeping unit.
    pub sku: Sku,
    /// The units that the order asked for.
    pub requested: i64,
    /// The units that were free.
    pub available: i64,
    /// Where they were free; none: at all locations together.
    pub location: Option<Location>,
}

/// What was done for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Its state.
    pub status: Status,
    /// Its version, and where its last event is.
    pub revision: Revision,
    /// What is held or allocated, or was, less what was shipped; none when it was refused.
    #[serde(with = "shared_lines")]
    pub lines: Lines,
    /// When the hold runs out; none when nothing is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The block of orders that it was held in; none when it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<u64>,
    /// The chain that its first event belongs to.
    pub context: Context,
}

/// The state of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All lines are held, until the deadline.
    Held,
    /// There was too little: nothing was ever held.
    Refused,
    /// All lines belong to the order.
    Allocated,
    /// The hold had run out, and when the payment was authorised the units were gone.
    Lost,
    /// The hold ran out. An authorised payment takes the units again, if they are still there.
    Expired,
    /// The order was cancelled, and its units are free.
    Released,
}

impl Reservation {
    /// The units of a stock that the order has: held for it, or allocated to it.
    pub(super) fn units_of(&self, stock: &StockId) -> i64 {
        if !self.status.has_units() {
            return 0;
        }
        self.units_in_lines(stock)
    }

    /// The units of a stock that are the order's when they leave: those that it has, or had until its
    /// hold ran out.
    pub(super) fn units_to_ship(&self, stock: &StockId) -> i64 {
        if self.status.may_ship() { self.units_in_lines(stock) } else { 0 }
    }

    fn units_in_lines(&self, stock: &StockId) -> i64 {
        self.lines.iter().find(|line| line.stock == *stock).map_or(0, |line| line.units)
    }

    /// Units of a SKU that are the order's at other locations, as by [`Reservation::units_to_ship`]: as
    /// many as that together, at most.
    pub(super) fn units_elsewhere(&self, stock: &StockId, wanted: i64) -> Vec<Line> {
        let mut left = if self.status.may_ship() { wanted } else { 0 };
        let others = self.lines.iter().filter(|it| it.stock.sku == stock.sku && it.stock != *stock);
        let mut found = Vec::new();
        for line in others {
            let units = line.units.min(left);
            if units > 0 {
                left -= units;
                found.push(Line { stock: line.stock.clone(), units });
            }
        }
        found
    }
}

impl Status {
    /// Whether the order has its units.
    fn has_units(self) -> bool {
        match self {
            Self::Held | Self::Allocated => true,
            Self::Refused | Self::Lost | Self::Expired | Self::Released => false,
        }
    }

    /// Whether units that leave for the order can be its own. Those of a hold that ran out can: what has
    /// left is not allocated again when the payment is authorised yet.
    fn may_ship(self) -> bool {
        self.has_units() || self == Self::Expired
    }
}

impl Stock {
    /// The units of all orders of a status, where such orders have units.
    pub(super) fn units_of(&mut self, status: Status) -> Option<&mut i64> {
        match status {
            Status::Held => Some(&mut self.held),
            Status::Allocated => Some(&mut self.allocated),
            Status::Refused | Status::Lost | Status::Expired | Status::Released => None,
        }
    }
}

/// Lines as JSON. They are shared in memory, which JSON does not show.
mod shared_lines {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Line, Lines};

    pub(super) fn serialize<S: Serializer>(lines: &Lines, to: S) -> Result<S::Ok, S::Error> {
        lines.as_ref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Lines, D::Error> {
        Vec::<Line>::deserialize(from).map(Lines::from)
    }
}

/// A placed order: hold all of it, or nothing.
pub(super) fn hold(
    state: &State,
    order_id: OrderId,
    wanted: &Wanted,
    terms: HoldTerms,
    now: Timestamp,
) -> Option<ReservationFact> {
    if state.reservations.get(&order_id).is_some() {
        return None;
    }
    Some(match locations::source(state, wanted, terms.may_split) {
        Ok(lines) => {
            let after = levels(state, &lines, None, Some(Status::Held));
            ReservationFact::Reserved { lines, after, expires_at: now + terms.ttl }
        }
        Err(shortages) => ReservationFact::Refused { shortages },
    })
}

/// An authorised payment: the units belong to the order from now on.
pub(super) fn allocate(state: &State, order_id: OrderId) -> Option<ReservationFact> {
    let Reservation { status, lines, .. } = state.reservations.get(&order_id)?;
    let allocated = |from| ReservationFact::Allocated {
        lines: lines.clone(),
        after: levels(state, lines, from, Some(Status::Allocated)),
    };
    match status {
        Status::Held => Some(allocated(Some(Status::Held))),
        Status::Expired => Some(match shortages(state, lines) {
            none if none.is_empty() => allocated(None),
            shortages => ReservationFact::Lost { shortages },
        }),
        Status::Refused | Status::Allocated | Status::Lost | Status::Released => None,
    }
}

/// A cancelled order: its units are free. The order's own events come in order, so nothing that
/// would hold units for it can come later.
pub(super) fn cancel(state: &State, order_id: OrderId) -> Option<ReservationFact> {
    let Reservation { status, lines, .. } = state.reservations.get(&order_id)?;
    match status {
        Status::Held | Status::Allocated => {
            let (lines, reason) = (lines.clone(), ReleaseReason::Cancelled);
            let after = levels(state, &lines, Some(*status), None);
            Some(ReservationFact::Released { lines, after, reason })
        }
        Status::Refused | Status::Lost | Status::Expired | Status::Released => None,
    }
}

/// A hold whose deadline has passed: its units are free.
pub(super) fn expire(state: &State, order_id: OrderId, now: Timestamp) -> Option<ReservationFact> {
    let Reservation { deadline, lines, .. } = state.reservations.get(&order_id)?;
    deadline.filter(|deadline| *deadline <= now)?;
    let (lines, reason) = (lines.clone(), ReleaseReason::Expired);
    let after = levels(state, &lines, Some(Status::Held), None);
    Some(ReservationFact::Released { lines, after, reason })
}

/// Units that have left for the order: they are promised to it no longer. A hold that has run out
/// does not take them again.
pub(super) fn ship(state: &mut State, order_id: OrderId, stock: &StockId, quantity: i64) {
    let Some(row) = state.reservations.change(&order_id) else { return };
    let Some(of_stock) = row.lines.iter().find(|line| line.stock == *stock) else { return };
    let taken = quantity.min(of_stock.units);
    let left = row.lines.iter().filter_map(|line| {
        let units = line.units - if line.stock == *stock { taken } else { 0 };
        (units > 0).then(|| Line { stock: line.stock.clone(), units })
    });
    row.lines = left.collect();
    let (status, block) = (row.status, row.block);
    let Some(stock_row) = state.stocks.change(stock) else { return };
    if let Some(sum) = stock_row.units_of(status) {
        *sum -= taken;
        if let Some(block) = block {
            orders::take(state, block, stock, order_id, taken);
        }
    }
}

/// The units of the stock of each line, when the order no longer has them as it did, but in another way.
fn levels(state: &State, lines: &Lines, from: Option<Status>, to: Option<Status>) -> Levels {
    let level = |line: &Line| {
        let mut stock = state.stocks.get(&line.stock).cloned().unwrap_or_default();
        for (status, units) in [(from, -line.units), (to, line.units)] {
            if let Some(sum) = status.and_then(|status| stock.units_of(status)) {
                *sum += units;
            }
        }
        stock.level()
    };
    lines.iter().map(level).collect()
}

/// Each line that there is too little of.
fn shortages(state: &State, lines: &Lines) -> Vec<Shortage> {
    let available = |line: &Line| state.stocks.get(&line.stock).map_or(0, Stock::available);
    lines
        .iter()
        .map(|line| (line, available(line)))
        .filter(|(line, available)| line.units > *available)
        .map(|(line, available)| Shortage {
            sku: line.stock.sku.clone(),
            requested: line.units,
            available,
            location: Some(line.stock.location.clone()),
        })
        .collect()
}

/// Folds a fact about a reservation into the state.
pub(super) fn apply(
    state: &mut State,
    order_id: OrderId,
    fact: &ReservationFact,
    revision: Revision,
    context: &Context,
) {
    let context = || context.clone();
    match fact {
        ReservationFact::Reserved { lines, expires_at, .. } => {
            let block = orders::count_held(state);
            move_units(state, order_id, lines, block, None, Status::Held);
            let (status, lines, deadline) = (Status::Held, lines.clone(), Some(*expires_at));
            let (block, context) = (Some(block), context());
            let row = Reservation { status, revision, lines, deadline, block, context };
            state.reservations.put(order_id, row);
        }
        ReservationFact::Refused { .. } => {
            let (status, lines, context) = (Status::Refused, Lines::default(), context());
            let (deadline, block) = (None, None);
            let row = Reservation { status, revision, lines, deadline, block, context };
            state.reservations.put(order_id, row);
        }
        ReservationFact::Allocated { .. } => {
            change_status(state, order_id, Status::Allocated, revision);
        }
        ReservationFact::Lost { .. } => change_status(state, order_id, Status::Lost, revision),
        ReservationFact::Released { reason: ReleaseReason::Cancelled, .. } => {
            change_status(state, order_id, Status::Released, revision);
        }
        ReservationFact::Released { reason: ReleaseReason::Expired, .. } => {
            change_status(state, order_id, Status::Expired, revision);
        }
    }
}

/// Takes a reservation to a status that has no deadline, with its units.
fn change_status(state: &mut State, order_id: OrderId, after: Status, revision: Revision) {
    let Some(row) = state.reservations.change(&order_id) else { return };
    let before = row.status;
    row.status = after;
    row.revision = revision;
    row.deadline = None;
    let lines = row.lines.clone();
    if let Some(block) = row.block {
        move_units(state, order_id, &lines, block, Some(before), after);
    }
}

/// Moves the units of an order from the sums of one status to those of another.
fn move_units(
    state: &mut State,
    order_id: OrderId,
    lines: &Lines,
    block: u64,
    before: Option<Status>,
    after: Status,
) {
    let had_units = before.is_some_and(Status::has_units);
    for Line { stock: id, units } in lines.iter() {
        let stock = state.stocks.change_or_default(id);
        if let Some(sum) = before.and_then(|before| stock.units_of(before)) {
            *sum -= units;
        }
        if let Some(sum) = stock.units_of(after) {
            *sum += units;
        }
        match (had_units, after.has_units()) {
            (false, true) => orders::add(state, block, id, order_id, *units),
            (true, false) => orders::remove(state, block, id, order_id),
            (false, false) | (true, true) => {}
        }
    }
}
