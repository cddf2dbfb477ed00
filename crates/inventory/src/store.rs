//! How the rows of the inventory are stored, and its deadlines.

use engine::{AnyRows, Column, Row, Table, Timer, TimerInput, Value};
use events::id::OrderId;
use serde::de::Error as _;

pub(crate) use self::list::{
    Level, RejectionFilter, Totals, connectors, goods_issues, heard, levels, levels_of, locations,
    movements, rejection, rejections, totals,
};
use crate::domain::{
    Adjustments, AppliedDocument, Chunk, ConnectorRow, Counters, Input, Locations, OrderBlock,
    Product, RejectedNumber, Rejection, Reservation, ShopSettings, ShortList, State, Stock,
    StockId, Transfer, Units,
};

/// The SKU in the key of a stock, `<sku>@<location>`: what is left without the characters of a
/// location at its end, and without the `@` before them.
macro_rules! sku_of_key {
    () => {
        "substr(key, 1, length(rtrim(key, 'abcdefghijklmnopqrstuvwxyz0123456789-')) - 1)"
    };
}

/// The location in the key of a stock: what is behind its SKU and the `@`.
macro_rules! location_of_key {
    () => {
        "substr(key, 1 + length(rtrim(key, 'abcdefghijklmnopqrstuvwxyz0123456789-')))"
    };
}

// Behind the macros, which it uses.
mod list;
#[cfg(test)]
mod tests;

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[
    Product::TABLE,
    ShopSettings::TABLE,
    Locations::TABLE,
    Stock::TABLE,
    Transfer::TABLE,
    AppliedDocument::TABLE,
    Adjustments::TABLE,
    Chunk::TABLE,
    Reservation::TABLE,
    OrderBlock::TABLE,
    ShortList::TABLE,
    Counters::TABLE,
    ConnectorRow::TABLE,
    Rejection::TABLE,
    RejectedNumber::TABLE,
];

/// The deadline of a hold.
pub(crate) const HOLD_DEADLINE: Timer<Input> =
    Timer { table: Reservation::TABLE.name, column: "deadline", input: hold_due };

fn hold_due(key: &str, document: &str) -> Result<TimerInput<Input>, serde_json::Error> {
    let order_id = OrderId::parse(key).map_err(serde_json::Error::custom)?;
    let Reservation { context, .. } = serde_json::from_str(document)?;
    Ok(TimerInput { kind: "timer.hold_deadline", context, input: Input::HoldDue { order_id } })
}

/// The moment at which more of the orders that cannot be served are named.
pub(crate) const SHORT_DEADLINE: Timer<Input> =
    Timer { table: ShortList::TABLE.name, column: "due", input: short_due };

fn short_due(key: &str, document: &str) -> Result<TimerInput<Input>, serde_json::Error> {
    let stock = StockId::parse(key).map_err(serde_json::Error::custom)?;
    let ShortList { context, .. } = serde_json::from_str(document)?;
    Ok(TimerInput { kind: "timer.short_list", context, input: Input::ShortDue { stock } })
}

impl engine::State for State {
    fn tables(&mut self) -> Vec<&mut dyn AnyRows> {
        let Self {
            products,
            settings,
            locations,
            stocks,
            transfers,
            documents,
            adjustments,
            chunks,
            reservations,
            order_blocks,
            short_lists,
            counters,
            connectors,
            rejections,
            rejected,
        } = self;
        vec![
            products,
            settings,
            locations,
            stocks,
            transfers,
            documents,
            adjustments,
            chunks,
            reservations,
            order_blocks,
            short_lists,
            counters,
            connectors,
            rejections,
            rejected,
        ]
    }
}

impl Row for Product {
    const TABLE: Table = Table {
        name: "product",
        about: "A product that the catalogue has, sold or not: a SKU that an ERP may count.",
        columns: &[],
        indexes: &[],
    };
}

impl Row for ShopSettings {
    const TABLE: Table = Table {
        name: "shop_settings",
        about: "The settings of a shop that stock depends on: a replica.",
        columns: &[],
        indexes: &[],
    };
}

impl Row for Locations {
    const TABLE: Table =
        Table { name: "locations", about: "The locations of a shop.", columns: &[], indexes: &[] };
}

impl Row for Stock {
    const TABLE: Table = Table {
        name: "stock",
        about: "The stock of a SKU at a location.",
        columns: &[
            Column::integer("on_hand"),
            Column::integer("held"),
            Column::integer("allocated"),
            Column::integer("backorder_limit"),
        ],
        indexes: &[concat!("(shop, ", sku_of_key!(), ")")],
    };

    fn columns(&self) -> Vec<Value> {
        vec![
            self.on_hand.into(),
            self.held.into(),
            self.allocated.into(),
            self.limits.backorder_limit.into(),
        ]
    }
}

impl Row for Transfer {
    const TABLE: Table = Table {
        name: "transfer",
        about: "A SKU of a transfer: what has left, and what has come.",
        columns: &[],
        indexes: &[],
    };
}

impl Row for AppliedDocument {
    const TABLE: Table = Table {
        name: "document",
        about: "A stock line of an ERP that had its effect: a movement of its stock.",
        columns: &[
            Column::text("stock"),
            Column::integer("stock_position"),
            // Of a goods issue alone.
            Column::text("order_id"),
        ],
        indexes: &[
            "(shop, stock, stock_position)",
            "(shop, stock_position) where order_id is not null",
            "(shop, order_id, stock_position) where order_id is not null",
        ],
    };

    fn columns(&self) -> Vec<Value> {
        let position = i64::try_from(self.revision.position).unwrap_or(i64::MAX);
        let order_id = match &self.units {
            Units::Issued(order_id, _) => Some(order_id.to_string()),
            _ => None,
        };
        vec![Some(self.stock.to_string()).into(), position.into(), order_id.into()]
    }
}

impl Row for Adjustments {
    const TABLE: Table = Table {
        name: "adjustments",
        about: "The last adjustments of a stock by a connector, and a summary of those before.",
        columns: &[],
        indexes: &[],
    };
}

impl Row for Chunk {
    const TABLE: Table = Table {
        name: "adjustment_chunk",
        about: "Earlier adjustments of a stock by a connector, since its last count.",
        columns: &[],
        indexes: &[],
    };
}

impl Row for Reservation {
    const TABLE: Table = Table {
        name: "reservation",
        about: "What was done for an order.",
        columns: &[Column::integer("deadline")],
        indexes: &["(partition, deadline) where deadline is not null"],
    };

    fn columns(&self) -> Vec<Value> {
        vec![self.deadline.into()]
    }
}

impl Row for OrderBlock {
    const TABLE: Table = Table {
        name: "order_block",
        about: "The orders of a block of 1,024 that have units of a stock.",
        columns: &[],
        indexes: &[],
    };
}

impl Row for ShortList {
    const TABLE: Table = Table {
        name: "short_list",
        about: "A stock of which orders that cannot be served are still to be named.",
        columns: &[Column::integer("due")],
        indexes: &["(partition, due)"],
    };

    fn columns(&self) -> Vec<Value> {
        vec![self.due.into()]
    }
}

impl Row for Counters {
    const TABLE: Table = Table {
        name: "counters",
        about: "What is counted for a shop.",
        columns: &[],
        indexes: &[],
    };
}

impl Row for ConnectorRow {
    const TABLE: Table = Table {
        name: "connector",
        about: "What has come from a connector.",
        columns: &[Column::integer("heard")],
        indexes: &["(partition, heard)"],
    };

    fn columns(&self) -> Vec<Value> {
        vec![self.heard.into()]
    }
}

impl Row for Rejection {
    const TABLE: Table = Table {
        name: "rejection",
        about: "A line that was rejected, and is kept until nothing is left to be done about it.",
        columns: &[
            Column::text("connector"),
            Column::integer("number"),
            Column::text("document_id"),
            Column::text("sku"),
            Column::text("reason"),
        ],
        indexes: &["(shop, connector, number)"],
    };

    fn columns(&self) -> Vec<Value> {
        let content = &self.content;
        vec![
            content.connector().as_str().into(),
            i64::try_from(self.number).unwrap_or(i64::MAX).into(),
            content.document().into(),
            content.sku().into(),
            content.reason().name().into(),
        ]
    }
}

impl Row for RejectedNumber {
    const TABLE: Table = Table {
        name: "rejected_line",
        about: "The number of the rejection of a line.",
        columns: &[],
        indexes: &[],
    };
}
