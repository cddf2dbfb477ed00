//! What a service answers to a command, as JSON: kept in the log with the last event that the
//! command led to, so that a repeated command gets the same answer.

use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    id::{OrderId, Sku},
    money::Money,
    view::OrderStatus,
};

/// The answer to `PlaceOrder`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum PlaceOrderAnswer {
    /// The order is placed. With what was asked for, this is the whole order as it is then.
    Placed {
        /// Its id.
        order_id: OrderId,
        /// Lines and charges together.
        total: Money,
        /// The price of one unit of each line, in minor units of the total's currency.
        unit_prices: Vec<i64>,
        /// When it was placed.
        placed_at: Timestamp,
    },
    /// The order was placed by an earlier command.
    PlacedBefore {
        /// Its id.
        order_id: OrderId,
    },
    /// An order of this shop has this reference already.
    ReferenceTaken {
        /// That order.
        order_id: OrderId,
    },
    /// Some lines cannot be sold.
    Refused {
        /// What is wrong, line by line.
        problems: Vec<LineProblem>,
    },
    /// Lines and charges together are below 0 or above [`crate::money::MAX_ORDER_TOTAL`].
    TotalOutOfRange,
}

/// What is wrong with a line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineProblem {
    /// The line's index, from 0.
    pub line: usize,
    /// Its SKU.
    pub sku: Sku,
    /// What is wrong with it.
    pub code: LineProblemCode,
}

/// What can be wrong with a line of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineProblemCode {
    /// The catalogue has no such product.
    UnknownSku,
    /// The product is no longer sold.
    Discontinued,
    /// The product's price is in another currency than the order.
    OtherCurrency,
}

/// The answer to `CancelOrder`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CancelOrderAnswer {
    /// The order is cancelled, now or before.
    Cancelled,
    /// It is too late: the order is not cancelled.
    TooLate {
        /// What has become of it.
        status: OrderStatus,
    },
    /// The shop has no such order.
    NotFound,
}

/// The answer to `PutProducts`: what became of each product, in the order of the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutProductsAnswer {
    /// One for each product.
    pub results: Vec<ProductResult>,
}

/// What became of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductResult {
    /// It is new.
    Created,
    /// It changed.
    Updated,
    /// It is no longer sold.
    Discontinued,
    /// It was so already.
    Unchanged,
}

/// The answer to `RecordStock`: what became of each line, in the order of the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordStockAnswer {
    /// One for each line.
    pub results: Vec<StockResult>,
}

/// What became of a stock line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StockResult {
    /// It changed the stock.
    Applied,
    /// The document is known: it had its effect before.
    Duplicate,
    /// A newer count of the same connector is known, which contains it: nothing changed.
    Stale,
    /// The catalogue has no such product. Nothing is remembered: push it again when it has.
    UnknownSku,
    /// The document's id is known with other content: nothing changed.
    DocumentReused,
    /// The units on hand would leave the range that can be represented.
    OutOfRange,
}
