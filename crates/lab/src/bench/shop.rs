//! The shop of the benchmark: what it sells, and who orders what.

use events::proto::{self, TaxBasis, command::Body};
use protocol::{
    id::{CommandId, Shop},
    time::Timestamp,
};
use serde_json::{Value, json};

use crate::random::Random;

/// Its name.
pub(super) const SHOP: &str = "bench";
/// The products that are ordered.
pub(super) const ORDERED: usize = 200;
/// All products; an ERP pushes stock lines for each of them.
pub(super) const PRODUCTS: usize = 5_000;
/// The product that there is none of.
const EMPTY: &str = "BENCH-EMPTY";
/// The units of each other product: enough for any run.
const UNITS: i64 = 500_000_000;
/// So many of a thousand orders cannot be filled.
const REFUSED_PER_MILLE: usize = 30;
/// The most lines of an order.
const MAX_ORDER_LINES: usize = 4;
/// The connector of the opening stock.
const CONNECTOR: &str = "bench-opening";
/// The connector of the goods issues.
const GOODS_ISSUE_CONNECTOR: &str = "bench-warehouse";
/// The lines of a second connector are its own.
pub(super) const CONNECTORS: [&str; 2] = ["bench-erp-1", "bench-erp-2"];

/// The catalogue, as lines of NDJSON.
pub(super) fn products() -> String {
    let line = |sku: &str| {
        let price = json!({"minor": 1_250, "currency": "GBP"});
        format!("{}\n", json!({"sku": sku, "title": format!("Product {sku}"), "price": price}))
    };
    (0..PRODUCTS).map(sku).chain([EMPTY.to_owned()]).map(|sku| line(&sku)).collect()
}

/// So many changes of products from the number `from` on, as lines of NDJSON: each is one event.
pub(super) fn changes(from: u64, count: u64) -> String {
    let line = |number: u64| {
        let (sku, mut change) = change(number);
        change["sku"] = sku.into();
        format!("{change}\n")
    };
    (from..from + count).map(line).collect()
}

/// A change of a product: its SKU, and the body of a request.
pub(super) fn change(number: u64) -> (String, Value) {
    let price = json!({"minor": 1_250, "currency": "GBP"});
    let sku = sku((number % PRODUCTS as u64) as usize);
    (sku, json!({"title": format!("Revision {number}"), "price": price}))
}

/// The opening stock of what is ordered, as lines of NDJSON.
pub(super) fn stock() -> String {
    let counts = (0..ORDERED).map(|product| (sku(product), UNITS)).chain([(EMPTY.to_owned(), 0)]);
    let line = |(sku, quantity): (String, i64)| {
        let line = json!({"type": "count", "sku": sku, "quantity": quantity, "sequence": 1,
            "connector": CONNECTOR, "document": format!("OPEN-{sku}")});
        format!("{line}\n")
    };
    counts.map(line).collect()
}

fn sku(product: usize) -> String {
    format!("BENCH-{product:05}")
}

/// The SKUs and units of an order.
fn basket(random: &mut Random) -> Vec<(String, i64)> {
    let lines = 1 + random.below(MAX_ORDER_LINES);
    let first = random.below(ORDERED);
    // Neighbours, so that no SKU is there twice.
    let mut basket: Vec<_> = (0..lines)
        .map(|line| (sku((first + line * 7) % ORDERED), 1 + random.below(3) as i64))
        .collect();
    if random.below(1000) < REFUSED_PER_MILLE {
        basket.push((EMPTY.to_owned(), 1));
    }
    basket
}

/// What the orders of that name were placed for, as goods issues of an ERP, one line of NDJSON each.
/// `random` is as it was when they were placed; those that were refused have nothing to ship.
pub(super) fn goods_issues(
    shop: &Shop,
    name: &str,
    orders: u32,
    random: &mut Random,
) -> Vec<String> {
    let mut lines = Vec::new();
    for number in 0..orders {
        let basket = basket(random);
        if basket.iter().any(|(sku, _)| sku == EMPTY) {
            continue;
        }
        let order_id = order_id(shop, &key(name, number));
        for (line, (sku, quantity)) in basket.into_iter().enumerate() {
            let issue = json!({"type": "goods_issue", "sku": sku, "quantity": quantity,
                "order_id": order_id, "connector": GOODS_ISSUE_CONNECTOR,
                "document": format!("GI-{name}-{number}"), "document_line": line.to_string(),
                "sequence": lines.len()});
            lines.push(format!("{issue}\n"));
        }
    }
    lines
}

/// A product, by a number that counts on.
pub(super) fn read_product(number: u64) -> String {
    sku((number % PRODUCTS as u64) as usize)
}

pub(super) fn order_id(shop: &Shop, key: &str) -> String {
    CommandId::from_key(shop, &format!("{key}/order")).to_string()
}

/// The idempotency key of an order.
pub(super) fn key(name: &str, number: u32) -> String {
    format!("{name}-{number}")
}

/// An order as the gateway would put it into the inbox.
pub(super) fn command(
    shop: &Shop,
    name: &str,
    number: u32,
    random: &mut Random,
    now: Timestamp,
) -> proto::Command {
    let key = key(name, number);
    let lines = basket(random).into_iter().map(|(sku, quantity)| proto::order::RequestedLine {
        sku,
        quantity,
        ..Default::default()
    });
    let order = proto::order::PlaceOrder {
        order_id: order_id(shop, &key),
        reference: Some(key.clone()),
        customer_id: Some(format!("C-{}", number % 5_000)),
        country: Some("GB".to_owned()),
        currency: "GBP".to_owned(),
        tax_basis: TaxBasis::Included.into(),
        lines: lines.collect(),
        payment_method: "card".to_owned(),
        ..Default::default()
    };
    proto::Command {
        id: CommandId::from_key(shop, &key).to_string(),
        shop: shop.to_string(),
        time: Some(now.into()),
        // As long as a real one.
        fingerprint: "0".repeat(64),
        body: Some(Body::PlaceOrder(order)),
        ..Default::default()
    }
}

/// The same order as the body of a request.
pub(super) fn body(name: &str, number: u32, random: &mut Random) -> Value {
    let lines: Vec<_> = basket(random)
        .into_iter()
        .map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity}))
        .collect();
    json!({
        "reference": key(name, number),
        "customer_id": format!("C-{}", number % 5_000),
        "country": "GB",
        "currency": "GBP",
        "lines": lines,
    })
}

/// Stock lines of a connector as NDJSON: counts and adjustments in turn, over all products.
pub(super) fn lines(connector: &str, from: usize, count: usize) -> String {
    let line = |number: usize| {
        let sku = sku(ORDERED + number % (PRODUCTS - ORDERED));
        let document = format!("{connector}-{number}");
        let line = if number.is_multiple_of(2) {
            json!({"type": "count", "sku": sku, "quantity": 1_000, "connector": connector,
                "document": document, "sequence": number})
        } else {
            json!({"type": "adjustment", "sku": sku, "delta": 24, "reason": "goods received",
                "connector": connector, "document": document, "sequence": number})
        };
        format!("{line}\n")
    };
    (from..from + count).map(line).collect()
}
