//! What the stock does for an order: hold, allocate, release; all lines or none.

use engine::Context;
use events::{id::OrderId, time::Timestamp, view::Shortage};

use super::{Line, Lines, ReleaseReason, ReservationFact, State, Stock};

/// What was done for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Where it stands.
    pub status: Status,
    /// Counts its events, from 1.
    pub version: u64,
    /// What is held or allocated, or was; none when it was refused.
    pub lines: Lines,
    /// When the hold runs out; none when nothing is held.
    pub deadline: Option<Timestamp>,
    /// The chain that its first event belongs to.
    pub context: Context,
}

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl Status {
    /// Every status.
    const ALL: [Self; 6] =
        [Self::Held, Self::Refused, Self::Allocated, Self::Lost, Self::Expired, Self::Released];

    /// The status as it stands in the database.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Refused => "refused",
            Self::Allocated => "allocated",
            Self::Lost => "lost",
            Self::Expired => "expired",
            Self::Released => "released",
        }
    }

    /// Takes the status as it stands in the database.
    pub(crate) fn parse(status: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == status)
    }
}

/// A placed order: hold all of it, or nothing.
pub(super) fn hold(
    state: &State,
    order_id: OrderId,
    lines: &Lines,
    expires_at: Timestamp,
) -> Option<ReservationFact> {
    if state.reservations.get(&order_id).is_some() {
        return None;
    }
    let shortages = shortages(state, lines);
    Some(if shortages.is_empty() {
        ReservationFact::Reserved { lines: lines.clone(), expires_at }
    } else {
        ReservationFact::Refused { shortages }
    })
}

/// An authorised payment: the units belong to the order from now on.
pub(super) fn allocate(state: &State, order_id: OrderId) -> Option<ReservationFact> {
    let Reservation { status, lines, .. } = state.reservations.get(&order_id)?;
    match status {
        Status::Held => Some(ReservationFact::Allocated { lines: lines.clone() }),
        Status::Expired => Some(match shortages(state, lines) {
            none if none.is_empty() => ReservationFact::Allocated { lines: lines.clone() },
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
            let reason = ReleaseReason::Cancelled;
            Some(ReservationFact::Released { lines: lines.clone(), reason })
        }
        Status::Refused | Status::Lost | Status::Expired | Status::Released => None,
    }
}

/// A hold whose deadline has passed: its units are free.
pub(super) fn expire(state: &State, order_id: OrderId, now: Timestamp) -> Option<ReservationFact> {
    let Reservation { deadline, lines, .. } = state.reservations.get(&order_id)?;
    let reason = ReleaseReason::Expired;
    deadline
        .filter(|deadline| *deadline <= now)
        .map(|_| ReservationFact::Released { lines: lines.clone(), reason })
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
        })
        .collect()
}

/// Folds a fact about a reservation into the state.
pub(super) fn apply(
    state: &mut State,
    order_id: OrderId,
    fact: &ReservationFact,
    version: u64,
    context: &Context,
) {
    match fact {
        ReservationFact::Reserved { lines, expires_at } => {
            move_units(state, order_id, lines, Promise::None, Promise::Held);
            state.reserved.push(order_id);
            state.orders_held += 1;
            let (status, lines, deadline) = (Status::Held, lines.clone(), Some(*expires_at));
            let row = Reservation { status, version, lines, deadline, context: context.clone() };
            state.reservations.put(order_id, row);
        }
        ReservationFact::Refused { .. } => {
            let (status, lines, deadline) = (Status::Refused, Lines::default(), None);
            let row = Reservation { status, version, lines, deadline, context: context.clone() };
            state.reservations.put(order_id, row);
        }
        ReservationFact::Allocated { lines } => {
            let before = promise(state, order_id);
            move_units(state, order_id, lines, before, Promise::Allocated);
            end(state, order_id, Status::Allocated, version);
        }
        ReservationFact::Lost { .. } => end(state, order_id, Status::Lost, version),
        ReservationFact::Released { lines, reason } => {
            let before = promise(state, order_id);
            move_units(state, order_id, lines, before, Promise::None);
            let status = match reason {
                ReleaseReason::Cancelled => Status::Released,
                ReleaseReason::Expired => Status::Expired,
            };
            end(state, order_id, status, version);
        }
    }
}

/// How units are promised to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    None,
    Held,
    Allocated,
}

/// How the units of an order are promised to it now.
fn promise(state: &State, order_id: OrderId) -> Promise {
    match state.reservations.get(&order_id).map(|row| row.status) {
        Some(Status::Held) => Promise::Held,
        Some(Status::Allocated) => Promise::Allocated,
        Some(Status::Refused | Status::Lost | Status::Expired | Status::Released) | None => {
            Promise::None
        }
    }
}

/// Moves the units of `lines` from one promise to another.
fn move_units(
    state: &mut State,
    order_id: OrderId,
    lines: &Lines,
    before: Promise,
    after: Promise,
) {
    for line in lines.iter() {
        let stock = state.stocks.change_or_default(&line.stock);
        match before {
            Promise::None => {}
            Promise::Held => stock.held -= line.units,
            Promise::Allocated => stock.allocated -= line.units,
        }
        match after {
            Promise::None => {}
            Promise::Held => stock.held += line.units,
            Promise::Allocated => stock.allocated += line.units,
        }
        if let Some(watched) = state.watched.get_mut(&line.stock) {
            match after {
                Promise::None => watched.orders.remove(&order_id),
                Promise::Held | Promise::Allocated => watched.orders.insert(order_id),
            };
        }
    }
}

/// Takes a reservation to a status in which no deadline waits.
fn end(state: &mut State, order_id: OrderId, status: Status, version: u64) {
    if let Some(row) = state.reservations.change(&order_id) {
        row.status = status;
        row.version = version;
        row.deadline = None;
    }
}
