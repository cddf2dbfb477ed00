//! The questions, on a real database.

use std::collections::BTreeSet;

use engine::{Queries, Row, Rules, Wire, WireError, documents};
use events::{
    id::OrderId,
    proto::order::{self, GetHistory, GetOrder, GetOrderByReference, GetTotals, TotalsGroup},
    questions::Question,
};
use prost::Message;
use protocol::{id::Shop, proto::Cause, time::Timestamp};
use sqlx::{AnyPool, any::AnyPoolOptions};

use crate::{
    Orders, Policy,
    domain::{
        CancelReason, Event,
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
    let line = |sku: &str, unit_price| order::Line { sku: sku.into(), quantity: 2, unit_price };
    let shortage = order::Shortage { sku: "A".into(), requested: 2, available: 1 };
    let expected = order::Order {
        order_id: ANN.to_string(),
        reference: Some("PO \"1\" ü".to_owned()),
        status: order::OrderStatus::Cancelled.into(),
        customer_id: None,
        country: "France".to_owned(),
        lines: vec![line("A", 250), line("B", 100)],
        charges: vec![],
        total: Some(events::proto::Money { minor: 700, currency: "GBP".to_owned() }),
        cancellation: Some(order::Cancelled {
            reason: order::CancelReason::OutOfStock.into(),
            detail: String::new(),
            shortages: vec![shortage],
        }),
        placed_at: Some(time(1)),
        updated_at: Some(time(2)),
        version: 2,
    };
    let of = |id: OrderId| GetOrder { order_id: id.to_string() };
    let referenced = |reference: &str| GetOrderByReference { reference: reference.to_owned() };
    assert_eq!(database.ask(of(ANN)).await, Some(expected.clone()));
    assert_eq!(database.ask(referenced("PO \"1\" ü")).await, Some(expected));
    assert_eq!(database.ask(of(BOB)).await, None);
    assert_eq!(database.ask(referenced("PO 2")).await, None);
}

#[tokio::test]
async fn the_history_has_each_event_with_time_and_cause() {
    let database = Database::open().await;
    database.fold(&[(placed(ANN), 1), (payment_due(ANN), 2)]).await;
    let step = |version: u64, event: &str| order::Step {
        version,
        event: event.to_owned(),
        time: Some(time(version as i64)),
        cause: Some(Cause {
            id: format!("cause-{version}"),
            kind: "test.cause".to_owned(),
            ..Default::default()
        }),
    };
    let steps = vec![step(1, "placed"), step(2, "payment_due")];
    let of = |id: OrderId| GetHistory { order_id: id.to_string() };
    assert_eq!(database.ask(of(ANN)).await, Some(order::History { steps }));
    assert_eq!(database.ask(of(BOB)).await, None);
}

#[tokio::test]
async fn orders_are_counted_by_status_and_reason() {
    let database = Database::open().await;
    assert_eq!(database.ask(GetTotals {}).await, Some(order::Totals::default()));
    let reasons = [CancelReason::Requested, CancelReason::OutOfStock, CancelReason::Requested];
    for (number, reason) in reasons.into_iter().enumerate() {
        let id = OrderId(uuid::Uuid::from_u128(number as u128 + 10));
        database.fold(&[(placed(id), 1), (cancelled(id, reason, "", &[]), 2)]).await;
    }
    let all = [placed(ANN), payment_due(ANN), authorized(ANN), confirmed(ANN), paid(ANN)];
    let all: Vec<_> = all.into_iter().zip(1..).collect();
    database.fold(&all).await;
    let group = |status: order::OrderStatus, reason: order::CancelReason, orders, total| {
        TotalsGroup { status: status.into(), reason: reason.into(), orders, total }
    };
    let cancelled = order::OrderStatus::Cancelled;
    let groups = vec![
        group(cancelled, order::CancelReason::OutOfStock, 1, 700),
        group(cancelled, order::CancelReason::Requested, 2, 1400),
        group(order::OrderStatus::Paid, order::CancelReason::Unspecified, 1, 700),
    ];
    assert_eq!(database.ask(GetTotals {}).await, Some(order::Totals { groups }));
}

#[test]
fn what_is_no_question_is_refused() {
    let nothing = order::OrderQuestion::default().encode_to_vec();
    assert!(matches!(Orders::question(&nothing), Err(WireError::Missing("question"))));
    let wrong = GetOrder { order_id: "no uuid".into() }.encode();
    assert!(matches!(Orders::question(&wrong), Err(WireError::Parse(_))));
    assert!(matches!(Orders::question(b"\xff\xff"), Err(WireError::Decode(_))));
}

/// When the event with that version was decided.
fn time(version: i64) -> prost_types::Timestamp {
    Timestamp::from_millis(1_300_000_000_000 + version).into()
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

    /// Asks by way of the wire, as the gateway does.
    async fn ask<Q: Question>(&self, question: Q) -> Option<Q::Answer> {
        let question = Orders::question(&question.encode()).unwrap();
        let found = orders().query(&self.pool, &shop(), question).await.unwrap();
        found.map(|found| Q::Answer::decode(&*Orders::encode_found(found)).unwrap())
    }
}
