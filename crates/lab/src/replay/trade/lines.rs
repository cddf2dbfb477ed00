//! What is pushed to the shop, as lines of NDJSON.

use chrono::NaiveDate;
use events::id::OrderId;
use serde_json::json;

use crate::replay::plan::{self, Document, Order, Product, words};

/// The connector that pushes all stock documents.
const CONNECTOR: &str = "erp";
/// The sequence of the opening counts: before all other documents.
const OPENING_SEQUENCE: u64 = 1;
/// A product of the catalogue.
pub(super) fn product(sku: &str, product: &Product) -> String {
    let title = product.title.as_deref().and_then(words).unwrap_or_else(|| sku.to_owned());
    let price = json!({"minor": product.price, "currency": "GBP"});
    format!("{}\n", json!({"sku": sku, "title": title, "price": price}))
}

/// The units that are there when the trade begins.
pub(super) fn opening(sku: &str, units: i64) -> String {
    let line = json!({
        "type": "count",
        "sku": sku,
        "quantity": units,
        "connector": CONNECTOR,
        "document": format!("opening/{sku}"),
        "sequence": OPENING_SEQUENCE,
    });
    format!("{line}\n")
}

/// What a day needs that no opening count contains.
pub(super) fn receipt(date: NaiveDate, sku: &str, units: i64) -> String {
    let line = json!({
        "type": "adjustment",
        "sku": sku,
        "delta": units,
        "reason": "received for the day",
        "connector": CONNECTOR,
        "document": format!("opening/{date}"),
        "document_line": sku,
        "sequence": plan::sequence(date),
    });
    format!("{line}\n")
}

/// A document of the ERP.
pub(super) fn document(date: NaiveDate, document: &Document) -> String {
    let line = json!({
        "type": "adjustment",
        "sku": &*document.sku,
        "delta": document.delta,
        "reason": document.reason,
        "connector": CONNECTOR,
        "document": &*document.invoice,
        "document_line": document.line.to_string(),
        "sequence": plan::sequence(date),
    });
    format!("{line}\n")
}

/// A line of an order that leaves.
pub(super) fn goods_issue(date: NaiveDate, id: OrderId, order: &Order, index: usize) -> String {
    let line = &order.lines[index];
    let line = json!({
        "type": "goods_issue",
        "sku": &*line.sku,
        "quantity": line.quantity,
        "order_id": id,
        "connector": CONNECTOR,
        "document": format!("ship/{}", order.invoice),
        "document_line": index.to_string(),
        "sequence": plan::sequence(date),
    });
    format!("{line}\n")
}
