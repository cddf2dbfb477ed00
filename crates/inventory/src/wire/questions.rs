//! Questions, and what they find.

use engine::WireError;
use events::{
    id::{Connector, Location, OrderId, Sku},
    proto::inventory::{self, inventory_question::Question as Asked, movement::Change},
    questions::page,
};
use prost::Message as _;
use protocol::time::Timestamp;

use super::{connectors, encode_limits, encode_location};
use crate::{
    domain::{AppliedDocument, DocumentKey, LocationRow, RejectionKey, StockId, Units},
    query::{Found, Question},
    store::{Level, RejectionFilter, Totals},
};

pub(super) fn decode(payload: &[u8]) -> Result<Question, WireError> {
    let asked = inventory::InventoryQuestion::decode(payload)?.question;
    Ok(match asked.ok_or(WireError::Missing("question"))? {
        Asked::GetLevels(get) => Question::LevelsOf(Sku::parse(&get.sku)?),
        Asked::ListLevels(inventory::ListLevels { after, limit, after_location }) => {
            Question::Levels { after, after_location, limit }
        }
        Asked::ListLocations(inventory::ListLocations {}) => Question::Locations,
        Asked::ListMovements(inventory::ListMovements { sku, location, before, limit }) => {
            let location =
                (!location.is_empty()).then(|| Location::parse(&location)).transpose()?;
            Question::Movements { sku: Sku::parse(&sku)?, location, before, limit }
        }
        Asked::ListGoodsIssues(inventory::ListGoodsIssues { order_id, before, limit }) => {
            let order_id = (!order_id.is_empty()).then(|| OrderId::parse(&order_id)).transpose()?;
            Question::GoodsIssues { order_id, before, limit }
        }
        Asked::ListRejections(list) => Question::Rejections {
            filter: RejectionFilter {
                reason: connectors::reason_name(list.reason()),
                connector: list.connector,
                document: list.document,
                sku: list.sku,
            },
            after: (list.after_connector, list.after_number),
            limit: list.limit,
        },
        Asked::GetRejection(get) => Question::Rejection(RejectionKey {
            connector: Connector::parse(&get.connector)?,
            number: get.number,
        }),
        Asked::ListConnectors(inventory::ListConnectors { after, limit }) => {
            Question::Connectors { after, limit }
        }
        Asked::GetConnector(get) => Question::Connector(Connector::parse(&get.connector)?),
        Asked::GetTotals(inventory::GetTotals {}) => Question::Totals,
    })
}

pub(super) fn encode(found: Found) -> Vec<u8> {
    match found {
        Found::Levels(levels) => {
            let levels = levels.into_iter().map(level).collect();
            inventory::Levels { levels }.encode_to_vec()
        }
        Found::Movements(movements) => {
            let movements = movements.into_iter().map(movement).collect();
            inventory::Movements { movements }.encode_to_vec()
        }
        Found::Locations(locations) => {
            let location = |(code, row)| {
                let LocationRow { details, revision } = row;
                let (code, location) = (String::from(code), Some(encode_location(&details)));
                inventory::StoredLocation { code, location, version: revision.version }
            };
            let locations = locations.all().into_iter().map(location).collect();
            inventory::Locations { locations }.encode_to_vec()
        }
        Found::Rejections { rejections, has_more } => {
            let rejections = rejections.iter().map(connectors::rejection);
            let (rejections, has_more) = page(rejections, has_more);
            inventory::Rejections { rejections, has_more }.encode_to_vec()
        }
        Found::Rejection(row) => connectors::rejection(&row).encode_to_vec(),
        Found::Connectors { connectors, has_more } => {
            let connectors = connectors.into_iter().map(connectors::connector);
            let (connectors, has_more) = page(connectors, has_more);
            inventory::Connectors { connectors, has_more }.encode_to_vec()
        }
        Found::Connector(found) => connectors::connector(*found).encode_to_vec(),
        Found::Totals(Totals { on_hand, held, allocated, skus, oversold_skus }) => {
            inventory::Totals { on_hand, held, allocated, skus, oversold_skus }.encode_to_vec()
        }
    }
}

fn movement((key, row): (DocumentKey, AppliedDocument)) -> inventory::Movement {
    let change = match row.units {
        Units::Counted(quantity) => Change::Count(quantity),
        Units::Added(delta) => Change::Adjustment(delta),
        Units::Issued(order_id, quantity) => {
            let order_id = order_id.to_string();
            Change::GoodsIssue(inventory::GoodsIssue { order_id, quantity, ..Default::default() })
        }
        Units::Sent(transfer, to, quantity) => {
            let (transfer, to) = (transfer.into(), to.into());
            Change::TransferOut(inventory::TransferOut { transfer, to, quantity })
        }
        Units::Received(transfer, quantity, complete) => {
            let transfer = transfer.into();
            Change::TransferIn(inventory::TransferIn { transfer, quantity, complete })
        }
    };
    inventory::Movement {
        version: row.revision.version,
        sku: row.stock.sku.into(),
        location: row.stock.location.into(),
        position: row.revision.position,
        document: Some(inventory::Document {
            connector: key.connector.into(),
            id: key.id.into(),
            sequence: row.sequence.number.unsigned_abs(),
            line: key.line.map(String::from).unwrap_or_default(),
            epoch: row.sequence.epoch,
            occurred_at: Some(Timestamp::from_millis(row.time).into()),
        }),
        change: Some(change),
        moved: row.moved,
        on_hand: row.on_hand,
    }
}

fn level(level: Level) -> inventory::Level {
    let Level { id, on_hand, held, allocated, available, version, limits, .. } = level;
    let Level { serves_orders, incoming, .. } = level;
    let StockId { sku, location } = id;
    let (sku, location) = (sku.into(), location.into());
    inventory::Level {
        sku,
        location,
        on_hand,
        held,
        allocated,
        available,
        version,
        limits: Some(encode_limits(limits)),
        fulfils_online: serves_orders,
        incoming,
    }
}
