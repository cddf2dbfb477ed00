//! What to try on a demo that is left running.

use audit::Status;
use events::id::OrderId;
use node::embedded::Embedded;

use super::{
    products::{PRODUCTS, RACE_SKU},
    report::Report,
};

/// The lines, with names in braces for what is only known now.
const LINES: &str = r#"
It is still running; Ctrl-C stops it. Paste this into another terminal:

SHOP={url}/v1/shops/{shop}
call() { curl -sS -w '\n' -H 'authorization: Bearer {key}' -H 'content-type: application/json' "$@"; }

# A paid order, and its events
call $SHOP/orders/{order}
call $SHOP/orders/{order}/history

# The stock of a product, and of the first ten
call $SHOP/inventory/{sku}
call "$SHOP/inventory?limit=10"

# The ERP finds more storm lamps
call $SHOP/inventory -d '{"type":"count","sku":"{lamp}","quantity":{count},
  "connector":"warehouse-erp","document":"RECOUNT-1","sequence":20000}'

# Order one and wait for the outcome; the same key again is the same order
call $SHOP/orders -H 'prefer: wait=10' -H 'idempotency-key: mine-1' -d '{"currency":"GBP",
  "lines":[{"sku":"{lamp}","quantity":1},{"sku":"{sku}","quantity":2}]}'

# Order with a slow payment, and cancel before it is through
ID=$(call $SHOP/orders -d '{"currency":"GBP","payment_method":"sim:slow:900",
  "lines":[{"sku":"{sku}","quantity":1}]}' | sed 's/.*"id":"\([^"]*\)".*/\1/')
call -X POST $SHOP/orders/$ID/cancel -d '{"note":"changed my mind"}'

# What it all comes to
call $SHOP/totals
"#;

/// Lines for a shell, with the address, the key, an order and SKUs that are there.
pub(super) fn lines(embedded: &Embedded, shop: &str, report: &Report) -> String {
    let is_paid = |id: &&OrderId| report.audited.orders.status(**id) == Some(Status::Paid);
    let paid = report.trade.placed.keys().find(is_paid).map(ToString::to_string);
    // As many lamps as are promised, and ten more.
    let lamps = report.audited.stock.levels().find(|(id, _)| id.sku == RACE_SKU);
    let count = lamps.map_or(0, |(_, level)| level.promised()) + 10;
    LINES
        .trim_end()
        .replace("{url}", &embedded.url)
        .replace("{shop}", shop)
        .replace("{key}", embedded.settings.exposed_api_key())
        .replace("{order}", &paid.unwrap_or_default())
        .replace("{sku}", PRODUCTS[1].sku)
        .replace("{lamp}", RACE_SKU)
        .replace("{count}", &count.to_string())
}
