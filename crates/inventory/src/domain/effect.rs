//! What a line does to a stock, and the arithmetic of units.

use events::id::MAX_UNITS;

use super::{StockFact, StockResult};

/// What a line that has its effect comes to.
pub(super) type Effect = (StockResult, StockFact);

/// `units` and `change` together, where that can be represented.
pub(super) fn in_range(units: i64, change: i64) -> Result<i64, StockResult> {
    let sum = units.checked_add(change).filter(|sum| (-MAX_UNITS..=MAX_UNITS).contains(sum));
    sum.ok_or(StockResult::OutOfRange)
}

/// Whether there are no units: fields of rows that have none are left out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
pub(super) fn is_zero(units: &i64) -> bool {
    *units == 0
}
