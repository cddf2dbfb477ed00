//! The questions, on a real database.

use std::collections::BTreeSet;

use engine::{Queries, Row, Rules, documents};
use events::{id::OrderId, view::CancelReason};
use protocol::id::Shop;
use serde_json::{Value, json};
use sqlx::{AnyPool, any::AnyPoolOptions};

use crate::{
    Orders, Policy,
    domain::{
        Event,
        tests::{
            ANN, BOB, authorized, cancelled, confirmed, paid, payment_due, placed, recorded,
            referenced, shortage,
        },
    },
    store::{self, ReferencedOrder, TABLES},
};

#[tokio::test]
async fn an_order_reads_as_it_was_placed_with_why_it_is_cancelled() {
    let database = Database::open().await;
    let cancelled = cancelled(ANN, CancelReason::OutOfStock, "", &[shortage("A", 2, 1)]);
    database.fold(&[(referenced(ANN, "PO \"1\" ü"), 1), (cancelled, 2)]).await;
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
async fn the_history_has_each_event_with_time_and_cause() {
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
async fn orders_are_counted_by_status_and_reason() {
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
        let answer = orders().query(&database.pool, &shop(), name, parameters).await;
        answer.expect_err("is refused").to_string()
    };
    assert_eq!(ask("weather", json!({})).await, "order has no question \"weather\"");
    let unfit = "the parameters do not fit the question";
    assert_eq!(ask("order", json!({ "id": "no uuid" })).await, unfit);
    assert_eq!(ask("order", json!({ "id": ANN, "more": 1 })).await, unfit);
}

fn shop() -> Shop {
    Shop::parse("acme").unwrap()
}

fn orders() -> Orders {
    Orders { policy: Policy::default() }
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
        let mut db = pool.acquire().await.unwrap();
        documents::create_tables(&mut db, TABLES).await.unwrap();
        drop(db);
        Self { pool, _folder: folder }
    }

    /// Writes the rows that follow from these events with their versions.
    async fn fold(&self, events: &[(Event, u64)]) {
        let mut state = store::Shop::default();
        for (event, version) in events {
            Orders::apply(&mut state, &recorded(event.clone(), *version));
        }
        for id in events.iter().map(|(event, _)| event.order_id).collect::<BTreeSet<_>>() {
            self.put(&id, state.orders.get(&id)).await;
            self.put(&id, state.cancellations.get(&id)).await;
            self.put(&id, state.histories.get(&id)).await;
            let content = state.contents.get(&id);
            self.put(&id, content).await;
            if let Some(reference) = content.and_then(|content| content.reference.as_ref()) {
                self.put(reference, Some(&ReferencedOrder(id))).await;
            }
        }
    }

    async fn put<R: Row>(&self, key: &impl ToString, row: Option<&R>) {
        let mut db = self.pool.acquire().await.unwrap();
        let rows = row.map(|row| (key.to_string(), row.clone()));
        documents::put(&mut db, &shop(), rows).await.unwrap();
    }

    async fn ask(&self, name: &str, parameters: Value) -> Option<Value> {
        orders().query(&self.pool, &shop(), name, parameters).await.unwrap()
    }
}
