//! How the rows of the service are stored, and the deadline of an order.

mod list;
mod order;
#[cfg(test)]
mod tests;

use engine::{Column, Row, Table, Timer, TimerInput, Value, documents};
use events::id::{CustomerId, OrderId, Reference};
use serde::de::Error as _;

pub(crate) use self::{
    list::{ListedOrder, OrderFilter, OrderList, OrderPage, OrderPlace, PageStart, list},
    order::count_unpaid,
};
use crate::domain::{
    Awaits, Input, Signal,
    rows::{
        Order, OrderCancellation, OrderContent, OrderNumber, OrderPersonal, OrderShipped, OrderSku,
        Product, ReferencedOrder, ShopSettings,
    },
};

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[
    Order::TABLE,
    OrderContent::TABLE,
    OrderCancellation::TABLE,
    OrderPersonal::TABLE,
    OrderShipped::TABLE,
    OrderSku::TABLE,
    ReferencedOrder::TABLE,
    OrderNumber::TABLE,
    Product::TABLE,
    ShopSettings::TABLE,
];

/// When an order is cancelled because the awaited answer has not come.
pub(crate) const DEADLINE: Timer<Input> =
    Timer { table: Order::TABLE.name, column: "deadline", input: deadline_passed };

impl Row for OrderContent {
    const TABLE: Table = Table {
        name: "order_content",
        about: "What was ordered and by whom. Written once, when the order is placed.",
        columns: &[
            Column::integer("number"),
            Column::integer("placed_at"),
            Column::text("customer_id"),
            Column::text("reference"),
            // The reference as it is searched for parts.
            Column::text("search"),
        ],
        // What never changes is found here rather than in `orders`, which each event rewrites.
        indexes: &[
            "(shop, placed_at, number)",
            "(shop, number, placed_at)",
            "(shop, customer_id, placed_at, number) where customer_id is not null",
            "(shop, reference, placed_at, number) where reference is not null",
        ],
    };

    fn columns(&self) -> Vec<Value> {
        vec![
            (self.number as i64).into(),
            self.placed_at.millis().into(),
            self.customer_id.as_ref().map(CustomerId::to_string).into(),
            self.reference.as_ref().map(Reference::to_string).into(),
            self.reference.as_ref().map(|it| documents::searched(it.as_str())).into(),
        ]
    }
}

impl Row for OrderPersonal {
    const TABLE: Table = table(
        "order_personal",
        "The personal data of an order, sealed. Written once, when the order is placed.",
    );
}

impl Row for OrderCancellation {
    const TABLE: Table =
        table("order_cancellation", "Why an order is cancelled. Written once, when it is.");
}

impl Row for OrderShipped {
    const TABLE: Table = table(
        "order_shipped",
        "The units of each line of an order that have shipped; none where nothing has.",
    );
}

impl Row for OrderSku {
    const TABLE: Table = Table {
        name: "order_sku",
        about: "That a line of an order is of a SKU. Written once, when the order is placed.",
        columns: &[Column::text("sku"), Column::integer("placed_at"), Column::integer("number")],
        indexes: &["(shop, sku, placed_at, number)"],
    };

    const IS_LOOKED_FOR: bool = false;

    fn columns(&self) -> Vec<Value> {
        let (placed_at, number) = (self.placed_at.millis(), self.number as i64);
        vec![self.sku.as_str().into(), placed_at.into(), number.into()]
    }
}

impl Row for ReferencedOrder {
    const TABLE: Table =
        table("reference", "The last order that has a reference, the caller's own order number.");
}

impl Row for OrderNumber {
    const TABLE: Table =
        table("order_number", "The number of the last order that was placed in a shop.");
}

impl Row for Product {
    const TABLE: Table = table(
        "product",
        "What a product is called and costs, and whether it is sold: a replica of the catalogue.",
    );
}

impl Row for ShopSettings {
    const TABLE: Table = table("shop_settings", "How a shop works: a replica of its settings.");
}

/// A table without columns of its own.
const fn table(name: &'static str, about: &'static str) -> Table {
    Table { name, about, columns: &[], indexes: &[] }
}

/// What the passed deadline of an order becomes.
fn deadline_passed(key: &str, document: &str) -> Result<TimerInput<Input>, serde_json::Error> {
    let order_id = OrderId::parse(key).map_err(serde_json::Error::custom)?;
    let order: Order = serde_json::from_str(document)?;
    let deadline =
        order.deadline.ok_or_else(|| serde_json::Error::custom("the order has no deadline"))?;
    let kind = match order.awaits {
        Awaits::Payment => "timer.payment_deadline",
        Awaits::Hold | Awaits::Allocation | Awaits::Capture | Awaits::Nothing => {
            "timer.stock_deadline"
        }
    };
    let input = Input::Signal { order_id, signal: Signal::DeadlinePassed { deadline } };
    Ok(TimerInput { kind, context: order.context, input })
}
