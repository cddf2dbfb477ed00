//! Against a private `SQLite` database, gone when its only connection is.

use events::{
    answer::StockResult,
    id::{Connector, DocumentId},
};
use serde_json::{Value, json};
use sqlx::any::AnyPoolOptions;

use super::*;
use crate::{
    Inventory, Policy,
    domain::{
        self, Event, Keys, Line, Units,
        tests::{fold, order, trade::Trade},
    },
    query,
};
use engine::{Recorded, Service};

/// The database of one test; its only connection keeps it.
async fn database() -> AnyPool {
    sqlx::any::install_default_drivers();
    let pool = AnyPoolOptions::new().max_connections(1).connect("sqlite::memory:").await;
    let pool = pool.expect("opens");
    MIGRATIONS.run(&pool).await.expect("migrates");
    pool
}

fn acme() -> Shop {
    Shop::parse("acme").expect("valid")
}

/// Every row of the projection as text, by its key.
async fn dump(db: &AnyPool) -> Vec<String> {
    let mut dump = Vec::new();
    for table in Inventory::TABLES {
        let columns = format!("select name from pragma_table_info('{}')", table.name);
        let columns = sqlx::query(sqlx::AssertSqlSafe(columns)).fetch_all(db).await;
        let columns: Vec<String> =
            columns.expect("has columns").iter().map(|row| row.get(0)).collect();
        let quoted: Vec<_> = columns.iter().map(|name| format!("quote({name})")).collect();
        let rows = format!(
            "select {} from {} order by {}",
            quoted.join(" || ', ' || "),
            table.name,
            table.key
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(rows)).fetch_all(db).await.expect("has rows");
        let text = |row: &AnyRow| format!("{}: {}", table.name, row.get::<String, _>(0));
        dump.extend(rows.iter().map(text));
    }
    dump
}

/// Handles inputs as the engine does: one load, one save.
async fn handle(
    db: &AnyPool,
    batch: &[(Input, Timestamp)],
) -> (Vec<Recorded<Event>>, Vec<Option<String>>) {
    let mut keys = Keys::default();
    for (input, _) in batch {
        keys.add_input(input);
    }
    let mut db = db.acquire().await.expect("connects");
    let mut states = load(&mut db, &HashMap::from([(acme(), keys)])).await.expect("loads");
    let state = states.get_mut(&acme()).expect("was asked for");
    let (mut recorded, mut answers) = (Vec::new(), Vec::new());
    for (input, now) in batch {
        domain::copy(state, input);
        let decision = domain::decide(state, Policy::default(), input, *now);
        recorded.extend(decision.events.iter().map(|event| fold(state, event)));
        answers.push(decision.answer);
    }
    save(&mut db, 0, &states).await.expect("saves");
    (recorded, answers)
}

/// Folds events as the engine does when it recovers or rebuilds.
async fn replay(db: &AnyPool, events: &[Recorded<Event>]) {
    let mut keys = Keys::default();
    for recorded in events {
        keys.add_event(&recorded.event);
    }
    let mut db = db.acquire().await.expect("connects");
    let mut states = load(&mut db, &HashMap::from([(acme(), keys)])).await.expect("loads");
    let state = states.get_mut(&acme()).expect("was asked for");
    for recorded in events {
        domain::apply(state, recorded);
    }
    save(&mut db, 0, &states).await.expect("saves");
}

fn products() -> Vec<(Input, Timestamp)> {
    let known = |sku| Input::ProductKnown { sku: Sku::parse(sku).expect("valid") };
    ["A", "B", "C", "D"].map(|sku| (known(sku), Timestamp::default())).to_vec()
}

#[tokio::test]
async fn batches_of_any_size_decide_and_save_the_same_and_so_does_a_rebuild() {
    let mut trade = Trade::new(20_111_209);
    let inputs: Vec<_> = (0..3_000).map(|_| trade.next()).collect();
    let mut known = Vec::new();
    for size in [1, 7, 100, 3_000] {
        let db = database().await;
        handle(&db, &products()).await;
        let (mut events, mut answers) = (Vec::new(), Vec::new());
        for batch in inputs.chunks(size) {
            let (more_events, more_answers) = handle(&db, batch).await;
            events.extend(more_events);
            answers.extend(more_answers);
        }
        let dump = dump(&db).await;

        let rebuilt = database().await;
        for batch in events.chunks(size + 13) {
            replay(&rebuilt, batch).await;
        }
        handle(&rebuilt, &products()).await;
        assert_eq!(self::dump(&rebuilt).await, dump, "rebuilt, {size} inputs a batch");

        let events: Vec<_> = events.iter().map(|r| (r.version, r.event.clone())).collect();
        known.push((events, answers, dump));
    }
    for other in &known[1..] {
        assert_eq!(other.0, known[0].0, "the same events");
        assert_eq!(other.1, known[0].1, "the same answers");
        assert_eq!(other.2, known[0].2, "the same rows");
    }
    assert!(known[0].0.len() > 2_000, "{} events", known[0].0.len());
}

fn counted(sku: &str, sequence: i64, quantity: i64) -> Input {
    recorded(sku, &format!("D{sequence}"), sequence, Units::Counted(quantity))
}

fn recorded(sku: &str, id: &str, sequence: i64, units: Units) -> Input {
    let key = domain::DocumentKey {
        connector: Connector::parse("erp").expect("valid"),
        id: DocumentId::parse(id).expect("valid"),
    };
    let stock = StockId { sku: Sku::parse(sku).expect("valid"), location: Location::main() };
    let document = domain::Document { key, sequence };
    let line = domain::StockLine { stock, document, units, reason: String::new() };
    Input::RecordStock { lines: vec![line] }
}

fn placed(number: u64, of: &[(&str, i64)]) -> Input {
    let line = |(sku, units): &(&str, i64)| Line {
        stock: StockId { sku: Sku::parse(sku).expect("valid"), location: Location::main() },
        units: *units,
    };
    Input::Placed { order_id: order(number), lines: of.iter().map(line).collect() }
}

/// Handles inputs one by one, all at the same time.
async fn given(inputs: &[Input]) -> AnyPool {
    let db = database().await;
    handle(&db, &products()).await;
    for input in inputs {
        handle(&db, &[(input.clone(), Timestamp::from_millis(0))]).await;
    }
    db
}

#[tokio::test]
async fn only_rows_that_changed_are_written() {
    let db = given(&[counted("A", 1, 9), counted("B", 2, 9), placed(1, &[("A", 1)])]).await;
    // A row that is written again would lose this mark.
    sqlx::raw_sql("update stock set held = held + 100; update reservation set version = 77")
        .execute(&db)
        .await
        .expect("marks");
    let inputs = [placed(2, &[("A", 1)]), Input::Authorized { order_id: order(3) }];
    let more = [placed(3, &[("A", 1), ("B", 200)]), Input::Cancelled { order_id: order(2) }];
    let batch = inputs.into_iter().chain(more).chain([counted("C", 3, 1)]);
    let batch: Vec<_> = batch.map(|input| (input, Timestamp::default())).collect();
    handle(&db, &batch).await;

    sqlx::raw_sql("update stock set held = 0 where sku = 'A'").execute(&db).await.expect("sets");
    let rows = dump(&db).await;
    let stock: Vec<_> = rows.iter().filter(|row| row.starts_with("stock")).collect();
    let connectors = |sequence| format!(r#"'{{"erp":{{"counted":{sequence},"adjusted":null}}}}'"#);
    let row = |sku, units, held, sequence| {
        format!("stock: 'acme', '{sku}', 'main', {units}, {held}, 0, 1, {}", connectors(sequence))
    };
    assert_eq!(stock, [&row("A", 9, 0, 1), &row("B", 9, 100, 2), &row("C", 1, 0, 3)]);
    let reservations: Vec<_> =
        rows.iter().filter(|row| row.starts_with("reservation")).cloned().collect();
    assert!(reservations[0].contains("'held', 77"), "is as it was marked: {reservations:?}");
    assert_eq!(reservations.len(), 3);
}

#[tokio::test]
async fn a_late_count_takes_what_was_adjusted_after_it_and_not_what_it_contains() {
    let adjusted = |id, sequence, delta| recorded("A", id, sequence, Units::Added(delta));
    let db = given(&[
        adjusted("as-old", 3, 1),
        adjusted("newer", 4, 10),
        adjusted("newest", 9, 100),
        adjusted("older", 2, 1_000),
        recorded("B", "of-another", 5, Units::Added(10_000)),
    ])
    .await;
    let late = [counted("B", 1, 7), counted("A", 3, 7)];
    handle(&db, &late.map(|input| (input, Timestamp::default()))).await;
    for (sku, on_hand) in [("A", 117), ("B", 10_007)] {
        let level = ask(&db, "level", json!({ "sku": sku })).await.expect("is counted");
        assert_eq!(level["on_hand"], on_hand, "{sku}");
    }
}

#[tokio::test]
async fn the_orders_that_a_shortage_hits_are_found_in_whatever_block_and_the_newest_are_named() {
    let db = given(&[counted("A", 1, 20_000), counted("B", 2, 20_000)]).await;
    let orders = 10 * ORDERS_A_BLOCK;
    let place = |number| placed(number, &[(if number <= 3 { "A" } else { "B" }, 1)]);
    let batch: Vec<_> = (1..=orders).map(|n| (place(n), Timestamp::default())).collect();
    handle(&db, &batch).await;
    let cancelled = Input::Cancelled { order_id: order(2) };
    let batch = [cancelled, counted("A", 3, 0), counted("B", 4, 0)];
    let (recorded, _) = handle(&db, &batch.map(|input| (input, Timestamp::default()))).await;

    let named = recorded.iter().filter_map(|recorded| match &recorded.event {
        Event::Stock(_, domain::StockFact::Short { order_ids, .. }) => Some(order_ids.clone()),
        Event::Stock(..) | Event::Reservation(..) => None,
    });
    let newest = (orders - 999..=orders).rev().map(order).collect();
    assert_eq!(named.collect::<Vec<_>>(), [vec![order(3), order(1)], newest]);
}

#[tokio::test]
async fn what_belongs_to_one_shop_is_not_seen_by_another() {
    let db = given(&[counted("A", 1, 9)]).await;
    let mut keys = Keys::default();
    keys.add_input(&counted("A", 1, 9));
    let other = Shop::parse("other").expect("valid");
    let mut connection = db.acquire().await.expect("connects");
    let keys = HashMap::from([(acme(), keys.clone()), (other.clone(), keys)]);
    let states = load(&mut connection, &keys).await.expect("loads");
    let rows = |shop: &Shop| {
        let state = &states[shop];
        let (products, documents) = (state.products.iter().count(), state.documents.iter().count());
        (products, documents, state.stocks.iter().count())
    };
    assert_eq!((rows(&acme()), rows(&other)), ((0, 1, 1), (0, 0, 0)));
}

#[tokio::test]
async fn holds_fall_due_in_their_partition_when_their_deadline_has_passed() {
    let db = given(&[
        counted("A", 1, 9),
        placed(1, &[("A", 1)]),
        placed(2, &[("A", 2)]),
        placed(3, &[("A", 3)]),
        Input::Authorized { order_id: order(3) },
    ])
    .await;
    let expires_at = Timestamp::default() + Policy::default().hold_ttl;
    let just_before = Timestamp::from_millis(expires_at.millis() - 1);
    let mut connection = db.acquire().await.expect("connects");
    let mut orders_due = async |partition, now, limit| {
        let due = due(&mut connection, partition, now, limit).await.expect("asks");
        due.into_iter().map(|local| (local.input, local.aggregate)).collect::<Vec<_>>()
    };
    let hold = |number| (Input::HoldDue { order_id: order(number) }, order(number).to_string());
    assert_eq!(orders_due(0, just_before, 10).await, []);
    assert_eq!(orders_due(1, expires_at, 10).await, []);
    assert_eq!(orders_due(0, expires_at, 10).await, [hold(1), hold(2)]);
    assert_eq!(orders_due(0, expires_at, 1).await.len(), 1);

    let due = due(&mut connection, 0, expires_at, 1).await.expect("asks").remove(0);
    assert_eq!(due.context.correlation_id, "request", "the chain goes on");
    drop(connection);
    handle(&db, &[(due.input, expires_at)]).await;
    let mut connection = db.acquire().await.expect("connects");
    let left = super::due(&mut connection, 0, expires_at, 10).await.expect("asks");
    assert_eq!(left.len(), 1, "what was released is no longer due");
}

async fn ask(db: &AnyPool, name: &str, parameters: Value) -> Option<Value> {
    query::answer(db, &acme(), name, parameters).await.expect("answers")
}

#[tokio::test]
async fn questions_are_answered_from_the_shops_own_rows() {
    let db = given(&[
        counted("A", 1, 9),
        counted("B", 2, 5),
        placed(1, &[("A", 2), ("B", 5)]),
        placed(2, &[("A", 3)]),
        Input::Authorized { order_id: order(2) },
        counted("B", 3, 4),
    ])
    .await;
    let a = json!({ "sku": "A", "location": "main", "on_hand": 9, "held": 2, "allocated": 3,
                    "available": 4, "version": 1 });
    let b = json!({ "sku": "B", "location": "main", "on_hand": 4, "held": 5, "allocated": 0,
                    "available": 0, "version": 3 });
    assert_eq!(ask(&db, "level", json!({ "sku": "A" })).await, Some(a.clone()));
    assert_eq!(ask(&db, "level", json!({ "sku": "C" })).await, None);
    assert_eq!(ask(&db, "levels", json!({})).await, Some(json!([a, b])));
    assert_eq!(ask(&db, "levels", json!({ "after": "", "limit": 1 })).await, Some(json!([a])));
    assert_eq!(ask(&db, "levels", json!({ "after": "A" })).await, Some(json!([b])));
    let totals = json!({ "on_hand": 13, "held": 7, "allocated": 3, "skus": 2, "oversold_skus": 1 });
    assert_eq!(ask(&db, "totals", json!({})).await, Some(totals));
}

#[tokio::test]
async fn a_shop_without_stock_has_totals_of_zero() {
    let db = database().await;
    let totals = json!({ "on_hand": 0, "held": 0, "allocated": 0, "skus": 0, "oversold_skus": 0 });
    assert_eq!(ask(&db, "totals", json!({})).await, Some(totals));
}

#[tokio::test]
async fn a_question_that_is_not_one_is_refused_by_name() {
    let db = database().await;
    let error = query::answer(&db, &acme(), "prices", json!({})).await;
    let error = error.expect_err("is no question").to_string();
    assert_eq!(error, "inventory has no question \"prices\"");
}

#[tokio::test]
async fn a_row_that_no_code_writes_is_named() {
    let db = given(&[counted("A", 1, 9), placed(1, &[("A", 2)])]).await;
    sqlx::raw_sql("update reservation set status = 'odd'").execute(&db).await.expect("breaks");
    let mut keys = Keys::default();
    keys.add_input(&Input::Authorized { order_id: order(1) });
    let mut connection = db.acquire().await.expect("connects");
    let error = load(&mut connection, &HashMap::from([(acme(), keys)])).await;
    let error = error.expect_err("no such status").to_string();
    assert_eq!(error, "a row of reservation holds \"odd\" in status");
}

#[tokio::test]
async fn answers_come_from_what_was_saved() {
    let db = given(&[counted("A", 5, 9)]).await;
    let again = handle(&db, &[(counted("A", 5, 9), Timestamp::default())]).await;
    assert_eq!(again.1, [Some(answer(StockResult::Duplicate))]);
    let other = handle(&db, &[(counted("A", 4, 9), Timestamp::default())]).await;
    assert_eq!(other.1, [Some(answer(StockResult::Stale))]);
    assert!(again.0.is_empty() && other.0.is_empty());
}

fn answer(result: StockResult) -> String {
    let answer = events::answer::RecordStockAnswer { results: vec![result] };
    serde_json::to_string(&answer).expect("serialises")
}
