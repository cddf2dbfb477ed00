//! What to try on a demo that is left running.

use super::{
    audit::Status,
    products::{PRODUCTS, RACE_SKU},
    report::Report,
};
use crate::embedded::Embedded;

/// Lines for a shell, with the address, the key, an order and a SKU that are there.
pub(super) fn lines(embedded: &Embedded, shop: &str, report: &Report) -> String {
    let url = format!("{}/v1/shops/{shop}", embedded.url);
    let key = embedded.settings.api_key.as_deref().unwrap_or_default();
    let sku = PRODUCTS[1].sku;
    let paid = report.audited.orders.iter().find(|(_, order)| order.status == Status::Paid);
    let order = paid.map_or("ORDER", |(id, _)| id);
    let request = |title: &str, command: &str| format!("\n# {title}\n{command}\n");
    let json = "-H 'content-type: application/json'";
    // The sequence only has to be newer than those of the day.
    let lamp = format!(
        r#"{{"type":"count","sku":"{RACE_SKU}","quantity":25,"connector":"warehouse-erp","document":"RECOUNT-1","sequence":20000}}"#
    );
    let basket = format!(
        r#"{{"currency":"GBP","lines":[{{"sku":"{sku}","quantity":1}},{{"sku":"{RACE_SKU}","quantity":1}}],"payment_method":"card"}}"#
    );
    let slow = format!(
        r#"{{"reference":"MY-2","currency":"GBP","lines":[{{"sku":"{sku}","quantity":1}}],"payment_method":"sim:slow:900"}}"#
    );
    [
        format!("\nIt is still running; Ctrl-C stops it. Paste this into another terminal:\n\nSHOP={url}\ncall() {{ curl -sS -w '\\n' -H 'authorization: Bearer {key}' \"$@\"; }}\n"),
        request("A paid order, and its history step by step", &format!("call $SHOP/orders/{order}\ncall $SHOP/orders/{order}/history")),
        request("The stock of a product, and of all", &format!("call $SHOP/inventory/{sku}\ncall \"$SHOP/inventory?limit=10\"")),
        request("The ERP finds more storm lamps", &format!("call {json} $SHOP/inventory -d '{lamp}'")),
        request("Order one, and wait for the outcome; the same key again is the same order", &format!("call {json} -H 'prefer: wait=10' -H 'idempotency-key: mine-1' $SHOP/orders -d '{basket}'")),
        request("Order with a slow payment, and cancel before it is through", &format!("ID=$(call {json} $SHOP/orders -d '{slow}' | sed 's/.*\"id\":\"\\([^\"]*\\)\".*/\\1/')\ncall -X POST $SHOP/orders/$ID/cancel")),
        request("What it all comes to", "call $SHOP/totals"),
    ]
    .concat()
}
