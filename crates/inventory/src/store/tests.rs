//! Questions and deadlines, against a private `SQLite` database, gone when its only connection is.

use std::collections::BTreeSet;

use engine::{Clock, Context, Queries as _, Rules, Wire, WireError, documents};
use events::{
    proto::inventory::{self, GetLevels, GetTotals, ListLevels, ListLocations, Totals},
    questions::Question,
};
use prost::Message;
use protocol::{id::Shop, time::Timestamp};
use serde_json::json;
use sqlx::{AnyPool, any::AnyPoolOptions};

use super::*;
use crate::{Inventory, Policy, metrics::MeasuredConnectors};

/// The database of one test; its only connection keeps it.
async fn database(stocks: &[(&str, Stock)]) -> AnyPool {
    sqlx::any::install_default_drivers();
    let pool = AnyPoolOptions::new().max_connections(1).connect("sqlite::memory:").await;
    let pool = pool.expect("opens");
    let mut db = pool.acquire().await.expect("connects");
    documents::create_tables(&mut db, TABLES).await.expect("creates");
    let rows = stocks.iter().map(|(key, stock)| ((*key).to_owned(), stock.clone()));
    documents::put(&mut db, &shop("acme"), rows).await.expect("writes");
    drop(db);
    pool
}

fn shop(name: &str) -> Shop {
    Shop::parse(name).expect("valid")
}

/// The inventory, by a clock that stands at a time in milliseconds.
fn inventory_at(millis: i64) -> Inventory {
    let clock = Clock::from(move || Timestamp::from_millis(millis));
    Inventory::new(Policy::default(), clock)
}

fn stock(on_hand: i64, held: i64, allocated: i64) -> Stock {
    Stock { on_hand, held, allocated, revision: (1, 1).into(), ..Stock::default() }
}

/// Asks by way of the wire, as the gateway does.
async fn ask_of<Q: Question>(shop: &Shop, db: &AnyPool, question: Q) -> Option<Q::Answer> {
    let inventory = inventory_at(0);
    let question = Inventory::question(&question.encode()).expect("is a question");
    let found = inventory.query(db, shop, question).await.expect("answers");
    found.map(|found| Q::Answer::decode(&*Inventory::encode_found(found)).expect("reads"))
}

async fn ask<Q: Question>(db: &AnyPool, question: Q) -> Option<Q::Answer> {
    ask_of(&shop("acme"), db, question).await
}

fn level(sku: &str) -> GetLevels {
    GetLevels { sku: sku.to_owned() }
}

fn levels(after: &str, limit: u32) -> ListLevels {
    levels_behind(after, "", limit)
}

fn levels_behind(after: &str, location: &str, limit: u32) -> ListLevels {
    ListLevels { after: after.to_owned(), limit, after_location: location.to_owned() }
}

#[tokio::test]
async fn questions_are_answered_from_the_shops_own_rows() {
    let db = database(&[
        ("B@main", stock(4, 5, 0)),
        ("A@main", stock(9, 2, 3)),
        ("A@attic", stock(100, 0, 0)),
    ])
    .await;
    let main = |sku: &str, [on_hand, held, allocated, available]: [i64; 4]| inventory::Level {
        sku: sku.to_owned(),
        location: "main".to_owned(),
        on_hand,
        held,
        allocated,
        available,
        version: 1,
        limits: Some(inventory::StockLimits::default()),
        fulfils_online: true,
        incoming: 0,
    };
    let attic = inventory::Level {
        location: "attic".to_owned(),
        // No such location was put: nobody is served from there.
        fulfils_online: false,
        ..main("A", [100, 0, 0, 100])
    };
    let (a, b) = (main("A", [9, 2, 3, 4]), main("B", [4, 5, 0, 0]));
    let page = |levels: &[inventory::Level]| Some(inventory::Levels { levels: levels.to_vec() });
    assert_eq!(ask(&db, level("A")).await, page(&[attic.clone(), a.clone()]));
    assert_eq!(ask(&db, level("C")).await, None);
    assert_eq!(ask(&db, levels("", 0)).await, page(&[attic.clone(), a.clone(), b.clone()]));
    assert_eq!(ask(&db, levels("", 1)).await, page(&[attic]));
    assert_eq!(ask(&db, levels_behind("A", "attic", 0)).await, page(&[a, b.clone()]));
    assert_eq!(ask(&db, levels_behind("A", "main", 0)).await, page(std::slice::from_ref(&b)));
    assert_eq!(ask(&db, levels("A", 0)).await, page(&[b]));
    let locations = ask(&db, ListLocations {}).await.expect("answers").locations;
    let codes: Vec<_> = locations.iter().map(|it| (it.code.as_str(), it.version)).collect();
    assert_eq!(codes, [("main", 0)]);
    let totals = Totals { on_hand: 113, held: 7, allocated: 3, skus: 2, oversold_skus: 1 };
    assert_eq!(ask(&db, GetTotals {}).await, Some(totals));
    assert_eq!(ask_of(&shop("other"), &db, levels("", 0)).await, page(&[]));
    assert_eq!(ask_of(&shop("other"), &db, level("A")).await, None);
}

#[tokio::test]
async fn levels_are_in_the_order_of_their_skus_whatever_those_contain() {
    let skus = ["A", "A!", "A-1", "A1", "A@", "A@@", "A@B", "A@b", "AB", "a-1"];
    let keys = skus.map(|sku| format!("{sku}@main"));
    let rows: Vec<_> = keys.iter().map(|key| (key.as_str(), stock(1, 0, 0))).collect();
    let db = database(&rows).await;
    let (mut listed, mut after) = (Vec::new(), String::new());
    while let Some(page) = ask(&db, levels(&after, 3)).await {
        let Some(last) = page.levels.last() else { break };
        after = last.sku.clone();
        listed.extend(page.levels.into_iter().map(|level| level.sku));
    }
    assert_eq!(listed, skus);
    let totals = ask(&db, GetTotals {}).await.expect("answers");
    assert_eq!(totals.skus, skus.len() as i64);
}

#[tokio::test]
async fn a_shop_without_stock_has_totals_of_zero() {
    let db = database(&[]).await;
    assert_eq!(ask(&db, GetTotals {}).await, Some(Totals::default()));
}

#[tokio::test]
async fn the_silence_of_a_connector_grows_with_the_clock_until_it_is_out_of_use() {
    const HEARD: i64 = 1_000_000;
    const HOUR: i64 = 3_600_000;
    let db = database(&[]).await;
    let row = ConnectorRow { heard: HEARD, ..ConnectorRow::default() };
    let mut connection = db.acquire().await.expect("connects");
    let rows = std::iter::once(("erp".to_owned(), row));
    documents::put(&mut connection, &shop("acme"), rows).await.expect("writes");
    drop(connection);
    let silences = async |millis: i64| {
        let counted = inventory_at(millis).count(&db, 0).await.expect("counts");
        counted.into_iter().map(|(_, seconds)| seconds).collect::<Vec<_>>()
    };
    assert_eq!(silences(HEARD).await, [0]);
    assert_eq!(silences(HEARD + HOUR).await, [3_600]);
    assert_eq!(silences(HEARD + 8 * 24 * HOUR - 1).await, [0], "it is out of use");
    assert_eq!(silences(HEARD + 8 * 24 * HOUR + 1).await, [0; 0], "it is measured no more");
}

#[tokio::test]
async fn a_shop_with_many_connectors_takes_no_place_of_another() {
    let db = database(&[]).await;
    let mut connection = db.acquire().await.expect("connects");
    let heard = |heard: i64| ConnectorRow { heard, ..ConnectorRow::default() };
    let many = (0..1_200).map(|number| (format!("erp-{number:04}"), heard(number)));
    documents::put(&mut connection, &shop("acme"), many).await.expect("writes");
    let few = [("till".to_owned(), heard(5_000)), ("warehouse".to_owned(), heard(6_000))];
    documents::put(&mut connection, &shop("beta"), few).await.expect("writes");
    drop(connection);
    let found = super::heard(&db, 0, 0, 1_000).await.expect("reads");
    let of = |name: &str| found.iter().filter(|(shop, ..)| shop == name).count();
    assert_eq!((of("acme"), of("beta")), (998, 2));
    let longest = found.iter().find(|(shop, ..)| shop == "acme").map(|it| it.2);
    assert_eq!(longest, Some(0), "the one that is silent the longest is among them");
}

#[test]
fn connectors_that_are_measured_no_more_are_known() {
    let measured = MeasuredConnectors::default();
    let named = |names: &[&str]| -> BTreeSet<_> {
        names.iter().map(|it| ("acme".to_owned(), (*it).to_owned())).collect()
    };
    assert_eq!(measured.replace(0, named(&["erp", "till"])), named(&[]));
    assert_eq!(measured.replace(1, named(&["warehouse"])), named(&[]));
    assert_eq!(measured.replace(0, named(&["erp", "shop"])), named(&["till"]));
    assert_eq!(measured.replace(0, named(&[])), named(&["erp", "shop"]));
}

#[test]
fn what_is_no_question_is_refused() {
    let nothing = inventory::InventoryQuestion::default().encode_to_vec();
    assert!(matches!(Inventory::question(&nothing), Err(WireError::Missing("question"))));
    assert!(matches!(Inventory::question(&level("a b").encode()), Err(WireError::Parse(_))));
}

#[test]
fn a_passed_deadline_is_an_input_that_continues_the_request() {
    let key = "018f0000-0000-7000-8000-000000000001";
    let order_id = OrderId::parse(key).expect("valid");
    let context = Context {
        correlation_id: "request".into(),
        traceparent: "trace".into(),
        tracestate: String::new(),
    };
    let row = json!({ "status": "held", "revision": [1, 1], "lines": [], "block": 0,
                      "deadline": "1970-01-01T00:15:00.000Z", "context": context });
    let due = (HOLD_DEADLINE.input)(key, &row.to_string()).expect("reads");
    assert_eq!((due.kind, &due.context), ("timer.hold_deadline", &context));
    assert_eq!(due.input, Input::HoldDue { order_id });
    assert!((HOLD_DEADLINE.input)("odd", &row.to_string()).is_err());

    let row: Reservation = serde_json::from_value(row).expect("reads");
    assert_eq!(row.columns(), [Value::Integer(Some(900_000))]);
    let now = Timestamp::from_millis(900_000);
    let mut state = State::default();
    state.reservations.put(order_id, row);
    let inventory = inventory_at(0);
    assert_eq!(inventory.decide(&state, &due.input, now).events.len(), 1);
}

#[test]
fn orders_that_are_still_to_be_named_are_named_at_once() {
    let context = Context { correlation_id: "request".into(), ..Context::default() };
    let row = json!({ "due": 900_000, "part": 1, "place": { "block": 2, "older": 7 },
                      "context": context });
    let due = (SHORT_DEADLINE.input)("A@main", &row.to_string()).expect("reads");
    assert_eq!((due.kind, &due.context), ("timer.short_list", &context));
    let stock = StockId::parse("A@main").expect("valid");
    assert_eq!(due.input, Input::ShortDue { stock });
    assert!((SHORT_DEADLINE.input)("odd", &row.to_string()).is_err());
    let row: ShortList = serde_json::from_value(row).expect("reads");
    assert_eq!(row.columns(), [Value::Integer(Some(900_000))]);
}
