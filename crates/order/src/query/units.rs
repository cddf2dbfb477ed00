//! What became of the units of each line.

use super::FoundOrder;
use crate::domain::{Awaits, OrderStatus};

/// What became of the units of a line. Before stock is held for the order, they are none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineUnits {
    /// Those that are held for the order or allocated to it, and are still to be shipped.
    pub(crate) held: i64,
    /// Those that have shipped.
    pub(crate) shipped: i64,
    /// Those that will not be shipped, since the order is cancelled.
    pub(crate) cancelled: i64,
}

impl FoundOrder {
    /// What became of the units of each line, as far as this service has read.
    pub(crate) fn units(&self) -> Vec<LineUnits> {
        let shipped = self.shipped.iter().copied().chain(std::iter::repeat(0));
        let lines = self.content.lines.iter().zip(shipped);
        let units = lines.map(|(line, shipped)| {
            let left = line.quantity.get() - shipped;
            match self.order.statuses.0 {
                OrderStatus::Cancelled => LineUnits { held: 0, shipped, cancelled: left },
                OrderStatus::Placed if self.order.awaits == Awaits::Hold => {
                    LineUnits { held: 0, shipped, cancelled: 0 }
                }
                OrderStatus::Placed | OrderStatus::Confirmed | OrderStatus::Completed => {
                    LineUnits { held: left, shipped, cancelled: 0 }
                }
            }
        });
        units.collect()
    }
}
