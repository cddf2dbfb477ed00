//! The projection on a real database: what is saved is loaded, and what is asked is answered.

use std::collections::HashMap;

use events::{
    id::{OrderId, Reference, Shop},
    time::Timestamp,
    view::CancelReason,
};
use serde_json::{Value, json};
use sqlx::{AnyPool, Row, any::AnyPoolOptions};

use super::{MIGRATIONS, TABLES, due, load, save};
use crate::{
    domain::{
        Event, Input, Keys, Price, Signal, State, apply, copy,
        tests::{
            ANN, BOB, NOW, authorized, cancelled, confirmed, gbp, paid, payment_due, placed,
            recorded, referenced, shortage, sku,
        },
    },
    query,
};

/// The most deadlines that a test asks for.
const MANY: i64 = 100;

#[tokio::test]
async fn an_order_is_loaded_as_it_was_saved_at_each_step() {
    let database = Database::open().await;
    let saga = [
        referenced(ANN, "PO 1"),
        payment_due(ANN),
        authorized(ANN),
        cancelled(ANN, CancelReason::StockLost, "gone", &[shortage("A", 2, 1)]),
    ];
    let mut expected = State::default();
    for (index, event) in saga.into_iter().enumerate() {
        apply(&mut expected, &recorded(event.clone(), index as u64 + 1));
        database.fold(&[(event, index as u64 + 1)]).await;
        let state = database.load(&keys(&[ANN, BOB], &["PO 1", "PO 2"])).await;
        assert_eq!(state.orders.get(&ANN), expected.orders.get(&ANN));
        assert_eq!(state.orders.get(&BOB), None);
        assert_eq!(state.references, expected.references);
    }
}

#[tokio::test]
async fn an_order_of_another_shop_is_not_loaded() {
    let database = Database::open().await;
    database.fold(&[(referenced(ANN, "PO 1"), 1)]).await;
    let (acme, other) = (shop("acme"), shop("other"));
    let mut db = database.pool.acquire().await.unwrap();
    let wanted = [(acme.clone(), keys(&[BOB], &[])), (other.clone(), keys(&[ANN], &["PO 1"]))];
    let states = load(&mut db, &HashMap::from(wanted)).await.unwrap();
    assert_eq!(states[&acme].orders.iter().count(), 0);
    assert_eq!(states[&other].orders.iter().count(), 0);
    assert_eq!(states[&other].references.len(), 0);
}

#[tokio::test]
async fn a_price_is_loaded_as_the_catalogue_last_told_it() {
    let database = Database::open().await;
    for (minor, active) in [(5, true), (6, false)] {
        let price = Price { price: gbp(minor), active };
        let mut state = State::default();
        copy(&mut state, &Input::Priced { sku: sku("NEW"), price: price.clone() });
        database.save(state).await;
        let mut keys = Keys::default();
        keys.prices.extend([sku("NEW"), sku("OTHER")]);
        let state = database.load(&keys).await;
        assert_eq!(state.prices.get(&sku("NEW")), Some(&price));
        assert_eq!(state.prices.get(&sku("OTHER")), None);
    }
}

#[tokio::test]
async fn a_deadline_is_due_once_it_has_passed_and_gone_when_the_order_moves_on() {
    let database = Database::open().await;
    let at = |millis| Timestamp::from_millis(NOW.millis() + millis);
    database.fold(&[(placed(ANN), 1), (placed(BOB), 1), (payment_due(BOB), 2)]).await;
    assert_eq!(database.due(at(299_999), MANY).await, []);
    let both = [
        (ANN, at(300_000), "timer.stock_deadline".to_owned()),
        (BOB, at(600_000), "timer.payment_deadline".to_owned()),
    ];
    assert_eq!(database.due(at(300_000), MANY).await, both[..1]);
    assert_eq!(database.due(at(600_000), MANY).await, both);
    assert_eq!(database.due(at(600_000), 1).await, both[..1]);

    database.fold(&[(cancelled(ANN, CancelReason::StockTimeout, "", &[]), 2)]).await;
    assert_eq!(database.due(at(600_000), MANY).await, both[1..]);
    database.fold(&[(authorized(BOB), 3), (confirmed(BOB), 4)]).await;
    assert_eq!(database.due(at(i64::from(i32::MAX)), MANY).await, []);
}

#[tokio::test]
async fn an_order_reads_as_it_was_placed_with_why_it_is_off() {
    let database = Database::open().await;
    let off = cancelled(ANN, CancelReason::OutOfStock, "", &[shortage("A", 2, 1)]);
    database.fold(&[(referenced(ANN, "PO \"1\" ü"), 1), (off, 2)]).await;
    let expected = json!({
        "id": ANN,
        "reference": "PO \"1\" ü",
        "status": "cancelled",
        "country": "France",
        "lines": [
            { "sku": "A", "quantity": 2, "unit_price": 250 },
            { "sku": "B", "quantity": 2, "unit_price": 100 },
        ],
        "charges": [],
        "total": 700,
        "currency": "GBP",
        "cancellation": {
            "reason": "out_of_stock",
            "shortages": [{ "sku": "A", "requested": 2, "available": 1 }],
        },
        "placed_at": "2011-03-13T07:06:40.001Z",
        "updated_at": "2011-03-13T07:06:40.002Z",
        "version": 2,
    });
    assert_eq!(database.ask("order", json!({ "id": ANN })).await, Some(expected.clone()));
    let by_reference = json!({ "reference": "PO \"1\" ü" });
    assert_eq!(database.ask("by_reference", by_reference).await, Some(expected));
    assert_eq!(database.ask("order", json!({ "id": BOB })).await, None);
    assert_eq!(database.ask("by_reference", json!({ "reference": "PO 2" })).await, None);
}

#[tokio::test]
async fn the_history_tells_each_step_with_time_and_cause() {
    let database = Database::open().await;
    database.fold(&[(placed(ANN), 1), (payment_due(ANN), 2)]).await;
    let step = |version, event, time| {
        let cause_id = format!("cause-{version}");
        json!({ "version": version, "event": event, "time": time, "cause": "test.cause",
            "cause_id": cause_id })
    };
    let expected = json!([
        step(1, "placed", "2011-03-13T07:06:40.001Z"),
        step(2, "payment_due", "2011-03-13T07:06:40.002Z"),
    ]);
    assert_eq!(database.ask("history", json!({ "id": ANN })).await, Some(expected));
    assert_eq!(database.ask("history", json!({ "id": BOB })).await, None);
}

#[tokio::test]
async fn orders_are_counted_by_where_they_stand_and_why() {
    let database = Database::open().await;
    assert_eq!(database.ask("totals", json!({})).await, Some(json!({ "groups": [] })));
    let reasons = [CancelReason::Requested, CancelReason::OutOfStock, CancelReason::Requested];
    for (number, reason) in reasons.into_iter().enumerate() {
        let id = OrderId(uuid::Uuid::from_u128(number as u128 + 10));
        database.fold(&[(placed(id), 1), (cancelled(id, reason, "", &[]), 2)]).await;
    }
    let all = [placed(ANN), payment_due(ANN), authorized(ANN), confirmed(ANN), paid(ANN)];
    let all: Vec<_> = all.into_iter().zip(1..).collect();
    database.fold(&all).await;
    let expected = json!({ "groups": [
        { "status": "cancelled", "reason": "out_of_stock", "orders": 1, "total": 700 },
        { "status": "cancelled", "reason": "requested", "orders": 2, "total": 1400 },
        { "status": "paid", "orders": 1, "total": 700 },
    ] });
    assert_eq!(database.ask("totals", json!({})).await, Some(expected));
}

#[tokio::test]
async fn a_question_that_nobody_knows_and_parameters_that_do_not_fit_are_refused() {
    let database = Database::open().await;
    let ask = async |name, parameters| {
        query::answer(&database.pool, &shop("acme"), name, parameters)
            .await
            .expect_err("is refused")
            .to_string()
    };
    assert_eq!(ask("weather", json!({})).await, "order has no question \"weather\"");
    let unfit = "the parameters do not fit the question";
    assert_eq!(ask("order", json!({ "id": "no uuid" })).await, unfit);
    assert_eq!(ask("order", json!({ "id": ANN, "more": 1 })).await, unfit);
}

#[tokio::test]
async fn folding_the_log_at_once_yields_the_rows_that_steps_one_by_one_yielded() {
    let log = [
        (referenced(ANN, "PO 1"), 1),
        (placed(BOB), 1),
        (payment_due(ANN), 2),
        (cancelled(BOB, CancelReason::Requested, "note", &[]), 2),
        (authorized(ANN), 3),
        (confirmed(ANN), 4),
        (paid(ANN), 5),
    ];
    let (live, rebuilt) = (Database::open().await, Database::open().await);
    for event in log.clone() {
        live.fold(&[event]).await;
    }
    rebuilt.fold(&log).await;
    let rows = live.dump().await;
    assert_eq!(rows.len(), 2 + 2 + 1);
    assert_eq!(rebuilt.dump().await, rows);
}

/// A private database, gone on drop.
struct Database {
    pool: AnyPool,
    _folder: tempfile::TempDir,
}

impl Database {
    async fn open() -> Self {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}?mode=rwc", folder.path().join("order.db").display());
        let pool = AnyPoolOptions::new().max_connections(2).connect(&url).await.unwrap();
        MIGRATIONS.run(&pool).await.unwrap();
        Self { pool, _folder: folder }
    }

    /// Folds events with their versions as one batch.
    async fn fold(&self, events: &[(Event, u64)]) {
        let mut keys = Keys::default();
        keys.orders.extend(events.iter().map(|(event, _)| event.order_id));
        let mut state = self.load(&keys).await;
        for (event, version) in events {
            apply(&mut state, &recorded(event.clone(), *version));
        }
        self.save(state).await;
    }

    async fn load(&self, keys: &Keys) -> State {
        let keys = Keys {
            orders: keys.orders.clone(),
            references: keys.references.clone(),
            prices: keys.prices.clone(),
        };
        let mut db = self.pool.acquire().await.unwrap();
        let mut states = load(&mut db, &HashMap::from([(shop("acme"), keys)])).await.unwrap();
        states.remove(&shop("acme")).expect("every shop that was asked for is there")
    }

    async fn save(&self, state: State) {
        let mut db = self.pool.acquire().await.unwrap();
        save(&mut db, 0, &HashMap::from([(shop("acme"), state)])).await.unwrap();
    }

    async fn due(&self, now: Timestamp, limit: i64) -> Vec<(OrderId, Timestamp, String)> {
        let mut db = self.pool.acquire().await.unwrap();
        let other = due(&mut db, 1, now, limit).await.unwrap();
        assert!(other.is_empty(), "another partition has deadlines");
        let mut found = Vec::new();
        for local in due(&mut db, 0, now, limit).await.unwrap() {
            assert_eq!(local.context.correlation_id, "request");
            assert_eq!(local.context.traceparent, "trace");
            let Input::Signal { order_id, signal: Signal::DeadlinePassed { deadline } } =
                local.input
            else {
                panic!("{:?} is no deadline", local.input)
            };
            assert_eq!(local.aggregate, order_id.to_string());
            found.push((order_id, deadline, local.cause.kind));
        }
        found
    }

    async fn ask(&self, name: &str, parameters: Value) -> Option<Value> {
        query::answer(&self.pool, &shop("acme"), name, parameters).await.unwrap()
    }

    /// Every row of every table, by its key, as text.
    async fn dump(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for table in TABLES {
            let columns = format!("select name from pragma_table_info('{}')", table.name);
            let columns = sqlx::query(sqlx::AssertSqlSafe(columns)).fetch_all(&self.pool);
            let columns: Vec<String> =
                columns.await.unwrap().iter().map(|row| row.get(0)).collect();
            let columns = columns.join(", ");
            let statement =
                format!("select json_array({columns}) from {} order by {}", table.name, table.key);
            let found = sqlx::query(sqlx::AssertSqlSafe(statement)).fetch_all(&self.pool);
            rows.extend(found.await.unwrap().iter().map(|row| row.get::<String, _>(0)));
        }
        rows
    }
}

fn shop(name: &str) -> Shop {
    Shop::parse(name).unwrap()
}

fn keys(orders: &[OrderId], references: &[&str]) -> Keys {
    let mut keys = Keys::default();
    keys.orders.extend(orders);
    keys.references.extend(references.iter().map(|it| Reference::parse(it).unwrap()));
    keys
}
