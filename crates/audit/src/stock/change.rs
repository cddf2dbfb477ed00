//! What an event says of a stock, and how it waits in a temporary file.

use std::fmt;

use crate::{
    record::{PackedPosition, Reader, Writer},
    trade::OrderKey,
};

/// The stock of a SKU at a location of a shop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StockId {
    /// The shop.
    pub shop: String,
    /// The stock keeping unit.
    pub sku: String,
    /// Where the units are.
    pub location: String,
}

impl fmt::Display for StockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.sku, self.location)
    }
}

impl StockId {
    pub(super) fn new(shop: &str, sku: &str, location: &str) -> Self {
        Self { shop: shop.to_owned(), sku: sku.to_owned(), location: location.to_owned() }
    }
}

/// Where a document comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    /// The connector, by its number.
    pub(super) connector: u32,
    /// The numbering that the connector's sequence belongs to.
    pub(super) epoch: u32,
    /// The sequence that the connector gave the document.
    pub(super) sequence: u64,
}

/// When something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// In milliseconds, and not after the event.
    pub(super) millis: i64,
    /// Whether its connector says so; otherwise it is the time of the event.
    pub(super) is_said: bool,
}

/// What an event says of a stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// A document says how many units there were; then there are `on_hand`.
    Count {
        source: Source,
        quantity: i64,
        on_hand: i64,
    },
    /// A document says how many units left for another location, or came from one; then there are
    /// `on_hand`. `in_count` as the event has it.
    Transfer {
        source: Source,
        delta: i64,
        on_hand: i64,
        in_count: bool,
    },
    /// So many more units are on their way, or fewer; then it is `incoming`.
    Incoming {
        delta: i64,
        incoming: i64,
    },
    /// Other units are sold.
    Limits {
        safety_stock: i64,
        backorder_limit: i64,
    },
    /// A document says how many units came or went; then there are `on_hand`.
    Adjust {
        source: Source,
        delta: i64,
        on_hand: i64,
    },
    /// A document says how many units left for an order; then there are `on_hand`. `in_count` as the
    /// event has it.
    Issue {
        source: Source,
        quantity: i64,
        on_hand: i64,
        in_count: bool,
    },
    /// So many of the units of `Issue`, which comes before it, were the order's.
    Take {
        order: OrderKey,
        quantity: i64,
        was_held: bool,
    },
    /// So many of the units of `Issue`, which comes before it, were the order's and not promised to it here:
    /// it had them at other locations, or until its hold ran out.
    TakenUnpromised {
        quantity: i64,
    },
    /// After `Issue` and `Take`, so many are held and allocated.
    Promised {
        held: i64,
        allocated: i64,
    },
    /// So many were on hand before the `Count` that follows.
    Before {
        on_hand: i64,
    },
    /// After the change before it, these are the units.
    Units {
        on_hand: i64,
        held: i64,
        allocated: i64,
    },
    /// The ERP went below what is promised: a part of the orders that cannot be served.
    Short {
        on_hand: i64,
        promised: i64,
        part: u32,
        is_truncated: bool,
    },
    /// The orders of the parts before it have so many units; follows `Short`.
    ShortBefore {
        units: i64,
    },
    /// One of the orders, with its units; they follow `ShortBefore`.
    ShortOrder {
        order: OrderKey,
        quantity: i64,
    },
    Hold {
        order: OrderKey,
        quantity: i64,
    },
    Allocate {
        order: OrderKey,
        quantity: i64,
        was_held: bool,
    },
    Release {
        order: OrderKey,
        quantity: i64,
        was_held: bool,
    },
    /// An order was refused for want of units.
    Shortage {
        requested: i64,
        available: i64,
    },
}

impl Change {
    /// The number of its kind, and three fields.
    fn fields(self) -> (u8, u128, i64, i64) {
        let of = |Source { connector, epoch, sequence }: Source| {
            u128::from(connector) << 96 | u128::from(epoch) << 64 | u128::from(sequence)
        };
        match self {
            Self::Count { source, quantity, on_hand } => (0, of(source), quantity, on_hand),
            Self::Adjust { source, delta, on_hand } => (1, of(source), delta, on_hand),
            Self::Short { on_hand, promised, part, is_truncated } => {
                let part = u128::from(is_truncated) << 64 | u128::from(part);
                (2, part, on_hand, promised)
            }
            Self::ShortOrder { order, quantity } => (3, order.to_bits(), quantity, 0),
            Self::ShortBefore { units } => (17, 0, units, 0),
            Self::Before { on_hand } => (18, 0, on_hand, 0),
            Self::Units { on_hand, held, allocated } => {
                (19, u128::from(on_hand.cast_unsigned()), held, allocated)
            }
            Self::Hold { order, quantity } => (4, order.to_bits(), quantity, 0),
            Self::Allocate { order, quantity, was_held } => {
                (5, order.to_bits(), quantity, was_held.into())
            }
            Self::Release { order, quantity, was_held } => {
                (6, order.to_bits(), quantity, was_held.into())
            }
            Self::Shortage { requested, available } => (7, 0, requested, available),
            Self::Issue { source, quantity, on_hand, in_count: false } => {
                (8, of(source), quantity, on_hand)
            }
            Self::Issue { source, quantity, on_hand, in_count: true } => {
                (9, of(source), quantity, on_hand)
            }
            Self::Take { order, quantity, was_held } => {
                (10, order.to_bits(), quantity, was_held.into())
            }
            Self::Promised { held, allocated } => (11, 0, held, allocated),
            Self::Transfer { source, delta, on_hand, in_count: false } => {
                (13, of(source), delta, on_hand)
            }
            Self::Transfer { source, delta, on_hand, in_count: true } => {
                (14, of(source), delta, on_hand)
            }
            Self::Incoming { delta, incoming } => (15, 0, delta, incoming),
            Self::TakenUnpromised { quantity } => (16, 0, quantity, 0),
            Self::Limits { safety_stock, backorder_limit } => {
                (12, 0, safety_stock, backorder_limit)
            }
        }
    }

    fn of_fields(kind: u8, first: u128, second: i64, third: i64) -> Self {
        let (connector, epoch) = ((first >> 96) as u32, (first >> 64) as u32);
        let source = Source { connector, epoch, sequence: first as u64 };
        let (order, quantity, was_held) = (OrderKey::from_bits(first), second, third != 0);
        match kind {
            0 => Self::Count { source, quantity, on_hand: third },
            1 => Self::Adjust { source, delta: second, on_hand: third },
            2 => Self::Short {
                on_hand: second,
                promised: third,
                part: first as u32,
                is_truncated: first >> 64 != 0,
            },
            3 => Self::ShortOrder { order, quantity },
            4 => Self::Hold { order, quantity },
            5 => Self::Allocate { order, quantity, was_held },
            6 => Self::Release { order, quantity, was_held },
            8 | 9 => Self::Issue { source, quantity, on_hand: third, in_count: kind == 9 },
            10 => Self::Take { order, quantity, was_held },
            11 => Self::Promised { held: second, allocated: third },
            13 | 14 => {
                Self::Transfer { source, delta: second, on_hand: third, in_count: kind == 14 }
            }
            15 => Self::Incoming { delta: second, incoming: third },
            16 => Self::TakenUnpromised { quantity },
            17 => Self::ShortBefore { units: second },
            18 => Self::Before { on_hand: second },
            19 => {
                let on_hand = (first as u64).cast_signed();
                Self::Units { on_hand, held: second, allocated: third }
            }
            12 => Self::Limits { safety_stock: second, backorder_limit: third },
            _ => Self::Shortage { requested: second, available: third },
        }
    }
}

/// A change of a stock, and the event that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChangeRecord {
    pub(super) stock: u32,
    pub(super) at: PackedPosition,
    pub(super) moment: Moment,
    pub(super) change: Change,
}

impl ChangeRecord {
    pub(super) const SIZE: usize = 46 + PackedPosition::SIZE;

    pub(super) fn write(&self) -> [u8; Self::SIZE] {
        let (kind, first, second, third) = self.change.fields();
        let record = Writer::new().u32(self.stock).position(self.at);
        let record = record.u8(kind).u128(first).i64(second).i64(third);
        record.i64(self.moment.millis).u8(self.moment.is_said.into()).finish()
    }

    pub(super) fn read(record: &[u8; Self::SIZE]) -> Self {
        let mut from = Reader::new(record);
        let (stock, at, kind) = (from.u32(), from.position(), from.u8());
        let change = Change::of_fields(kind, from.u128(), from.i64(), from.i64());
        let moment = Moment { millis: from.i64(), is_said: from.u8() != 0 };
        Self { stock, at, moment, change }
    }
}

/// A document that had its effect.
#[derive(Debug)]
pub(super) struct DocumentRecord {
    pub(super) document: u64,
    pub(super) at: PackedPosition,
}

impl DocumentRecord {
    pub(super) const SIZE: usize = 8 + PackedPosition::SIZE;

    pub(super) fn write(&self) -> [u8; Self::SIZE] {
        Writer::new().u64(self.document).position(self.at).finish()
    }

    pub(super) fn read(record: &[u8; Self::SIZE]) -> Self {
        let mut from = Reader::new(record);
        Self { document: from.u64(), at: from.position() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LogPosition, record::LogNumbers};

    #[test]
    fn a_change_comes_back_as_it_was_written() {
        let at = LogNumbers::default().pack(LogPosition {
            service: "inventory",
            partition: 1,
            sequence: 2,
        });
        let source = Source { connector: u32::MAX, epoch: u32::MAX, sequence: u64::MAX };
        let (quantity, on_hand, order_units) = (3, -4, 2);
        let order = OrderKey::from_bits(u128::MAX);
        for change in [
            Change::Count { source, quantity: 1, on_hand: -2 },
            Change::Adjust { source, delta: -1, on_hand: i64::MIN },
            Change::Short { on_hand: 1, promised: 2, part: u32::MAX, is_truncated: true },
            Change::Short { on_hand: 1, promised: 2, part: 0, is_truncated: false },
            Change::ShortBefore { units: 3 },
            Change::Before { on_hand: -4 },
            Change::Units { on_hand: -4, held: 5, allocated: 6 },
            Change::Issue { source, quantity, on_hand, in_count: false },
            Change::Issue { source, quantity, on_hand, in_count: true },
            Change::Take { order, quantity: order_units, was_held: true },
            Change::Promised { held: 1, allocated: 2 },
            Change::Limits { safety_stock: 3, backorder_limit: 4 },
            Change::Transfer { source, delta: -3, on_hand, in_count: false },
            Change::Transfer { source, delta: 3, on_hand, in_count: true },
            Change::Incoming { delta: -3, incoming: 4 },
            Change::TakenUnpromised { quantity: 4 },
            Change::ShortOrder { order, quantity: 5 },
            Change::Hold { order, quantity: 5 },
            Change::Allocate { order, quantity: 5, was_held: true },
            Change::Release { order, quantity: 5, was_held: false },
            Change::Shortage { requested: 9, available: 6 },
        ] {
            for is_said in [false, true] {
                let moment = Moment { millis: -5, is_said };
                let record = ChangeRecord { stock: 7, at, moment, change };
                assert_eq!(ChangeRecord::read(&record.write()), record);
            }
        }
    }
}
