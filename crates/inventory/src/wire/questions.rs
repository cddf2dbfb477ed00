//! Questions, and what they find.

use engine::WireError;
use events::{
    id::Sku,
    proto::inventory::{self, inventory_question::Question as Asked},
};
use prost::Message as _;

use crate::{
    domain::StockId,
    query::{Found, Question},
    store::{Level, Totals},
};

pub(super) fn decode(payload: &[u8]) -> Result<Question, WireError> {
    let asked = inventory::InventoryQuestion::decode(payload)?.question;
    Ok(match asked.ok_or(WireError::Missing("question"))? {
        Asked::GetLevel(get) => Question::Level(Sku::parse(&get.sku)?),
        Asked::ListLevels(list) => Question::Levels { after: list.after, limit: list.limit },
        Asked::GetTotals(inventory::GetTotals {}) => Question::Totals,
    })
}

pub(super) fn encode(found: Found) -> Vec<u8> {
    match found {
        Found::Level(it) => level(it).encode_to_vec(),
        Found::Levels(levels) => {
            let levels = levels.into_iter().map(level).collect();
            inventory::Levels { levels }.encode_to_vec()
        }
        Found::Totals(Totals { on_hand, held, allocated, skus, oversold_skus }) => {
            inventory::Totals { on_hand, held, allocated, skus, oversold_skus }.encode_to_vec()
        }
    }
}

fn level(level: Level) -> inventory::Level {
    let Level { id, on_hand, held, allocated, available, version } = level;
    let StockId { sku, location } = id;
    let (sku, location) = (sku.into(), location.into());
    inventory::Level { sku, location, on_hand, held, allocated, available, version }
}
