//! The questions, on a real database.

use std::collections::BTreeSet;

use engine::{Queries, Row, Rules, Wire, WireError, documents};
use events::{
    id::OrderId,
    proto::{
        Price, TaxBasis,
        order::{self, GetOrder, GetTotals, ListOrders, TotalsGroup},
    },
    questions::Question,
};
use prost::Message;
use protocol::{id::Shop, time::Timestamp};
use sqlx::{AnyPool, any::AnyPoolOptions};

use crate::{
    Orders, Policy,
    domain::{
        CancelReason, Event, FulfilmentStatus,
        rows::{self, OrderSkuKey},
        tests::{ANN, BOB, CID, History, recorded, sealed, shortage},
    },
    store::TABLES,
};

#[expect(clippy::unnecessary_wraps, reason = "as it is in the fields of messages")]
fn gbp(minor: i64) -> Option<events::proto::Money> {
    Some(events::proto::Money { minor, currency: "GBP".to_owned() })
}

#[expect(clippy::unnecessary_wraps, reason = "as it is in the fields of messages")]
fn price(minor: i64) -> Option<Price> {
    Some(Price { money: gbp(minor), tax_basis: TaxBasis::Included.into() })
}

#[tokio::test]
async fn an_order_reads_as_it_was_placed_with_all_that_became_of_it() {
    let database = Database::open().await;
    let shortages = [shortage("A", 2, 1)];
    let history = History::placed_as(ANN, 7, Some("PO \"1\" ü"))
        .payment_due()
        .declined(1)
        .cancelled(CancelReason::OutOfStock, "", &shortages);
    database.fold(&history.events).await;
    let line = |sku: &str, unit_price| order::Line {
        line_id: sku.into(),
        sku: sku.into(),
        title: format!("{sku}, a title"),
        quantity: 2,
        unit_price: price(unit_price),
        discounts: vec![],
        tax: None,
    };
    let payment_id = format!("{ANN}-1");
    let failure = order::PaymentFailed {
        payment_id: payment_id.clone(),
        code: Some("declined".into()),
        detail: None,
        retry_until: None,
    };
    let expected = order::Order {
        order_id: ANN.to_string(),
        summary: Some(order::Summary {
            number: 7,
            reference: Some("PO \"1\" ü".to_owned()),
            customer_id: None,
            total: gbp(700),
            status: order::OrderStatus::Cancelled.into(),
            payment_status: order::PaymentStatus::Failed.into(),
            fulfilment_status: order::FulfilmentStatus::Unfulfilled.into(),
        }),
        country: Some("France".to_owned()),
        tax_basis: TaxBasis::Included.into(),
        lines: vec![line("A", 250), line("B", 100)],
        units: vec![order::LineUnits { held: 0, shipped: 0, cancelled: 2 }; 2],
        charges: vec![],
        payments: vec![order::OrderPayment {
            payment_id,
            status: order::PaymentStatus::Failed.into(),
            captured: 0,
            refunded: 0,
            failure: Some(failure),
            action: None,
        }],
        hold: None,
        cancellation: Some(order::Cancellation {
            reason: order::CancelReason::OutOfStock.into(),
            detail: None,
            shortages: vec![order::Shortage { sku: "A".into(), requested: 2, available: 1 }],
            note: None,
        }),
        placed_at: Some(time(1)),
        updated_at: Some(time(4)),
        version: 4,
        billing_country: None,
        personal: None,
    };
    let of = |id: OrderId| GetOrder { order_id: id.to_string() };
    let referenced = |reference: &str| ListOrders { reference: reference.to_owned(), ..listed() };
    let in_a_list = order::ListedOrder {
        order_id: ANN.to_string(),
        summary: expected.summary.clone(),
        on_hold: false,
        placed_at: Some(time(1)),
        updated_at: Some(time(4)),
        version: 4,
        position: 1,
    };
    assert_eq!(database.ask(of(ANN)).await, Some(expected));
    assert_eq!(database.list(referenced("PO \"1\" ü")).await, [in_a_list]);
    assert_eq!(database.ask(of(BOB)).await, None);
    assert_eq!(database.list(referenced("PO 2")).await, []);
}

#[tokio::test]
async fn each_line_says_what_became_of_its_units() {
    let units_after = async |history: History| {
        let database = Database::open().await;
        database.fold(&history.events).await;
        let found = database.ask(GetOrder { order_id: ANN.to_string() }).await.expect("is there");
        found.units.iter().map(|it| [it.held, it.shipped, it.cancelled]).collect::<Vec<_>>()
    };
    let placed = History::placed(ANN);
    assert_eq!(units_after(placed.clone()).await, [[0, 0, 0]; 2]);
    assert_eq!(units_after(placed.payment_due()).await, [[2, 0, 0]; 2]);
    let part = History::paid_order().shipped(&[("A", 1)], FulfilmentStatus::Partial);
    assert_eq!(units_after(part.clone()).await, [[1, 1, 0], [2, 0, 0]]);
    let cancelled = part.clone().cancelled(CancelReason::Requested, "", &[]);
    assert_eq!(units_after(cancelled).await, [[0, 1, 1], [0, 0, 2]]);
    let all = part.shipped(&[("A", 1), ("B", 2)], FulfilmentStatus::Fulfilled);
    assert_eq!(units_after(all).await, [[0, 2, 0]; 2]);
}

#[tokio::test]
async fn personal_data_is_in_an_order() {
    let database = Database::open().await;
    let (personal, note) = (sealed("personal"), sealed("note"));
    let history = History::placed_as(ANN, 7, Some("PO 1")).with_personal(personal.clone());
    database.fold(&history.cancelled_with(Some(note.clone())).events).await;
    let found = database.ask(GetOrder { order_id: ANN.to_string() }).await.expect("is there");
    assert_eq!(found.personal, Some(personal.into()));
    assert_eq!(found.cancellation.expect("it is cancelled").note, Some(note.into()));
}

#[tokio::test]
async fn an_order_says_where_its_last_event_is() {
    let database = Database::open().await;
    database.fold(&History::placed(ANN).payment_due().events).await;
    let of = async |id: OrderId| {
        orders().revision_of(&database.pool, &shop(), "order", &id.to_string()).await.unwrap()
    };
    assert_eq!(of(ANN).await.map(|revision| revision.version), Some(2));
    assert_eq!(of(BOB).await, None);
}

#[tokio::test]
async fn orders_are_counted_by_statuses_and_reason() {
    let database = Database::open().await;
    assert_eq!(database.ask(GetTotals {}).await, Some(order::Totals::default()));
    let reasons = [CancelReason::Requested, CancelReason::OutOfStock, CancelReason::Requested];
    for (number, reason) in reasons.into_iter().enumerate() {
        let id = OrderId(uuid::Uuid::from_u128(number as u128 + 10));
        database.fold(&History::placed(id).cancelled(reason, "", &[]).events).await;
    }
    database.fold(&History::paid_order().events).await;
    let group =
        |status: order::OrderStatus, payment: order::PaymentStatus, reason, orders| TotalsGroup {
            status: status.into(),
            payment_status: payment.into(),
            fulfilment_status: order::FulfilmentStatus::Unfulfilled.into(),
            reason: order::CancelReason::into(reason),
            orders,
            total: gbp(orders * 700),
        };
    let cancelled = |reason, orders| {
        group(order::OrderStatus::Cancelled, order::PaymentStatus::Pending, reason, orders)
    };
    let groups = vec![
        cancelled(order::CancelReason::OutOfStock, 1),
        cancelled(order::CancelReason::Requested, 2),
        group(
            order::OrderStatus::Confirmed,
            order::PaymentStatus::Paid,
            order::CancelReason::Unspecified,
            1,
        ),
    ];
    assert_eq!(database.ask(GetTotals {}).await, Some(order::Totals { groups }));
}

#[tokio::test]
async fn orders_are_listed_page_by_page_by_all_that_events_say_of_them() {
    let database = Database::open().await;
    for (id, number) in [(ANN, 1), (BOB, 2), (CID, 3)] {
        let history = History::placed_as(id, number, None);
        let history = if id == BOB { history.cancelled_with(None) } else { history.on_hold() };
        database.fold(&history.events).await;
    }
    let ids = async |question| {
        let listed = database.list(question).await.into_iter();
        listed.map(|order| order.order_id).collect::<Vec<_>>()
    };
    let [ann, bob, cid] = [ANN, BOB, CID].map(|id| id.to_string());
    let [ann, bob, cid] = [ann.as_str(), bob.as_str(), cid.as_str()];
    assert_eq!(ids(listed()).await, [cid, bob, ann]);
    assert_eq!(ids(ListOrders { oldest_first: true, ..listed() }).await, [ann, bob, cid]);
    assert_eq!(ids(ListOrders { on_hold: true, ..listed() }).await, [cid, ann]);
    let of_status = |status: order::OrderStatus| ListOrders { status: status.into(), ..listed() };
    assert_eq!(ids(of_status(order::OrderStatus::Cancelled)).await, [bob]);
    for (sku, found) in [("A", &[cid, bob, ann][..]), ("NONE", &[])] {
        assert_eq!(ids(ListOrders { sku: sku.to_owned(), ..listed() }).await, found);
    }
    let first = ListOrders { limit: 2, ..listed() };
    assert_eq!(ids(first.clone()).await, [cid, bob]);
    let after = Some(order::OrderPlace { placed_at: Some(time(1)), number: 2, by_part: false });
    assert_eq!(ids(ListOrders { after, ..first }).await, [ann]);
}

#[test]
fn what_is_no_question_is_refused() {
    let nothing = order::OrderQuestion::default().encode_to_vec();
    assert!(matches!(Orders::question(&nothing), Err(WireError::Missing("question"))));
    let wrong = GetOrder { order_id: "no uuid".into() }.encode();
    assert!(matches!(Orders::question(&wrong), Err(WireError::Parse(_))));
    assert!(matches!(Orders::question(b"\xff\xff"), Err(WireError::Decode(_))));
}

/// A list of all orders.
fn listed() -> ListOrders {
    ListOrders { limit: 100, ..ListOrders::default() }
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

    /// Writes the rows that follow from these events of an order.
    async fn fold(&self, events: &[Event]) {
        let mut state = rows::Shop::default();
        for (event, version) in events.iter().zip(1..) {
            Orders::apply(&mut state, &recorded(event.clone(), version));
        }
        for id in events.iter().map(|event| event.order_id).collect::<BTreeSet<_>>() {
            self.put(&id, state.orders.get(&id)).await;
            self.put(&id, state.cancellations.get(&id)).await;
            self.put(&id, state.personal.get(&id)).await;
            self.put(&id, state.shipped.get(&id)).await;
            let content = state.contents.get(&id);
            self.put(&id, content).await;
            for line in content.iter().flat_map(|content| content.lines.iter()) {
                let number = content.map_or(0, |content| content.number);
                let key = OrderSkuKey { number, sku: line.sku.clone() };
                self.put(&key, state.skus.get(&key)).await;
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

    async fn list(&self, question: ListOrders) -> Vec<order::ListedOrder> {
        self.ask(question).await.expect("a list").orders
    }
}
